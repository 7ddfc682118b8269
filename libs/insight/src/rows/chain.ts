/**
 * The chain of a verdict: its violations, its responses, and the latencies between them. Pure.
 *
 * Times come from three clocks: the node's (packets), the server's (storage), and the responder's
 * (in its records, not used here). A negative latency means that the clocks of node and server
 * differ.
 */
import type { Evidence, Violation } from '@bailiff/schemas';
import type { ResponseRow } from './response-rows.ts';
import type { TaskRecords } from './tasks.ts';
import type { VerdictRow } from './verdict-rows.ts';

/** One piece of evidence and its violation. */
export interface EvidenceStep {
  evidence: Evidence;
  /** Of its frame: pods of an owner or a namespace can be on other nodes than that of the verdict. */
  nodeName: string;
  /** Null if it is no longer stored or cannot be decoded. */
  violation: Violation | null;
  /** Server time of its frame; null if it is no longer stored. */
  storedAtMicros: number | null;
}

export interface Latencies {
  /** First packet of the evidence → its frame is stored. */
  firstViolationMs: number | null;
  /** First packet of the evidence → the frame that met the rule (stream time). */
  ruleMetMs: number | null;
  /** First packet of the evidence → the verdict is stored. */
  verdictMs: number | null;
  /** Threshold crossed (stream time) → the verdict is stored. */
  judgingMs: number;
  /** First packet of the evidence → the terminal record of each action is stored. */
  responses: { action: string; phase: string; ms: number | null; afterVerdictMs: number }[];
}

export interface Chain {
  verdict: VerdictRow;
  evidence: EvidenceStep[];
  tasks: TaskRecords[];
  latencies: Latencies;
}

/** Time of the sampled packet or operation; otherwise when it was first seen. */
export const seenAtMicros = ({ sample, operation, firstSeenAt }: Violation) =>
  (sample ?? operation)?.observedAt ?? firstSeenAt;

/** The earliest stored packet of the evidence; null without one. */
export function firstPacketMicros(evidence: readonly EvidenceStep[]): number | null {
  const times = evidence.map(({ violation }) => violation && Math.min(violation.firstSeenAt, seenAtMicros(violation)));
  return times.reduce<number | null>(
    (least, time) => (time !== null && (least === null || time < least) ? time : least),
    null,
  );
}

/** A task's records in stream order. */
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

/** The first and last items, and the omitted ones between them. */
export function abridge<T>(items: readonly T[], most: number): (T | { omitted: T[] })[] {
  if (items.length <= most) return [...items];
  const head = Math.ceil((most - 1) / 2);
  const tail = most - 1 - head;
  const omitted = items.slice(head, items.length - tail);
  return [...items.slice(0, head), { omitted }, ...items.slice(items.length - tail)];
}
