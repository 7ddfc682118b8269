/**
 * A chain as text: pod, violations, verdict and responses, each line with sequence, time, and time
 * since the first packet. Pure.
 */

import type { TallyGroup } from '@bailiff/insight';
import {
  abridge,
  type Chain,
  claimOf,
  clockTime,
  destinationOf,
  type EvidenceStep,
  evidenceText,
  firstPacketMicros,
  outcomeOf,
  type ResponseRow,
  recordsOf,
  responseText,
  seenAtMicros,
  shortId,
} from '@bailiff/insight';
import { podName, span } from '@bailiff/response';
import type { Verdict } from '@bailiff/schemas';
import { shorten, wrap, wrapAfter } from '../text/clean.ts';
import { type Paint, plain } from '../text/paint.ts';
import { type Cell, type Column, type RenderOptions, table } from '../text/table.ts';
import { capturedLines } from './captured.ts';
import { phaseStyle } from './response-cells.ts';
import { levelCell } from './verdict-cells.ts';

export interface ChainOptions extends RenderOptions {
  /** Fault that explains a missing response; empty if there is none. */
  unanswered?: (verdictId: string) => string;
}

/** Rows of the evidence table. `--json` prints all evidence. */
const MAX_EVIDENCE_SHOWN = 6;
const INDENT = '  ';

/** `+12 ms`: time since the first packet. */
export function after(micros: number | null, first: number | null): string {
  if (micros === null || first === null) return '';
  const ms = (micros - first) / 1000;
  return ms === 0 ? '+0' : `${ms < 0 ? '' : '+'}${span(ms)}`;
}

/** The pod or node of the verdict. */
function headOf({ verdict: { verdict } }: Chain, paint: Paint): string[] {
  const { pod, nodeName } = verdict;
  if (!pod) return [paint(`node ${nodeName}`, 'bold')];
  const owner = pod.ownerName ? `, of ${pod.ownerKind} ${pod.ownerName}` : '';
  return [`${paint(podName(pod), 'bold')} on ${nodeName}${owner}`, paint(`${INDENT}uid ${pod.uid}`, 'dim')];
}

/** Kinds of violations in the evidence. */
type EvidenceKind = 'packets' | 'operations' | 'both';
const TITLES = {
  packets: ['PACKETS', 'CLAIMED', 'SENT TO'],
  operations: ['TIMES', 'DID', 'BY PROGRAM'],
  both: ['COUNT', 'CLAIMED / DID', 'SENT TO / BY'],
} as const;

export function evidenceKindOf({ evidence }: Chain): EvidenceKind {
  const isOperation = evidence.map(
    ({ evidence: { vector }, violation }) => violation?.kind === 'lsm' || vector.includes('/'),
  );
  if (isOperation.length > 0 && isOperation.every(Boolean)) return 'operations';
  return isOperation.some(Boolean) ? 'both' : 'packets';
}

export function evidenceColumns(kind: EvidenceKind): readonly Column[] {
  const [count, claim, destination] = TITLES[kind];
  return [
    { title: 'SEQ', align: 'right' },
    { title: 'SEEN (UTC)' },
    { title: 'AFTER', align: 'right' },
    { title: 'WHAT', min: 14 },
    { title: count, align: 'right' },
    { title: claim, min: 12 },
    { title: destination, min: 8, spare: true },
    { title: 'ON BUS AFTER', align: 'right', spare: true },
  ];
}

export function evidenceCells(step: EvidenceStep, first: number | null, nowMs: number): Cell[] {
  const { evidence, violation, storedAtMicros } = step;
  const seq = `#${evidence.streamSequence}`;
  if (!violation) {
    const { did, program } = evidenceText(evidence);
    const gone = did === '' ? 'no longer stored' : `${did} (no longer stored)`;
    return [seq, '-', '', evidence.vector, String(evidence.packets), gone, program, ''];
  }
  const { text: outcome, style } = outcomeOf(violation);
  const seen = seenAtMicros(violation);
  return [
    seq,
    clockTime(seen, nowMs),
    after(seen, first),
    { text: `${violation.vector} ${outcome}`, style },
    String(evidence.packets),
    claimOf(violation),
    destinationOf(violation),
    storedAtMicros === null ? '' : span((storedAtMicros - seen) / 1000),
  ];
}

