/** An app from its bundle as a process of its own, started as an image starts it, for benches that need no node. Ended on dispose. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { CHECKOUT } from '@bailiff/lab/node';
import { waitFor } from '@bailiff/service/testing';
import { nodeFlagsOf } from '../../tools/node-flags.ts';

/** USER_HZ: what /proc counts CPU time in. */
const TICKS_PER_SECOND = 100;
/** The end of its log that is kept. */
const MAX_LOG = 200_000;

/** Seconds of CPU that a process has taken, user and system. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function statusMb(pid: number, field: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return (Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) * 1024) / 1e6;
}

/** Resident memory of a process in MB of 10^6 bytes, as budgets are given. */
export const residentMb = (pid: number): number => statusMb(pid, 'VmRSS');
/** The part of it that is no page of a file: what ends with the process. */
export const anonymousMb = (pid: number): number => statusMb(pid, 'RssAnon');

export interface AppProcess extends AsyncDisposable {
  readonly pid: number;
  readonly log: () => string;
  /** The first log line with this message, as soon as it is there. */
  until(message: string, timeoutMs?: number): Promise<{ time: number } & Record<string, unknown>>;
  /** Asks it to end and waits; killed when it takes longer than 15 s. */
  stop(): Promise<void>;
}

export function startApp(name: string, args: readonly string[]): AppProcess {
  const bundle = path.join(CHECKOUT, 'apps', name, 'dist/main.mjs');
  const child = spawn(process.execPath, [...nodeFlagsOf(name), bundle, ...args, '--metrics-address', '127.0.0.1:0'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      log = (log + chunk.toString()).slice(-MAX_LOG);
    });
  }
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);
  const exited = once(child, 'exit').then(() => process.off('exit', killAtExit));
  const stop = async () => {
    const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
    child.kill('SIGTERM');
    await exited;
    clearTimeout(timer);
  };
  return {
    pid: child.pid as number,
    log: () => log,
    stop,
    until: (message, timeoutMs = 20_000) =>
      waitFor(
        () => {
          const line = log.split('\n').find((text) => text.includes(`"msg":"${message}"`));
          return line && (JSON.parse(line) as { time: number });
        },
        { what: `${name} to say ${message}`, timeoutMs, state: () => log.slice(-4000) },
      ),
    [Symbol.asyncDispose]: stop,
  };
}
