/**
 * How long a subject lives: until its cgroup is gone. The lists of the bus alone do not end it, so
 * a list that omits a pod or a container for a moment weakens nothing.
 */
import type { PodIdentity } from '@bailiff/schemas';
import type { ContainerRef } from '../counting/account.ts';
import { childCgroups, containersIn } from './cgroups.ts';

/**
 * Running containers of a pod: the listed ones, and those with a subject.
 * @param subjects containers that have a subject
 */
export function runningContainers(
  dir: string,
  listed: PodIdentity['containers'],
  subjects: Iterable<ContainerRef>,
): ContainerRef[] {
  const found = containersIn(dir, listed);
  const here = new Set(childCgroups(dir).map(({ id }) => id.toString()));
  for (const container of subjects)
    if (here.has(container.cgroupId) && !found.some((one) => one.cgroupId === container.cgroupId))
      found.push(container);
  return found;
}

export interface PodPresence {
  /** Cgroup directory by pod. */
  dirs: ReadonlyMap<string, string>;
  /** Pods that the kernel has a cgroup of. */
  bound: ReadonlySet<string>;
  /** Pods of the list. */
  listed: ReadonlySet<string | null>;
}

/** Whether to remove a subject that is not desired: its cgroup is gone, or its pod is listed. */
export function isGone(
  { podUid, cgroupId }: { podUid: string; cgroupId: bigint | null },
  { dirs, bound, listed }: PodPresence,
): boolean {
  const dir = dirs.get(podUid);
  const isThere = dir !== undefined || bound.has(podUid);
  if (cgroupId === null || !isThere) return !isThere;
  return listed.has(podUid) || (dir !== undefined && !childCgroups(dir).some(({ id }) => id === cgroupId));
}
