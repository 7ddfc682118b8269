/**
 * `node --import tsx tools/fetch-cosign.ts` unpacks the distribution's cosign into .cache, where
 * tools/cosign.ts finds it. Only a test of releases needs it, so it is not installed.
 *
 * On failure the reason is on stderr and the exit code is 1; the test is then skipped, which fails in CI.
 */
import { renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { COSIGN_PROGRAM, COSIGN_ROOT } from './cosign.ts';
import { aptOf, fetchForTests, run, unpack } from './distribution.ts';

fetchForTests('cosign', path.dirname(COSIGN_ROOT), (dir) => {
  const root = unpack(['cosign'], aptOf(undefined, path.join(dir, 'apt')), dir);
  run(path.join(root, COSIGN_PROGRAM), ['version']);
  rmSync(COSIGN_ROOT, { recursive: true, force: true });
  renameSync(root, COSIGN_ROOT);
  return 'cosign';
});
