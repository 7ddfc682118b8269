/**
 * Packs the command for people: `@bailiff/cli` as an npm package, and the krew manifest of the kubectl
 * plugin, which uses the same archive. The package is one bundle without dependencies, so that it
 * installs without a network. Usage: tsx tools/package/main.ts --out DIR [--url BASE]; BASE is where
 * the archive will be downloaded from.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { pack, ROOT, readJson, version } from './pack.ts';

const { values } = parseArgs({ options: { out: { type: 'string' }, url: { type: 'string' } } });
if (!values.out) throw new Error('usage: tsx tools/package/main.ts --out DIR [--url BASE]');
const out = path.resolve(values.out);
// Modes of files are part of the archive, which is the same on every machine.
process.umask(0o022);

/** Contents of the package, in a directory of its own. */
function stage(directory: string): void {
  const bundle = [path.join(ROOT, 'tools/bundle.ts'), 'apps/cli', '--page', '--out', path.join(directory, 'dist')];
  execFileSync(process.execPath, ['--import', 'tsx', ...bundle], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  rmSync(path.join(directory, 'dist/main.mjs.map'));
  cpSync(path.join(ROOT, 'apps/cli/bin'), path.join(directory, 'bin'), { recursive: true });
}

const description = 'Bailiff on a Kubernetes cluster: the bailiff command and the kubectl plugin';
const { bin } = readJson('apps/cli/package.json');
const filename = await pack(out, 'apps/cli', { name: '@bailiff/cli', description, bin }, stage);
const sha256 = createHash('sha256')
  .update(readFileSync(path.join(out, filename)))
  .digest('hex');
const template = readFileSync(path.join(ROOT, 'k8s/krew/bailiff.yaml'), 'utf8');
const uri = `${values.url ?? 'https://example.invalid'}/${filename}`;
const manifest = template.replaceAll('VERSION', String(version)).replaceAll('URI', uri).replaceAll('SHA256', sha256);
writeFileSync(path.join(out, 'bailiff.yaml'), manifest);
process.stdout.write(`${filename}\nbailiff.yaml\n`);
