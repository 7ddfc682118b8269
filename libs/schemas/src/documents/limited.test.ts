import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { cutTexts, MAX_TEXT } from '../codec/limits.ts';
import { documentFields, sampleResponse } from '../testing.ts';
import { captureAnswer, captureRequest } from './capture.ts';
import { instanceStatus } from './instance-status.ts';
import { nodeStatus } from './node-status.ts';
import { clusterSnapshot, nodeSnapshot } from './pods.ts';
import { quarantineList } from './quarantine.ts';

const DOCUMENTS: Record<string, z.ZodType> = {
  nodeSnapshot,
  clusterSnapshot,
  quarantineList,
  nodeStatus,
  instanceStatus,
  captureRequest,
  captureAnswer,
};
type Json = Record<string, unknown>;

/** The least value of a schema that has one of everything. */
function sampleOf(schema: Json): unknown {
  const { type, properties, items, additionalProperties, propertyNames } = schema as Record<string, Json>;
  const variant = (schema['anyOf'] ?? schema['oneOf']) as Json[] | undefined;
  if (variant) return sampleOf(variant[0] as Json);
  if ('const' in schema) return schema['const'];
  if ('enum' in schema) return (schema['enum'] as unknown[])[0];
  if ((type as unknown) === 'string') return 'x'.repeat(Number(schema['minLength'] ?? 0));
  if ((type as unknown) === 'array') return [sampleOf(items as Json)];
  if ((type as unknown) === 'number' || (type as unknown) === 'integer') return 1;
  if ((type as unknown) === 'boolean') return true;
  if ((type as unknown) === 'null') return null;
  if (propertyNames) return { name: sampleOf(additionalProperties as Json) };
  return Object.fromEntries(Object.entries(properties ?? {}).map(([name, field]) => [name, sampleOf(field as Json)]));
}

/** The document with a value of a size at a path, as documentFields names it. */
function withSize(document: unknown, path: string, kind: string, size: number): unknown {
  const steps = path
    .replaceAll('[]', '.[]')
    .split('.')
    .filter((step) => step !== '');
  const change = (value: unknown, [step, ...rest]: string[]): unknown => {
    if (step === undefined) {
      if (kind === 'text') return 'x'.repeat(size);
      if (kind === 'list') return Array.from({ length: size }, () => (value as unknown[])[0]);
      const [first] = Object.values(value as Json);
      return Object.fromEntries(Array.from({ length: size }, (_, i) => [`${i}`, first]));
    }
    if (step === '[]') return [change((value as unknown[])[0], rest)];
    const record = value as Json;
    if (step === '<name>') return { ['x'.repeat(size)]: Object.values(record)[0] };
    if (step === '<value>') return { name: change(record['name'], rest) };
    return { ...record, [step]: change(record[step], rest) };
  };
  return change(document, steps);
}

const ROWS = Object.entries(DOCUMENTS).flatMap(([name, schema]) => {
  const json = z.toJSONSchema(schema, { io: 'input' });
  // Of an answer to a capture its first form; the second has one text.
  return documentFields(name === 'captureAnswer' ? (json.anyOf as unknown[])[0] : json).map((field) => ({
    name,
    ...field,
  }));
});
/** A time with a zone, whose limit only what is no time could reach. */
const TIMES = ['entries[].until', 'released[].until'];

describe('documents', () => {
  it('every string, list and record has a limit', () => {
    expect(ROWS.length).toBeGreaterThan(90);
    expect(ROWS.filter(({ limit }) => limit === null)).toEqual([]);
  });

  it.each(ROWS.filter(({ path }) => !TIMES.includes(path)))(
    '$name $path ($kind) - is taken at its limit, refused above it and named',
    ({ name, path, kind, limit }) => {
      const schema = DOCUMENTS[name] as z.ZodType;
      const document = sampleOf(z.toJSONSchema(schema, { io: 'input' }) as Json);
      expect(schema.safeParse(document).error?.issues).toBeUndefined();
      expect(schema.safeParse(withSize(document, path, kind, limit as number)).error?.issues).toBeUndefined();
      const refused = schema.safeParse(withSize(document, path, kind, (limit as number) + 1));
      const first = path
        .replaceAll('[]', '.0')
        .split(/\.|<.*>/)
        .filter((step) => step !== '');
      const issues = JSON.stringify(refused.error?.issues);
      expect(issues).toContain(first.at(-1) === '0' ? first.at(-2) : first.at(-1));
    },
  );
});

describe('cutTexts', () => {
  it('property - a response with arbitrary foreign strings can be encoded', () => {
    const limits = MAX_TEXT.Response;
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 6_000 }), (text) => {
        const cut = cutTexts(sampleResponse({ reason: text, ownerName: text }), limits);
        for (const field of ['reason', 'ownerName'] as const) {
          expect(Buffer.byteLength(cut[field])).toBeLessThanOrEqual(limits[field].bytes);
          if (Buffer.byteLength(text) <= limits[field].bytes) expect(cut[field]).toBe(text);
        }
      }),
      { numRuns: 50 },
    );
    const short = sampleResponse();
    expect(cutTexts(short, limits)).toBe(short);
  });
});
