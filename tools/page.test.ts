import { readFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeAll, expect, it } from 'vitest';
import { bundledPackages, type LockFile } from './bundled-packages.ts';
import { buildPage, type Page } from './page.ts';

const ROOT = path.resolve(import.meta.dirname, '..');
const MOST_BYTES = 150_000;

let page: Page;
beforeAll(async () => {
  page = await buildPage();
});

it('size - all files of the page, compressed', () => {
  const sizes = Object.values(page.files).map((text) => gzipSync(text).length);
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  expect(bytes).toBeLessThan(MOST_BYTES);
  expect(bytes, 'control').toBeGreaterThan(5_000);
});

it('content - no script or style in the document, and no address of another host', () => {
  const { '/index.html': document = '', '/app.js': script = '', '/style.css': style = '' } = page.files;
  expect(document).not.toMatch(/<style|<script(?! type="module" src="\/)|\son\w+=|\sstyle=/);
  const addresses = [document, script, style].flatMap((text) => text.match(/https?:\/\/[\w.-]+/g) ?? []);
  expect(addresses.filter((address) => !address.endsWith('www.w3.org'))).toEqual([]);
});

it('packages - those of the page are known to the lock file', () => {
  const lock = JSON.parse(readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8')) as LockFile;
  const names = bundledPackages(page.metafile, lock).map(({ name, license }) => [name, license]);
  expect(names).toEqual([
    ['@preact/signals-core', 'MIT'],
    ['@preact/signals', 'MIT'],
    ['preact', 'MIT'],
  ]);
});
