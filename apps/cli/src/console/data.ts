/** The readings of the console, by the readers of the commands that print the same. */
import { filters, isCopy, MAX_MESSAGES, readNewest, readToEnd, type StreamMessage, streamInfo } from '@bailiff/bus';
import {
  type ConsoleData,
  type GraphView,
  type LiveEvents,
  type LiveStream,
  type MaySee,
  type PodRequest,
  type PodView,
  Recent,
  type TableView,
  type VerdictView,
} from '@bailiff/console';
import { CounterHulls } from '@bailiff/correlation';
import {
  type EvidenceStep,
  NodeFrames,
  outcomeOf,
  podOf,
  type Reader,
  type ResponseRow,
  readBusTime,
  readChain,
  readFacts,
  readPods,
  readServices,
  readTimeline,
  type VerdictRow,
  verdictsOfPod,
  violationsOfPod,
  waitingTasks,
} from '@bailiff/insight';
import { judge, podName, STALE_NODE_MS, unansweredReason } from '@bailiff/response';
import type { Response, Verdict, Violation } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service';
import { parseIdPrefix, parsePod, parseWhen } from '../shared/arguments.ts';
import { CliError, describeError } from '../shared/errors.ts';
import { verdictById } from '../shared/one-verdict.ts';
import { RESPONSE_COLUMNS, responseCells } from '../shared/rows/response-cells.ts';
import { VERDICT_COLUMNS, verdictCells } from '../shared/rows/verdict-cells.ts';
import { chainView } from './chain-view.ts';
import { AttackGraph } from './graph.ts';
import { readHistoryView } from './history-view.ts';
import { podView } from './pod-view.ts';
import { readPoliciesView } from './policies-view.ts';
import { type ConsoleBus, reading } from './reading.ts';
import { coverageView, type PodLists, statusView } from './status-view.ts';
import { columnsOf, podLink, rowOf, tableOf, verdictLink } from './tables.ts';
import { readRules, runTrial } from './trial-view.ts';

/** How long pod lists are used. The page reads its status every ten seconds. */
const LISTS_MS = 5_000;
/** Approvals that are shown. */
const MAX_WAITING = 100;

const responseRow = (row: ResponseRow) => (nowMs: number) =>
  rowOf(RESPONSE_COLUMNS, String(row.sequence), responseCells(row, nowMs), {
    POD: podLink(podOf(row.response)),
    VERDICT: verdictLink(row.response.verdictId),
  });

const verdictRow = (row: VerdictRow) => (nowMs: number) =>
  rowOf(VERDICT_COLUMNS, String(row.sequence), verdictCells(row, nowMs), {
    POD: podLink(row.verdict.pod),
    RULE: verdictLink(row.verdict.verdictId),
    ID: verdictLink(row.verdict.verdictId),
  });

/** A reading that is this far behind the end at two checks skips to the newest messages. */
const MAX_BEHIND = 500;
const CHECK_MS = 250;
/** Messages that are read before the newest one after that. */
const RESUME = 50;

/**
 * Follows a stream. Once it has caught up, it skips what it cannot read in time: a page that is late misleads.
 * Counters are cumulative, so the next frame of a counter makes up for those that were skipped.
 */
async function follow(reader: Reader, stream: LiveStream, sinceMs: number, events: LiveEvents): Promise<void> {
  const { bus, signal } = reader;
  const read = readerOf(reader, stream, sinceMs, events);
  let count = 0;
  let last = 0;
  let end = 0;
  let isFollowing = false;
  let isResumed = false;
  let checksBehind = 0;
  let checkedMs = 0;
  const check = async (stop: () => void) => {
    checkedMs = performance.now();
    end = (await streamInfo(bus, stream)).state.last_seq;
    checksBehind = end - last > MAX_BEHIND ? checksBehind + 1 : 0;
    if (checksBehind >= 2) stop();
  };
  const options = {
    filterSubjects: [STREAM_FILTERS[stream]],
    onMessage: (message: StreamMessage, stop: () => void) => {
      if (isResumed) events.onSkipped(stream, Math.max(0, message.sequence - last - 1));
      isResumed = false;
      last = message.sequence;
      count += 1;
      events.onProgress(stream, message.pending);
      const isDue = isFollowing && stream === 'VIOLATIONS' && performance.now() - checkedMs > CHECK_MS;
      if (!isDue) return read(message);
      return Promise.resolve(read(message)).then(() => check(stop));
    },
    onFollow: () => {
      isFollowing = true;
      events.onCaughtUp(stream, count >= MAX_MESSAGES);
    },
    signal,
  };
  await readNewest(bus, stream, { sinceMs, ...options });
  while (checksBehind >= 2 && !signal.aborted) {
    checksBehind = 0;
    isResumed = true;
    await readToEnd(bus, stream, { start: { sequence: Math.max(last, end - RESUME) + 1 }, ...options });
  }
}

