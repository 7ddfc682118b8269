/** Reads verdicts by id or pod, their violations, and their responses. */
import { filters, getMessage, readNewest, violationNode } from '@bailiff/bus';
import { hasSeveralPods } from '@bailiff/policy';
import type { Violation } from '@bailiff/schemas';
import { matchesPod, type PodSelector, subjectParts } from '../pod-selector.ts';
import type { Reader } from '../reader.ts';
import { buildChain, type Chain, type EvidenceStep } from '../rows/chain.ts';
import { foldTask, type TaskRecords } from '../rows/tasks.ts';
import type { VerdictRow } from '../rows/verdict-rows.ts';
import { NodeFrames, RefusedCounts } from './node-frames.ts';
import { Tally } from './tally.ts';

/** The newest verdicts of a pod are kept. */
const MAX_VERDICTS = 1_000;
/** Verdicts of an ambiguous prefix that are named, the newest. */
const MAX_NAMED = 8;
/** Pods of one name; a node may report any number. */
const MAX_UIDS = 64;
/** The responder's clock may be behind the server's by this much. */
const CLOCK_MARGIN_MS = 60_000;

/** Verdicts about a pod, newest first. */
export async function verdictsOfPod(reader: Reader, pod: PodSelector, sinceMs: number): Promise<VerdictRow[]> {
  const { bus, decoder, signal } = reader;
  const rows: VerdictRow[] = [];
  await readNewest(bus, 'VERDICTS', {
    sinceMs,
    filterSubjects: [filters.verdicts(subjectParts(pod))],
    onMessage: (message) =>
      decoder.read(message, 'Verdict', (verdict) => {
        if (!matchesPod(pod, verdict.pod)) return;
        rows.push({ sequence: message.sequence, storedAtMicros: message.timestampMicros, verdict });
        if (rows.length > MAX_VERDICTS) rows.shift();
      }),
    signal,
  });
  return rows.reverse();
}

/** Verdicts whose id starts with a prefix: their number, and the newest MAX_NAMED of them. */
export async function verdictsById(
  reader: Reader,
  prefix: string,
  isWanted: (row: VerdictRow) => boolean = () => true,
): Promise<{ count: number; newest: VerdictRow[] }> {
  const { bus, decoder, signal } = reader;
  const newest: VerdictRow[] = [];
  let count = 0;
  const whole = prefix.length === 32;
  await readNewest(bus, 'VERDICTS', {
    sinceMs: 0,
    filterSubjects: [filters.verdicts().replace(/\*$/, whole ? prefix : '*')],
    onMessage: (message) => {
      if (!message.subject.slice(message.subject.lastIndexOf('.') + 1).startsWith(prefix)) return undefined;
      return decoder.read(message, 'Verdict', (verdict) => {
        const row = { sequence: message.sequence, storedAtMicros: message.timestampMicros, verdict };
        if (!isWanted(row)) return;
        count += 1;
        newest.push(row);
        if (newest.length > MAX_NAMED) newest.shift();
      });
    },
    signal,
  });
  return { count, newest };
}

async function evidenceOf({ bus, decoder }: Reader, { verdict, storedAtMicros }: VerdictRow): Promise<EvidenceStep[]> {
  const { nodeName, groupBy, pod } = verdict;
  // Of a group with pods of several nodes.
  const isOfGroup = ({ pod: other }: Violation) => other?.namespace === pod?.namespace;
  const isWide = hasSeveralPods(groupBy);
  const frames = new Map<number, Promise<Awaited<ReturnType<typeof getMessage>>>>();
  return Promise.all(
    verdict.evidence.map(async (evidence): Promise<EvidenceStep> => {
      const { streamSequence, index } = evidence;
      const frame = frames.get(streamSequence) ?? getMessage(bus, 'VIOLATIONS', streamSequence);
      frames.set(streamSequence, frame);
      const message = await frame;
      const from = (message && violationNode(message.subject)) ?? nodeName;
      const at = message?.timestampMicros ?? null;
      const step: EvidenceStep = { evidence, nodeName: from, violation: null, storedAtMicros: at };
      // Of another node, or younger than the verdict: of a stream that was recreated since.
      if (message !== null && (isWide || from === nodeName) && message.timestampMicros <= storedAtMicros) {
        await decoder.read(message, 'ViolationFrame', ({ violations }) => {
          const violation = violations[index] ?? null;
          if (!isWide || (violation && isOfGroup(violation))) step.violation = violation;
        });
      }
      return step;
    }),
  );
}

async function tasksOf({ bus, decoder, signal }: Reader, row: VerdictRow): Promise<Map<string, TaskRecords>> {
  const { pod, verdictId } = row.verdict;
  const tasks = new Map<string, TaskRecords>();
  await readNewest(bus, 'RESPONSES', {
    sinceMs: row.storedAtMicros / 1000 - CLOCK_MARGIN_MS,
    filterSubjects: [filters.responses({ namespace: pod?.namespace ?? '', pod: pod?.name ?? '' })],
    onMessage: (message) =>
      decoder.read(message, 'Response', (response) => {
        if (response.verdictId !== verdictId) return;
        foldTask(tasks, { sequence: message.sequence, storedAtMicros: message.timestampMicros, response });
      }),
    signal,
  });
  return tasks;
}

export async function readChain(reader: Reader, row: VerdictRow): Promise<Chain> {
  const [evidence, tasks] = await Promise.all([evidenceOf(reader, row), tasksOf(reader, row)]);
  return buildChain(row, evidence, tasks.values());
}

export interface PodViolations {
  tally: Tally<{ vector: string; action: string }>;
  /** Pod of the newest violation; null without violations. */
  pod: { namespace: string; name: string; uid: string } | null;
  /** Uids of the pods that the selector selects; at most MAX_UIDS. */
  uids: Set<string>;
  nodes: Set<string>;
  /** What nodes claim that may not report on it: in no count. */
  refused: RefusedCounts;
  cut: boolean;
}

/** A pod's violations since a time, counted by vector and action. */
export async function violationsOfPod(reader: Reader, pod: PodSelector, sinceMs: number): Promise<PodViolations> {
  const { bus, signal } = reader;
  const frames = new NodeFrames(reader, sinceMs);
  const refusals = new RefusedCounts();
  const tally = new Tally<{ vector: string; action: string }>(({ vector, action }) => `${vector} ${action}`);
  const seen: PodViolations = { tally, pod: null, uids: new Set(), nodes: new Set(), refused: refusals, cut: false };
  const { cut } = await readNewest(bus, 'VIOLATIONS', {
    sinceMs,
    onMessage: (message) =>
      frames.read(message, ({ node, frame, refused }) => {
        frame.violations.forEach((violation, index) => {
          if (!violation.pod || !matchesPod(pod, violation.pod)) return;
          const why = refused[index];
          if (why) {
            refusals.add(node, why, violation);
            return;
          }
          const { vector, action } = violation;
          tally.add({ vector, action }, violation, { nodeName: node, sequence: message.sequence });
          seen.pod = violation.pod;
          if (seen.uids.size < MAX_UIDS) seen.uids.add(violation.pod.uid);
          seen.nodes.add(node);
        });
      }),
    signal,
  });
  seen.cut = cut;
  return seen;
}
