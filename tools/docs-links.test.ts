// Targets of documentation exist: links between pages, headings, and files named in code.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { listed } from './listed.ts';

const ROOT = path.resolve(import.meta.dirname, '..');
const pages = listed('*.md').filter((page) => existsSync(path.join(ROOT, page)));
const read = (page: string) => readFileSync(path.join(ROOT, page), 'utf8');

/** Anchors of headings, as forges create them. */
function anchorsOf(page: string): Set<string> {
  const headings = [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, text = '']) => text);
  return new Set(
    headings.map((text) =>
      text
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

it.each(pages)('%s - every link leads to a file and its heading', (page) => {
  const broken = [...read(page).matchAll(/\]\(([^()\s]+)\)/g)].flatMap(([, target = '']) => {
    if (/^[a-z]+:/.test(target)) return [];
    const [file = '', anchor] = target.split('#');
    const there = file === '' ? page : path.join(path.dirname(page), file);
    if (!existsSync(path.join(ROOT, there))) return [target];
    return anchor !== undefined && there.endsWith('.md') && !anchorsOf(there).has(anchor) ? [target] : [];
  });
  expect(broken).toEqual([]);
});

/** `a/{b,c}.ts` as in a shell: `a/b.ts` and `a/c.ts`. */
function expandBraces(file: string): string[] {
  const [, before = '', list = '', after = ''] = /^(.*)\{(.*)\}(.*)$/.exec(file) ?? [];
  return list === '' ? [file] : list.split(',').map((one) => `${before}${one}${after}`);
}

it.each(['ARCHITECTURE.md', 'docs/operations.md', 'docs/threat-model.md'])(
  '%s - every file that it names is there',
  (page) => {
    const named = [
      ...read(page).matchAll(/`((?:test|apps|libs|tools|docs|k8s|policies)\/[\w./{},-]+\.(?:ts|c|h|cc|md))`/g),
    ].flatMap(([, file = '']) => expandBraces(file));
    expect(named.length).toBeGreaterThan(4);
    expect(named.filter((file) => !existsSync(path.join(ROOT, file)))).toEqual([]);
  },
);

it('docs/operations.md - alerts and metrics that it names are there', () => {
  const text = read('docs/operations.md');
  const alerts = [...text.matchAll(/`(Bailiff[A-Z]\w+)`/g)].map(([, name = '']) => name);
  const metrics = [...text.matchAll(/`(bailiff_(?:collector|correlator|responder|ipam_sync|siem_relay)_\w+)`/g)];
  expect([alerts.length, metrics.length].every((count) => count > 0)).toBe(true);
  const known = read('k8s/monitoring/alerts.yaml');
  expect(alerts.filter((name) => !known.includes(`alert: ${name}\n`))).toEqual([]);
  const listed = read('docs/reference/metrics.md');
  expect(metrics.map(([, name]) => name).filter((name) => !listed.includes(`\`${name}\``))).toEqual([]);
});
