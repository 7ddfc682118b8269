/** Reads verdicts by id or pod, their violations, and their responses. */
import { filters, getMessage, readNewest, violationNode } from '@bailiff/bus';
import { matchesPod, type PodSelector, subjectParts } from '../shared/arguments.ts';
import { CliError } from '../shared/errors.ts';
import { NodeFrames, RefusedCounts } from '../shared/read/node-frames.ts';
import { Tally } from '../shared/read/tally.ts';
import { foldTask, type TaskRecords } from '../shared/read/tasks.ts';
import type { VerdictRow } from '../shared/rows/verdict-rows.ts';
import type { Session } from '../shared/session.ts';
import { buildChain, type Chain, type EvidenceStep } from './chain.ts';

/** The newest verdicts of a pod are kept. */
const MAX_VERDICTS = 1_000;
/** Verdicts of an ambiguous prefix that are named, the newest. */
const MAX_NAMED = 8;
/** Pods of one name; a node may report any number. */
const MAX_UIDS = 64;
/** The responder's clock may be behind the server's by this much. */
const CLOCK_MARGIN_MS = 60_000;

/** Verdicts about a pod, newest first. */
export async function verdictsOfPod(session: Session, pod: PodSelector, sinceMs: number): Promise<VerdictRow[]> {
  const { bus, decoder, io } = session;
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
    signal: io.signal,
  });
  return rows.reverse();
}

/** The one verdict with this id prefix. @throws CliError CLI_NOT_FOUND | CLI_USAGE */
export async function verdictById(session: Session, prefix: string): Promise<VerdictRow> {
  const { bus, decoder, io } = session;
  const found: VerdictRow[] = [];
  let count = 0;
  const whole = prefix.length === 32;
  await readNewest(bus, 'VERDICTS', {
    sinceMs: 0,
    filterSubjects: [filters.verdicts().replace(/\*$/, whole ? prefix : '*')],
    onMessage: (message) => {
      if (!message.subject.slice(message.subject.lastIndexOf('.') + 1).startsWith(prefix)) return undefined;
      return decoder.read(message, 'Verdict', (verdict) => {
        count += 1;
        found.push({ sequence: message.sequence, storedAtMicros: message.timestampMicros, verdict });
        if (found.length > MAX_NAMED) found.shift();
      });
    },
    signal: io.signal,
  });
  if (count === 1) return found[0] as VerdictRow;
  if (count === 0) {
    throw new CliError('CLI_NOT_FOUND', `no verdict id starts with "${prefix}"`, {
      remedy: '`bailiff verdicts --since all` lists the ids; select a pod as namespace/name',
    });
  }
  throw new CliError('CLI_USAGE', `"${prefix}" is a prefix of ${count} verdict ids`, {
    remedy: `use more characters of one id:\n${found
      .map(({ verdict }) => `${verdict.verdictId}  ${verdict.rule}`)
      .join('\n')}`,
  });
}

async function evidenceOf({ bus, decoder }: Session, { verdict, storedAtMicros }: VerdictRow): Promise<EvidenceStep[]> {
  const { nodeName } = verdict;
  const frames = new Map<number, Promise<Awaited<ReturnType<typeof getMessage>>>>();
  return Promise.all(
    verdict.evidence.map(async (evidence): Promise<EvidenceStep> => {
      const { streamSequence, index } = evidence;
      const frame = frames.get(streamSequence) ?? getMessage(bus, 'VIOLATIONS', streamSequence);
      frames.set(streamSequence, frame);
      const message = await frame;
      const step: EvidenceStep = { evidence, violation: null, storedAtMicros: message?.timestampMicros ?? null };
      // Of another node, or younger than the verdict: of a stream that was recreated since.
      if (message && violationNode(message.subject) === nodeName && message.timestampMicros <= storedAtMicros) {
        await decoder.read(message, 'ViolationFrame', ({ violations }) => {
          step.violation = violations[index] ?? null;
        });
      }
      return step;
    }),
  );
}

async function tasksOf({ bus, decoder, io }: Session, row: VerdictRow): Promise<Map<string, TaskRecords>> {
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
    signal: io.signal,
  });
  return tasks;
}

export async function readChain(session: Session, row: VerdictRow): Promise<Chain> {
  const [evidence, tasks] = await Promise.all([evidenceOf(session, row), tasksOf(session, row)]);
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
export async function violationsOfPod(session: Session, pod: PodSelector, sinceMs: number): Promise<PodViolations> {
  const { bus, io } = session;
  const frames = new NodeFrames(session, sinceMs);
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
    signal: io.signal,
  });
  seen.cut = cut;
  return seen;
}
