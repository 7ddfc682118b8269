/**
 * `bailiff doctor --would-drop`: packets that were audited and would be dropped by enforcement,
 * counted exactly by pod and vector.
 */
import { readNewest } from '@bailiff/bus';
import {
  claimOf,
  clockTime,
  destinationOf,
  isoMicros,
  NodeFrames,
  type Reader,
  RefusedCounts,
  restText,
  Tally,
  type TallyGroup,
} from '@bailiff/insight';
import { defaultMode, formatConfigKey, TUNABLE_VECTORS, type Vector } from '@bailiff/policy';
import { plural, podName, reportedName, shortList } from '@bailiff/response';
import type { PodRef } from '@bailiff/schemas';
import type { Session } from './session.ts';
import type { Cell, Column } from './text/table.ts';
import { uncountedReasons } from './uncounted.ts';
import { incompleteOf } from './unsent.ts';

export interface Audited {
  pod: PodRef | null;
  interfaceName: string;
  nodeName: string;
  vector: string;
}
type Group = TallyGroup<Audited>;

export const AUDITED_COLUMNS: readonly Column[] = [
  { title: 'POD' },
  { title: 'VECTOR' },
  { title: 'PACKETS', align: 'right' },
  { title: 'LAST (UTC)' },
  { title: 'NEWEST CLAIM', min: 12, spare: true },
  { title: 'SENT TO', min: 12, spare: true },
  { title: 'OWNER', min: 10, spare: true },
  { title: 'NODE', spare: true },
];
/** --json has up to MAX_GROUPS. */
const MAX_ROWS = 50;
/** Rules named in one line. */
const MAX_RULES = 6;

export function auditedCells({ key, packets, lastAtMicros, sample }: Group, nowMs: number): Cell[] {
  const { pod, interfaceName, nodeName, vector } = key;
  return [
    pod ? podName(pod) : `? (${interfaceName})`,
    vector,
    String(packets),
    clockTime(lastAtMicros, nowMs),
    sample ? claimOf(sample) : '',
    sample ? destinationOf(sample) : '',
    pod?.ownerName ? `${pod.ownerKind} ${pod.ownerName}` : '',
    nodeName,
  ];
}

/**
 * Commands that enforce the audited vectors, or exempt a namespace, on lines of their own for
 * copying. Pure.
 */
export function adviceOf(groups: readonly Group[]): string[] {
  const vectors = [...new Set(groups.map(({ key }) => key.vector))];
  const audited = vectors.filter((vector) => isTunable(vector) && defaultMode(vector) === 'audit');
  const set = '  bailiff config set spoof.cluster._.default';
  const lines: string[] = [];
  if (audited.length > 0)
    lines.push('To drop these packets:', `${set} ${audited.map((v) => `modes.${v}=enforce`).join(' ')}`);
  if (vectors.includes('unknown-interface')) {
    lines.push('To drop packets of unknown interfaces:', `${set} unknown=enforce`);
  }
  const excepted = groups.find(({ key }) => key.pod && audited.includes(key.vector))?.key;
  if (excepted?.pod) {
    const { namespace } = excepted.pod;
    const key = formatConfigKey({ kind: 'spoof', scope: 'namespace', namespace, name: 'default' });
    lines.push(`To exempt ${namespace}:`, `  bailiff config set ${key} modes.${excepted.vector}=audit`);
  }
  const enforced = vectors.filter((vector) => !audited.includes(vector) && vector !== 'unknown-interface');
  if (enforced.length > 0) {
    const are = enforced.length === 1 ? 'is' : 'are';
    lines.push(
      `${enforced.map(reportedName).join(', ')} ${are} dropped by default; to find the exceptions:`,
      '  bailiff config list --kind spoof; bailiff disarm',
    );
  }
  return lines;
}

const isTunable = (vector: string): vector is Vector => (TUNABLE_VECTORS as readonly string[]).includes(vector);

function groupJson({ key, packets, violations, firstAtMicros, lastAtMicros }: Group) {
  const { pod, ...rest } = key;
  return { pod, ...rest, packets, violations, firstAt: isoMicros(firstAtMicros), lastAt: isoMicros(lastAtMicros) };
}

