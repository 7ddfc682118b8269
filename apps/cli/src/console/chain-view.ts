/** What `bailiff explain <verdict>` prints, as a view of the console. Pure. */
import type { FactView, SectionView, VerdictView } from '@bailiff/console';
import { type Chain, clockTime, firstPacketMicros, isoMicros, shortId } from '@bailiff/insight';
import { podName, span } from '@bailiff/response';
import { asTree, PROCESS_COLUMNS, processCells, SOCKET_COLUMNS, socketCells } from '../shared/rows/captured.ts';
import {
  after,
  allRecords,
  evidenceCells,
  evidenceColumns,
  evidenceKindOf,
  latencyLine,
  RESPONSE_COLUMNS,
  recordCells,
  whyNone,
} from '../shared/rows/chain.ts';
import { levelCell } from '../shared/rows/verdict-cells.ts';
import type { Column } from '../shared/text/table.ts';
import { keyLink, podLink, rowOf, tableOf } from './tables.ts';

/** Rows of one table. */
const MAX_ROWS = 200;

/** All columns stay on a narrow screen: policy and evidence are what the page is for. */
const kept = (columns: readonly Column[]): Column[] => columns.map((column) => ({ ...column, spare: false }));

/** What a guard decided, as a code that can be searched for. */
const CODE: Column = { title: 'CODE' };
const RECORD_COLUMNS: readonly Column[] = kept([...RESPONSE_COLUMNS, CODE]);

export interface ChainViewOptions {
  nowMs: number;
  notes: readonly string[];
  unanswered: (verdictId: string) => string;
  /** Evidence and trials have messages of all pods. */
  seesAll: boolean;
}

export function chainView(chain: Chain, { nowMs, notes, unanswered, seesAll }: ChainViewOptions): VerdictView {
  const { verdict } = chain.verdict;
  const subject = verdict.pod ? `${podName(verdict.pod)} on ${verdict.nodeName}` : `node ${verdict.nodeName}`;
  return {
    id: verdict.verdictId,
    title: subject,
    owner: verdict.pod?.ownerName ? `, of ${verdict.pod.ownerKind} ${verdict.pod.ownerName}` : '',
    level: levelCell(verdict.level),
    rule: verdict.rule,
    reason: verdict.reason,
    podLink: podLink(verdict.pod),
    trialLink: seesAll ? `/what-if?${new URLSearchParams({ key: `correlation.cluster._.${verdict.rule}` })}` : '',
    facts: factsOf(chain, nowMs),
    sections: [
      evidenceSection(chain, nowMs),
      responseSection(chain, nowMs, unanswered),
      ...captureSections(chain, nowMs),
    ],
    latency: latencyLine(chain),
    command: `bailiff explain ${shortId(verdict.verdictId)}`,
    evidenceCommand: seesAll ? `bailiff evidence export ${shortId(verdict.verdictId)}` : '',
    notes: [...notes],
  };
}

function factsOf(chain: Chain, nowMs: number): FactView[] {
  const { verdict, sequence, storedAtMicros } = chain.verdict;
  const { pod, configRevision } = verdict;
  const first = firstPacketMicros(chain.evidence);
  const fact = (name: string, text: string, link = ''): FactView => ({ name, text, ...(link === '' ? {} : { link }) });
  return [
    fact('seen / needed', `${verdict.observed} / ${verdict.threshold}`),
    fact('vectors', verdict.vectors.join(', ')),
    configRevision === 0
      ? fact('decided by', `${verdict.rule}, built-in rules`)
      : fact(
          'decided by',
          `${verdict.rule}, rules of CONFIG_LOG #${configRevision}`,
          keyLink(`correlation.cluster._.${verdict.rule}`),
        ),
    fact('window', `${clockTime(verdict.windowStartAt, nowMs)} to ${clockTime(verdict.triggeredAt, nowMs)}`),
    fact('stored', `${isoMicros(storedAtMicros)} (VERDICTS #${sequence}) ${after(storedAtMicros, first)}`.trim()),
    fact('judged', `${span(chain.latencies.judgingMs)} after the frame that met the rule`),
    ...(pod ? [fact('pod uid', pod.uid)] : []),
    fact('verdict id', verdict.verdictId),
  ];
}

function evidenceSection(chain: Chain, nowMs: number): SectionView {
  const { evidenceOmitted } = chain.verdict.verdict;
  const columns = kept(evidenceColumns(evidenceKindOf(chain)));
  const first = firstPacketMicros(chain.evidence);
  const rows = chain.evidence.map((step) => {
    const { streamSequence, index } = step.evidence;
    return rowOf(columns, `${streamSequence}/${index}`, evidenceCells(step, first, nowMs));
  });
  return {
    title: 'Evidence: the violations that it judged',
    lines: evidenceOmitted > 0 ? [`The verdict omits ${evidenceOmitted} older violations.`] : [],
    table: tableOf(columns, rows, MAX_ROWS),
  };
}

function responseSection(chain: Chain, nowMs: number, unanswered: ChainViewOptions['unanswered']): SectionView {
  const title = 'Responses: what was done, and what the guards decided';
  if (chain.tasks.length === 0) return { title, lines: [`None: ${whyNone(chain, unanswered)}.`], table: null };
  const first = firstPacketMicros(chain.evidence);
  const rows = allRecords(chain).map((row) =>
    rowOf(RECORD_COLUMNS, String(row.sequence), [...recordCells(row, first, nowMs), row.response.reasonCode], {
      POLICY: keyLink(`response.cluster._.${row.response.policy}`),
    }),
  );
  const waiting = chain.tasks.filter((task) => task.pending && !task.approved && !task.started && !task.terminal);
  const lines = waiting.map(({ pending }) => ({
    text: `Waits for approval: bailiff responses approve ${shortId(pending?.response.responseId ?? '')}`,
    style: 'yellow' as const,
  }));
  return { title, lines, table: tableOf(RECORD_COLUMNS, rows, MAX_ROWS) };
}

function captureSections({ tasks }: Chain, nowMs: number): SectionView[] {
  return tasks.flatMap(({ terminal }) => {
    const capture = terminal?.response.capture;
    if (!capture) return [];
    const { processes, sockets, takenAt, processesOmitted, socketsOmitted } = capture;
    const omitted = (count: number) => (count > 0 ? [`${count} were not recorded.`] : []);
    const processRows = asTree(processes).map((row, index) =>
      rowOf(PROCESS_COLUMNS, `${index}`, processCells(row, nowMs)),
    );
    const socketRows = sockets.map((socket, index) => rowOf(SOCKET_COLUMNS, `${index}`, socketCells(socket)));
    return [
      {
        title: `Captured at ${clockTime(takenAt, nowMs)}: processes`,
        lines: [`Arguments: ${capture.arguments}.`, ...omitted(processesOmitted)],
        table: tableOf(PROCESS_COLUMNS, processRows, MAX_ROWS),
      },
      ...(sockets.length === 0
        ? []
        : [
            {
              title: 'Captured: sockets',
              lines: omitted(socketsOmitted),
              table: tableOf(SOCKET_COLUMNS, socketRows, MAX_ROWS),
            },
          ]),
    ];
  });
}
