/**
 * Long-running programs of a lab (servers and apps): each in the lab's cgroup and optionally a
 * node's network namespace, with its output in a log file and its readiness taken from that output.
 * The kernel kills them with the supervisor.
 */
import { createWriteStream, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { LabError } from '../errors.ts';
import { labtoolArgs, type Place } from '../native-tool.ts';
import { serviceEnvironment } from '../process/environment.ts';
import { type LineProcess, startLines, stopLines } from '../process/lines.ts';

/** Log lines in an error. */
const TAIL_LINES = 12;

export interface ChildSpec {
  name: string;
  command: string;
  args: readonly string[];
  /** Added to the result of serviceEnvironment. */
  env?: Record<string, string>;
  place: Place;
  logFile: string;
  labtool: string;
  /** True for the line that reports readiness; without it a program is ready when it runs. */
  isReady?: (line: string) => boolean;
}

export interface Child {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  /** @throws LabError LAB_PROCESS_ENDED or LAB_NOT_READY with the last log lines */
  ready(timeoutMs: number): Promise<void>;
  readonly ended: Promise<number | NodeJS.Signals>;
  readonly hasEnded: () => boolean;
  /** True after the first call of `stop`. */
  readonly wasStopped: () => boolean;
  /** SIGTERM, then SIGKILL after the grace period. */
  stop(graceMs: number): Promise<void>;
  kill(signal: NodeJS.Signals): void;
}

/** Apps report readiness in a JSON log line. */
export function isReadyLine(line: string): boolean {
  if (!line.includes('"ready"')) return false;
  try {
    return (JSON.parse(line) as { msg?: unknown }).msg === 'ready';
  } catch {
    return false;
  }
}

async function awaitReady(spec: ChildSpec, lines: LineProcess, seen: Promise<void>, tail: string[], timeoutMs: number) {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), timeoutMs);
  });
  const outcome = await Promise.race([seen.then(() => 'ready' as const), lines.ended, late]);
  clearTimeout(timer);
  if (outcome === 'ready') return;
  const output = tail.join('\n');
  if (outcome === 'late')
    throw new LabError('LAB_NOT_READY', `${spec.name}: not ready after ${timeoutMs} ms\n${output}`);
  throw new LabError('LAB_PROCESS_ENDED', `${spec.name} ended (${outcome}) before it was ready\n${output}`);
}

/** @throws LabError LAB_MISSING_PROGRAM */
export async function startChild(spec: ChildSpec): Promise<Child> {
  const log: WriteStream = createWriteStream(spec.logFile, { flags: 'a' });
  const tail: string[] = [];
  let readySeen: () => void = () => undefined;
  const seen = new Promise<void>((resolve) => {
    readySeen = resolve;
  });
  if (!spec.isReady) readySeen();
  const take = (line: string) => {
    log.write(`${line}\n`);
    tail.push(line.slice(0, 500));
    if (tail.length > TAIL_LINES) tail.shift();
    if (spec.isReady?.(line)) readySeen();
  };
  const lines = await startLines(spec.labtool, labtoolArgs(spec.place, ['run', '--', spec.command, ...spec.args]), {
    env: serviceEnvironment(process.env, spec.env),
    onLine: take,
    onErrorLine: take,
  });
  const ended = lines.ended.then(async (status) => {
    log.end();
    // An unwritable log (its directory is already removed) must not fail a stop.
    await finished(log).catch(() => undefined);
    return status;
  });
  lines.closeInput();
  let stopped = false;
  return {
    name: spec.name,
    pid: lines.pid,
    logFile: spec.logFile,
    ready: (timeoutMs) => awaitReady(spec, lines, seen, tail, timeoutMs),
    ended,
    hasEnded: lines.hasEnded,
    wasStopped: () => stopped,
    stop: async (graceMs) => {
      stopped = true;
      await stopLines(lines, 'SIGTERM', graceMs);
      await ended;
    },
    kill: (signal) => lines.child.kill(signal),
  };
}
