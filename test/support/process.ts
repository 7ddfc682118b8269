/**
 * Processes that a test starts. Their output is kept, and they end with the test. If a process
 * ends, a wait for a log message fails with its output.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import { nodeArgs } from '../../tools/children.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
/** Characters of the end of each stream's output that are kept. */
const MAX_OUTPUT = 200_000;

export type LogLine = Record<string, unknown>;

export interface RunningProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Output of both streams, in order of arrival. */
  out(): string;
  stdout(): string;
  stderr(): string;
  /** The log lines among the output. */
  lines(): LogLine[];
  /**
   * The first log line with this message. @throws Error with the output if the process ends first
   */
  logged(message: string, timeoutMs?: number): Promise<LogLine>;
  /** Resolves when the output has this text. @throws Error with the output if it ends first */
  printed(text: string | RegExp, timeoutMs?: number): Promise<void>;
  /** Resolves when the process has ended and its output is complete. */
  readonly exit: Promise<[code: number | null, signal: string | null]>;
  /** Sends a signal and waits for the end. */
  kill(signal?: NodeJS.Signals): Promise<void>;
}

const atExit = new Set<ChildProcess>();
const killAll = () => {
  for (const child of atExit) child.kill('SIGKILL');
};

/**
 * One exit listener for all processes: each test file checks that it leaves no listeners behind.
 */
function killAtExit(child: ChildProcess): void {
  if (atExit.size === 0) process.on('exit', killAll);
  atExit.add(child);
  child.once('close', () => {
    atExit.delete(child);
    if (atExit.size === 0) process.off('exit', killAll);
  });
}

interface LaunchOptions extends SpawnOptions {
  /** Characters of output that are kept. Default: MAX_OUTPUT */
  maxOutput?: number;
}

/** Starts a program. It is killed on disposal and when this process exits. */
export function launch(program: string, args: readonly string[], options: LaunchOptions = {}): RunningProcess {
  const { maxOutput = MAX_OUTPUT, ...spawnOptions } = options;
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...spawnOptions });
  const kept = { both: '', stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name]?.setEncoding('utf8').on('data', (chunk: string) => {
      if (maxOutput === 0) return;
      kept[name] = (kept[name] + chunk).slice(-maxOutput);
      kept.both = (kept.both + chunk).slice(-maxOutput);
    });
  const exit = once(child, 'close') as RunningProcess['exit'];
  killAtExit(child);
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  const kill = async (signal: NodeJS.Signals = 'SIGKILL') => {
    if (!hasEnded()) child.kill(signal);
    await exit;
  };
  const lines = () =>
    kept.both
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as LogLine);
  const seen = async <T>(what: string, find: () => T | undefined, timeoutMs: number): Promise<T> => {
    await waitFor(() => find() !== undefined || hasEnded(), { what, timeoutMs, state: () => kept.both });
    // The end is known before the last output.
    if (find() === undefined) await exit;
    const found = find();
    if (found === undefined) throw new Error(`ended without ${what}: ${kept.both}`);
    return found;
  };
  const logged = (message: string, timeoutMs = 60_000) =>
    seen(`the log message "${message}"`, () => lines().find(({ msg }) => msg === message), timeoutMs);
  const printed = async (text: string | RegExp, timeoutMs = 60_000) => {
    const isThere = () => (typeof text === 'string' ? kept.both.includes(text) : text.test(kept.both));
    await seen(`the output "${text}"`, () => isThere() || undefined, timeoutMs);
  };
  return {
    child,
    pid: child.pid ?? 0,
    out: () => kept.both,
    stdout: () => kept.stdout,
    stderr: () => kept.stderr,
    lines,
    logged,
    printed,
    exit,
    kill,
    [Symbol.asyncDispose]: () => kill(),
  };
}

/**
 * Starts an app from its sources, as bundled for this run, with its own bus user. @param nodeFlags
 * for example those of its image
 */
export function launchApp(app: string, flags: readonly string[], nodeFlags: readonly string[] = []): RunningProcess {
  const main = nodeArgs(`apps/${app}/src/main.ts`);
  return launch(process.execPath, [...nodeFlags, ...main, '--nats-user', app, ...flags], { cwd: ROOT });
}

/** Starts an app from its built bundle, as its image does. */
export function launchBundle(app: string, flags: readonly string[], nodeFlags: readonly string[] = []): RunningProcess {
  return launch(process.execPath, [...nodeFlags, `apps/${app}/dist/main.mjs`, ...flags], { cwd: ROOT });
}
