/**
 * Status of the services: running instances, unprocessed messages, and verdicts without a response.
 * Data path: `bailiff_services`, VIOLATIONS, VERDICTS, RESPONSES, CONFIG_LOG → here → CLI and console.
 *
 * Invariants: all times are bus times, so the reader's clock does not matter. Statuses decide which
 * instances run (service-health.ts); the ledger decides which tasks are overdue (overdue.ts).
 * Bounds: MAX_VERDICTS newest verdicts, MAX_RECORDS of RESPONSES, `timeoutMs`.
 */
import {
  type Bus,
  BusError,
  ConfigLog,
  completeSinceMicros,
  coverFrom,
  createdMicrosOf,
  findStream,
  getMessage,
  INSTANCE_MAX_AGE_MS,
  microsOf,
  readToEnd,
  SERVICES_BUCKET,
  type StreamMessage,
  schemaLookup,
  streamInfo,
} from '@bailiff/bus';
import {
  decodeWithLookup,
  type InstanceStatus,
  type LogStatus,
  type MissingVerdicts,
  type OutputStatus,
  type Response,
  SchemaError,
  SchemaRegistry,
  type SkippedMessages,
  type Verdict,
} from '@bailiff/schemas';
import { phaseGroupOf, responseIdOf } from '../planning/ids.ts';
import { POLICY_SETTLE_MICROS, PolicyHistory } from '../planning/policy-history.ts';
import { Ledger } from '../records/ledger.ts';
import { CooldownEnds, hasOverdueTask, OVERDUE_GRACE_MS, type OverdueLimits, tasksOf } from '../records/overdue.ts';
import { type BusAuthStatus, busAuthOf } from './bus-auth-status.ts';
import { type FailedResponses, FailureCounts } from './failed-responses.ts';
import { RefusalCounts, type RefusedResponses } from './refused-responses.ts';
import { type RemovedPod, RemovedPods } from './removed-pods.ts';
import {
  healthOf,
  type InstanceSets,
  instancesOf,
  newestOf,
  positionOf,
  type ServiceHealth,
  type StreamInfo,
  type Waiting,
} from './service-health.ts';

/** Number of newest verdicts that are checked; 1 kB each. */
export const MAX_VERDICTS = 2_000;
/** Records of RESPONSES that are read; a verdict has about ten at most. */
export const MAX_RECORDS = 100_000;
/** Limit of `unansweredIds`. */
export const MAX_NAMED = 5;

export interface CorrelatorStatus extends ServiceHealth {
  newestFrameAtMs: number | null;
  newestVerdictAtMs: number | null;
  /**
   * Time from storing the frame that triggered the newest verdict to storing the verdict: the lag
   * of the correlator at that time. null without a verdict, or if its frame is gone.
   */
  newestVerdictDelayMs: number | null;
  /** Nodes whose messages were skipped or refused in the last minutes; the highest count of any instance. */
  skipped: SkippedMessages[];
  /** Verdicts of the last minutes that were not published; the highest count of any instance. */
  missingVerdicts: MissingVerdicts | null;
}

export interface ResponderStatus extends ServiceHealth {
  newestResponseAtMs: number | null;
  /** Checked verdicts with a task that has been due for `graceMs`. */
  due: number;
  /** Of these, answered by dry runs alone: nothing was done. */
  dryRuns: number;
  /** Verdicts with an overdue task, as in the responder's metric `unanswered_verdicts`. */
  unanswered: number;
  oldestUnansweredAtMs: number | null;
  /** Ids of the oldest ones. */
  unansweredIds: string[];
  /** Responses to the checked verdicts that failed within the last hour, by action. */
  failed: FailedResponses[];
  /** Checked verdicts of the last hour for which nothing was done, because guards refused it, by reason. */
  refused: RefusedResponses[];
  /** Pods of the checked verdicts that were removed within the last hour. */
  removed: RemovedPod[];
}

export interface SiemRelayStatus extends ServiceHealth {
  /** Outputs of the running instance with the newest status. */
  outputs: OutputStatus[];
}

export interface EvidenceLogStatus extends ServiceHealth {
  /** Of the running instance with the newest status; null without one. */
  log: LogStatus | null;
}

export interface ServiceStatus {
  /** Bus time of this status. */
  atMs: number;
  correlator: CorrelatorStatus;
  responder: ResponderStatus;
  ipamSync: ServiceHealth;
  /** null: no instance within the last hour. It is optional. */
  siemRelay: SiemRelayStatus | null;
  /** null: no instance within the last hour. Without auth callout there is none. */
  busAuth: BusAuthStatus | null;
  /** null: no instance within the last hour. It is optional. */
  evidenceLog: EvidenceLogStatus | null;
  /** A bound was reached: only the newest verdicts are checked, and `unanswered` may be too high. */
  cut: boolean;
}