function readerOf(reader: Reader, stream: LiveStream, sinceMs: number, events: LiveEvents) {
  const { decoder } = reader;
  const frames = new NodeFrames(reader, sinceMs);
  const hulls = new CounterHulls();
  const seen = (violation: Violation, node: string, storedMs: number) => {
    const { pod, vector } = violation;
    const grown = hulls.growth(node, violation);
    const who = pod && { namespace: pod.namespace, name: podName(pod), uid: pod.uid };
    events.onViolation({ storedMs, node, vector, action: outcomeOf(violation).text, pod: who, count: grown });
  };
  return (message: StreamMessage): void | Promise<void> => {
    const { sequence, timestampMicros: storedAtMicros } = message;
    if (stream === 'VERDICTS')
      return decoder.read(message, 'Verdict', (verdict) =>
        events.onVerdict(verdictRow({ sequence, storedAtMicros, verdict }), namespaceOfVerdict(verdict)),
      );
    if (stream === 'RESPONSES')
      return isCopy(message)
        ? undefined
        : decoder.read(message, 'Response', (response) =>
            events.onResponse(responseRow({ sequence, storedAtMicros, response }), namespaceOf(response)),
          );
    return frames.read(message, ({ node, frame, refused }) =>
      frame.violations.forEach((violation, index) => {
        if (refused[index]) events.onRefused();
        else seen(violation, node, storedAtMicros / 1000);
      }),
    );
  };
}

/**
 * Null: of a node. One that groups by node counts the pods of all namespaces there, and its pod is the last
 * of them.
 */
const namespaceOfVerdict = ({ groupBy, pod }: Verdict): string | null =>
  groupBy === 'node' ? null : (pod?.namespace ?? null);

/** Null: of a node. */
const namespaceOf = ({ podNamespace }: Response): string | null => (podNamespace === '' ? null : podNamespace);

const STREAM_FILTERS = {
  VIOLATIONS: filters.violations({}),
  VERDICTS: filters.verdicts(),
  RESPONSES: filters.responses(),
};

export function consoleData(session: ConsoleBus): ConsoleData {
  const { bus, connection } = session;
  const { nowMs } = session;
  const lists = podLists(session);
  return {
    bus: connection.natsUrl,
    user: connection.natsUser,
    columns: { verdicts: columnsOf(VERDICT_COLUMNS), responses: columnsOf(RESPONSE_COLUMNS) },
    connected: () => bus.connected,
    status: async (maySee, signal) => {
      const own = reading(session, signal);
      const facts = await readFacts(own, STALE_NODE_MS);
      return maySee(null) ? statusView(facts, judge(facts), own.notes) : coverageView(facts, await lists(), maySee);
    },
    waiting: async (maySee, signal): Promise<TableView> => {
      const rows = await waitingTasks(reading(session, signal));
      return tableOf(
        RESPONSE_COLUMNS,
        rows.filter(({ response }) => maySee(namespaceOf(response))).map((row) => responseRow(row)(nowMs())),
        MAX_WAITING,
      );
    },
    follow: (stream, sinceMs, events, signal) => follow(reading(session, signal), stream, sinceMs, events),
    verdict: (id, maySee, signal) => readVerdict(reading(session, signal), id, maySee),
    pod: (request, maySee, signal) => readPod(reading(session, signal), request, maySee),
    history: async ({ key, since }, maySee, signal) => {
      const sinceMs = await startOf(session, since);
      return readHistoryView(reading(session, signal), { key, since, sinceMs, maySee });
    },
    graph: (since, maySee, signal) => readGraph(reading(session, signal), since, maySee),
    policies: async (since, maySee, signal) => {
      const sinceMs = await startOf(session, since);
      return readPoliciesView(reading(session, signal), { since, sinceMs, maySee });
    },
    rules: (signal) => readRules(reading(session, signal)),
    trial: (request, signal) => runTrial(reading(session, signal), request),
    describe,
  };
}

/** Start of a range, by the bus's clock. @throws CliError CLI_USAGE; BusError */
const startOf = async (reader: Pick<Reader, 'bus' | 'nowMs'>, since: string) =>
  parseWhen(since, 'since')(await readBusTime(reader));

/** The pod lists are read for all visitors together: they have every pod of the cluster. */
function podLists(session: ConsoleBus): () => Promise<PodLists> {
  const recent = new Recent<PodLists>(1, LISTS_MS);
  return () =>
    recent.get('', performance.now(), async () => {
      const own = reading(session, new AbortController().signal);
      const pods = await readPods(own);
      return { pods, isWhole: own.notes.length === 0 };
    });
}

