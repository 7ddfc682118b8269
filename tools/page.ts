/**
 * Bundles the page of apps/console into a few files of text. Usage: tsx tools/page.ts, which writes
 * apps/console/dist/page.json for a checkout. tools/bundle.ts compiles the same text into the CLI.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, type Metafile } from 'esbuild';

const ROOT = path.resolve(import.meta.dirname, '..');
const SOURCES = path.join(ROOT, 'apps/console/src/browser');

export interface Page {
  /** Content by path: `/app.js`. */
  files: Record<string, string>;
  metafile: Metafile;
}

export async function buildPage(): Promise<Page> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: ROOT,
    metafile: true,
    write: false,
    entryPoints: { app: path.join(SOURCES, 'main.tsx'), style: path.join(SOURCES, 'style.css') },
    outdir: '/',
    bundle: true,
    platform: 'browser',
    format: 'esm',
    target: ['chrome120', 'firefox121', 'safari17'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    minify: true,
    legalComments: 'none',
    logLevel: 'warning',
  });
  const files: Record<string, string> = {};
  for (const { path: file, text } of outputFiles) files[`/${path.basename(file)}`] = text;
  for (const name of ['index.html', 'icon.svg']) files[`/${name}`] = readFileSync(path.join(SOURCES, name), 'utf8');
  return { files, metafile };
}

/** Writes the page for a checkout. */
export async function writePage(): Promise<void> {
  const { files } = await buildPage();
  const directory = path.join(ROOT, 'apps/console/dist');
  mkdirSync(directory, { recursive: true });
  writeFileSync(path.join(directory, 'page.json'), JSON.stringify(files));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await writePage();
