/**
 * Finds the cgroup of each pod, and its oldest process, whose network namespace is the pod's. The
 * binder uses it when no CNI record exists. Reads the names of both cgroup drivers.
 *
 * The oldest process by start time is the sandbox: a pod can start processes, but never older ones.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { uptime } from 'node:os';
import path from 'node:path';
import { RecentMap } from '@bailiff/service';

export interface PodCgroup {
  podUid: string;
  path: string;
}

/** Depth limit of the search: kubepods, the QoS classes and their pods are three levels. */
const MAX_DEPTH = 4;
export const MAX_POD_CGROUPS = 1024;
/** Limit of processes that are read in one pod. */
const MAX_PROCESSES = 4096;
/** Limit of cgroups that are read in one pod: those of its containers, then those that containers made in them. */
const MAX_CGROUPS = 1024;

const UID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * systemd prefixes a slice with its parents: below the kubelet's `cgroupRoot` it is
 * `kubelet-kubepods.slice`.
 */
const KUBEPODS = /^(.+-)?kubepods([-.]|$)/;

/**
 * Pod UID in the name of a cgroup folder: `pod<uid>` (cgroupfs), or `kubepods-<qos>-pod<uid with
 * _>.slice` (systemd). null: not a pod's folder.
 */
export function podUidOf(folder: string): string | null {
  const match = /(?:^|-)pod([0-9a-f_-]{36})(?:\.slice)?$/.exec(folder);
  const uid = match?.[1]?.replaceAll('_', '-');
  return uid !== undefined && UID.test(uid) ? uid : null;
}

export interface ProcessCgroup {
  podUid: string;
  /** Name of the directory in the pod's that contains the process: that of its container. Empty: none. */
  below: string;
}

/**
 * Pod of a process, by the outermost directory of a pod: a container can create others in its own. null: it is in no
 * pod, or it ended.
 */
export function podCgroupOf(pid: number): ProcessCgroup | null {
  const text = unless(['ENOENT', 'ESRCH'], '', () => readFileSync(`/proc/${pid}/cgroup`, 'utf8'));
  const dirs = /^0::(.*)$/m.exec(text)?.[1]?.split('/') ?? [];
  for (const [at, dir] of dirs.entries()) {
    const podUid = podUidOf(dir);
    if (podUid !== null) return { podUid, below: dirs[at + 1] ?? '' };
  }
  return null;
}

/** The kernel numbers cgroups in the order of their creation. 0: it is gone. */
const numberOf = (dir: string): bigint => statSync(dir, { bigint: true, throwIfNoEntry: false })?.ino ?? 0n;

/**
 * Every pod cgroup below the root. A container that can write to the node's cgroups can create one
 * with the name of another pod's, but only later: the oldest of a name is the kubelet's.
 */
export function listPodCgroups(root: string, ageOf = numberOf): PodCgroup[] {
  const found = new Map<string, PodCgroup>();
  const add = (cgroup: PodCgroup): void => {
    const other = found.get(cgroup.podUid);
    if (!other || ageOf(cgroup.path) < ageOf(other.path)) found.set(cgroup.podUid, cgroup);
  };
  const visit = (dir: string, depth: number): void => {
    for (const entry of subfolders(dir)) {
      if (found.size >= MAX_POD_CGROUPS) return;
      const podUid = podUidOf(entry);
      const full = path.join(dir, entry);
      if (podUid !== null) add({ podUid, path: full });
      else if (depth < MAX_DEPTH && (KUBEPODS.test(entry) || ['burstable', 'besteffort', 'guaranteed'].includes(entry)))
        visit(full, depth + 1);
    }
  };
  visit(root, 0);
  return [...found.values()];
}

/**
 * Id of the cgroup that contains the cgroups of all pods: `root` or a child of it. If several contain
 * pods, the oldest one. 0n: none, or `root` is not cgroup v2 (a socket has no cgroup of v1).
 */
export function podsCgroupId(root: string, ageOf = numberOf): bigint {
  if (root === '' || !existsSync(path.join(root, 'cgroup.controllers'))) return 0n;
  const isPods = (dir: string): boolean => KUBEPODS.test(path.basename(dir));
  const parents = isPods(root) ? [root] : subfolders(root).map((entry) => path.join(root, entry));
  const ids = parents
    .filter((dir) => isPods(dir) && listPodCgroups(dir).length > 0)
    .map((dir) => ageOf(dir))
    .filter((id) => id > 0n);
  return ids.reduce((oldest, id) => (oldest === 0n || id < oldest ? id : oldest), 0n);
}

