/**
 * Health of a service: its running instances and its unprocessed messages, from the instance
 * statuses and the streams. Pure.
 *
 * Invariants: all times are bus times. A status proves only that its instance ran at that time. A
 * consumer of a stream proves nothing: it may belong to another program or a dead instance. An
 * instance with an old status hangs, has lost the bus or was killed; the bus cannot distinguish
 * these.
 */
import { createdMicrosOf, type streamInfo } from '@bailiff/bus';
import { INSTANCE_STATUS_MS, type InstanceStatus } from '@bailiff/schemas';

export type StreamInfo = Awaited<ReturnType<typeof streamInfo>>;

/** An instance with an older status counts as silent. */
export const SILENT_MS = 3 * INSTANCE_STATUS_MS;
/** A status is due every ten seconds. */
export const OVERDUE_MS = 12_000;
/** A silent instance is dropped once another one has a status that is newer by this much. */
const REPLACED_MS = 300_000;

/** Crashes of this time are counted. */
export const CRASHED_WITHIN_MS = 600_000;

/** Messages of a stream that no instance has processed. */
export interface Waiting {
  count: number;
  oldestAtMs: number;
  /** `count` is a lower bound: no status has a position. */
  atLeast: boolean;
}

export interface ServiceHealth {
  /** Instances whose status is at most SILENT_MS old. */
  running: number;
  /** Of these, instances whose readiness checks pass. */
  ready: number;
  /**
   * Failing checks of the instance that has been unready for the shortest time; empty if all are
   * ready.
   */
  notReady: string;
  notReadyForMs: number;
  /** Instances that did not stop regularly but published no status for SILENT_MS. */
  silent: number;
  /** Age of the newest status among them. */
  silentForMs: number;
  /** Instances that were killed or failed within CRASHED_WITHIN_MS, and that a process on the same host replaced. */
  crashed: number;
  /** Instances of ipam-sync that hold the lease. */
  leading: number;
  /** Of these, instances whose status is not overdue: a former leader that hangs is none. */
  leadingNow: number;
  /** Age of the newest status of a leader, also of one that has ended; null without one. */
  ledAgoMs: number | null;
  /** Uptime of the youngest running instance; 0 without one. */
  runningForMs: number;
  /** Unprocessed messages at the newest status of a running instance; null if unknown. */
  waiting: Waiting | null;
  /** Age of the oldest of them at that time; 0 without any. */
  behindMs: number;
  /** Age of the newest status of a running instance: what it says is that old. 0 without one. */
  heardMs: number;
  /** Messages stored since that status; whether they are processed is not known yet. */
  newer: number;
  /** How long there are unprocessed messages without progress of any instance. */
  stalledMs: number;
}

export interface InstanceSets {
  running: InstanceStatus[];
  silent: InstanceStatus[];
  /** Killed or failed, and replaced. */
  crashed: InstanceStatus[];
  /** All of the above, and stopped instances. */
  known: InstanceStatus[];
}

/** The name of an instance is its host and a random suffix. */
const hostOf = ({ instance }: InstanceStatus) => instance.replace(/-[0-9a-f]{8}$/, '');
const updatedAtMs = ({ updatedAt }: InstanceStatus) => Date.parse(updatedAt);

/** @param instances with bus time as `updatedAt` */
export function instancesOf(service: string, instances: readonly InstanceStatus[], atMs: number): InstanceSets {
  const known = instances.filter((one) => one.service === service);
  // A process on the same host that started after the last status is a restarted container.
  const isReplaced = (one: InstanceStatus) =>
    known.some(
      (other) =>
        other.instance !== one.instance &&
        hostOf(other) === hostOf(one) &&
        Date.parse(other.startedAt) > updatedAtMs(one),
    );
  const living = known.filter((one) => one.stoppedAt === undefined && !isReplaced(one));
  const running = living.filter((one) => atMs - updatedAtMs(one) <= SILENT_MS);
  const newestMs = Math.max(...known.map(updatedAtMs));
  const silent = living.filter(
    (one) => atMs - updatedAtMs(one) > SILENT_MS && newestMs - updatedAtMs(one) <= REPLACED_MS,
  );
  const crashed = known.filter((one) => (one.stoppedAt === undefined || one.failed === true) && isReplaced(one));
  return { running, silent, crashed, known };
}

