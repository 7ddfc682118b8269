/**
 * How the services do: which instances run, what waits for them, and which verdicts have no response.
 *
 * Place in the path: `bailiff_services`, VIOLATIONS, VERDICTS, RESPONSES and CONFIG_LOG → here → command. Invariants: all times are the bus's, so
 * that the clock of the reader does not matter; who runs is decided by statuses (service-health.ts), what is answered by the responder's own
 * fold (unanswered.ts). Bounds: MAX_VERDICTS newest, MAX_RECORDS of RESPONSES, `timeoutMs`.
 */
import {
  type Bus,
  BusError,
  ConfigLog,
  consumeOrdered,
  getMessage,
  INSTANCE_MAX_AGE_MS,
  microsOf,
  SERVICES_BUCKET,
  type StreamMessage,
  schemaLookup,
  streamInfo,
} from '@bailiff/bus';
import { decodeWithLookup, type InstanceStatus, SchemaError, SchemaRegistry, type Verdict } from '@bailiff/schemas';
import { phaseGroupOf, responseIdOf } from '../planning/ids.ts';
import { POLICY_SETTLE_MICROS, PolicyHistory } from '../planning/policy-history.ts';
import { Ledger } from '../records/ledger.ts';
import { hasOverdueTask, OVERDUE_GRACE_MS, tasksOf } from '../records/overdue.ts';
import {
  healthOf,
  type InstanceSets,
  instancesOf,
  positionOf,
  type ServiceHealth,
  type Waiting,
} from './service-health.ts';

/** Newest verdicts that are looked at; 1 kB each. */
export const MAX_VERDICTS = 2_000;
/** Subjects of RESPONSES that are read; a verdict has some ten records at most. */
export const MAX_RECORDS = 100_000;
/** Ids of unanswered verdicts that are named. */
export const MAX_NAMED = 5;

export interface CorrelatorStatus extends ServiceHealth {
  newestFrameAtMs: number | null;
  newestVerdictAtMs: number | null;
  /**
   * Between the bus storing the frame that set the newest verdict off and storing the verdict: the lag of the correlator when it gave that
   * verdict. null when there is no verdict or its frame is no more.
   */
  newestVerdictDelayMs: number | null;
}

export interface ResponderStatus extends ServiceHealth {
  newestResponseAtMs: number | null;
  /** Verdicts looked at that a policy of their moment answers and whose first task has been due for `graceMs`. */
  due: number;
  /** Verdicts with a task that should have ended and has not: what the responder's metric `unanswered_verdicts` counts. */
  unanswered: number;
  oldestUnansweredAtMs: number | null;
  /** Ids of the oldest of them. */
  unansweredIds: string[];
}

export interface ServiceStatus {
  /** The bus's time of this answer. */
  atMs: number;
  correlator: CorrelatorStatus;
  responder: ResponderStatus;
  ipamSync: ServiceHealth;
  /** null: there was none within the last hour. It is optional. */
  siemRelay: ServiceHealth | null;
  /** More verdicts or records were there than are looked at: the newest verdicts were, and `unanswered` may be too high. */
  cut: boolean;
}

export interface ServiceStatusOptions {
  /** How long after a task was due, begun or approved it may be without its terminal record. Default 30 s. */
  graceMs?: number;
  /** For all of it. Default 10 s. */
  timeoutMs?: number;
}

interface Placed {
  verdict: Verdict;
  sequence: number;
  atMicros: number;
}

type StreamInfo = Awaited<ReturnType<typeof streamInfo>>;

/**
 * Reads how the services do. Needs the rights of the command's identity.
 * @param instances as read from `bailiff_services`, with the bus's time as `updatedAt`
 * @throws BusError; BUS_TIMEOUT after `timeoutMs`
 */
