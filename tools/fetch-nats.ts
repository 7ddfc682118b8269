/**
 * `node --import tsx tools/fetch-nats.ts` unpacks the nats-server of the distribution's newest
 * suite into .cache, where tools/nats-server.ts finds it.
 *
 * scripts/setup runs it if there is none. The result appears atomically and only if it runs here.
 * On failure the reason is on stderr and the exit code is 1; tests on that server are then skipped,
 * which fails in CI.
 */
import { renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { aptOf, fetchForTests, run, unpack } from './distribution.ts';
import { NATS_PROGRAM, NEWEST_ROOT } from './nats-server.ts';

const PACKAGE = 'nats-server';
const SUITE = 'sid';

fetchForTests(`${PACKAGE} of ${SUITE}`, path.dirname(NEWEST_ROOT), (dir) => {
  const root = unpack([PACKAGE], aptOf([SUITE], path.join(dir, 'apt')), dir);
  // It may need newer libraries than this machine has.
  const version = run(path.join(root, NATS_PROGRAM), ['--version']).trim();
  rmSync(NEWEST_ROOT, { recursive: true, force: true });
  renameSync(root, NEWEST_ROOT);
  return version;
});
