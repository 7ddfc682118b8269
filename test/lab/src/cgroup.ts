/**
 * The lab's part of the cgroup v2 tree. Every process of a lab lives below one directory, so that ending them all is one
 * write to cgroup.kill: no list of pids that may be out of date, nothing forked in between escapes. No controllers are
 * used; the tree only says whose a process is.
 */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { LabError } from './errors.ts';
import { type Probe, until } from './until.ts';

/** Bound of the wait for killed processes to be gone; SIGKILL takes milliseconds unless a process is stuck in the kernel. */
const KILL_TIMEOUT_MS = 30_000;
/** And for their cgroup to be let go of. */
const REMOVE_TIMEOUT_MS = 30_000;

/** Where cgroup v2 is mounted, read from the text of /proc/self/mounts. Pure. */
export function findCgroup2(mounts: string): string | null {
  for (const line of mounts.split('\n')) {
    const [, mountPoint, type] = line.split(' ');
    if (type === 'cgroup2' && mountPoint) return mountPoint;
  }
  return null;
}

/** @throws LabError LAB_MISSING_FEATURE */
export function cgroup2Mount(): string {
  const mountPoint = findCgroup2(readFileSync('/proc/self/mounts', 'utf8'));
  if (!mountPoint) throw new LabError('LAB_MISSING_FEATURE', 'no cgroup v2 file system is mounted');
  return mountPoint;
}

export async function createCgroup(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true });
}

/** Pids in a cgroup itself, not in those below; empty when it does not exist. */
export async function cgroupPids(dir: string): Promise<number[]> {
  const text = await readFile(path.join(dir, 'cgroup.procs'), 'utf8').catch(() => '');
  return text.split('\n').filter(Boolean).map(Number);
}

/** Sends SIGTERM to every process of a cgroup and waits until it is empty or the time is up. @returns whether it is empty */
export async function terminateCgroup(dir: string, graceMs: number): Promise<boolean> {
  for (const pid of await cgroupPids(dir)) {
    try {
      process.kill(pid, 'SIGTERM');
    } catch (error) {
      // It ended by itself between the list and the signal.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
  const probe = async (): Promise<Probe<true>> => {
    const pids = await cgroupPids(dir);
    return pids.length === 0 ? { value: true } : { seen: pids.join(' ') };
  };
  const empty = until(`${dir} to be empty`, probe, { timeoutMs: graceMs, everyMs: 10 });
  return empty.then(
    () => true,
    () => false,
  );
}

/** Kills everything at and below the cgroup and waits until it is empty. Nothing happens when it does not exist. */
export async function killCgroup(dir: string): Promise<void> {
  if (!existsSync(dir)) return;
  await writeFile(path.join(dir, 'cgroup.kill'), '1');
  await until(
    `the processes below ${dir} to end`,
    async () => {
      const events = await readFile(path.join(dir, 'cgroup.events'), 'utf8').catch(() => 'populated 0');
      return events.includes('populated 0') ? { value: true } : { seen: events.trim() };
    },
    { timeoutMs: KILL_TIMEOUT_MS, everyMs: 5 },
  );
}

/** Removes an empty cgroup with everything below it, deepest first. */
export async function removeCgroup(dir: string): Promise<void> {
  const entries = await readdir(dir, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (!entries) return;
  for (const entry of entries) if (entry.isDirectory()) await removeCgroup(path.join(dir, entry.name));
  await until(
    `${dir} to be removable`,
    async () => {
      try {
        await rmdir(dir);
        return { value: true };
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'ENOENT') return { value: true };
        // A process that was killed leaves its cgroup a moment after it stopped counting as populated.
        if (code === 'EBUSY') return { seen: 'EBUSY' };
        throw error;
      }
    },
    { timeoutMs: REMOVE_TIMEOUT_MS, everyMs: 5 },
  );
}