export interface ServiceStatusOptions {
  /** Grace period after a task's due time, start or approval. Default 30 s. */
  graceMs?: number;
  /** For all reads together. Default 10 s. */
  timeoutMs?: number;
}

type Placed = Readonly<{ verdict: Verdict; sequence: number; atMicros: number }>;

/**
 * Reads the status of the services. Needs the bus rights of the CLI's identity.
 * @param instances from `bailiff_services`, with bus time as `updatedAt`
 * @throws BusError; BUS_TIMEOUT after `timeoutMs`
 */
export async function readServiceStatus(
  bus: Bus,
  instances: readonly InstanceStatus[],
  options: ServiceStatusOptions = {},
): Promise<ServiceStatus> {
  const { graceMs = OVERDUE_GRACE_MS, timeoutMs = 10_000 } = options;
  const late = new AbortController();
  const why = new BusError('BUS_TIMEOUT', `the streams were not read within ${timeoutMs / 1000} s`);
  const timer = setTimeout(() => late.abort(why), timeoutMs);
  try {
    return await readWithin(bus, instances, graceMs, late.signal);
  } finally {
    clearTimeout(timer);
  }
}

async function readWithin(
  bus: Bus,
  instances: readonly InstanceStatus[],
  graceMs: number,
  signal: AbortSignal,
): Promise<ServiceStatus> {
  const infos = await Promise.all(
    ['VIOLATIONS', 'VERDICTS', 'RESPONSES', `KV_${SERVICES_BUCKET}`].map((name) => streamInfo(bus, name)),
  );
  const [violations, verdicts, responses, services] = infos as [StreamInfo, StreamInfo, StreamInfo, StreamInfo];
  const atMicros = microsOf(responses.ts ?? '');
  const atMs = atMicros / 1000;
  // The bucket keeps a status for this long: without one, no instance has run since then.
  const noInstanceSinceMs = Math.max(atMs - INSTANCE_MAX_AGE_MS, Date.parse(services.created));
  const health = async (service: string, streams: readonly StreamInfo[]): Promise<ServiceHealth> => {
    const sets = instancesOf(service, instances, atMs);
    const waiting = await Promise.all(streams.map((info) => waitingIn(bus, info, sets, noInstanceSinceMs, signal)));
    return healthOf(sets, sumOf(waiting), atMs);
  };
  const placed = await readVerdicts(bus, verdicts.state.last_seq, signal);
  const completeSince = completeSinceMicros(responses);
  const responders = instancesOf('responder', instances, atMs);
  const formerUntilMs = Math.max(
    0,
    ...responders.running.map(({ formerPoliciesUntil: until = '' }) => (until === '' ? 0 : Date.parse(until))),
  );
  // One that ended may have begun a removal.
  const limits = { graceMs, maxGraceSeconds: Math.max(0, ...responders.known.map((one) => one.maxGraceSeconds ?? 0)) };
  // Before, policies that only the responder knows decide, or records are lost with a former stream.
  const since = Math.max(formerUntilMs * 1000 + POLICY_SETTLE_MICROS, createdMicrosOf(responses));
  // Without CONFIG_LOG no policy is known, and no verdict counts as due. Its loss is a problem of the bus.
  const configLog = await findStream(bus, 'CONFIG_LOG');
  const known = configLog ? placed.filter(({ atMicros: storedMicros }) => storedMicros >= since) : [];
  const { cut, ...counts } = await readResponses(bus, known, { atMicros, limits, completeSince }, signal);
  return {
    atMs,
    correlator: {
      ...(await health('correlator', [violations])),
      newestFrameAtMs: newestAtMs(violations),
      newestVerdictAtMs: newestAtMs(verdicts),
      newestVerdictDelayMs: await delayOf(bus, placed.at(-1)),
      skipped: skippedBy(instancesOf('correlator', instances, atMs)),
      missingVerdicts: missingBy(instancesOf('correlator', instances, atMs)),
    },
    responder: { ...(await health('responder', [verdicts])), newestResponseAtMs: newestAtMs(responses), ...counts },
    ipamSync: ofWriter(instancesOf('ipam-sync', instances, atMs), atMs),
    siemRelay: instances.some(({ service }) => service === 'siem-relay')
      ? {
          ...(await health('siem-relay', [violations, verdicts, responses])),
          outputs: newestOf(instancesOf('siem-relay', instances, atMs))?.outputs ?? [],
        }
      : null,
    evidenceLog: instances.some(({ service }) => service === 'evidence-log')
      ? {
          ...(await health('evidence-log', [violations, verdicts, responses, ...(configLog ? [configLog] : [])])),
          log: newestOf(instancesOf('evidence-log', instances, atMs))?.log ?? null,
        }
      : null,
    busAuth: busAuthOf(instancesOf('bus-auth', instances, atMs), atMs),
    cut: cut || placed.length >= MAX_VERDICTS,
  };
}

