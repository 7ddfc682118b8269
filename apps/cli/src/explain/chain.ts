/**
 * From a verdict back to its violations and on to its responses, with times. Pure: messages that were read in, one chain out.
 *
 * Times are of three clocks: the node's (when a packet was seen), the bus's (when something was stored), the responder's (in its records,
 * not used here). Latencies between node and bus are only as good as their clocks; a negative one says that they differ.
 */
import type { Evidence, Violation } from '@bailiff/schemas';
import type { TaskRecords } from '../shared/read/tasks.ts';
import type { ResponseRow } from '../shared/rows/response-rows.ts';
import type { VerdictRow } from '../shared/rows/verdict-rows.ts';

/** One piece of evidence with what it points to. */
export interface EvidenceStep {
  evidence: Evidence;
  /** Null: the stream holds it no more, or it could not be read. */
  violation: Violation | null;
  /** Bus time of its frame; null likewise. */
  storedAtMicros: number | null;
}

export interface Latencies {
  /** First packet of the evidence → its frame on the bus. */
  firstViolationMs: number | null;
  /** First packet of the evidence → the frame that met the rule, by the stream's time: as long as the sender took for it. */
  ruleMetMs: number | null;
  /** First packet of the evidence → verdict on the bus. */
  verdictMs: number | null;
  /** Threshold crossed, by the stream's time → verdict on the bus. */
  judgingMs: number;
  /** First packet of the evidence → each action ended (on the bus), by action. */
  responses: { action: string; phase: string; ms: number | null; afterVerdictMs: number }[];
}

export interface Chain {
  verdict: VerdictRow;
  evidence: EvidenceStep[];
  tasks: TaskRecords[];
  latencies: Latencies;
}

/** The time of the packet or operation itself where there is one. */
export const seenAtMicros = ({ sample, operation, firstSeenAt }: Violation) =>
  (sample ?? operation)?.observedAt ?? firstSeenAt;

/** Earliest packet of the evidence that is still there; null when none is. */
export function firstPacketMicros(evidence: readonly EvidenceStep[]): number | null {
  const times = evidence.map(({ violation }) => violation && Math.min(violation.firstSeenAt, seenAtMicros(violation)));
  return times.reduce<number | null>(
    (least, time) => (time !== null && (least === null || time < least) ? time : least),
    null,
  );
}

/** Records of a task in their order. */
export function recordsOf(task: TaskRecords): ResponseRow[] {
  const { pending, approved, started, terminal, undone } = task;
  return [pending, approved, started, terminal, undone]
    .filter((row) => row !== null)
    .sort((a, b) => a.sequence - b.sequence);
}

export function buildChain(
  verdict: VerdictRow,
  evidence: readonly EvidenceStep[],
  tasks: Iterable<TaskRecords>,
): Chain {
  const ordered = [...evidence].sort(
    (a, b) => a.evidence.streamSequence - b.evidence.streamSequence || a.evidence.index - b.evidence.index,
  );
  const ofVerdict = [...tasks]
    .filter((task) => recordsOf(task)[0]?.response.verdictId === verdict.verdict.verdictId)
    .sort((a, b) => (recordsOf(a)[0]?.sequence ?? 0) - (recordsOf(b)[0]?.sequence ?? 0));
  return {
    verdict,
    evidence: ordered,
    tasks: ofVerdict,
    latencies: latenciesOf(verdict, ordered, ofVerdict),
  };
}

function latenciesOf(verdict: VerdictRow, evidence: readonly EvidenceStep[], tasks: readonly TaskRecords[]): Latencies {
  const first = firstPacketMicros(evidence);
  const since = (micros: number | null) => (micros === null || first === null ? null : (micros - first) / 1000);
  const stored = evidence.find(({ violation }) => violation !== null)?.storedAtMicros ?? null;
  return {
    firstViolationMs: since(stored),
    ruleMetMs: since(verdict.verdict.triggeredAt),
    verdictMs: since(verdict.storedAtMicros),
    judgingMs: (verdict.storedAtMicros - verdict.verdict.triggeredAt) / 1000,
    responses: tasks.flatMap(({ terminal }) =>
      terminal
        ? [
            {
              action: terminal.response.action,
              phase: terminal.response.phase,
              ms: since(terminal.storedAtMicros),
              afterVerdictMs: (terminal.storedAtMicros - verdict.storedAtMicros) / 1000,
            },
          ]
        : [],
    ),
  };
}

/** Rows of evidence to show when there are many: the first, the last, and in between how many were left out. */
export function abridge<T>(items: readonly T[], most: number): (T | { omitted: T[] })[] {
  if (items.length <= most) return [...items];
  const head = Math.ceil((most - 1) / 2);
  const tail = most - 1 - head;
  const omitted = items.slice(head, items.length - tail);
  return [...items.slice(0, head), { omitted }, ...items.slice(items.length - tail)];
}