export async function readServiceStatus(
  bus: Bus,
  instances: readonly InstanceStatus[],
  options: ServiceStatusOptions = {},
): Promise<ServiceStatus> {
  const { graceMs = OVERDUE_GRACE_MS, timeoutMs = 10_000 } = options;
  const signal = AbortSignal.timeout(timeoutMs);
  const infos = await Promise.all(
    ['VIOLATIONS', 'VERDICTS', 'RESPONSES', `KV_${SERVICES_BUCKET}`].map((name) => streamInfo(bus, name)),
  );
  const [violations, verdicts, responses, services] = infos as [StreamInfo, StreamInfo, StreamInfo, StreamInfo];
  const atMicros = microsOf(responses.ts ?? '');
  const atMs = atMicros / 1000;
  // A status is kept for so long: without one, no instance has run since.
  const unheardSinceMs = Math.max(atMs - INSTANCE_MAX_AGE_MS, Date.parse(services.created));
  const health = async (service: string, streams: readonly StreamInfo[]): Promise<ServiceHealth> => {
    const sets = instancesOf(service, instances, atMs);
    const waiting = await Promise.all(streams.map((info) => waitingIn(bus, info, sets, unheardSinceMs, signal)));
    return healthOf(sets, together(waiting), atMs);
  };
  const placed = await readVerdicts(bus, verdicts.state.last_seq, signal);
  const { cut, ...answers } = await readAnswers(bus, placed, { atMicros, graceMs }, signal);
  return {
    atMs,
    correlator: {
      ...(await health('correlator', [violations])),
      newestFrameAtMs: newestAtMs(violations),
      newestVerdictAtMs: newestAtMs(verdicts),
      newestVerdictDelayMs: await delayOf(bus, placed.at(-1)),
    },
    responder: { ...(await health('responder', [verdicts])), newestResponseAtMs: newestAtMs(responses), ...answers },
    ipamSync: ofWriter(instancesOf('ipam-sync', instances, atMs), atMs),
    siemRelay: instances.some(({ service }) => service === 'siem-relay')
      ? await health('siem-relay', [violations, verdicts, responses])
      : null,
    cut: cut || placed.length >= MAX_VERDICTS,
  };
}

const newestAtMs = ({ state }: StreamInfo) => (state.messages > 0 ? microsOf(state.last_ts) / 1000 : null);

/** What a stream holds that no instance has handled; null: not known. */
async function waitingIn(
  bus: Bus,
  info: StreamInfo,
  sets: InstanceSets,
  unheardSinceMs: number,
  signal: AbortSignal,
): Promise<Waiting | null> {
  const { state, created } = info;
  const none: Waiting = { count: 0, oldestAtMs: 0, atLeast: false };
  const position = positionOf(sets, info.config.name, { createdAt: created, lastSequence: state.last_seq });
  // Instances of an older version do not publish it.
  if (position === null && sets.known.length > 0) return null;
  if (state.messages === 0 || position === state.last_seq) return none;
  let first: StreamMessage | null = null;
  const take = (message: StreamMessage) => {
    first = message;
    return false;
  };
  const start = position === null ? { timeMs: Math.floor(unheardSinceMs) } : { sequence: position + 1 };
  await readToEnd(bus, info.config.name, start, true, take, signal);
  const { pending, timestampMicros, sequence } = (first as StreamMessage | null) ?? {};
  if (pending === undefined || timestampMicros === undefined || sequence === undefined) return none;
  const atLeast = position === null && sequence > state.first_seq;
  return { count: pending + 1, oldestAtMs: timestampMicros / 1000, atLeast };
}

/** Of all streams of a service; null when one is not known. */
function together(all: readonly (Waiting | null)[]): Waiting | null {
  const some = all.filter((one) => one !== null && one.count > 0) as Waiting[];
  if (all.includes(null)) return null;
  return {
    count: some.reduce((sum, { count }) => sum + count, 0),
    oldestAtMs: some.length > 0 ? Math.min(...some.map(({ oldestAtMs }) => oldestAtMs)) : 0,
    atLeast: some.some(({ atLeast }) => atLeast),
  };
}

/** ipam-sync writes its stream: what waits only its leader knows. */
function ofWriter(sets: InstanceSets, atMs: number): ServiceHealth {
  const leader = sets.running.find(({ leads }) => leads);
  const [lists] = leader?.progress ?? [];
  if (!leader || !lists) return healthOf(sets, null, atMs);
  const oldestAtMs = Date.parse(leader.updatedAt) - Math.max(1, lists.stalledMs);
  return { ...healthOf(sets, { count: lists.behind, oldestAtMs, atLeast: false }, atMs), stalledMs: lists.stalledMs };
}

/** The newest verdicts, oldest first. Those that cannot be read are passed over: the responder makes dead letters of them. */
async function readVerdicts(bus: Bus, lastSequence: number, signal: AbortSignal): Promise<Placed[]> {
  if (lastSequence === 0) return [];
  const registry = new SchemaRegistry(schemaLookup(bus));
  const placed: Placed[] = [];
  const take = async ({ data, sequence, timestampMicros }: StreamMessage) => {
    try {
      const decoded = await decodeWithLookup(data, registry);
      if (decoded.name === 'Verdict') placed.push({ verdict: decoded.value, sequence, atMicros: timestampMicros });
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
    }
    return placed.length < MAX_VERDICTS;
  };
  await readToEnd(bus, 'VERDICTS', { sequence: Math.max(1, lastSequence - MAX_VERDICTS + 1) }, false, take, signal);
  return placed;
}

