/**
 * `npm run site`: builds the documentation as a site, in dist/site or --out DIR. The generator is a
 * package of its own (tools/site/package.json), so that the build of the product does not contain it;
 * the first run installs it, and --install does nothing else.
 * Exit codes: 0; 1 a page cannot be built, or a link is broken, with the list on stderr.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { listed } from '../listed.ts';
import { brokenLinks } from './check.ts';
import { sectionsOf } from './navigation.ts';
import { stage } from './stage.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const PACKAGES = path.join(import.meta.dirname, 'node_modules');
const LOCK = path.join(import.meta.dirname, 'package-lock.json');
const STAMP = path.join(PACKAGES, '.bailiff-lock');
const read = (file: string) => readFileSync(file, 'utf8');
const OUTPUT = { stdio: ['ignore', 'ignore', 'inherit'] as ('ignore' | 'inherit')[] };

/** Again after each change of the lock file. No package runs a program at its installation. */
function install(): void {
  if (existsSync(STAMP) && read(STAMP) === read(LOCK)) return;
  process.stderr.write('site: npm ci of the generator (100 MB)\n');
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  execFileSync('npm', args, { cwd: import.meta.dirname, ...OUTPUT });
  copyFileSync(LOCK, STAMP);
}

/** @returns links that lead nowhere. @throws Error if a page cannot be built */
function build(out: string): string[] {
  const directory = path.join(ROOT, '.cache/site', String(process.pid));
  try {
    const sections = sectionsOf(stage({ root: ROOT, directory, files: listed() }));
    copyFileSync(path.join(ROOT, 'apps/console/src/browser/icon.svg'), path.join(directory, 'public/icon.svg'));
    symlinkSync(PACKAGES, path.join(directory, 'node_modules'));
    const config = JSON.stringify(path.join(import.meta.dirname, 'config.ts'));
    const text = `import { configOf } from ${config};\nexport default configOf(${JSON.stringify(sections)});\n`;
    writeFileSync(path.join(directory, '.vitepress/config.ts'), text);
    rmSync(out, { recursive: true, force: true });
    mkdirSync(out, { recursive: true });
    const program = path.join(PACKAGES, 'vitepress/bin/vitepress.js');
    execFileSync(process.execPath, [program, 'build', directory, '--outDir', out], { cwd: directory, ...OUTPUT });
    return brokenLinks(out);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function main(): number {
  const { values } = parseArgs({ options: { out: { type: 'string' }, install: { type: 'boolean' } } });
  try {
    install();
    if (values.install === true) return 0;
    const out = path.resolve(values.out ?? path.join(ROOT, 'dist/site'));
    const broken = build(out);
    for (const line of broken) process.stderr.write(`site: broken link in ${line}\n`);
    if (broken.length === 0) process.stdout.write(`${out}/index.html\n`);
    return Number(broken.length > 0);
  } catch (error) {
    process.stderr.write(`site: ${(error as Error).message}\n`);
    return 1;
  }
}

process.exitCode = main();