async function readGraph(own: Reader & { notes: string[] }, since: string, maySee: MaySee): Promise<GraphView> {
  const sinceMs = await startOf(own, since);
  const frames = new NodeFrames(own, sinceMs);
  const hulls = new CounterHulls();
  const graph = new AttackGraph();
  const { cut } = await readNewest(own.bus, 'VIOLATIONS', {
    sinceMs,
    filterSubjects: [STREAM_FILTERS.VIOLATIONS],
    onMessage: (message) =>
      frames.read(message, ({ node, frame, refused }) =>
        frame.violations.forEach((violation, index) => {
          if (refused[index] || !maySee(violation.pod?.namespace ?? null)) return;
          graph.add(violation, node, hulls.growth(node, violation));
        }),
      ),
    signal: own.signal,
  });
  const view = graph.view(await readPods(own), maySee);
  own.decoder.reportUndecodable(own);
  const notes = [...view.notes, ...(cut ? ['Only the newest violations were read: there are too many.'] : [])];
  const command = `bailiff events --kind spoof --since ${since}`;
  return { ...view, since, command, notes: [...notes, ...notesFor(own, maySee)] };
}

/** They count what could not be read, of all pods. */
const notesFor = ({ notes }: { notes: string[] }, maySee: MaySee): string[] => (maySee(null) ? notes : []);

async function readVerdict(own: Reader & { notes: string[] }, id: string, maySee: MaySee): Promise<VerdictView> {
  const prefix = parseIdPrefix(id, 'verdict');
  const row = await verdictById(own, prefix, ({ verdict }) => maySee(namespaceOfVerdict(verdict)));
  const [services, read] = [await readServices(own), await readChain(own, row)];
  own.decoder.reportUndecodable(own);
  // The place of a violation may be another one's, in a stream that was restored from a backup.
  const isOthers = ({ violation }: EvidenceStep) => violation !== null && !maySee(violation.pod?.namespace ?? null);
  const chain = {
    ...read,
    evidence: read.evidence.map((step) => (isOthers(step) ? { ...step, violation: null } : step)),
  };
  return chainView(chain, { nowMs: own.nowMs(), notes: notesFor(own, maySee), unanswered: unansweredReason(services) });
}

/** @throws CliError CLI_NOT_FOUND for a pod outside the scope: whether it exists is not said */
async function readPod(
  own: Reader & { notes: string[] },
  { pod: text, namespace, since }: PodRequest,
  maySee: MaySee,
): Promise<PodView> {
  const parsed = parsePod(text, 'pod');
  const pod = { ...parsed, namespace: parsed.namespace ?? namespace };
  if (!maySee(pod.namespace)) {
    throw new CliError('CLI_NOT_FOUND', 'there is no such pod in a namespace that you may see', {
      remedy: 'write it as namespace/name',
    });
  }
  const sinceMs = await startOf(own, since);
  const [timeline, seen, verdicts] = await Promise.all([
    readTimeline(own, { pod, sinceMs, untilMs: Number.POSITIVE_INFINITY, verdict: null, maySee }),
    violationsOfPod(own, pod, sinceMs),
    verdictsOfPod(own, pod, sinceMs),
  ]);
  own.decoder.reportUndecodable(own);
  return podView({
    pod: text,
    since,
    timeline,
    seen,
    verdicts: verdicts.filter(({ verdict }) => maySee(namespaceOfVerdict(verdict))),
    notes: notesFor(own, maySee),
    nowMs: own.nowMs(),
    maySee,
  });
}

type Status = ReturnType<ConsoleData['describe']>['status'];

const STATUS_OF_CODE: Readonly<Record<string, Status>> = {
  CLI_NOT_FOUND: 404,
  CONFIG_REVISION: 409,
  CONFIG_OWNER: 409,
  KUBE_CONFLICT: 409,
  KUBE_ALREADY_EXISTS: 409,
  KUBE_INVALID: 400,
  BUS_PERMISSION: 403,
};
const STATUS_OF_EXIT: Readonly<Record<number, Status>> = {
  [EXIT.badFlags]: 400,
  [EXIT.badConfiguration]: 400,
  [EXIT.dependencyUnreachable]: 503,
};

/** As the CLI reports it, without its name. */
function describe(error: unknown): ReturnType<ConsoleData['describe']> {
  const { lines, exitCode } = describeError(error, false);
  const [first = '', ...more] = lines;
  const status = STATUS_OF_CODE[String((error as { code?: unknown }).code)] ?? STATUS_OF_EXIT[exitCode] ?? 500;
  return { status, error: first.replace(/^bailiff: /, ''), remedy: more.map((line) => line.trim()).join('\n') };
}
