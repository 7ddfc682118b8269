// The chart, by the real helm: the manifests are what it renders, and each profile is valid.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { CHART, helm, helmProgram, NO_HELM, template } from '../../tools/helm.ts';
import { generated, valueRows } from '../../tools/manifests.ts';
import { documentsOf, type Json, objectsOf } from './rendered.ts';

const program = helmProgram();
const PROFILES = readdirSync(path.join(CHART, 'profiles')).map((name) => name.replace('.yaml', ''));
const ROOT = path.resolve(CHART, '../..');

/** Without the hash that kustomize appends to generated ConfigMaps, where they are used too. */
const withoutHash = (object: Json): Json =>
  JSON.parse(JSON.stringify(object).replaceAll(/"(bailiff-(?:addresses|retention|valkey))-[a-z0-9]{10}"/g, '"$1"'));
const keyOf = ({ kind, metadata }: Json) => `${kind} ${metadata.name}`;
const byKey = (list: readonly Json[]) => new Map(list.map((object) => [keyOf(object), object]));

describe('values', () => {
  const schema = JSON.parse(readFileSync(path.join(CHART, 'values.schema.json'), 'utf8'));
  const values = parse(readFileSync(path.join(CHART, 'values.yaml'), 'utf8'));

  it('each value has a description in the schema, and each key of the schema a default', () => {
    const leaves = (value: Json, node: Json): string[] =>
      Object.entries(value).flatMap(([key, one]) => {
        const known = node.properties?.[key];
        if (known === undefined) return [`${key} is not in the schema`];
        return known.description === undefined ? leaves(one, known) : [];
      });
    expect(leaves(values, schema)).toEqual([]);
    expect(valueRows(schema, values).filter(([, value]) => value === '')).toEqual([]);
  });
});

if (program === null) {
  it('helm', (context) => context.skip(NO_HELM));
} else {
  describe('one source', () => {
    it('every rendered file is current: npm run manifests', async () => {
      for (const [file, text] of await generated(program)) {
        expect(readFileSync(path.join(ROOT, file), 'utf8'), file).toBe(text);
      }
    }, 120_000);

    it('the overlay `included` is the chart without its hooks', () => {
      const settings = ['addresses.create=true', 'crds.installMethod=helm'];
      const chart = byKey(documentsOf(template(program, { profiles: ['kustomize'], set: settings })));
      const overlay = byKey(objectsOf('included').map(withoutHash));
      // The chart's user creates the namespace.
      expect([...overlay.keys()].filter((key) => !chart.has(key))).toEqual(['Namespace bailiff-system']);
      expect([...chart.keys()].filter((key) => !overlay.has(key))).toEqual([]);
      for (const [key, object] of chart) {
        delete object.spec?.template?.metadata?.annotations;
        if (object.kind === 'CustomResourceDefinition') continue;
        expect(overlay.get(key), key).toEqual(object);
      }
    }, 120_000);
  });

  describe.each(PROFILES)('profile %s', (profile) => {
    it('passes helm lint --strict', () => {
      const values = path.join(CHART, 'profiles', `${profile}.yaml`);
      expect(helm(program, ['lint', '--strict', CHART, '--values', values])).toContain('0 chart(s) failed');
    }, 120_000);

    it('renders objects with names of their own, all in one namespace', () => {
      const list = documentsOf(template(program, { profiles: [profile] }));
      expect(list.length).toBeGreaterThan(20);
      expect(new Set(list.map(keyOf)).size).toBe(list.length);
      for (const { metadata } of list) expect([undefined, 'bailiff-system']).toContain(metadata.namespace);
    }, 120_000);
  });

  describe('settings', () => {
    it.each([
      ['a misspelt value', ['collector.imag.tag=1'], /imag/],
      ['an external bus without its address', ['nats.mode=external'], /nats\.url is required/],
      ['an unknown strategy', ['certificates.strategy=none'], /certificates/],
    ])(
      '%s is refused',
      (_, set, why) => {
        expect(() => template(program, { set })).toThrow(why);
      },
      120_000,
    );

    it('the set-up Job has another name for another image, and the same one otherwise', () => {
      const nameWith = (...set: string[]) => {
        const list = documentsOf(template(program, { set }));
        return list.find(({ kind, metadata }) => kind === 'Job' && metadata.name.startsWith('bailiff-bus-setup'))
          .metadata.name;
      };
      expect(nameWith('busSetup.image.tag=v2')).not.toBe(nameWith());
      expect(nameWith('bus.keepBytes=20GiB')).not.toBe(nameWith());
      expect(nameWith('collector.image.tag=v2')).toBe(nameWith());
    }, 240_000);

    it('a package of the chart renders the same as the checkout', () => {
      const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-chart-'));
      try {
        helm(program, ['package', CHART, '--destination', directory]);
        const chart = path.join(directory, readdirSync(directory).find((name) => name.endsWith('.tgz')) ?? '');
        expect(documentsOf(template(program, { chart }))).toEqual(documentsOf(template(program)));
      } finally {
        rmSync(directory, { recursive: true });
      }
    }, 120_000);
  });
}
