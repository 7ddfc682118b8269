/** A bundled app as a process, started as in an image, for benches without a node. Stops on dispose. */

import { readFileSync } from 'node:fs';
import { nodeFlagsOf } from '../../tools/node-flags.ts';
import { type LogLine, launchBundle } from '../support/process.ts';

/** USER_HZ, the unit of CPU time in /proc. */
const TICKS_PER_SECOND = 100;

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
  until(message: string, timeoutMs?: number): Promise<{ time: number } & LogLine>;
  /** Sends SIGTERM and waits; sends SIGKILL after 15 s. */
  stop(): Promise<void>;
}

export function startApp(name: string, args: readonly string[]): AppProcess {
  const app = launchBundle(name, [...args, '--metrics-address', '127.0.0.1:0'], nodeFlagsOf(name));
  const stop = async () => {
    const timer = setTimeout(() => app.child.kill('SIGKILL'), 15_000);
    await app.kill('SIGTERM');
    clearTimeout(timer);
  };
  return {
    pid: app.pid,
    log: app.out,
    stop,
    [Symbol.asyncDispose]: stop,
    until: (message, timeoutMs = 20_000) => app.logged(message, timeoutMs) as Promise<{ time: number } & LogLine>,
  };
}
