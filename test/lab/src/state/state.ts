/**
 * State of a lab: <dir>/state.json, replaced atomically at each change. Other processes list, use
 * and remove the lab by it, also after its supervisor was killed.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { isLabId, LABS_DIR } from '../names.ts';

export interface LabPodInfo {
  namespace: string;
  name: string;
  uid: string;
  node: string;
  netns: string;
  ips: string[];
  mac: string;
  hostInterface: string;
}

/** Output of `lab up --json`, for users of the lab. */
export interface LabInfo {
  natsUrl: string;
  redisUrl: string;
  kubeconfig: string;
  nodes: { name: string; netns: string }[];
  pods: LabPodInfo[];
  id: string;
  dir: string;
  /** Bus identities for commands and for provisioning. */
  credentials: Record<'cli' | 'admin', { user: string; passwordFile: string }>;
}

export interface LabState {
  version: 1;
  id: string;
  /**
   * The supervisor. Its start time in clock ticks distinguishes it from a later process with the
   * same pid.
   */
  pid: number;
  startTicks: string;
  createdAt: string;
  phase: 'starting' | 'ready' | 'stopping';
  /** Absolute path of the lab's cgroup; every process except the supervisor runs below it. */
  cgroupDir: string;
  processes: { name: string; pid: number; log: string }[];
  info: LabInfo | null;
}

const stateFile = (labDir: string) => path.join(labDir, 'state.json');

/**
 * Start time of a process, which identifies it together with the pid; null without such a process.
 * Pure.
 */
export function startTicksOf(stat: string): string {
  // The second field is the program's name in parentheses and may contain spaces; the start time is
  // the 22nd.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

export function processStartTicks(pid: number): string | null {
  try {
    return startTicksOf(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return null;
  }
}

export function isAlive(state: Pick<LabState, 'pid' | 'startTicks'>): boolean {
  return processStartTicks(state.pid) === state.startTicks;
}

/** Written to a temporary file and renamed: readers see the old or the new state. */
export function writeState(labDir: string, state: LabState): void {
  mkdirSync(labDir, { recursive: true, mode: 0o755 });
  const fresh = `${stateFile(labDir)}.new`;
  writeFileSync(fresh, `${JSON.stringify(state, null, 2)}\n`);
  renameSync(fresh, stateFile(labDir));
}

/** null without such a lab, or if its supervisor died before the first write. */
export async function readState(labDir: string): Promise<LabState | null> {
  try {
    return JSON.parse(await readFile(stateFile(labDir), 'utf8')) as LabState;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

export interface KnownLab {
  id: string;
  state: LabState | null;
  /** Its supervisor runs. */
  alive: boolean;
  /** Names of programs that ended while the supervisor runs. */
  dead: string[];
}

/**
 * Programs of a lab that no longer run. A later process with the same pid is not in the lab's
 * cgroup.
 */
function deadProcesses(state: LabState): string[] {
  const runs = ({ pid }: { pid: number }) => {
    try {
      return readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`/${path.basename(state.cgroupDir)}/`);
    } catch {
      return false;
    }
  };
  // A restarted program is listed twice.
  const running = new Set(state.processes.filter(runs).map(({ name }) => name));
  return [...new Set(state.processes.map(({ name }) => name))].filter((name) => !running.has(name));
}

/** All labs of the machine, newest first; labs without a state come last. */
export async function listLabs(labsDir = LABS_DIR): Promise<KnownLab[]> {
  const names = await readdir(labsDir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const labs = await Promise.all(
    names.filter(isLabId).map(async (id) => {
      const state = await readState(path.join(labsDir, id));
      const alive = state !== null && isAlive(state);
      return { id, state, alive, dead: alive && state.phase === 'ready' ? deadProcesses(state) : [] };
    }),
  );
  return labs.sort((a, b) => (b.state?.createdAt ?? '').localeCompare(a.state?.createdAt ?? ''));
}