function evidenceLines(chain: Chain, { width, nowMs, paint = plain }: RenderOptions): string[] {
  const { verdict } = chain.verdict;
  const first = firstPacketMicros(chain.evidence);
  const rows = abridge(chain.evidence, MAX_EVIDENCE_SHOWN).map((item): Cell[] => {
    if (!('omitted' in item)) return evidenceCells(item, first, nowMs);
    const total = item.omitted.reduce((sum, { evidence }) => sum + evidence.packets, 0);
    return ['…', `${item.omitted.length} more`, '', '', String(total), '', '', ''];
  });
  const omitted = verdict.evidenceOmitted > 0 ? `; the verdict omits ${verdict.evidenceOmitted} older ones` : '';
  return [
    paint(`VIOLATIONS${omitted}`, 'bold'),
    ...table(evidenceColumns(evidenceKindOf(chain)), rows, { width, paint, indent: INDENT }),
  ];
}

function verdictLines(chain: Chain, { width, nowMs, paint = plain }: RenderOptions): string[] {
  const { verdict, sequence, storedAtMicros } = chain.verdict;
  const first = firstPacketMicros(chain.evidence);
  const level = levelCell(verdict.level) as Exclude<Cell, string>;
  const config = verdict.configRevision === 0 ? 'built-in rules' : `rules of CONFIG_LOG #${verdict.configRevision}`;
  const facts = [`#${sequence}`, clockTime(storedAtMicros, nowMs), after(storedAtMicros, first)].filter(Boolean);
  return [
    `${paint('VERDICT', 'bold')}  ${shortId(verdict.verdictId)}  ${paint(level.text, level.style, 'bold')} by ${verdict.rule}`,
    ...wrapAfter(INDENT, verdict.reason, width, INDENT.length),
    INDENT + facts.join('  ') + paint(`  ${config}`, 'dim'),
    `${INDENT}judged ${span(chain.latencies.judgingMs)} after the frame that met the rule`,
  ];
}

export const RESPONSE_COLUMNS: readonly Column[] = [
  { title: 'SEQ', align: 'right' },
  { title: 'STORED (UTC)' },
  { title: 'AFTER', align: 'right' },
  { title: 'ACTION' },
  { title: 'PHASE' },
  { title: 'WHY', min: 14 },
  { title: 'POLICY', spare: true },
];

/** A rule can group by the owner, the namespace or the node. */
export const NO_VERDICT =
  'its violations met no rule, or count for a verdict about another pod of its group or about its node';

/** Why a verdict has no responses. */
export function whyNone({ verdict: { verdict } }: Chain, unanswered: ChainOptions['unanswered']): string {
  const fault = unanswered?.(verdict.verdictId) ?? '';
  const audited = verdict.audited ? ' (it counts audited violations: `match.actions: [audit]`)' : '';
  return fault || `no response policy matches${audited}, or the responder has not processed the verdict yet`;
}

/** Records of all tasks, in stream order. */
export const allRecords = ({ tasks }: Chain): ResponseRow[] =>
  tasks.flatMap(recordsOf).sort((a, b) => a.sequence - b.sequence);

export function recordCells(
  { response, sequence, storedAtMicros }: ResponseRow,
  first: number | null,
  nowMs: number,
): Cell[] {
  return [
    `#${sequence}`,
    clockTime(storedAtMicros, nowMs),
    after(storedAtMicros, first),
    response.action,
    { text: response.phase, style: phaseStyle(response.phase) },
    responseText(response, nowMs),
    response.policy,
  ];
}

