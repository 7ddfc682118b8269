/**
 * How the correlator and the responder do, as the streams alone show it: nobody writes a status of them, and nobody has to be asked.
 *
 * Place in the path: VIOLATIONS, VERDICTS, RESPONSES and CONFIG_LOG → here → command. Invariants: all times are the bus's, so that the clock of
 * whoever asks does not matter; a verdict counts as unanswered only when a policy of its own moment answers it and no record of any of
 * the policy's tasks is there well after the first was due. What the streams cannot show is not guessed: a reader may be anybody's, so `readers: 0`
 * proves that a service is away and more does not prove that it is there. Bounds: MAX_VERDICTS newest, MAX_RECORDS of RESPONSES, `timeoutMs`.
 */
import {
  type Bus,
  BusError,
  ConfigLog,
  consumeOrdered,
  getMessage,
  microsOf,
  parseSubject,
  type StreamMessage,
  schemaLookup,
  streamInfo,
} from '@bailiff/bus';
import { parseDurationMs, type ResponsePolicy } from '@bailiff/policy';
import { decodeWithLookup, SchemaError, SchemaRegistry, type Verdict } from '@bailiff/schemas';
import { PHASE_GROUPS, responseIdOf } from './ids.ts';
import { matches, POLICY_SETTLE_MICROS, PolicyBook } from './policy-book.ts';

/** Newest verdicts that are looked at; 1 kB each. */
export const MAX_VERDICTS = 2_000;
/** Subjects of RESPONSES that are read; a verdict has some ten records at most. */
export const MAX_RECORDS = 100_000;
/** Ids of unanswered verdicts that are named. */
export const MAX_NAMED = 5;

export interface CorrelatorStatus {
  /** Consumers on VIOLATIONS. 0: no correlator reads. */
  readers: number;
  newestFrameAtMs: number | null;
  newestVerdictAtMs: number | null;
  /**
   * Between the bus storing the frame that set the newest verdict off and storing the verdict: the lag of the correlator when it gave that
   * verdict. null when there is no verdict or its frame is no more.
   */
  newestVerdictDelayMs: number | null;
}

export interface ResponderStatus {
  /** Consumers on VERDICTS. 0: no responder reads. */
  readers: number;
  newestResponseAtMs: number | null;
  /** Verdicts looked at that a policy of their moment answers and whose first task has been due for `graceMs`. */
  due: number;
  /** Of these, without any record. A responder that reads (`readers` > 0) and answers nothing has mostly lost Redis. */
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
  /** More verdicts or records were in the time asked for than are looked at: the newest verdicts were, and `unanswered` may be too high. */
  cut: boolean;
}

export interface ServiceStatusOptions {
  /** How far back verdicts are looked at. Default an hour. */
  windowMs?: number;
  /** How long after its first task was due a verdict may be without a record. Default 30 s. */
  graceMs?: number;
  /** For all of it. Default 10 s. */
  timeoutMs?: number;
}

interface Placed {
  verdict: Verdict;
  sequence: number;
  atMicros: number;
}

/** Reads how both services do. Needs the rights of the command's identity. @throws BusError; BUS_TIMEOUT after `timeoutMs` */
export async function readServiceStatus(bus: Bus, options: ServiceStatusOptions = {}): Promise<ServiceStatus> {
  const { windowMs = 3_600_000, graceMs = 30_000, timeoutMs = 10_000 } = options;
  const signal = AbortSignal.timeout(timeoutMs);
  // Before any consumer of our own is counted.
  const [violations, verdicts, responses] = await Promise.all([
    streamInfo(bus, 'VIOLATIONS'),
    streamInfo(bus, 'VERDICTS'),
    streamInfo(bus, 'RESPONSES'),
  ]);
  const atMicros = microsOf(responses.ts ?? '');
  const newestAtMs = ({ state }: typeof violations) => (state.messages > 0 ? microsOf(state.last_ts) / 1000 : null);
  const sinceMicros = atMicros - windowMs * 1000;
  const placed = await readVerdicts(bus, verdicts.state.last_seq, signal);
  const inWindow = placed.filter((one) => one.atMicros >= sinceMicros);
  const due = await dueOf(bus, inWindow, atMicros - graceMs * 1000, signal);
  const records = due.length === 0 ? new Set<string>() : await readRecords(bus, sinceMicros, signal);
  const unanswered = due.filter(({ ids }) => !ids.some((id) => records.has(id)));
  return {
    atMs: atMicros / 1000,
    correlator: {
      readers: violations.state.consumer_count,
      newestFrameAtMs: newestAtMs(violations),
      newestVerdictAtMs: newestAtMs(verdicts),
      newestVerdictDelayMs: await delayOf(bus, placed.at(-1)),
    },
    responder: {
      readers: verdicts.state.consumer_count,
      newestResponseAtMs: newestAtMs(responses),
      due: due.length,
      unanswered: unanswered.length,
      oldestUnansweredAtMs: unanswered[0] ? unanswered[0].one.atMicros / 1000 : null,
      unansweredIds: unanswered.slice(0, MAX_NAMED).map(({ one }) => one.verdict.verdictId),
    },
    cut: records.size >= MAX_RECORDS || (placed.length >= MAX_VERDICTS && inWindow.length === placed.length),
  };
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

/** The verdicts that should have a record by a time, with the ids of all that would be one. */
async function dueOf(bus: Bus, placed: readonly Placed[], byMicros: number, signal: AbortSignal) {
  const newest = placed.at(-1);
  if (!newest) return [];
  const book = new PolicyBook();
  const log = new ConfigLog(bus, { onChange: (change) => book.apply(change) });
  try {
    await beforeAbort(log.whenCaughtUpTo(newest.atMicros - POLICY_SETTLE_MICROS), signal);
    return placed.flatMap((one) => {
      const { byName } = book.at(one.atMicros - POLICY_SETTLE_MICROS);
      const answering = [...byName].filter(([, policy]) => matches(policy, one.verdict));
      const isDue = answering.some(([, policy]) => one.atMicros + firstAfterMicros(policy) <= byMicros);
      return isDue ? [{ one, ids: answering.flatMap(([name, policy]) => recordIds(one.verdict, name, policy)) }] : [];
    });
  } finally {
    await log.close();
  }
}

function firstAfterMicros({ steps }: ResponsePolicy): number {
  return 1000 * Math.min(...steps.map(({ after }) => (after === undefined ? 0 : (parseDurationMs(after) as number))));
}

function recordIds({ verdictId }: Verdict, policy: string, { steps }: ResponsePolicy): string[] {
  return steps.flatMap(({ action }) => PHASE_GROUPS.map((group) => responseIdOf({ verdictId, policy, action }, group)));
}

/** Ids of the records stored since a time. */
async function readRecords(bus: Bus, sinceMicros: number, signal: AbortSignal): Promise<Set<string>> {
  const ids = new Set<string>();
  const take = ({ subject }: StreamMessage) => {
    const parsed = parseSubject(subject);
    if (parsed?.what === 'responses') ids.add(parsed.responseId);
    return ids.size < MAX_RECORDS;
  };
  await readToEnd(bus, 'RESPONSES', { timeMs: Math.floor(sinceMicros / 1000) }, true, take, signal);
  return ids;
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
