/**
 * The lab's part of the cgroup v2 tree. All processes of a lab run below one directory, so one
 * write to cgroup.kill ends them, including processes forked meanwhile. The tree enables no
 * controllers.
 */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { LabError } from './errors.ts';
import { type Probe, until } from './until.ts';

/**
 * Limit of the wait for killed processes; SIGKILL takes milliseconds unless a process is stuck in
 * the kernel.
 */
const KILL_TIMEOUT_MS = 30_000;
/** Limit of the wait for a removable cgroup. */
const REMOVE_TIMEOUT_MS = 30_000;

/** Mount point of cgroup v2 from the text of /proc/self/mounts. Pure. */
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

/** Pids in a cgroup without its descendants; empty if it does not exist. */
export async function cgroupPids(dir: string): Promise<number[]> {
  const text = await readFile(path.join(dir, 'cgroup.procs'), 'utf8').catch(() => '');
  return text.split('\n').filter(Boolean).map(Number);
}

/**
 * Sends SIGTERM to every process of a cgroup and waits until it is empty, up to the grace period.
 * @returns whether it is empty
 */
export async function terminateCgroup(dir: string, graceMs: number): Promise<boolean> {
  for (const pid of await cgroupPids(dir)) {
    try {
      process.kill(pid, 'SIGTERM');
    } catch (error) {
      // The process ended between the list and the signal.
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

/**
 * Kills all processes at and below the cgroup and waits until it is empty. No-op if it does not
 * exist.
 */
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

/** Removes an empty cgroup and its descendants, deepest first. */
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
        // A killed process leaves its cgroup slightly after the cgroup counts as unpopulated.
        if (code === 'EBUSY') return { seen: 'EBUSY' };
        throw error;
      }
    },
    { timeoutMs: REMOVE_TIMEOUT_MS, everyMs: 5 },
  );
}
