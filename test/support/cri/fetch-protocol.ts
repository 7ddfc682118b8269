/**
 * `node --import tsx test/support/cri/fetch-protocol.ts` unpacks the CRI's protocol file from its
 * Debian package into .cache. Installing the package would install 40 others.
 *
 * scripts/setup runs it if there is none. On failure the reason is on stderr and the exit code is
 * 1; tests of the runtime are then skipped, which fails in CI.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { aptOf, fetchForTests, unpack } from '../../../tools/distribution.ts';
import { PROTOCOL_FILE, protocolOf } from './protocol.ts';

const PACKAGE = 'golang-github-kubernetes-cri-api-dev';
const PACKAGED = 'usr/share/gocode/src/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto';

fetchForTests(PACKAGE, path.dirname(PROTOCOL_FILE), (dir) => {
  const root = unpack([PACKAGE], aptOf(undefined, dir), dir);
  const partial = path.join(dir, 'api.proto');
  writeFileSync(partial, protocolOf(readFileSync(path.join(root, PACKAGED), 'utf8')));
  renameSync(partial, PROTOCOL_FILE);
  return 'the protocol of container runtimes';
});
