/**
 * Removes everything of a lab by its id: processes (by cgroup), bpffs mounts, network namespaces,
 * cgroups, directory. Idempotent in any state of the lab, also after its supervisor was killed.
 * Checks at the end and fails if something is left.
 */
import { existsSync } from 'node:fs';
import { readFile, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { cgroup2Mount, killCgroup, removeCgroup } from '../cgroup.ts';
import { LabError } from '../errors.ts';
import { cgroupName, isLabId, LABS_DIR, netnsPrefix, notALabId } from '../names.ts';
import { deleteNetns, listNetns } from '../net/netns.ts';
import { exec } from '../process/exec.ts';
import { until } from '../until.ts';
import { isAlive, readState } from './state.ts';

/** A supervisor gets this long for an orderly stop, then it is killed. */
const SUPERVISOR_STOP_MS = 30_000;
/** Limit of the wait for a killed supervisor. */
const SUPERVISOR_END_MS = 30_000;

/** Mount points below a directory, deepest first, from the text of /proc/self/mounts. Pure. */
export function mountsBelow(mounts: string, dir: string): string[] {
  const points = mounts.split('\n').map((line) => (line.split(' ')[1] ?? '').replaceAll('\\040', ' '));
  return points.filter((point) => point.startsWith(`${dir}/`)).sort((a, b) => b.length - a.length);
}

async function leftovers(id: string, labsDir: string): Promise<string[]> {
  const dir = path.join(labsDir, id);
  const cgroup = path.join(cgroup2Mount(), cgroupName(id));
  return [
    ...(await listNetns(netnsPrefix(id))),
    ...mountsBelow(await readFile('/proc/self/mounts', 'utf8'), dir),
    ...[dir, cgroup].filter((each) => existsSync(each)),
  ];
}

/**
 * Removes everything except the supervisor's process. @throws LabError LAB_LEFTOVER naming what
 * could not be removed
 */
export async function removeEverything(id: string, labsDir = LABS_DIR): Promise<void> {
  if (!isLabId(id)) throw new LabError('LAB_USAGE', notALabId(id));
  const dir = path.join(labsDir, id);
  const cgroup = path.join(cgroup2Mount(), cgroupName(id));
  await killCgroup(cgroup);
  for (const point of mountsBelow(await readFile('/proc/self/mounts', 'utf8'), dir)) await exec('umount', [point]);
  for (const netns of await listNetns(netnsPrefix(id))) await deleteNetns(netns);
  await removeCgroup(cgroup);
  await rm(dir, { recursive: true, force: true });
  // The last lab removes the directory of all labs.
  await rmdir(labsDir).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOTEMPTY' && error.code !== 'ENOENT') throw error;
  });
  const left = await leftovers(id, labsDir);
  if (left.length > 0) throw new LabError('LAB_LEFTOVER', `lab ${id} is down, but these remain: ${left.join(', ')}`);
}

/**
 * Asks a running supervisor to stop and waits for its exit. It removes the lab; the caller removes
 * what it left.
 */
async function stopSupervisor(id: string, labsDir: string): Promise<void> {
  const state = await readState(path.join(labsDir, id));
  if (!state || state.pid === process.pid || !isAlive(state)) return;
  const gone = () => (isAlive(state) ? { seen: `pid ${state.pid} is alive` } : { value: true });
  process.kill(state.pid, 'SIGTERM');
  await until(`the lab's supervisor to stop`, gone, { timeoutMs: SUPERVISOR_STOP_MS }).catch(() => {
    if (isAlive(state)) process.kill(state.pid, 'SIGKILL');
  });
  await until(`the lab's supervisor to end`, gone, { timeoutMs: SUPERVISOR_END_MS });
}

/** `lab down` for one lab. */
export async function takeDown(id: string, labsDir = LABS_DIR): Promise<void> {
  await stopSupervisor(id, labsDir);
  await removeEverything(id, labsDir);
}