/** Newest sequence of a stream that any instance has processed; null if no status has one. */
export function positionOf(
  { known }: InstanceSets,
  info: Pick<StreamInfo, 'created' | 'config' | 'state'>,
): number | null {
  const places = known.flatMap(({ progress = [] }) => progress.filter((one) => one.stream === info.config.name));
  if (places.length === 0) return null;
  // Ignores positions in a stream that was created again, or restored to an earlier one, since.
  const valid = places.filter(
    ({ sequence, storedAt }) =>
      sequence <= info.state.last_seq && !(storedAt !== '' && Date.parse(storedAt) * 1000 < createdMicrosOf(info)),
  );
  return Math.max(0, ...valid.map(({ sequence }) => sequence));
}

/** @param waiting current messages after the position */
export function healthOf(sets: InstanceSets, waiting: Waiting | null, atMs: number): ServiceHealth {
  const { running, silent } = sets;
  const unready = running.flatMap(({ ready }) => (ready && !ready.ok ? [ready] : []));
  const latest = unready.sort((a, b) => Date.parse(b.since) - Date.parse(a.since))[0];
  const asOfMs = running.length > 0 ? Math.max(...running.map(updatedAtMs)) : atMs;
  // Messages that are newer than the status do not count.
  const waited = waiting && waiting.count > 0 && waiting.oldestAtMs < asOfMs ? waiting : null;
  const stalls = running.flatMap(({ progress }) =>
    progress ? [Math.max(0, ...progress.map(({ stalledMs }) => stalledMs))] : [],
  );
  const led = sets.known.filter(({ leads }) => leads);
  const ageOf = (time: string) => Math.max(0, atMs - Date.parse(time));
  return {
    running: running.length,
    ready: running.length - unready.length,
    notReady: latest?.reason ?? '',
    notReadyForMs: latest ? ageOf(latest.since) : 0,
    silent: silent.length,
    silentForMs: silent.length > 0 ? atMs - Math.max(...silent.map(updatedAtMs)) : 0,
    crashed: sets.crashed.filter((one) => ageOf(one.updatedAt) <= CRASHED_WITHIN_MS).length,
    leading: running.filter(({ leads }) => leads).length,
    leadingNow: running.filter((one) => one.leads && atMs - updatedAtMs(one) <= OVERDUE_MS).length,
    ledAgoMs: led.length > 0 ? atMs - Math.max(...led.map(updatedAtMs)) : null,
    runningForMs: running.length > 0 ? Math.min(...running.map(({ startedAt }) => ageOf(startedAt))) : 0,
    waiting: waiting && (waited ?? { ...waiting, count: 0 }),
    behindMs: waited ? asOfMs - waited.oldestAtMs : 0,
    heardMs: running.length > 0 ? atMs - asOfMs : 0,
    newer: waiting && !waited ? waiting.count : 0,
    stalledMs: waited && stalls.length > 0 ? Math.min(...stalls) : 0,
  };
}

/** The running instance with the newest status. */
export const newestOf = ({ running }: InstanceSets): InstanceStatus | undefined =>
  running.toSorted((a, b) => Date.parse(b.updatedAt) - Date.parse(a.updatedAt))[0];

/** Age of the cluster's list of nodes: it is of the time when an ipam-sync led last. */
export const listAgeOf = ({ leading, ledAgoMs }: Pick<ServiceHealth, 'leading' | 'ledAgoMs'>): number =>
  leading > 0 ? 0 : (ledAgoMs ?? Number.POSITIVE_INFINITY);
