import avro from 'avsc';
import { expect, test } from 'vitest';
import { CURRENT_SCHEMAS } from '../generated/schemas.gen.ts';
import { headOf, sampleVerdict } from '../testing.ts';
import { fingerprintHex } from './canonical.ts';
import { decode, decodeVerdict, decodeWithLookup, encodeVerdict } from './codec.ts';
import { SchemaError } from './errors.ts';
import {
  CURRENT,
  LOOKUP_WINDOW_MS,
  MAX_LOOKUPS,
  MAX_LOOKUPS_OF_ALL,
  MAX_SCHEMA_BYTES,
  MAX_SCHEMAS,
  RETRY_MS,
  SchemaRegistry,
} from './registry.ts';

interface Field {
  name: string;
  type: unknown;
  default?: unknown;
}
interface RecordSchema {
  name: string;
  fields: Field[];
}
const verdictSchema = (): RecordSchema =>
  JSON.parse(CURRENT_SCHEMAS.find(({ text }) => text.includes('"Verdict"'))?.text ?? '') as RecordSchema;

/** What a later version writes: some fields more, one with a default fewer. */
function laterVersion(extra: Field[] = [{ name: 'score', type: 'double', default: 0 }]) {
  const schema = verdictSchema();
  schema.fields = [...extra, ...schema.fields.filter(({ name }) => name !== 'tags')];
  const type = avro.Type.forSchema(schema as unknown as avro.Schema, { wrapUnions: 'never' });
  const text = JSON.stringify(schema);
  const encode = (value: object) => Buffer.concat([headOf(fingerprintHex(schema)), type.toBuffer(value)]);
  return { text, fingerprint: fingerprintHex(schema), encode };
}

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error: unknown) => (error instanceof SchemaError ? error.code : String(error)),
  );

test("registry - a later version is learned once and read as today's type", async () => {
  const later = laterVersion();
  const asked: string[] = [];
  const registry = new SchemaRegistry(async (fingerprint) => {
    asked.push(fingerprint);
    return fingerprint === later.fingerprint ? later.text : null;
  });
  const message = later.encode({ ...sampleVerdict(), score: 0.5 });
  expect(() => decode(message, registry)).toThrow(later.fingerprint);
  const values = await Promise.all([decodeWithLookup(message, registry), decodeWithLookup(message, registry)]);
  for (const { value } of values) expect(value).toEqual(sampleVerdict({ tags: [] }));
  expect(decodeVerdict(message, registry)).toEqual(sampleVerdict({ tags: [] }));
  expect(asked).toEqual([later.fingerprint]);
  expect(registry.learned).toBe(1);
});

test('registry - arrays of a later version are bounded too, read and skipped', async () => {
  const later = laterVersion([{ name: 'notes', type: { type: 'array', items: 'string' }, default: [] }]);
  const registry = new SchemaRegistry(async () => later.text);
  const good = later.encode({ ...sampleVerdict(), notes: ['a', 'b'] });
  expect((await decodeWithLookup(good, registry)).value).toEqual(sampleVerdict({ tags: [] }));
  const head = good.subarray(0, 10);
  const huge = Buffer.from([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]);
  expect(await codeOf(decodeWithLookup(Buffer.concat([head, huge]), registry))).toBe('TRUNCATED');
  // A block that says it is minus three bytes long would be skipped backwards, for ever.
  const backwards = Buffer.concat([head, Buffer.from([0x01, 0x05]), Buffer.alloc(8)]);
  expect(await codeOf(decodeWithLookup(backwards, registry))).not.toBe('no error');
});

test('registry - an unknown fingerprint is looked up again only after a while', async () => {
  let nowMs = 1_000;
  let asked = 0;
  const registry = new SchemaRegistry(
    async () => {
      asked += 1;
      return null;
    },
    () => nowMs,
  );
  const message = laterVersion().encode({ ...sampleVerdict(), score: 1 });
  expect(await codeOf(decodeWithLookup(message, registry))).toBe('UNKNOWN_FINGERPRINT');
  expect(await codeOf(decodeWithLookup(message, registry))).toBe('UNKNOWN_FINGERPRINT');
  expect(asked).toBe(1);
  nowMs += RETRY_MS;
  expect(await codeOf(decodeWithLookup(message, registry))).toBe('UNKNOWN_FINGERPRINT');
  expect(asked).toBe(2);
});