/**
 * A cgroup may disappear after the listing of its parent. One that a container made may be so deep that it has no
 * path, which must not end the search for the pods of others.
 */
const UNREADABLE: readonly string[] = ['ENOENT', 'ENODEV', 'ENAMETOOLONG'];
/**
 * Likewise in a pod: a container takes the rights from a cgroup of its own, and the collector has no capability to
 * read it. The processes of a threaded cgroup (EOPNOTSUPP) are in the list of its parent.
 */
const UNREADABLE_IN_POD: readonly string[] = [...UNREADABLE, 'EACCES', 'EOPNOTSUPP'];

const unless = <T>(codes: readonly string[], otherwise: T, read: () => T): T => {
  try {
    return read();
  } catch (error) {
    if (codes.includes((error as NodeJS.ErrnoException).code ?? '')) return otherwise;
    throw error;
  }
};

const subfolders = (dir: string, passedOver = UNREADABLE): string[] =>
  unless(passedOver, [], () => readdirSync(dir, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);

/** Field 22 of /proc/<pid>/stat, in clock ticks since boot; null: the process ended. */
function startTicks(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // comm may contain blanks and parentheses, so fields are counted from the last closing one.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH') return null;
    throw error;
  }
}

const pidsIn = (dir: string): number[] =>
  unless(UNREADABLE_IN_POD, '', () => readFileSync(path.join(dir, 'cgroup.procs'), 'utf8'))
    .split('\n')
    .filter((line) => line !== '' && line !== '0')
    .map(Number);

/** Processes in a cgroup and below it. */
export function processesIn(cgroup: string): Set<number> {
  const pids = new Set<number>();
  const dirs = [cgroup];
  for (const dir of dirs) {
    for (const pid of pidsIn(dir)) if (pids.size < MAX_PROCESSES) pids.add(pid);
    if (pids.size >= MAX_PROCESSES) break;
    const room = MAX_CGROUPS - dirs.length;
    if (room > 0)
      dirs.push(
        ...subfolders(dir, UNREADABLE_IN_POD)
          .slice(0, room)
          .map((name) => path.join(dir, name)),
      );
  }
  return pids;
}

interface Started {
  pid: number;
  ticks: number;
}

/**
 * By cgroup. It is the oldest for as long as it is there, so that a search does not read each process of each
 * pod: a tenant can have tens of thousands, and a read takes 0.03 ms, or ten times as long on a busy node.
 */
const oldestKnown = new RecentMap<string, Started>(MAX_POD_CGROUPS);

function oldestIn(cgroup: string): Started | null {
  const pids = processesIn(cgroup);
  const known = oldestKnown.get(cgroup);
  if (known && pids.has(known.pid) && startTicks(known.pid) === known.ticks) return known;
  const oldest = findOldest(pids);
  if (oldest) oldestKnown.set(cgroup, oldest);
  else oldestKnown.delete(cgroup);
  return oldest;
}

function findOldest(pids: Iterable<number>): Started | null {
  let oldest: Started | null = null;
  for (const pid of pids) {
    const ticks = startTicks(pid);
    if (ticks === null) continue;
    if (!oldest || ticks < oldest.ticks || (ticks === oldest.ticks && pid < oldest.pid)) oldest = { pid, ticks };
  }
  return oldest;
}

/** The oldest process in a pod's cgroup; null: there is none (yet). */
export const oldestProcess = (cgroup: string): number | null => oldestIn(cgroup)?.pid ?? null;

/** Clock ticks of /proc, on all platforms. */
const TICK_MS = 10;

/** When the oldest process of a pod began, in wall-clock milliseconds; null: there is none (yet). */
export function podStartMs(root: string, podUid: string, nowMs = Date.now()): number | null {
  const cgroup = listPodCgroups(root).find((one) => one.podUid === podUid);
  const oldest = cgroup ? oldestIn(cgroup.path) : null;
  return oldest && nowMs - uptime() * 1_000 + oldest.ticks * TICK_MS;
}