/** Each instance counts all messages since its start. */
export function skippedBy({ running }: Pick<InstanceSets, 'running'>): SkippedMessages[] {
  const most = new Map<string, SkippedMessages>();
  for (const one of running.flatMap(({ skipped = [] }) => skipped)) {
    if (one.messages > (most.get(one.node)?.messages ?? 0)) most.set(one.node, one);
  }
  return [...most.values()].sort((a, b) => b.messages - a.messages);
}

/** Replicas suppress the same verdicts. */
function missingBy({ running }: InstanceSets): MissingVerdicts | null {
  const all = running.flatMap(({ missingVerdicts }) => missingVerdicts ?? []);
  return all.sort((a, b) => b.count - a.count)[0] ?? null;
}

const newestAtMs = ({ state }: StreamInfo) => (state.messages > 0 ? microsOf(state.last_ts) / 1000 : null);

/** Messages of a stream that no instance has processed; null if unknown. */
async function waitingIn(
  bus: Bus,
  info: StreamInfo,
  sets: InstanceSets,
  noInstanceSinceMs: number,
  signal: AbortSignal,
): Promise<Waiting | null> {
  const { state } = info;
  const none: Waiting = { count: 0, oldestAtMs: 0, atLeast: false };
  const position = positionOf(sets, info);
  // Instances of an older version publish no position.
  if (position === null && sets.known.length > 0) return null;
  if (state.messages === 0 || position === state.last_seq) return none;
  let first: StreamMessage | null = null;
  const take = (message: StreamMessage, stop: () => void) => {
    first = message;
    stop();
  };
  const start = position === null ? { timeMs: Math.floor(noInstanceSinceMs) } : { sequence: position + 1 };
  await readToEnd(bus, info.config.name, { start, headersOnly: true, onMessage: take, signal });
  const { pending, timestampMicros, sequence } = (first as StreamMessage | null) ?? {};
  if (pending === undefined || timestampMicros === undefined || sequence === undefined) return none;
  const atLeast = position === null && sequence > state.first_seq;
  return { count: pending + 1, oldestAtMs: timestampMicros / 1000, atLeast };
}

/** Sum over all streams of a service; null if one is unknown. */
function sumOf(all: readonly (Waiting | null)[]): Waiting | null {
  const some = all.filter((one) => one !== null && one.count > 0) as Waiting[];
  if (all.includes(null)) return null;
  return {
    count: some.reduce((sum, { count }) => sum + count, 0),
    oldestAtMs: some.length > 0 ? Math.min(...some.map(({ oldestAtMs }) => oldestAtMs)) : 0,
    atLeast: some.some(({ atLeast }) => atLeast),
  };
}

/** ipam-sync writes its stream: only its leader knows the pending writes. */
function ofWriter(sets: InstanceSets, atMs: number): ServiceHealth {
  const leader = sets.running.find(({ leads }) => leads);
  const [lists] = leader?.progress ?? [];
  if (!leader || !lists) return healthOf(sets, null, atMs);
  const oldestAtMs = Date.parse(leader.updatedAt) - Math.max(1, lists.stalledMs);
  return { ...healthOf(sets, { count: lists.behind, oldestAtMs, atLeast: false }, atMs), stalledMs: lists.stalledMs };
}

/** The newest verdicts, oldest first. Skips unreadable ones, which the responder dead-letters. */
async function readVerdicts(bus: Bus, lastSequence: number, signal: AbortSignal): Promise<Placed[]> {
  if (lastSequence === 0) return [];
  const registry = new SchemaRegistry(schemaLookup(bus));
  const placed: Placed[] = [];
  const take = async ({ data, sequence, timestampMicros }: StreamMessage, stop: () => void) => {
    try {
      const decoded = await decodeWithLookup(data, registry);
      if (decoded.name === 'Verdict') placed.push({ verdict: decoded.value, sequence, atMicros: timestampMicros });
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
    }
    if (placed.length >= MAX_VERDICTS) stop();
  };
  const start = { sequence: Math.max(1, lastSequence - MAX_VERDICTS + 1) };
  await readToEnd(bus, 'VERDICTS', { start, onMessage: take, signal });
  return placed;
}