/** Operations that runtime policies audited, in one line; empty without any. Pure. */
export function operationsNote(groups: readonly TallyGroup<{ vector: string }>[]): string {
  if (groups.length === 0) return '';
  const rules = groups.map(({ key, packets }) => `${reportedName(key.vector)} ${packets}`);
  return `runtime policies audited ${shortList(rules, MAX_RULES)}: see \`bailiff events --kind lsm --action audit\``;
}

/** A pod, or an interface without one, whose name is unique on its node only. */
const sourceOf = ({ pod, nodeName, interfaceName }: Omit<Audited, 'vector'>): string =>
  pod?.uid ?? `${nodeName}/${interfaceName}`;

/** @param packets those of groups that are not kept included */
export function droppedText(groups: readonly Group[], packets: number): string {
  const pods = new Set(groups.map(({ key }) => sourceOf(key))).size;
  return `Enforcing would have dropped ${plural(packets, 'packet')} of ${plural(pods, 'pod')}`;
}

export interface AuditedRule {
  /** Key of the policy; empty: of none. */
  policy: string;
  vector: string;
}

export interface Audits {
  packets: Tally<Audited>;
  operations: Tally<AuditedRule>;
  refusals: RefusedCounts;
  cut: boolean;
}

/** What was audited since a time. @param maySee others are not counted */
export async function readAudits(
  reader: Reader,
  sinceMs: number,
  maySee: (namespace: string | null) => boolean = () => true,
): Promise<Audits> {
  const { bus, signal } = reader;
  const frames = new NodeFrames(reader, sinceMs);
  const refusals = new RefusedCounts();
  const packets = new Tally<Audited>(({ pod, interfaceName, nodeName, vector }) =>
    [sourceOf({ pod, nodeName, interfaceName }), vector].join(' '),
  );
  const operations = new Tally<AuditedRule>(({ policy, vector }) => `${policy} ${vector}`);
  const { cut } = await readNewest(bus, 'VIOLATIONS', {
    sinceMs,
    onMessage: (message) =>
      frames.read(message, ({ node: nodeName, frame, refused }) => {
        const { sequence } = message;
        frame.violations.forEach((violation, index) => {
          const { pod, interfaceName, vector, kind, action, policy } = violation;
          const why = refused[index];
          if (action !== 'audit' || !maySee(pod?.namespace ?? null)) return;
          if (why) refusals.add(nodeName, why, violation);
          else if (kind === 'lsm') operations.add({ policy, vector }, violation, { nodeName, sequence });
          else packets.add({ pod, interfaceName, nodeName, vector }, violation, { nodeName, sequence });
        });
      }),
    signal,
  });
  return { packets, operations, refusals, cut };
}

export async function wouldDrop(session: Session, since: string, sinceMs: number, json: boolean): Promise<void> {
  const { out } = session;
  const { packets: tally, operations, refusals, cut } = await readAudits(session, sinceMs);
  const groups = tally.groups();
  const { packets } = tally;
  const incomplete = [
    ...(await incompleteOf(session, { sinceMs, cut, refusals })),
    ...(await uncountedReasons(session, sinceMs)),
  ];
  if (tally.inexact) out.note('there are too many counters: some packets may be counted twice');
  for (const line of [...refusals.refusedLines(), ...incomplete]) out.note(line);
  if (json) {
    const audits = operations.groups().map(({ key, packets: times }) => ({ ...key, times }));
    const omitted = { groups: tally.rest, operations: operations.rest };
    return out.json({
      since,
      packets,
      groups: groups.map(groupJson),
      operations: audits,
      omitted,
      refused: refusals.list,
      incomplete,
    });
  }
  const audited = operationsNote(operations.groups());
  if (audited !== '') out.note(audited);
  if (groups.length === 0) {
    const all = `no packet was audited since ${since}: enforcing would drop nothing more`;
    return out.line(incomplete.length === 0 ? all : `no packet was audited since ${since}, as far as is known`);
  }
  out.line(`${droppedText(groups, packets)} since ${since}:`);
  out.line();
  out.rows(AUDITED_COLUMNS, groups, auditedCells, { most: MAX_ROWS });
  const rest = restText(tally.rest);
  if (rest !== '') out.note(rest);
  out.lines(['', ...adviceOf(groups)]);
}
