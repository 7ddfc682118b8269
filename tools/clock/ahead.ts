/**
 * A test run whose clock is ahead: `scripts/test --ahead DAYS`, or BAILIFF_AHEAD=DAYS. It finds tests
 * that fail from a date on.
 *
 * ahead.c, loaded by LD_PRELOAD, moves the wall clock of every dynamically linked program that a
 * test starts, and of the workers that run the tests. environment.ts applies it before there are
 * any. CONTRIBUTING.md lists what keeps the present time.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, renameSync } from 'node:fs';
import path from 'node:path';

const SOURCE = path.join(import.meta.dirname, 'ahead.c');
const CACHE = path.resolve(import.meta.dirname, '../../.cache/clock');
export const DAY_S = 86_400;

type Environment = Readonly<Record<string, string | undefined>>;

/** Days of BAILIFF_AHEAD; 0 without it. Throws if scripts/test would refuse them. */
export function daysAhead({ BAILIFF_AHEAD: given = '' }: Environment): number {
  if (!/^([1-9]\d{0,3})?$/.test(given)) throw new Error(`BAILIFF_AHEAD=${given}: give 1 to 9999 days`);
  return Number(given);
}

/** Applies BAILIFF_AHEAD to programs that are started from now on. */
export function chooseClock(env: NodeJS.ProcessEnv): void {
  const days = daysAhead(env);
  if (days > 0) env['LD_PRELOAD'] = [buildClock(days), env['LD_PRELOAD']].filter(Boolean).join(':');
}

/** @returns a library for LD_PRELOAD */
function buildClock(days: number): string {
  const library = path.join(CACHE, `ahead-${days}.so`);
  const built = `${library}.${process.pid}`;
  mkdirSync(CACHE, { recursive: true });
  // Some tests start programs as another user.
  chmodSync(CACHE, 0o755);
  const options = ['-O2', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', `-DAHEAD_SECONDS=${days * DAY_S}`];
  execFileSync('gcc', [...options, '-o', built, SOURCE], { stdio: ['ignore', 'ignore', 'inherit'] });
  // Programs of another run may have the former one loaded.
  renameSync(built, library);
  return library;
}