type ResponseCounts = Omit<ResponderStatus, keyof ServiceHealth | 'newestResponseAtMs'> & { cut: boolean };

/** Counts the verdicts with due tasks and those with overdue tasks. */
async function readResponses(
  bus: Bus,
  placed: readonly Placed[],
  { atMicros, limits, completeSince }: { atMicros: number; limits: OverdueLimits; completeSince: number },
  signal: AbortSignal,
): Promise<ResponseCounts> {
  const policies = await readPolicies(bus, placed, signal);
  const ledger = new Ledger();
  const dueBy = atMicros - limits.graceMs * 1000;
  const due = placed.filter((one) => tasksOf(one, policies, ledger).some(({ dueAtMicros }) => dueAtMicros <= dueBy));
  const acted = new Set<string>();
  const failures = new FailureCounts(atMicros);
  const refusals = new RefusalCounts(atMicros);
  const removals = new RemovedPods(atMicros);
  const records = { ledger, acted, counts: [failures, refusals, removals] };
  const cut = due[0] !== undefined && (await readRecords(bus, records, due[0].atMicros, signal));
  ledger.completeSinceMicros = completeSince;
  // Planned again, because a record may bring a step forward.
  const ends = new CooldownEnds(ledger, atMicros);
  const isUnanswered = (one: Placed) => hasOverdueTask(tasksOf(one, policies, ledger), ledger, atMicros, limits, ends);
  const unanswered = due.filter(isUnanswered);
  return {
    due: due.length,
    dryRuns: due.filter((one) => !unanswered.includes(one) && !acted.has(one.verdict.verdictId)).length,
    unanswered: unanswered.length,
    oldestUnansweredAtMs: unanswered[0] ? unanswered[0].atMicros / 1000 : null,
    unansweredIds: unanswered.slice(0, MAX_NAMED).map(({ verdict }) => verdict.verdictId),
    failed: failures.all,
    refused: refusals.all,
    removed: removals.all,
    cut,
  };
}

/** The policy history up to the newest verdict. */
async function readPolicies(bus: Bus, placed: readonly Placed[], signal: AbortSignal): Promise<PolicyHistory> {
  const policies = new PolicyHistory();
  if (!placed[0]) return policies;
  const newest = placed.at(-1) as Placed;
  const log = new ConfigLog(bus, { onChange: (change) => policies.apply(change) });
  try {
    await beforeAbort(log.whenCompleteTo(newest.atMicros - POLICY_SETTLE_MICROS), signal);
    await beforeAbort(coverFrom(bus, log, policies, placed[0].atMicros), signal);
    return policies;
  } finally {
    await log.close();
  }
}

interface Records {
  ledger: Ledger;
  /** Verdicts with a record that is no dry run. */
  acted: Set<string>;
  counts: readonly { add(record: Response, storedMicros: number): void }[];
}

/** Applies the records since a time. @returns whether the bound was reached */
async function readRecords(
  bus: Bus,
  { ledger, acted, counts }: Records,
  sinceMicros: number,
  signal: AbortSignal,
): Promise<boolean> {
  const registry = new SchemaRegistry(schemaLookup(bus));
  let count = 0;
  const take = async ({ data, sequence, timestampMicros }: StreamMessage, stop: () => void) => {
    count += 1;
    try {
      const { name, value } = await decodeWithLookup(data, registry);
      const isOwn = name === 'Response' && value.responseId === responseIdOf(value, phaseGroupOf(value.phase));
      if (isOwn) {
        ledger.applyInOrder(value, { sequence, timestampMicros });
        for (const one of counts) one.add(value, timestampMicros);
        if (value.phase !== 'dryrun') acted.add(value.verdictId);
      }
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
    }
    if (count >= MAX_RECORDS) stop();
  };
  await readToEnd(bus, 'RESPONSES', { start: { timeMicros: sinceMicros }, onMessage: take, signal });
  return count >= MAX_RECORDS;
}

async function delayOf(bus: Bus, newest: Placed | undefined): Promise<number | null> {
  const trigger = newest?.verdict.evidence.at(-1);
  const frame = trigger ? await getMessage(bus, 'VIOLATIONS', trigger.streamSequence) : null;
  return newest && frame ? Math.max(0, (newest.atMicros - frame.timestampMicros) / 1000) : null;
}

async function beforeAbort(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const late = new Promise<never>((_, reject) => {
    if (signal.aborted) reject(signal.reason as Error);
    else signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
  await Promise.race([promise, late]);
}
