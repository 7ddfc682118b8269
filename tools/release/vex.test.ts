import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { readAdvisories, vexOf } from './vex.ts';

const LIST = readFileSync(path.resolve(import.meta.dirname, '../../docs/advisories.yaml'), 'utf8');
const ENTRY = `reviewed: 2026-12-01
advisories:
  - id: CVE-2010-4756
    part: pkg:deb/debian/libc6
    justification: component_not_present
    why: It is in no image of the release.
`;

it('the list of advisories - is valid, and names each part and advisory once', () => {
  const { advisories } = readAdvisories(LIST);
  const names = advisories.map(({ id, part }) => `${id} ${part}`);
  expect([...new Set(names)]).toEqual(names);
  expect(names.length).toBeGreaterThan(0);
});

it.each([
  ['a justification that OpenVEX does not know', ENTRY.replace('component_not_present', 'trust_us')],
  ['no reason', ENTRY.replace(/ {4}why: .*\n/, '')],
  ['an identifier of another form', ENTRY.replace('CVE-2010-4756', 'glob')],
  ['a part without a type', ENTRY.replace('pkg:deb/debian/', '')],
  ['an unknown field', `${ENTRY}    until: never\n`],
])('an entry with %s is refused', (_, text) => {
  expect(readAdvisories(ENTRY).advisories).toHaveLength(1);
  expect(() => readAdvisories(text)).toThrow();
});

it('a document - one statement for each advisory, on every product that can contain the part; equal lists give equal documents', () => {
  const content = {
    version: '1.2.0',
    epoch: 0,
    products: ['pkg:npm/a@1', 'pkg:oci/b'],
    advisories: readAdvisories(ENTRY),
  };
  const document = vexOf(content);
  expect(document).toMatchObject({
    '@context': 'https://openvex.dev/ns/v0.2.0',
    timestamp: '1970-01-01T00:00:00.000Z',
    statements: [
      {
        vulnerability: { name: 'CVE-2010-4756' },
        products: [
          // The npm package contains nothing of a distribution.
          { '@id': 'pkg:oci/b', subcomponents: [{ '@id': 'pkg:deb/debian/libc6' }] },
        ],
        status: 'not_affected',
        justification: 'component_not_present',
      },
    ],
  });
  expect(vexOf(content)).toEqual(document);
  const npm = readAdvisories(ENTRY.replace('pkg:deb/debian/libc6', 'pkg:npm/ws'));
  expect(vexOf({ ...content, advisories: npm })).toMatchObject({
    statements: [{ products: [{ '@id': 'pkg:npm/a@1' }, { '@id': 'pkg:oci/b' }] }],
  });
  expect(vexOf({ ...content, version: '1.3.0' })['@id']).not.toBe(document['@id']);
});