function responseLines(chain: Chain, { width, nowMs, paint = plain, unanswered }: ChainOptions): string[] {
  const heading = paint('RESPONSES', 'bold');
  if (chain.tasks.length === 0) {
    return [heading, ...wrapAfter(INDENT, `none: ${whyNone(chain, unanswered)}`, width, INDENT.length)];
  }
  const first = firstPacketMicros(chain.evidence);
  const cells = allRecords(chain).map((row) => recordCells(row, first, nowMs));
  const waiting = chain.tasks.filter((task) => task.pending && !task.approved && !task.started && !task.terminal);
  return [
    heading,
    ...table(RESPONSE_COLUMNS, cells, { width, paint, indent: INDENT }),
    ...waiting.map(({ pending }) =>
      paint(
        `${INDENT}waits for approval: bailiff responses approve ${shortId(pending?.response.responseId ?? '')}`,
        'yellow',
      ),
    ),
  ];
}

/** `first packet → on the bus 12 ms → verdict 267 ms → delete succeeded 337 ms` */
export function latencyLine(chain: Chain): string {
  const { latencies, evidence } = chain;
  const first = evidenceKindOf(chain) === 'operations' ? 'first operation' : 'first packet';
  if (firstPacketMicros(evidence) === null) return `the ${first} is no longer stored: no latencies`;
  const steps = [
    ['on the bus', latencies.firstViolationMs],
    ['rule met', latencies.ruleMetMs],
    ['verdict', latencies.verdictMs],
    ...latencies.responses.map(({ action, phase, ms }) => [`${action} ${phase}`, ms]),
  ] as [string, number | null][];
  const shown = steps.filter(([, ms]) => ms !== null).map(([what, ms]) => `${what} ${span(ms as number)}`);
  const differ = steps.some(([, ms]) => ms !== null && ms < 0) ? ' (the clocks of node and bus differ)' : '';
  return `${first} → ${shown.join(' → ')}${differ}`;
}

/** The complete chain. */
export function renderChain(chain: Chain, options: ChainOptions): string[] {
  const { paint = plain, width } = options;
  return [
    ...headOf(chain, paint),
    '',
    ...evidenceLines(chain, options),
    '',
    ...verdictLines(chain, options),
    '',
    ...responseLines(chain, options),
    '',
    ...chain.tasks.flatMap(({ terminal }) => {
      const capture = terminal?.response.capture;
      return capture ? [...capturedLines(capture, options), ''] : [];
    }),
    ...wrap(latencyLine(chain), width),
  ];
}

export const SUMMARY_COLUMNS: readonly Column[] = [
  { title: 'VECTOR' },
  { title: 'ACTION' },
  { title: 'COUNT', align: 'right' },
  { title: 'FIRST (UTC)' },
  { title: 'LAST (UTC)' },
  { title: 'SEQUENCES' },
  { title: 'NEWEST CLAIM OR OPERATION', min: 10, spare: true },
];

/** A pod's violations by vector. */
export function renderSummary(
  groups: readonly TallyGroup<{ vector: string; action: string }>[],
  { width, nowMs, paint = plain }: RenderOptions,
): string[] {
  return table(
    SUMMARY_COLUMNS,
    groups.map((group) => summaryCells(group, nowMs)),
    { width, paint, indent: INDENT },
  );
}

export function summaryCells(group: TallyGroup<{ vector: string; action: string }>, nowMs: number): Cell[] {
  return [
    group.key.vector,
    group.sample
      ? outcomeOf(group.sample)
      : { text: group.key.action, style: group.key.action === 'drop' ? 'red' : 'yellow' },
    String(group.packets),
    clockTime(group.firstAtMicros, nowMs),
    clockTime(group.lastAtMicros, nowMs),
    group.firstSequence === group.lastSequence
      ? `#${group.firstSequence}`
      : `#${group.firstSequence}-${group.lastSequence}`,
    group.sample ? claimOf(group.sample) : 'not sampled',
  ];
}

/** One line per further verdict. */
export function otherVerdicts(verdicts: readonly { verdict: Verdict }[], { width, nowMs }: RenderOptions): string[] {
  return verdicts.map(({ verdict }) =>
    shorten(
      `${INDENT}${shortId(verdict.verdictId)}  ${clockTime(verdict.triggeredAt, nowMs)}  ${verdict.level} by ${verdict.rule}`,
      width > 0 ? width : Number.POSITIVE_INFINITY,
    ),
  );
}