type Answers = Pick<ResponderStatus, 'due' | 'unanswered' | 'oldestUnansweredAtMs' | 'unansweredIds'> & {
  cut: boolean;
};

/** Which of the verdicts should be answered by now, and which are not. */
async function readAnswers(
  bus: Bus,
  placed: readonly Placed[],
  { atMicros, graceMs }: { atMicros: number; graceMs: number },
  signal: AbortSignal,
): Promise<Answers> {
  const book = await readPolicies(bus, placed.at(-1), signal);
  const ledger = new Ledger();
  const dueBy = atMicros - graceMs * 1000;
  const due = placed.filter((one) => tasksOf(one, book, ledger).some(({ dueAtMicros }) => dueAtMicros <= dueBy));
  const cut = due[0] ? await readRecords(bus, ledger, due[0].atMicros, signal) : false;
  // Planned again: a record may bring a step forward.
  const unanswered = due.filter((one) => hasOverdueTask(tasksOf(one, book, ledger), ledger, atMicros, graceMs));
  return {
    due: due.length,
    unanswered: unanswered.length,
    oldestUnansweredAtMs: unanswered[0] ? unanswered[0].atMicros / 1000 : null,
    unansweredIds: unanswered.slice(0, MAX_NAMED).map(({ verdict }) => verdict.verdictId),
    cut,
  };
}

/** The policies up to the newest of the verdicts. */
async function readPolicies(bus: Bus, newest: Placed | undefined, signal: AbortSignal): Promise<PolicyHistory> {
  const book = new PolicyHistory();
  if (!newest) return book;
  const log = new ConfigLog(bus, { onChange: (change) => book.apply(change) });
  try {
    await beforeAbort(log.whenCaughtUpTo(newest.atMicros - POLICY_SETTLE_MICROS), signal);
    return book;
  } finally {
    await log.close();
  }
}

/** Folds the records stored since a time, as the responder does. @returns whether there are more than are read */
async function readRecords(bus: Bus, ledger: Ledger, sinceMicros: number, signal: AbortSignal): Promise<boolean> {
  const registry = new SchemaRegistry(schemaLookup(bus));
  let count = 0;
  const take = async ({ data, sequence, timestampMicros }: StreamMessage) => {
    count += 1;
    try {
      const { name, value } = await decodeWithLookup(data, registry);
      const isOwn = name === 'Response' && value.responseId === responseIdOf(value, phaseGroupOf(value.phase));
      if (isOwn) ledger.applyInOrder(value, { sequence, timestampMicros });
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
    }
    return count < MAX_RECORDS;
  };
  await readToEnd(bus, 'RESPONSES', { timeMs: Math.floor(sinceMicros / 1000) }, false, take, signal);
  return count >= MAX_RECORDS;
}

async function delayOf(bus: Bus, newest: Placed | undefined): Promise<number | null> {
  const trigger = newest?.verdict.evidence.at(-1);
  const frame = trigger ? await getMessage(bus, 'VIOLATIONS', trigger.streamSequence) : null;
  return newest && frame ? Math.max(0, (newest.atMicros - frame.timestampMicros) / 1000) : null;
}

/** Reads what a stream holds until all was told or `take` answers false. @throws BusError BUS_TIMEOUT when the signal aborts */
async function readToEnd(
  bus: Bus,
  stream: string,
  start: { sequence: number } | { timeMs: number },
  headersOnly: boolean,
  take: (message: StreamMessage) => boolean | Promise<boolean>,
  signal: AbortSignal,
): Promise<void> {
  const end = new AbortController();
  const goOn = (more: boolean) => {
    if (!more) end.abort();
  };
  await consumeOrdered(bus, stream, {
    start,
    headersOnly,
    onMessage: (message) => {
      if (end.signal.aborted) return;
      const more = take(message);
      return more instanceof Promise ? more.then(goOn) : goOn(more);
    },
    onIdle: () => end.abort(),
    signal: AbortSignal.any([end.signal, signal]),
  });
  if (!end.signal.aborted) throw new BusError('BUS_TIMEOUT', `${stream} was not read to its end in time`);
}

async function beforeAbort(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const late = new Promise<never>((_, reject) => {
    const fail = () => reject(new BusError('BUS_TIMEOUT', 'CONFIG_LOG was not read to its end in time'));
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
  await Promise.race([promise, late]);
}
