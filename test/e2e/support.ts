/**
 * Helpers of the end-to-end tests: the `bailiff` command as a person starts it, kubectl on a lab,
 * and a search for everything that a lab could leave behind.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { CHECKOUT, exec, LABS_DIR } from '@bailiff/lab';
import { nodeArgs } from '../../tools/children.ts';
import { launch, type RunningProcess } from '../support/process.ts';

const LAB = 'test/lab/src/main.ts';
const DEMO = 'test/lab/src/demo/main.ts';
const BAILIFF = path.join(CHECKOUT, 'apps/cli/bin/bailiff.mjs');
const COMMAND_TIMEOUT_MS = 120_000;
/** As long as a test may take. */
const PRINT_TIMEOUT_MS = 300_000;

/** Runs `bailiff …` to its end and returns stdout. A failure throws with the command's output. */
export const bailiff = (...args: string[]) =>
  exec(process.execPath, [BAILIFF, ...args], { timeoutMs: COMMAND_TIMEOUT_MS });

/** An id that no other lab has; tests run beside each other. */
export const uniqueId = (prefix: string) => `${prefix}${process.pid.toString(36)}`;

export interface Running extends RunningProcess {
  /** The exit code; null after a signal. */
  readonly ended: Promise<number | null>;
  /** Sends SIGINT to the whole process group, as Ctrl-C at a terminal does. */
  interrupt(): void;
}

/**
 * The process that `bailiff lab …` starts, which takes the time. For the command itself, see
 * usage.test.ts, lab.test.ts and the tutorial.
 */
export const lab = (...args: string[]) =>
  exec(process.execPath, [...nodeArgs(LAB), ...args], { timeoutMs: COMMAND_TIMEOUT_MS });
export const startLabProcess = (...args: string[]): Running => start([...nodeArgs(LAB), ...args]);

/** The same in another directory, with flags of Node's. */
export const startLabFrom = (cwd: string, nodeFlags: readonly string[], ...args: string[]): Running =>
  start([...nodeFlags, ...nodeArgs(LAB), ...args], {}, cwd);

/** Starts `bailiff …` and leaves it running. */
export const startBailiff = (...args: string[]): Running => start([BAILIFF, ...args]);

/** Starts the demo and leaves it running. */
export const startDemo = (...args: string[]): Running => start([...nodeArgs(DEMO), ...args]);

/** The same with other variables of the environment. */
export const startDemoWith = (env: Record<string, string>, ...args: string[]): Running =>
  start([...nodeArgs(DEMO), ...args], env);

function start(argv: string[], env: Record<string, string> = {}, cwd = CHECKOUT): Running {
  const running = launch(process.execPath, argv, { cwd, detached: true, env: { ...process.env, ...env } });
  return {
    ...running,
    printed: (text) => running.printed(text, PRINT_TIMEOUT_MS),
    ended: running.exit.then(([code]) => code),
    interrupt: () => process.kill(-running.pid, 'SIGINT'),
  };
}

/** Runs kubectl on a lab; stdout. */
export function kubectl(kubeconfig: string, ...args: string[]): Promise<string> {
  const cache = path.join(path.dirname(kubeconfig), 'kubectl-cache');
  return exec('kubectl', args, { env: { KUBECONFIG: kubeconfig, KUBECACHEDIR: cache }, timeoutMs: 30_000 });
}

/** Everything on this machine that belongs to a lab, by its id: empty if nothing is left. */
export function tracesOf(id: string): string[] {
  const traces: string[] = [];
  const names = (dir: string) => (existsSync(dir) ? readdirSync(dir) : []);
  traces.push(...names('/run/netns').filter((name) => name.startsWith(`bl-${id}-`)));
  if (existsSync(path.join(LABS_DIR, id))) traces.push(path.join(LABS_DIR, id));
  for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
    const [, point = '', type] = line.split(' ');
    if (point.includes(`/${id}/`) || point.includes(`bl-${id}-`)) traces.push(`mount ${point}`);
    if (type === 'cgroup2' && existsSync(`${point}/bailiff-lab-${id}`)) traces.push(`${point}/bailiff-lab-${id}`);
  }
  for (const pid of names('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    if (!isOf(pid, id)) continue;
    traces.push(`process ${pid}`);
  }
  return traces;
}

/**
 * Remains of a virtual machine with its files below this directory: files, and processes that name
 * it. tsx keeps a cache there.
 */
export function tracesOfMachine(dir: string): string[] {
  const named = readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${dir}/`);
    } catch {
      // It ended while we looked.
      return false;
    }
  });
  return [...readdirSync(dir), ...named.map((pid) => `process ${pid}`)].filter((name) => !name.startsWith('tsx-'));
}

/** By its cgroup and by the lab's directory in its arguments: each would miss some. */
function isOf(pid: string, id: string): boolean {
  try {
    const inCgroup = readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`/bailiff-lab-${id}`);
    return inCgroup || readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${LABS_DIR}/${id}/`);
  } catch {
    // It ended while we looked.
    return false;
  }
}
