import { expect, test } from 'vitest';
import { canonicalForm, fingerprintHex, fingerprintOf } from './canonical.ts';

// Inputs, canonical forms and signed fingerprints as published with the Avro specification.
const published: [name: string, schema: unknown, canonical: string, fingerprint: bigint][] = [
  ['null', 'null', '"null"', 7195948357588979594n],
  ['boolean', 'boolean', '"boolean"', -6970731678124411036n],
  ['int', { type: 'int' }, '"int"', 8247732601305521295n],
  ['long', 'long', '"long"', -3434872931120570953n],
  ['float', 'float', '"float"', 5583340709985441680n],
  ['double', 'double', '"double"', -8181574048448539266n],
  ['bytes', 'bytes', '"bytes"', 5746618253357095269n],
  ['string', { type: 'string' }, '"string"', -8142146995180207161n],
  ['empty union', [], '[]', -1241056759729112623n],
  ['union of one', ['int'], '["int"]', -5232228896498058493n],
  ['union of two', ['int', { type: 'boolean' }], '["int","boolean"]', 5392556393470105090n],
  [
    'record',
    { fields: [], type: 'record', name: 'foo' },
    '{"name":"foo","type":"record","fields":[]}',
    -4824392279771201922n,
  ],
  [
    'record in a namespace',
    { fields: [], type: 'record', name: 'foo', namespace: 'x.y' },
    '{"name":"x.y.foo","type":"record","fields":[]}',
    5916914534497305771n,
  ],
  [
    'record whose name is full already',
    { fields: [], type: 'record', name: 'a.b.foo', namespace: 'x.y' },
    '{"name":"a.b.foo","type":"record","fields":[]}',
    -4616218487480524110n,
  ],
  [
    'record with doc and aliases',
    { fields: [], type: 'record', name: 'foo', doc: 'foo', aliases: ['foo', 'bar'] },
    '{"name":"foo","type":"record","fields":[]}',
    -4824392279771201922n,
  ],
  [
    'record with defaults and order',
    {
      fields: [
        { type: 'boolean', aliases: [], name: 'f1', default: true },
        { order: 'descending', name: 'f2', doc: 'Hello', type: 'int' },
      ],
      type: 'record',
      name: 'foo',
    },
    '{"name":"foo","type":"record","fields":[{"name":"f1","type":"boolean"},{"name":"f2","type":"int"}]}',
    -4860222112080293046n,
  ],
  [
    'enum',
    { namespace: 'x.y.z', type: 'enum', name: 'foo', doc: 'foo bar', symbols: ['A1', 'A2'] },
    '{"name":"x.y.z.foo","type":"enum","symbols":["A1","A2"]}',
    -4448647247586288245n,
  ],
  [
    'fixed',
    { namespace: 'x.y.z', type: 'fixed', name: 'foo', doc: 'foo bar', size: 32 },
    '{"name":"x.y.z.foo","type":"fixed","size":32}',
    -3064184465700546786n,
  ],
  ['array', { items: { type: 'null' }, type: 'array' }, '{"type":"array","items":"null"}', -589620603366471059n],
  ['map', { values: 'string', type: 'map' }, '{"type":"map","values":"string"}', -8732877298790414990n],
  [
    'record that names itself',
    { name: 'PigValue', type: 'record', fields: [{ name: 'value', type: ['null', 'int', 'long', 'PigValue'] }] },
    '{"name":"PigValue","type":"record","fields":[{"name":"value","type":["null","int","long","PigValue"]}]}',
    -1759257747318642341n,
  ],
];

test.each(published)('canonical - %s has the published form and fingerprint', (_name, schema, form, fingerprint) => {
  expect(canonicalForm(schema)).toBe(form);
  expect(BigInt.asIntN(64, fingerprintOf(schema))).toBe(fingerprint);
});

test('canonical - a name inside a namespace is written in full, and a dotted name moves the namespace', () => {
  const inner = (name: string) => ({
    type: 'record',
    name,
    namespace: 'a',
    fields: [{ name: 'f', type: { type: 'enum', name: 'E', symbols: ['X'] } }],
  });
  expect(canonicalForm(inner('R'))).toContain('"name":"a.E"');
  expect(canonicalForm(inner('b.c.R'))).toContain('"name":"b.c.E"');
});

test('canonical - hex is 16 digits even when the number is small', () => {
  expect(fingerprintHex('int')).toBe('7275d51a3f395c8f');
  expect(fingerprintHex('string')).toHaveLength(16);
});

test('canonical - a form that repeats a long namespace is refused, one of 61 kB is not', () => {
  const withNames = (count: number) => ({
    type: 'record',
    name: 'R',
    namespace: 'n'.repeat(1000),
    fields: [{ name: 'f', type: Array.from({ length: count }, () => 'b') }],
  });
  expect(canonicalForm(withNames(60)).length).toBeGreaterThan(60_000);
  expect(() => canonicalForm(withNames(100))).toThrow('the canonical form is too long');
});

test.each([null, 7, undefined])('canonical - %s is not a schema', (value) => {
  expect(() => canonicalForm(value)).toThrow(TypeError);
});
