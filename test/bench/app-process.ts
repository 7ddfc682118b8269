/** An app from its bundle as a process of its own, started as an image starts it, for benches that need no node. Ended on dispose. */
import { readFileSync } from 'node:fs';
import { nodeFlagsOf } from '../../tools/node-flags.ts';
import { type LogLine, launchBundle } from '../support/process.ts';

/** USER_HZ: what /proc counts CPU time in. */
const TICKS_PER_SECOND = 100;

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
  until(message: string, timeoutMs?: number): Promise<{ time: number } & LogLine>;
  /** Asks it to end and waits; killed when it takes longer than 15 s. */
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
    ...{ pid: app.pid, log: app.out, stop, [Symbol.asyncDispose]: stop },
    until: (message, timeoutMs = 20_000) => app.logged(message, timeoutMs) as Promise<{ time: number } & LogLine>,
  };
}
