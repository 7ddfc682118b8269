import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { INSTALL_SCRIPTS, type Lock, type Manifest, openAdvisories, packagesOf, violationsOf } from './rules.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const readJson = (file: string) => JSON.parse(readFileSync(path.join(ROOT, file), 'utf8')) as unknown;
const lock = readJson('package-lock.json') as Lock;

it.each([
  ['.', false, 300],
  ['tools/site', true, 100],
])('every package of %s meets the rules', (folder, isTool, least) => {
  const manifest = readJson(path.join(folder, 'package.json')) as Manifest;
  const locked = readJson(path.join(folder, 'package-lock.json')) as Lock;
  expect(violationsOf(manifest, locked, isTool)).toEqual([]);
  expect(packagesOf(locked).length).toBeGreaterThan(least);
});

it('every exception for an install script is in use', () => {
  const running = packagesOf(lock).filter(([, { hasInstallScript }]) => hasInstallScript === true);
  const names = new Set(running.map(([place]) => place.slice(place.lastIndexOf('node_modules/') + 13)));
  expect([...names].sort()).toEqual(Object.keys(INSTALL_SCRIPTS).sort());
});

const GOOD = { version: '1.0.0', license: 'MIT', integrity: 'sha512-a' };
it.each<[string, object, RegExp | null]>([
  ['a good package', {}, null],
  ['MPL-2.0 of a tool', { license: 'MPL-2.0', dev: true }, null],
  ['MPL-2.0 in the product', { license: 'MPL-2.0' }, /a@1\.0\.0: MPL-2\.0 is not an allowed licence/],
  ['a copyleft licence of a tool', { license: 'AGPL-3.0', dev: true }, /AGPL-3\.0/],
  ['no licence', { license: undefined }, /no licence/],
  ['a weak hash', { integrity: 'sha1-a' }, /no SHA-512/],
  ['no hash', { integrity: undefined }, /no SHA-512/],
  ['another source', { resolved: 'git+ssh://example/a.git' }, /comes from git\+ssh/],
  ['a program at the installation', { hasInstallScript: true }, /runs a program/],
])('a lock file with %s', (_, change, violation) => {
  const found = violationsOf({}, { packages: { '': {}, 'apps/a': {}, 'node_modules/a': { ...GOOD, ...change } } });
  expect(found).toEqual(violation === null ? [] : [expect.stringMatching(violation)]);
});

it.each<[string, Manifest, number]>([
  ['exact versions', { dependencies: { a: '1.2.3' }, overrides: { b: { c: '2.0.0-rc.1' } } }, 0],
  ['a range', { devDependencies: { a: '^1.2.3' } }, 1],
  ['a tag', { dependencies: { a: 'latest' } }, 1],
  ['a range in a nested override', { overrides: { b: { c: '2' } } }, 1],
  ['an address', { dependencies: { a: 'https://example/a.tgz' } }, 1],
])('a manifest with %s', (_, given, count) => {
  expect(violationsOf(given, { packages: {} })).toHaveLength(count);
});

it('an advisory is open unless it is accepted; a package that only depends on such a one repeats nothing', () => {
  const url = 'https://example/advisories/GHSA-aaaa-bbbb-cccc';
  const audit = {
    vulnerabilities: { a: { severity: 'high', via: [{ url }] }, b: { severity: 'high', via: ['a'] } },
  };
  expect(openAdvisories(audit, new Set())).toEqual([`a (high): ${url}`]);
  expect(openAdvisories(audit, new Set(['GHSA-aaaa-bbbb-cccc']))).toEqual([]);
  expect(openAdvisories({}, new Set())).toEqual([]);
});
