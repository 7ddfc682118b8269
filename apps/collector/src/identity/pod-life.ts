/**
 * Decides whether the pod of an interface has ended, or has left its network. An interface can outlive
 * both: the pod renames it, so that CNI finds nothing to remove, and a process sends from its network
 * namespace. Pure.
 *
 * A live pod that is wrongly dropped is worse than a dead one that still sends. So no single source
 * ends a pod, however long it says nothing of it, and a source that never knew the pod says nothing.
 */
import { type Binding, type Bound, isLaterAttachment, isPrimary } from './identity.ts';

/** What a source says of a pod. absent: it knew the pod and is complete. unknown: it cannot tell. */
export type Sign = 'present' | 'absent' | 'unknown';

export interface PodSigns {
  /** The kubelet's cgroup of the pod: removed when its last process has ended. */
  cgroup: Sign;
  /** The CNI record that bound the interface: removed when CNI has released the interface. */
  record: Sign;
  /** The pod list. */
  list: Sign;
  /**
   * Whether the pod still has the network. The first one lasts as long as the sandbox. absent: CNI released
   * a further one, and holds the sandbox.
   */
  network: Sign;
  /** CNI attached another interface of the same pod under the same name later. */
  isReplaced: boolean;
}

/**
 * The record that bound an interface, by its folder if it is there. unread: it cannot be read. released: the folder
 * in which it was has others of its sandbox, or the file is of a later interface. gone: nothing more is known,
 * because the whole folder may have been removed.
 */
export type RecordSight = { folder: string } | 'unread' | 'released' | 'gone';

/**
 * - ended: its cgroup is gone, and so is its record or its entry in the list; or it was replaced, and its
 *   record is gone or was never on disk; or its pod has left the network.
 * - alive: it has a cgroup, or both other sources know it, and nothing indicates that it left the network.
 * - unknown: the former decision stays.
 */
export type PodLife = 'ended' | 'alive' | 'unknown';

export function lifeOf({ cgroup, record, list, network, isReplaced }: PodSigns): PodLife {
  if (network === 'absent' || (isReplaced && record !== 'present')) return 'ended';
  if (cgroup === 'absent' && (record === 'absent' || list === 'absent')) return 'ended';
  if (network !== 'present') return 'unknown';
  if (cgroup === 'present' || (record === 'present' && list === 'present')) return 'alive';
  return 'unknown';
}

/**
 * Whether CNI has not released an interface, so that no other pod can have got its addresses by an address
 * management that works.
 */
export const isHeld = ({ record, list }: Pick<PodSigns, 'record' | 'list'>): boolean =>
  record === 'present' && list !== 'absent';

/** Whether CNI attached another interface of the same pod under the same name later. */
export function isReplaced(own: Bound, others: Iterable<Bound>): boolean {
  for (const other of others) if (isLaterAttachment(other, own)) return true;
  return false;
}

/** Sources in which the pod of a binding was seen: only their silence means anything. */
export interface Seen {
  cgroup: boolean;
  record: boolean;
  /** Where the record was; absent: it was not seen. */
  folder?: string | undefined;
}

export const NEVER_SEEN: Seen = { cgroup: false, record: false };

/** What the node knows at one moment. */
export interface Sources {
  /** Pods with a cgroup; null: the listing is not complete. */
  cgroups: ReadonlySet<string> | null;
  /** @param folder where the record was before */
  recordOf(binding: Binding, folder?: string): RecordSight;
  list(podUid: string): Sign;
}

/** The signs of a binding, and where its pod was seen until now. */
export function signsOf(
  binding: Binding,
  before: Seen,
  { cgroups, recordOf, list }: Sources,
): { signs: Omit<PodSigns, 'isReplaced'>; seen: Seen } {
  const { podUid } = binding;
  const hasCgroup = cgroups?.has(podUid) ?? false;
  const sight = recordOf(binding, before.folder);
  const isOnDisk = typeof sight === 'object';
  const folder = isOnDisk ? sight.folder : before.folder;
  const seen = { cgroup: before.cgroup || hasCgroup, record: before.record || isOnDisk, ...(folder ? { folder } : {}) };
  const isFirstOrHeld = isOnDisk || !seen.record || isPrimary(binding);
  const absent = (wasSeen: boolean): Sign => (wasSeen ? 'absent' : 'unknown');
  return {
    seen,
    signs: {
      cgroup: hasCgroup ? 'present' : absent(seen.cgroup && cgroups !== null),
      record: isOnDisk ? 'present' : absent(seen.record && sight !== 'unread'),
      network: isFirstOrHeld ? 'present' : absent(sight === 'released'),
      list: list(podUid),
    },
  };
}
