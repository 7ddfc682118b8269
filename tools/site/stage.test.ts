// Pages, links and words of the site, without its generator.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { listed } from '../listed.ts';
import { brokenLinks } from './check.ts';
import { addressOf, SECTIONS, sectionsOf } from './navigation.ts';
import { stage } from './stage.ts';
import { anchorOf, termsOf } from './terms.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const directory = temporaryDirectory();

function write(root: string, files: Readonly<Record<string, string>>): string {
  const at = path.join(directory, root);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(at, name)), { recursive: true });
    writeFileSync(path.join(at, name), text);
  }
  return at;
}
const FILES = {
  'README.md':
    'See [a guide](docs/a.md#start), [code](lib/a.ts) and [decisions](docs/adr).\n\n```\n[not](one.md)\n```\n',
  'docs/a.md': '<!-- a note -->\n\n# Start\n\n[home](../README.md), [out](https://example), [here](#start)\n',
  'docs/adr/0001-a.md': '# 1. A decision\n',
  'lib/a.ts': 'code',
};

it('staging - links to pages, code and folders lead into the site; comments are left out', () => {
  const root = write('repository', FILES);
  const out = path.join(directory, 'staged');
  const pages = stage({ root, directory: out, files: Object.keys(FILES) });
  expect([...pages].sort()).toEqual(['README', 'docs/a', 'docs/adr/0001-a', 'docs/adr/index']);
  const read = (file: string) => readFileSync(path.join(out, file), 'utf8');
  expect(read('overview.md')).toBe(
    'See [a guide](./docs/a.md#start), [code](/source/lib/a.ts.txt) and [decisions](/docs/adr/).\n\n```\n[not](one.md)\n```\n',
  );
  expect(read('docs/a.md')).toBe('# Start\n\n[home](../overview.md), [out](https://example), [here](#start)\n');
  expect(read('public/source/lib/a.ts.txt')).toBe('code');
  expect(read('docs/adr/index.md')).toContain('[1. A decision](./0001-a.md)');
});

it('staging - a link that leads nowhere fails', () => {
  const root = write('broken', { ...FILES, 'docs/a.md': '[gone](gone.md)' });
  const files = Object.keys(FILES);
  expect(() => stage({ root, directory: path.join(directory, 'never'), files })).toThrow(
    'docs/a.md: the link gone.md leads to no file',
  );
});

it('links of a built site - a missing page and a missing anchor are found', () => {
  const site = write('built', {
    'index.html': '<a href="/docs/a">1</a> <a href="docs/a.html#here">2</a> <a href="https://example">3</a>',
    'docs/a.html': '<h1 id="here">a</h1> <a href="../index.html">4</a> <a class="b" href="#here">5</a>',
  });
  expect(brokenLinks(site)).toEqual([]);
  writeFileSync(path.join(site, 'docs/a.html'), '<a href="#gone">1</a> <a href="/docs/gone.html">2</a>');
  expect(brokenLinks(site).sort()).toEqual([
    'docs/a.html: #gone',
    'docs/a.html: /docs/gone.html',
    'index.html: docs/a.html#here',
  ]);
});

it('navigation - every page has a place, and no two pages have one address', () => {
  const pages = new Set(listed('*.md').map((file) => file.slice(0, -'.md'.length)));
  pages.add('docs/adr/index');
  const placed = sectionsOf(pages).flatMap((section) => section.pages.map(([, page]) => page));
  expect([...pages].filter((page) => !page.startsWith('docs/adr/') && !page.startsWith('tools/')).sort()).toEqual(
    placed.filter((page) => page !== 'docs/adr/index' && !page.startsWith('tools/')).sort(),
  );
  const addresses = placed.map(addressOf);
  expect(new Set(addresses).size).toBe(addresses.length);
  expect(sectionsOf(new Set(['docs/new'])).at(-1)).toEqual({ title: 'More', pages: [['new', 'docs/new']] });
  expect(SECTIONS.map(({ title }) => title)).toEqual(
    expect.arrayContaining(['Try', 'Install', 'Operate', 'Investigate', 'Reference']),
  );
});

it('glossary - each word is explained once, and longer words are found first', () => {
  const terms = termsOf(readFileSync(path.join(ROOT, 'docs/glossary.md'), 'utf8'));
  const words = terms.map(({ word }) => word);
  expect(words).toEqual(expect.arrayContaining(['vector', 'frame', 'counter epoch', 'provisional']));
  expect(new Set(words.map(anchorOf)).size).toBe(words.length);
  expect(words.indexOf('unjudged frames')).toBeLessThan(words.indexOf('frame'));
});
