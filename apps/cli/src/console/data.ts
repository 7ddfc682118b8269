/** The readings of the console, by the readers of the commands that print the same. */
import { readNewest } from '@bailiff/bus';
import {
  type ConsoleData,
  type GraphView,
  type MaySee,
  Recent,
  type TableView,
  type VerdictView,
} from '@bailiff/console';
import { CounterHulls } from '@bailiff/correlation';
import {
  type EvidenceStep,
  NodeFrames,
  type Reader,
  readChain,
  readFacts,
  readPods,
  readServices,
  waitingTasks,
} from '@bailiff/insight';
import { judge, STALE_NODE_MS, unansweredReason } from '@bailiff/response';
import { EXIT } from '@bailiff/service';
import { parseIdPrefix } from '../shared/arguments.ts';
import { describeError } from '../shared/errors.ts';
import { verdictById } from '../shared/one-of.ts';
import { RESPONSE_COLUMNS } from '../shared/rows/response-cells.ts';
import { VERDICT_COLUMNS } from '../shared/rows/verdict-cells.ts';
import { chainView } from './chain-view.ts';
import { readEvidence } from './evidence-view.ts';
import { follow, STREAM_FILTERS } from './follow.ts';
import { AttackGraph } from './graph.ts';
import { readHistoryView } from './history-view.ts';
import { readPod, readPodFile } from './pod-view.ts';
import { readPoliciesView } from './policies-view.ts';
import { type ConsoleBus, notesFor, reading, startOf } from './reading.ts';
import { learnPolicy, readPolicyText, simulatePolicies } from './simulation-view.ts';
import { coverageView, type PodLists, statusView } from './status-view.ts';
import { columnsOf, namespaceOf, namespaceOfVerdict, responseRow, tableOf } from './tables.ts';
import { readRules, runTrial } from './trial-view.ts';

/** How long pod lists are used. The page reads its status every ten seconds. */
const LISTS_MS = 5_000;
/** Approvals that are shown. */
const MAX_WAITING = 100;

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
    evidence: ({ id, isRedacted, by }, signal) =>
      readEvidence(reading(session, signal), {
        id,
        isRedacted,
        exporter: `bailiff ${session.version}, ${by || session.operator}`,
      }),
    pod: (request, maySee, signal) => readPod(reading(session, signal), request, maySee),
    podFile: (request, maySee, signal) => readPodFile(reading(session, signal), request, maySee),
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
    policyText: (key, signal) => readPolicyText(reading(session, signal), key),
    simulate: (request, signal) => simulatePolicies(reading(session, signal), request),
    learn: (request, signal) => learnPolicy(reading(session, signal), request),
    describe,
  };
}

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
  return chainView(chain, {
    nowMs: own.nowMs(),
    notes: notesFor(own, maySee),
    unanswered: unansweredReason(services),
    seesAll: maySee(null),
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
