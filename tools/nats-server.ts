/**
 * Selects the nats-server of tests: the first one on the PATH, which is the distribution's unless a
 * newer one precedes it.
 *
 * `BAILIFF_NATS=newest` does that for a whole run, the projects `*-newest` of vitest.config.ts for
 * themselves. Everything that a test starts finds the same server, because it searches the PATH
 * too.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';

/** Root of the unpacked package, and the program in it. */
export const NEWEST_ROOT = path.resolve(import.meta.dirname, '../.cache/nats-newest');
export const NATS_PROGRAM = 'usr/sbin/nats-server';

export const isNewestFetched = (): boolean => existsSync(path.join(NEWEST_ROOT, NATS_PROGRAM));

/** The PATH with the newest nats-server first. */
export const pathWithNewest = (callers: string): string =>
  [path.dirname(path.join(NEWEST_ROOT, NATS_PROGRAM)), callers].join(path.delimiter);

/** Applies BAILIFF_NATS. Throws if that server does not exist. */
export function chooseServer(env: NodeJS.ProcessEnv): void {
  const wanted = env['BAILIFF_NATS'];
  if (!wanted) return;
  if (wanted !== 'newest') throw new Error(`BAILIFF_NATS=${wanted}: the only other server is "newest"`);
  if (!isNewestFetched()) throw new Error(`BAILIFF_NATS=${wanted}: no server in ${NEWEST_ROOT}: run scripts/setup`);
  env['PATH'] = pathWithNewest(env['PATH'] ?? '');
}
