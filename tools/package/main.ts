/**
 * Packs the command for people: `@bailiff/cli` as an npm package, and the krew manifest of the kubectl
 * plugin, which uses the same archive. The package is one bundle without dependencies, so that it
 * installs without a network. Usage: tsx tools/package/main.ts --out DIR [--url BASE]; BASE is where
 * the archive will be downloaded from.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

const ROOT = path.resolve(import.meta.dirname, '../..');
const { values } = parseArgs({ options: { out: { type: 'string' }, url: { type: 'string' } } });
if (!values.out) throw new Error('usage: tsx tools/package/main.ts --out DIR [--url BASE]');
const out = path.resolve(values.out);
// Modes of files are part of the archive, which is the same on every machine.
process.umask(0o022);

const readJson = (file: string) => JSON.parse(readFileSync(path.join(ROOT, file), 'utf8'));
const { version, license, engines } = readJson('package.json') as Record<string, unknown>;

/** Contents of the package, in a directory of its own. */
function stage(directory: string): void {
  const bundle = [path.join(ROOT, 'tools/bundle.ts'), 'apps/cli', '--page', '--out', path.join(directory, 'dist')];
  execFileSync(process.execPath, ['--import', 'tsx', ...bundle], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  rmSync(path.join(directory, 'dist/main.mjs.map'));
  cpSync(path.join(ROOT, 'apps/cli/bin'), path.join(directory, 'bin'), { recursive: true });
  copyFileSync(path.join(ROOT, 'LICENSE'), path.join(directory, 'LICENSE'));
  copyFileSync(path.join(ROOT, 'apps/cli/README.md'), path.join(directory, 'README.md'));
  const description = 'Bailiff on a Kubernetes cluster: the bailiff command and the kubectl plugin';
  const { bin } = readJson('apps/cli/package.json') as { bin: Record<string, string> };
  const manifest = { name: '@bailiff/cli', version, license, description, type: 'module', bin, engines };
  writeFileSync(path.join(directory, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}

const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-package-'));
try {
  mkdirSync(out, { recursive: true });
  stage(directory);
  const packed = execFileSync('npm', ['pack', '--json', '--offline', '--pack-destination', out], {
    cwd: directory,
    encoding: 'utf8',
  });
  const [{ filename }] = JSON.parse(packed) as [{ filename: string }];
  const sha256 = createHash('sha256')
    .update(readFileSync(path.join(out, filename)))
    .digest('hex');
  const template = readFileSync(path.join(ROOT, 'k8s/krew/bailiff.yaml'), 'utf8');
  const uri = `${values.url ?? 'https://example.invalid'}/${filename}`;
  const manifest = template.replaceAll('VERSION', String(version)).replaceAll('URI', uri).replaceAll('SHA256', sha256);
  writeFileSync(path.join(out, 'bailiff.yaml'), manifest);
  process.stdout.write(`${filename}\nbailiff.yaml\n`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
