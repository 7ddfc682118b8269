/**
 * Which nats-server tests start: the first one on the PATH, which is the distribution's own unless a newer one is put before it.
 *
 * `BAILIFF_NATS=newest` does that for a whole run, and the projects `*-newest` of vitest.config.ts for themselves. What a test starts (a lab, the
 * bench, a command) then finds the same server, because everything looks along the PATH.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';

/** Root of the unpacked package, and the program below it. */
export const NEWEST_ROOT = path.resolve(import.meta.dirname, '../.cache/nats-newest');
export const NATS_PROGRAM = 'usr/sbin/nats-server';

export const isNewestFetched = (): boolean => existsSync(path.join(NEWEST_ROOT, NATS_PROGRAM));

/** The PATH on which the newest nats-server comes first. */
export const pathWithNewest = (callers: string): string =>
  [path.dirname(path.join(NEWEST_ROOT, NATS_PROGRAM)), callers].join(path.delimiter);

/** Applies what BAILIFF_NATS asks for. Throws for a server that is not there. */
export function chooseServer(env: NodeJS.ProcessEnv): void {
  const wanted = env['BAILIFF_NATS'];
  if (!wanted) return;
  if (wanted !== 'newest') throw new Error(`BAILIFF_NATS=${wanted}: the only other server is "newest"`);
  if (!isNewestFetched()) throw new Error(`BAILIFF_NATS=${wanted}: no server in ${NEWEST_ROOT}: run scripts/setup`);
  env['PATH'] = pathWithNewest(env['PATH'] ?? '');
}
