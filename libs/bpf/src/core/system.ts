/**
 * Facts of the running system that Node has no call for.
 * Errors: BpfError SYSTEM.
 */
import { closeSync, openSync } from 'node:fs';
import { native } from './native.ts';

/** CLOCK_BOOTTIME: the clock of ring records and of every time in a map. */
export function boottimeNs(): bigint {
  return native().boottimeNs();
}

/** Id of a cgroup v2 directory, as kernel programs see it. EINVAL if the path is not in cgroup2. */
export function cgroupId(path: string): bigint {
  return native().cgroupId(path);
}

/** CPUs that per-CPU maps have a value for, online or not. */
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
 * Unmaps the pages of files that this process mapped and did not change (Node's text and constants,
 * libraries), and lets the kernel reclaim them first. They stay in the page cache; a minor fault
 * maps a used page again. The second half needs Linux 5.4.
 * @returns bytes that were resident in those mappings
 */
export function releaseFilePages(): number {
  return native().releaseFilePages();
}

/**
 * Takes the exclusive lock (flock) of a file or directory, on any file system. It ends with the
 * returned descriptor, at the latest with the process. Null: another process has it.
 */
export function tryLock(path: string): number | null {
  const fd = openSync(path, 'r');
  if (native().tryLock(fd)) return fd;
  closeSync(fd);
  return null;
}

/** The process that connected a unix socket. @param fd of the accepted connection */
export function peerCredentials(fd: number): { readonly uid: number; readonly pid: number } {
  return native().peerCredentials(fd);
}
