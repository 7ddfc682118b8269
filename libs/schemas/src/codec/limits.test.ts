import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { projectedFrameType } from '../fast/frame-projection.ts';
import { encodePreEncodedFrame } from '../fast/pre-encoded-frame.ts';
import { CURRENT_SCHEMAS } from '../generated/schemas.gen.ts';
import {
  type Decoded,
  decode,
  decodeProjectedFrame,
  encodeResponse,
  encodeVerdict,
  encodeViolationFrame,
  type Messages,
  ProjectedFrameRegistry,
  SchemaError,
} from '../index.ts';
import {
  encodeUnlimited,
  sampleCapture,
  sampleFrame,
  sampleLsmViolation,
  sampleResponse,
  sampleVerdict,
  sampleViolation,
} from '../testing.ts';
import {
  CUT_MARK,
  cutEnd,
  cutFront,
  LIST_LIMITS,
  listLimit,
  MAX_LIST,
  MAX_TEXT,
  MIN_TEXT_BYTES,
  TEXT_LIMITS,
  textLimit,
} from './limits.ts';
import { SchemaRegistry } from './registry.ts';

type Json = Record<string, unknown>;
interface Field {
  /** `Violation.vector` */
  name: string;
  kind: 'text' | 'bytes' | 'list';
}

/** Strings, bytes and lists of a schema; a list of strings is both. */
function fieldsOf(schema: unknown, record = '', field = ''): Field[] {
  if (Array.isArray(schema)) return schema.flatMap((part) => fieldsOf(part, record, field));
  const name = `${record}.${field}`;
  if (schema === 'string') return [{ name, kind: 'text' }];
  if (schema === 'bytes') return [{ name, kind: 'bytes' }];
  if (typeof schema !== 'object' || schema === null) return [];
  const { type, items, fields, name: own } = schema as Json;
  if (type === 'array') return [{ name, kind: 'list' }, ...fieldsOf(items, record, field)];
  if (type !== 'record') return [];
  return (fields as Json[]).flatMap((one) => fieldsOf(one['type'], String(own), String(one['name'])));
}

const FIELDS = CURRENT_SCHEMAS.flatMap(({ text }) => fieldsOf(JSON.parse(text)));
const limitOf = ({ name, kind }: Field): number => {
  const [record, field] = name.split('.') as [string, string];
  return kind === 'list' ? (listLimit(record, field)?.items ?? -1) : (textLimit(record, field)?.bytes ?? -1);
};

/** A message of each kind, with every optional part. */
const MESSAGES: { [N in keyof Messages]: () => Messages[N] } = {
  ViolationFrame: () => {
    const process = {
      madeAt: 1,
      tgid: 2,
      uid: 0,
      comm: 'nc',
      executable: '/bin/nc',
      cgroupId: '9',
      containerName: 'c',
    };
    const { sample } = sampleViolation();
    const gap = {
      interfaceName: 'veth1',
      ifindex: 1,
      generation: 1,
      packetsBeforeGuard: 0,
      appearedToGuardedMicros: 1,
    };
    return sampleFrame({
      violations: [
        sampleViolation({ sample: sample && { ...sample, process }, tags: ['tag'] }),
        sampleLsmViolation({ sample: null, tags: ['tag'] }),
      ],
      coverage: [gap],
    });
  },
  Verdict: () => {
    const process = { tgid: 7, uid: 0, comm: 'nc', executable: '/bin/nc', parentExecutable: '', containerName: 'app' };
    const evidence = { streamSequence: 99, index: 0, vector: 'ipv4-source', packets: 1 };
    return sampleVerdict({ evidence: [{ ...evidence, process: { ...process, operation: 'connect', subject: '' } }] });
  },
  Response: () => sampleResponse({ capture: sampleCapture() }),
};
const ENCODE = { ViolationFrame: encodeViolationFrame, Verdict: encodeVerdict, Response: encodeResponse };

/** Puts a value of a size into a field wherever a message has its record; answers whether it has one. */
function put(value: unknown, schema: unknown, { name, kind }: Field, size: number): boolean {
  if (Array.isArray(schema)) return schema.some((part) => value !== null && put(value, part, { name, kind }, size));
  if (typeof schema !== 'object' || schema === null) return false;
  const { type, items, fields, name: record } = schema as Json;
  if (type === 'array') return (value as unknown[]).map((one) => put(one, items, { name, kind }, size)).includes(true);
  if (type !== 'record' || value === null || typeof value !== 'object') return false;
  let found = false;
  for (const { name: field, type: ofField } of fields as { name: string; type: unknown }[]) {
    const into = value as Json;
    if (`${record}.${field}` !== name) {
      found = put(into[field], ofField, { name, kind }, size) || found;
      continue;
    }
    found = true;
    const isList = (ofField as Json)['type'] === 'array';
    if (kind === 'list') {
      const first = (into[field] as unknown[])[0];
      expect(first, `${name} has no item in the sample`).toBeDefined();
      into[field] = Array.from({ length: size }, () => first);
    } else if (kind === 'bytes') into[field] = Buffer.alloc(size);
    else into[field] = isList ? ['x'.repeat(size)] : 'x'.repeat(size);
  }
  return found;
}

function messageWith(field: Field, size: number): Decoded {
  for (const { name, text } of CURRENT_SCHEMAS) {
    const value = MESSAGES[name as keyof Messages]();
    if (put(value, JSON.parse(text), field, size)) return { name, value } as Decoded;
  }
  throw new Error(`no message has ${field.name}`);
}