test('registry - random fingerprints of one writer cause a bounded number of lookups, and others keep theirs', async () => {
  let nowMs = 1_000;
  let asked = 0;
  const later = laterVersion();
  const registry = new SchemaRegistry(
    async (fingerprint) => {
      asked += 1;
      return fingerprint === later.fingerprint ? later.text : null;
    },
    () => nowMs,
  );
  let number = 0;
  const flood = async (writer: string) => {
    for (let index = 0; index < 100; index += 1) {
      const fingerprint = (number++).toString(16).padStart(16, '0');
      expect(await codeOf(registry.resolve(fingerprint, writer))).toBe('UNKNOWN_FINGERPRINT');
    }
  };
  await flood('a');
  expect([asked, registry.withheld]).toEqual([MAX_LOOKUPS, 100 - MAX_LOOKUPS]);
  const message = later.encode({ ...sampleVerdict(), score: 1 });
  expect((await decodeWithLookup(message, registry, 'b')).name).toBe('Verdict');
  nowMs += LOOKUP_WINDOW_MS;
  for (let writer = 0; writer < 100; writer += 1) await flood(`w${writer}`);
  expect(asked).toBe(MAX_LOOKUPS + 1 + MAX_LOOKUPS_OF_ALL);
  nowMs -= 86_400_000;
  await flood('a');
  expect(asked, 'after the clock was set back').toBe(2 * MAX_LOOKUPS + 1 + MAX_LOOKUPS_OF_ALL);
});

test('registry - a failed lookup is repeated at the next message', async () => {
  const later = laterVersion();
  let away = true;
  const registry = new SchemaRegistry(async () => {
    if (away) throw new Error('the bus is away');
    return later.text;
  });
  const message = later.encode({ ...sampleVerdict(), score: 1 });
  expect(await codeOf(decodeWithLookup(message, registry))).toBe('Error: the bus is away');
  away = false;
  expect((await decodeWithLookup(message, registry)).name).toBe('Verdict');
});

test.each<[string, (later: ReturnType<typeof laterVersion>) => string]>([
  ['the text of another schema', () => CURRENT_SCHEMAS[0]?.text ?? ''],
  ['no JSON', () => '{'],
  ['JSON that is no schema', () => 'null'],
  ['a text that is too long', () => JSON.stringify('x'.repeat(MAX_SCHEMA_BYTES))],
])('registry - %s under a fingerprint is WRONG_SCHEMA', async (_name, textOf) => {
  const later = laterVersion();
  const registry = new SchemaRegistry(async () => textOf(later));
  const message = later.encode({ ...sampleVerdict(), score: 1 });
  expect(await codeOf(decodeWithLookup(message, registry))).toBe('WRONG_SCHEMA');
});

test.each<[string, Field]>([
  ['an array of nulls', { name: 'x', type: { type: 'array', items: 'null' } }],
  [
    'an array of empty records',
    { name: 'x', type: { type: 'array', items: { type: 'record', name: 'E', fields: [] } } },
  ],
  ['a map', { name: 'x', type: { type: 'map', values: 'string' } }],
  ['a field that is missing without a default', { name: 'verdictId', type: 'int' }],
])('registry - a schema with %s cannot be read', async (_name, field) => {
  const schema = verdictSchema();
  schema.fields = [...schema.fields.filter(({ name }) => name !== field.name), field];
  const fingerprint = fingerprintHex(schema);
  const registry = new SchemaRegistry(async () => JSON.stringify(schema));
  expect(await codeOf(registry.resolve(fingerprint))).toBe('WRONG_SCHEMA');
});

test('registry - a schema of another name is rejected', async () => {
  const schema = { type: 'record', name: 'toString', fields: [{ name: 'a', type: 'int' }] };
  const registry = new SchemaRegistry(async () => JSON.stringify(schema));
  expect(await codeOf(registry.resolve(fingerprintHex(schema)))).toBe('WRONG_SCHEMA');
});

test('registry - learns a bounded number of schemas', async () => {
  const versions = Array.from({ length: MAX_SCHEMAS + 1 }, (_, index) =>
    laterVersion([{ name: `extra${index}`, type: 'int', default: 0 }]),
  );
  const texts = new Map(versions.map(({ fingerprint, text }) => [fingerprint, text]));
  const registry = new SchemaRegistry(async (fingerprint) => texts.get(fingerprint) ?? null);
  const codes = [];
  for (const { fingerprint } of versions) codes.push(await codeOf(registry.resolve(fingerprint)));
  expect(codes.slice(0, -1).every((code) => code === 'no error')).toBe(true);
  expect(codes.at(-1)).toBe('WRONG_SCHEMA');
  expect(decodeVerdict(encodeVerdict(sampleVerdict()), registry)).toEqual(sampleVerdict());
});

test('registry - knows the schemas that this build writes', () => {
  const registry = new SchemaRegistry();
  for (const { fingerprint, name } of Object.values(CURRENT)) expect(registry.peek(fingerprint)?.name).toBe(name);
});
