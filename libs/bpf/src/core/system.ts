/**
 * Facts of the running system that Node has no call for, and where libbpf's printing goes.
 * Errors: BpfError SYSTEM.
 */
import { closeSync, openSync } from 'node:fs';
import { native } from './native.ts';

const LOG_LEVEL = { warn: 0, info: 1, debug: 2 } as const;
export type BpfLogLevel = keyof typeof LOG_LEVEL;

/**
 * Where libbpf's lines go, for this thread; null: nowhere. They arrive at the end of the call in which libbpf printed
 * them. At most 4096 lines a call; lines over that are counted in a last one. A throwing logger is an uncaughtException.
 */
export function setBpfLogger(
  logger: ((level: BpfLogLevel, text: string) => void) | null,
  maxLevel: BpfLogLevel = 'warn',
): void {
  native().setLogger(logger, LOG_LEVEL[maxLevel]);
}

/** CLOCK_BOOTTIME, the clock of ring records and of every time in a map. */
export function boottimeNs(): bigint {
  return native().boottimeNs();
}

/** The id that the kernel's programs see for a cgroup-v2 directory. EINVAL when the path is not in cgroup2. */
export function cgroupId(path: string): bigint {
  return native().cgroupId(path);
}

/** CPUs for which per-CPU maps have a value, whether they are online or not. */
export function possibleCpus(): number {
  return native().possibleCpus();
}

/** Mounts a bpffs on an existing directory. */
export function mountBpffs(path: string): void {
  native().mountBpffs(path);
}

export function isBpffs(path: string): boolean {
  return native().isBpffs(path);
}

/**
 * Unmaps the pages of files that this process has mapped and not changed (Node's own text and constants, libraries), and lets the kernel
 * reclaim them first. They stay in the page cache; what is used again is mapped again by a minor fault. Linux 5.4 for the latter half.
 * @returns bytes that were resident in those mappings
 */
export function releaseFilePages(): number {
  return native().releaseFilePages();
}

/**
 * Takes the exclusive lock (flock) of a file or directory, on any file system. It ends with the descriptor that is returned, so with the
 * process at the latest. Null: another has it.
 */
export function tryLock(path: string): number | null {
  const fd = openSync(path, 'r');
  if (native().tryLock(fd)) return fd;
  closeSync(fd);
  return null;
}
