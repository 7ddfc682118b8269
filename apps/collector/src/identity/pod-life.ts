/**
 * Decides whether the pod of an interface has ended. An interface can outlive its pod: the pod
 * renames it, so that CNI finds nothing to remove, and another process has a socket in its network
 * namespace. Pure.
 *
 * A live pod that is wrongly dropped is worse than a dead one that still sends. So no single source
 * ends a pod, however long it says nothing of it, and a source that never knew the pod says nothing.
 */
import { type Binding, type Bound, isLaterSandbox } from './identity.ts';

/** What a source says of a pod. absent: it knew the pod and is complete. unknown: it cannot tell. */
export type Sign = 'present' | 'absent' | 'unknown';

export interface PodSigns {
  /** The kubelet's cgroup of the pod: removed when its last process has ended. */
  cgroup: Sign;
  /** The CNI record that bound the interface: removed when CNI has released the interface. */
  record: Sign;
  /** The pod list. */
  list: Sign;
  /** Another interface is of a later sandbox of the same pod. */
  isReplaced: boolean;
}

/**
 * - ended: its cgroup is gone, and so is its record or its entry in the list; or its sandbox was
 *   replaced, and the record of this one is gone or was never on disk.
 * - alive: it has a cgroup, or both other sources know it.
 * - unknown: the former decision stays.
 */
export type PodLife = 'ended' | 'alive' | 'unknown';

export function lifeOf({ cgroup, record, list, isReplaced }: PodSigns): PodLife {
  if (isReplaced && record !== 'present') return 'ended';
  if (cgroup === 'absent' && (record === 'absent' || list === 'absent')) return 'ended';
  if (cgroup === 'present' || (record === 'present' && list === 'present')) return 'alive';
  return 'unknown';
}

/**
 * Whether CNI has not released an interface, so that no other pod can have got its addresses by an address
 * management that works.
 */
export const isHeld = ({ record, list }: Pick<PodSigns, 'record' | 'list'>): boolean =>
  record === 'present' && list !== 'absent';

/** Whether another interface is of a later sandbox of the same pod, for the same interface of it. */
export function isReplaced(own: Bound, others: Iterable<Bound>): boolean {
  for (const other of others) if (isLaterSandbox(other, own)) return true;
  return false;
}

/** Sources in which the pod of a binding was seen: only their silence means anything. */
export interface Seen {
  cgroup: boolean;
  record: boolean;
}

export const NEVER_SEEN: Seen = { cgroup: false, record: false };

/** What the node knows at one moment. */
export interface Sources {
  /** Pods with a cgroup; null: the listing is not complete. */
  cgroups: ReadonlySet<string> | null;
  hasRecord(file: string): boolean;
  list(podUid: string): Sign;
}

/** The signs of a binding, and where its pod was seen until now. */
export function signsOf(
  { podUid, recordFile }: Binding,
  before: Seen,
  { cgroups, hasRecord, list }: Sources,
): { signs: Omit<PodSigns, 'isReplaced'>; seen: Seen } {
  const hasCgroup = cgroups?.has(podUid) ?? false;
  const isOnDisk = recordFile !== undefined && hasRecord(recordFile);
  const seen = { cgroup: before.cgroup || hasCgroup, record: before.record || isOnDisk };
  const absent = (wasSeen: boolean): Sign => (wasSeen ? 'absent' : 'unknown');
  return {
    seen,
    signs: {
      cgroup: hasCgroup ? 'present' : absent(seen.cgroup && cgroups !== null),
      record: isOnDisk ? 'present' : absent(seen.record),
      list: list(podUid),
    },
  };
}
