/** A bundled app as a process, started as in an image, for benches without a node. Stops on dispose. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import { nodeFlagsOf } from '../../tools/node-flags.ts';
import { CHECKOUT } from '../lab/src/native-tool.ts';

/** USER_HZ, the unit of CPU time in /proc. */
const TICKS_PER_SECOND = 100;
/** Kept characters of the end of the log. */
const MAX_LOG = 200_000;

/** CPU seconds of a process, user and system. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function statusMb(pid: number, field: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return (Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) * 1024) / 1e6;
}

/** Resident memory of a process in MB of 10^6 bytes. */
export const residentMb = (pid: number): number => statusMb(pid, 'VmRSS');
/** The anonymous part of it. */
export const anonymousMb = (pid: number): number => statusMb(pid, 'RssAnon');

export interface AppProcess extends AsyncDisposable {
  readonly pid: number;
  readonly log: () => string;
  /** Waits for the first log line with this message. */
  until(message: string, timeoutMs?: number): Promise<{ time: number } & Record<string, unknown>>;
  /** Sends SIGTERM and waits; sends SIGKILL after 15 s. */
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
        { what: `${name} to log "${message}"`, timeoutMs, state: () => log.slice(-4000) },
      ),
    [Symbol.asyncDispose]: stop,
  };
}
