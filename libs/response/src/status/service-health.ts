/**
 * Which instances of a service run, and what waits for them: from the statuses that they publish and from what the streams hold. Pure.
 *
 * Invariants: all times are the bus's. A status proves that its instance ran at that time and nothing later. A consumer of a stream proves nothing: it may
 * be another program's, or a dead instance's. An instance whose status is old has hung, lost the bus or was killed; the bus cannot tell which.
 */
import { INSTANCE_STATUS_MS, type InstanceStatus } from '@bailiff/schemas';

/** A status that is older does not prove that its instance runs. */
export const SILENT_MS = 3 * INSTANCE_STATUS_MS;
/** A silent instance is no longer counted when another one has been heard for so long after it. */
const REPLACED_MS = 300_000;

/** Messages of a stream that no instance has handled. */
export interface Waiting {
  count: number;
  oldestAtMs: number;
  /** Older messages may wait too: no status says how far an instance came. */
  atLeast: boolean;
}

export interface ServiceHealth {
  /** Instances whose status is at most SILENT_MS old. */
  running: number;
  /** Of these, instances whose readiness checks pass. */
  ready: number;
  /** Failing checks of the one that has been unready for the shortest time; empty when all are ready. */
  notReady: string;
  notReadyForMs: number;
  /** Instances that neither ended in order nor published a status for SILENT_MS: hung, cut off from the bus, or killed. */
  silent: number;
  /** How long the last of them has been silent. */
  silentForMs: number;
  /** Of ipam-sync: how many hold the lease. */
  leading: number;
  /** Since when the youngest running instance runs; 0 when none does. */
  runningForMs: number;
  /** What no instance has handled, as of the newest status of one that runs; null: not known. */
  waiting: Waiting | null;
  /** Age that the oldest of them had then; 0: all was handled. */
  behindMs: number;
  /** How long work has waited with no instance making progress. */
  stalledMs: number;
}

export interface InstanceSets {
  running: InstanceStatus[];
  silent: InstanceStatus[];
  /** These, and those that ended. */
  known: InstanceStatus[];
}

/** The random end of an instance's name sets it apart from others of its host. */
const hostOf = ({ instance }: InstanceStatus) => instance.replace(/-[0-9a-f]{8}$/, '');
const heardMs = ({ updatedAt }: InstanceStatus) => Date.parse(updatedAt);

/** @param instances with the bus's time as `updatedAt` */
export function instancesOf(service: string, instances: readonly InstanceStatus[], atMs: number): InstanceSets {
  const known = instances.filter((one) => one.service === service);
  // A process that started on the host of another one after its last status has replaced it: the container was restarted.
  const isReplaced = (one: InstanceStatus) =>
    known.some((other) => hostOf(other) === hostOf(one) && Date.parse(other.startedAt) > heardMs(one));
  const living = known.filter((one) => one.stoppedAt === undefined && !isReplaced(one));
  const running = living.filter((one) => atMs - heardMs(one) <= SILENT_MS);
  const newestMs = Math.max(...known.map(heardMs));
  const silent = living.filter((one) => atMs - heardMs(one) > SILENT_MS && newestMs - heardMs(one) <= REPLACED_MS);
  return { running, silent, known };
}

/** Newest sequence of a stream that an instance has handled, dead ones included; null: none says. */
export function positionOf(
  { known }: InstanceSets,
  stream: string,
  { createdAt, lastSequence }: { createdAt: string; lastSequence: number },
): number | null {
  const places = known.flatMap(({ progress = [] }) => progress.filter((one) => one.stream === stream));
  if (places.length === 0) return null;
  // A position of a stream that was deleted and created again, or restored from an older backup, is none of this one.
  const valid = places.filter(
    ({ sequence, storedAt }) =>
      sequence <= lastSequence && !(storedAt !== '' && Date.parse(storedAt) < Date.parse(createdAt)),
  );
  return Math.max(0, ...valid.map(({ sequence }) => sequence));
}

/** @param waiting behind the position, as the streams hold it now */
export function healthOf(sets: InstanceSets, waiting: Waiting | null, atMs: number): ServiceHealth {
  const { running, silent } = sets;
  const unready = running.flatMap(({ ready }) => (ready && !ready.ok ? [ready] : []));
  const latest = unready.sort((a, b) => Date.parse(b.since) - Date.parse(a.since))[0];
  const asOfMs = running.length > 0 ? Math.max(...running.map(heardMs)) : atMs;
  // What came after the status was not there to be handled.
  const waited = waiting && waiting.count > 0 && waiting.oldestAtMs < asOfMs ? waiting : null;
  const stalls = running.flatMap(({ progress }) =>
    progress ? [Math.max(0, ...progress.map(({ stalledMs }) => stalledMs))] : [],
  );
  const ageOf = (time: string) => Math.max(0, atMs - Date.parse(time));
  return {
    running: running.length,
    ready: running.length - unready.length,
    notReady: latest?.reason ?? '',
    notReadyForMs: latest ? ageOf(latest.since) : 0,
    silent: silent.length,
    silentForMs: silent.length > 0 ? atMs - Math.max(...silent.map(heardMs)) : 0,
    leading: running.filter(({ leads }) => leads).length,
    runningForMs: running.length > 0 ? Math.min(...running.map(({ startedAt }) => ageOf(startedAt))) : 0,
    waiting: waiting && (waited ?? { ...waiting, count: 0 }),
    behindMs: waited ? asOfMs - waited.oldestAtMs : 0,
    stalledMs: waited && stalls.length > 0 ? Math.min(...stalls) : 0,
  };
}
