/**
 * What a test file leaves behind in its process. Files of some tiers share one (vitest.config.ts), so what one leaves fails another, on
 * another day: a loop that keeps the processor busy, a listener, a variable, a process of its own, a link that goes on judging in the kernel
 * until the garbage collector comes. left-behind-setup.ts looks before and after each file, so it is the file itself that fails.
 */
import { readdirSync, readlinkSync } from 'node:fs';

/** How many there are, by name. */
type Counts = Readonly<Record<string, number>>;

export interface Look {
  readonly counts: Counts;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

/** What keeps the loop going or answers to others. Timers and pipes are left out: vitest has some itself, and they come and go. */
const RESOURCES = ['Immediate', 'ProcessWrap', 'TCPServerWrap', 'UDPWrap', 'FSEventWrap'];
/** Of the kernel: a link is in force for as long as somebody holds it. */
const HELD = 'anon_inode:bpf_link';

function held(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return []; // Closed since it was listed, as the directory's own.
    }
  });
}

/** What there is now. An own process that ended, and what a callback of this turn still closes, is gone a turn later. */
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

/** What is more in the second than in the first, or other, one line each. What is less is nobody's trouble. */
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
