#!/usr/bin/env node
// The `bailiff` command. Runs the bundle. In a checkout whose bundle is missing or older than the
// sources, it runs the sources through tsx.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const bundle = join(here, '../dist/main.mjs');
const sources = join(here, '../src');
const libs = join(here, '../../../libs');
const page = join(here, '../../console/src');

function isNewer(dir, than) {
  if (!existsSync(dir)) return false;
  const entries = readdirSync(dir, { withFileTypes: true, recursive: true });
  return entries.some((entry) => {
    if (!entry.isFile() || entry.name.endsWith('.test.ts')) return false;
    return statSync(join(entry.parentPath, entry.name)).mtimeMs > than;
  });
}

function isStale() {
  if (!existsSync(bundle)) return true;
  if (!existsSync(join(sources, 'main.ts'))) return false;
  const built = statSync(bundle).mtimeMs;
  const folders = existsSync(libs) ? readdirSync(libs).map((lib) => join(libs, lib, 'src')) : [];
  return [sources, page, ...folders].some((dir) => isNewer(dir, built));
}

if (isStale()) {
  const { register } = await import('tsx/esm/api');
  register();
  await import(pathToFileURL(join(sources, 'main.ts')).href);
} else await import(pathToFileURL(bundle).href);
