/**
 * A child process with line output (labtool, and apps with JSON logs). Lines are delivered as they
 * arrive; longer lines are cut at a limit, which bounds memory.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { LabError } from '../errors.ts';

const MAX_LINE_BYTES = 256 * 1024;
/** Kept end of stderr for errors. */
const MAX_STDERR_BYTES = 4_000;

export interface LineProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Resolves after exit and the end of output: exit status, or the name of the signal. */
  readonly ended: Promise<number | NodeJS.Signals>;
  readonly hasEnded: () => boolean;
  readonly stderrTail: () => string;
  /** Closes stdin, which ends labtool's count, talk and send. */
  closeInput(data?: Buffer): void;
}

export interface LineOptions {
  onLine?: (line: string) => void;
  /** Called for lines of stderr; its end is kept for errors in any case. */
  onErrorLine?: (line: string) => void;
  /** Complete environment; default: this process's own. */
  env?: Readonly<Record<string, string | undefined>>;
  cwd?: string;
}

function splitLines(stream: Readable, onLine: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = (lines.pop() ?? '').slice(0, MAX_LINE_BYTES);
    for (const line of lines) onLine(line);
  });
  stream.on('end', () => rest !== '' && onLine(rest));
}

/** @throws LabError LAB_MISSING_PROGRAM if it cannot be started */
export async function startLines(
  command: string,
  args: readonly string[],
  options: LineOptions = {},
): Promise<LineProcess> {
  const child = spawn(command, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    cwd: options.cwd,
    // An own process group: the lab handles Ctrl-C and stops its children in order.
    detached: true,
    env: options.env ?? process.env,
  });
  splitLines(child.stdout, (line) => options.onLine?.(line));
  let stderr = '';
  splitLines(child.stderr, (line) => {
    stderr = `${stderr}${line}\n`.slice(-MAX_STDERR_BYTES);
    options.onErrorLine?.(line);
  });
  child.stdin.on('error', () => undefined);
  let ended = false;
  const end = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once('close', (status, signal) => {
      ended = true;
      resolve(status ?? signal ?? 1);
    });
  });
  try {
    await once(child, 'spawn');
  } catch (cause) {
    throw new LabError('LAB_MISSING_PROGRAM', `${command}: ${(cause as Error).message}`, { cause });
  }
  return {
    child,
    pid: child.pid as number,
    ended: end,
    hasEnded: () => ended,
    stderrTail: () => stderr.trim(),
    closeInput: (data) => child.stdin.end(data),
  };
}

/** Sends a signal and waits for the exit; SIGKILL after `graceMs`. */
export async function stopLines(target: LineProcess, signal: NodeJS.Signals, graceMs: number): Promise<void> {
  if (target.hasEnded()) return;
  target.child.kill(signal);
  const timer = setTimeout(() => target.child.kill('SIGKILL'), graceMs);
  await target.ended;
  clearTimeout(timer);
}
