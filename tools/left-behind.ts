/**
 * Detects what a test file leaves behind in its process. Files of some tiers share a process
 * (vitest.config.ts), so a leftover (an event loop handle, a listener, a variable, a child process,
 * a BPF link) makes another file fail. left-behind-setup.ts compares before and after each file, so
 * the causing file fails.
 */
import { readdirSync, readlinkSync } from 'node:fs';

/** Number by name. */
type Counts = Readonly<Record<string, number>>;

export interface Look {
  readonly counts: Counts;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

/**
 * Handles that keep the event loop alive or serve requests. Timers and pipes are excluded, because
 * vitest has its own.
 */
const RESOURCES = ['Immediate', 'ProcessWrap', 'TCPServerWrap', 'UDPWrap', 'FSEventWrap'];
/** In the kernel: a link stays in force while a file descriptor refers to it. */
const HELD = 'anon_inode:bpf_link';

function held(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return []; // Closed since it was listed, like the descriptor of the directory itself.
    }
  });
}

/**
 * The present state. An exited child, and handles that a callback of this turn closes, disappear
 * one turn later.
 */
export function look(): Look {
  const counts: Record<string, number> = {};
  const add = (name: string, count = 1) => {
    counts[name] = (counts[name] ?? 0) + count;
  };
  for (const name of process.getActiveResourcesInfo()) if (RESOURCES.includes(name)) add(name);
  for (const name of process.eventNames()) add(`listeners of '${String(name)}'`, process.listenerCount(name));
  for (const name of held()) if (name === HELD) add(name);
  return { counts, env: { ...process.env }, cwd: process.cwd() };
}

/** Additions and differences in `after`, one line each. Removals are ignored. */
export function leftBehind(before: Look, after: Look): string[] {
  const more = Object.entries(after.counts)
    .filter(([name, count]) => count > (before.counts[name] ?? 0))
    .map(([name, count]) => `${name}: ${before.counts[name] ?? 0} before, ${count} after`);
  const names = [...new Set([...Object.keys(before.env), ...Object.keys(after.env)])];
  const other = names
    .filter((name) => before.env[name] !== after.env[name])
    .map((name) => `variable ${name}: ${before.env[name] ?? '(unset)'} before, ${after.env[name] ?? '(unset)'} after`);
  return [...more, ...other, ...(before.cwd === after.cwd ? [] : [`working directory: ${after.cwd}`])];
}