const registry = new ProjectedFrameRegistry();
const general = new SchemaRegistry(null, Date.now, { types: { ViolationFrame: projectedFrameType() }, readers: {} });
const reads = (name: string): [string, (message: Buffer) => unknown][] => [
  ['decode', decode],
  ...(name === 'ViolationFrame'
    ? ([
        ['decodeProjectedFrame', (message) => decodeProjectedFrame(message, registry)],
        ['decodeProjectedFrame, the general way', (message) => decodeProjectedFrame(message, general)],
      ] as [string, (message: Buffer) => unknown][])
    : []),
];

describe('limits', () => {
  it('every string and list of every message has a limit, and no other', () => {
    expect(FIELDS.filter((field) => limitOf(field) < 0)).toEqual([]);
    const rows = (limits: Record<string, Record<string, { field: string }>>) =>
      Object.values(limits).flatMap((of) => Object.values(of).map(({ field }) => field));
    const of = (list: boolean) => [
      ...new Set(FIELDS.filter(({ kind }) => (kind === 'list') === list).map(({ name }) => name)),
    ];
    expect(rows(MAX_TEXT).sort()).toEqual(of(false).sort());
    expect(rows(MAX_LIST).sort()).toEqual(of(true).sort());
  });

  it('none is below the strings with a one-byte length, which no reader checks', () => {
    for (const { bytes } of Object.values(TEXT_LIMITS)) expect(bytes).toBeGreaterThanOrEqual(MIN_TEXT_BYTES);
    for (const { why } of [...Object.values(TEXT_LIMITS), ...Object.values(LIST_LIMITS)]) expect(why).not.toBe('');
  });

  it.each(FIELDS)('$name ($kind) - a value at its limit is written, and every reader accepts it', (field) => {
    const { name, value } = messageWith(field, limitOf(field));
    const message = ENCODE[name](value as never);
    expect(JSON.parse(JSON.stringify(decode(message).value))).toEqual(JSON.parse(JSON.stringify(value)));
    for (const [, read] of reads(name)) expect(() => read(message)).not.toThrow();
  });

  it.each(FIELDS)('$name ($kind) - encoder and readers reject a longer value and name the field', (field) => {
    const { name, value } = messageWith(field, limitOf(field) + 1);
    const refused = expect.objectContaining({
      code: 'FIELD_TOO_LONG',
      message: expect.stringContaining(`${field.name} has ${limitOf(field) + 1}`),
    });
    expect(() => ENCODE[name](value as never)).toThrow(refused);
    if (name === 'ViolationFrame')
      expect(() => encodePreEncodedFrame(value as Messages['ViolationFrame'])).toThrow(refused);
    const message = encodeUnlimited(name, value as never);
    for (const [, read] of reads(name)) expect(() => read(message)).toThrow(refused);
  });

  it('a list in many small blocks counts as one', () => {
    const { name, value } = messageWith({ name: 'Violation.tags', kind: 'list' }, 32);
    const message = encodeUnlimited(name, value as never);
    // 32 tags of one block (0x40) become a block of 31 and a block of 2.
    const at = message.indexOf(Buffer.from([0x40, 0x06, ...Buffer.from('tag')]));
    const tag = Buffer.from([0x06, ...Buffer.from('tag')]);
    const end = at + 1 + 32 * tag.length;
    const blocks = [Buffer.from([62]), ...Array(31).fill(tag), Buffer.from([4]), tag, tag];
    const longer = Buffer.concat([message.subarray(0, at), ...blocks, message.subarray(end)]);
    for (const [, read] of reads(name)) {
      expect(() => read(longer)).toThrow(expect.objectContaining({ code: 'FIELD_TOO_LONG' }));
      expect(() => read(message)).not.toThrow();
    }
  });
});

describe('cutting text', () => {
  const text = fc.oneof(fc.string({ unit: 'grapheme', maxLength: 200 }), fc.string({ unit: 'binary', maxLength: 200 }));
  it('property - limits the bytes, removes only the end or the beginning, and marks it', () => {
    fc.assert(
      fc.property(text, fc.integer({ min: 8, max: 300 }), (words, bytes) => {
        // What is no whole character becomes one by itself when it is written.
        const written = Buffer.from(words).toString();
        const [end, front] = [cutEnd(written, bytes), cutFront(written, bytes)];
        for (const cut of [end, front]) expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(bytes);
        if (Buffer.byteLength(written) <= bytes) {
          expect([end, front]).toEqual([written, written]);
          return;
        }
        expect(written.startsWith(end.slice(0, -1)) && end.endsWith(CUT_MARK)).toBe(true);
        expect(written.endsWith(front.slice(1)) && front.startsWith(CUT_MARK)).toBe(true);
        // At most a character is lost beside the mark.
        expect(Buffer.byteLength(end)).toBeGreaterThan(bytes - 4);
        expect(Buffer.byteLength(front)).toBeGreaterThan(bytes - 4);
      }),
    );
  });

  it('a string of a megabyte is cut as quickly as a short one', () => {
    const long = 'é'.repeat(500_000);
    expect(cutEnd(long, 10)).toBe('ééé…');
    expect(cutFront(long, 10)).toBe('…ééé');
  });

  it('a rejection is a SchemaError', () => {
    expect(() => encodeVerdict(sampleVerdict({ rule: 'r'.repeat(300) }))).toThrow(SchemaError);
  });
});
