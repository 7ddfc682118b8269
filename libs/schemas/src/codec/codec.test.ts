import { expect, test } from 'vitest';
import {
  decode,
  decodeResponse,
  decodeVerdict,
  decodeViolationFrame,
  encodeResponse,
  encodeVerdict,
  encodeViolationFrame,
  fingerprintIn,
  SchemaError,
  type SchemaErrorCode,
} from '../index.ts';
import {
  headOf,
  sampleFrame,
  sampleLsmViolation,
  sampleOperation,
  sampleResponse,
  sampleVerdict,
  sampleViolation,
} from '../testing.ts';
import { CURRENT } from './registry.ts';
import { MAX_MESSAGE_BYTES } from './scratch-buffer.ts';

const codeOf = (run: () => unknown): SchemaErrorCode | 'no error' => {
  try {
    run();
  } catch (error) {
    if (error instanceof SchemaError) return error.code;
    throw error;
  }
  return 'no error';
};
const head = (name: keyof typeof CURRENT) => headOf(CURRENT[name].fingerprint);
/** A long as Avro writes it. */
const long = (value: bigint) => {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(rest)]);
};

test('codec - each message survives a round trip', () => {
  expect(decodeViolationFrame(encodeViolationFrame(sampleFrame()))).toEqual(sampleFrame());
  expect(decodeVerdict(encodeVerdict(sampleVerdict()))).toEqual(sampleVerdict());
  expect(decodeResponse(encodeResponse(sampleResponse()))).toEqual(sampleResponse());
  expect(decode(encodeVerdict(sampleVerdict())).name).toBe('Verdict');
});

test('codec - a violation of a runtime policy survives a round trip', () => {
  const frame = sampleFrame({ violations: [sampleLsmViolation(), sampleLsmViolation({ operation: null })] });
  expect(decodeViolationFrame(encodeViolationFrame(frame))).toEqual(frame);
});

test('codec - null survives a round trip', () => {
  const frame = sampleFrame({ violations: [sampleViolation({ pod: null, sample: null })] });
  expect(decodeViolationFrame(encodeViolationFrame(frame))).toEqual(frame);
});

test('codec - begins with C3 01 and the fingerprint, little endian', () => {
  const message = encodeResponse(sampleResponse());
  expect(message.subarray(0, 10)).toEqual(head('Response'));
  expect(fingerprintIn(message)).toBe(CURRENT.Response.fingerprint);
});

test('codec - an encoded message is not changed by the next one', () => {
  const first = encodeViolationFrame(sampleFrame({ nodeName: 'one' }));
  encodeViolationFrame(sampleFrame({ nodeName: 'two' }));
  expect(decodeViolationFrame(first).nodeName).toBe('one');
});

test('codec - a decoded value holds no view of the message', () => {
  const message = encodeViolationFrame(sampleFrame());
  const value = decodeViolationFrame(message);
  message.fill(0);
  expect(value).toEqual(sampleFrame());
});

test('codec - a plain Uint8Array is read as well as a Buffer, also from the middle of a larger one', () => {
  const message = encodeVerdict(sampleVerdict());
  const around = new Uint8Array(message.length + 20);
  around.set(message, 7);
  expect(decodeVerdict(around.subarray(7, 7 + message.length))).toEqual(sampleVerdict());
});

test('codec - a frame above the initial size of the scratch buffer, and one above the largest message', () => {
  const frame = (words: number) => {
    const operation = { ...sampleOperation(), arguments: Array.from({ length: words }, () => 'x'.repeat(384)) };
    return sampleFrame({ violations: Array.from({ length: 64 }, () => sampleLsmViolation({ operation })) });
  };
  const long = encodeViolationFrame(frame(20));
  expect(long.length).toBeGreaterThan(500_000);
  expect(decodeViolationFrame(long).violations).toHaveLength(64);
  expect(64 * 128 * 384).toBeGreaterThan(MAX_MESSAGE_BYTES);
  expect(codeOf(() => encodeViolationFrame(frame(128)))).toBe('TOO_LARGE');
  expect(decodeViolationFrame(encodeViolationFrame(sampleFrame()))).toEqual(sampleFrame());
});

test.each([
  ['a long beyond 2^53', { frameSequence: 2 ** 53 }, 'frameSequence = 9007199254740992'],
  ['a fraction', { publishedAt: 1.5 }, 'publishedAt = 1.5'],
  ['NaN', { publishedAt: Number.NaN }, 'publishedAt = NaN'],
  ['a missing string', { nodeName: undefined }, 'nodeName = undefined'],
  [
    'an unknown symbol',
    { violations: [sampleViolation({ vector: 'x', kind: 'other' as 'spoof' })] },
    'violations.0.kind = other',
  ],
  ['an int beyond 2^31', { violations: [sampleViolation({ ifindex: 2 ** 31 })] }, 'violations.0.ifindex = 2147483648'],
])('codec - refuses to encode %s and names the field', (_name, wrong, text) => {
  const encode = () => encodeViolationFrame(sampleFrame(wrong as Parameters<typeof sampleFrame>[0]));
  expect(codeOf(encode)).toBe('INVALID_VALUE');
  expect(encode).toThrow(text);
});

test('codec - the largest long of a number survives a round trip', () => {
  const frameSequence = Number.MAX_SAFE_INTEGER - 1;
  expect(decodeViolationFrame(encodeViolationFrame(sampleFrame({ frameSequence }))).frameSequence).toBe(frameSequence);
});

test.each<[string, SchemaErrorCode, Buffer]>([
  ['nothing', 'NOT_SINGLE_OBJECT', Buffer.alloc(0)],
  ['JSON', 'NOT_SINGLE_OBJECT', Buffer.from('{"nodeName":"a"}')],
  ['a marker without a fingerprint', 'NOT_SINGLE_OBJECT', Buffer.from([0xc3, 0x01, 1, 2, 3])],
  ['an unknown fingerprint', 'UNKNOWN_FINGERPRINT', Buffer.from([0xc3, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 0])],
  ['a head alone', 'TRUNCATED', head('Verdict')],
  ['a body cut in a string', 'TRUNCATED', Buffer.concat([head('Verdict'), Buffer.from([20, 65])])],
  ['a byte too many', 'TRAILING_BYTES', Buffer.concat([encodeVerdict(sampleVerdict()), Buffer.from([0])])],
  ['a negative length', 'MALFORMED', Buffer.concat([head('Verdict'), long(-5n), Buffer.alloc(40)])],
  ['a number without an end', 'MALFORMED', Buffer.concat([head('Verdict'), Buffer.alloc(300, 0xff)])],
])('codec - %s is refused as %s', (_name, code, message) => {
  expect(codeOf(() => decode(message))).toBe(code);
});

test('codec - every cut of a message is TRUNCATED, never a value', () => {
  const message = encodeViolationFrame(sampleFrame());
  for (let length = 10; length < message.length; length += 1) {
    expect(codeOf(() => decode(message.subarray(0, length)))).toBe('TRUNCATED');
  }
});

test('codec - a long that a number cannot represent is rejected, not rounded', () => {
  // nodeName "a", bootId "b", then frameSequence.
  const upTo = Buffer.concat([head('ViolationFrame'), Buffer.from([2, 97, 2, 98])]);
  const message = (value: bigint) => Buffer.concat([upTo, long(value), Buffer.from([0, 0, 0, 0])]);
  expect(decodeViolationFrame(message(2n ** 53n - 2n)).frameSequence).toBe(2 ** 53 - 2);
  expect(codeOf(() => decode(message(2n ** 53n + 2n)))).toBe('LONG_RANGE');
  expect(codeOf(() => decode(message(-(2n ** 62n))))).toBe('LONG_RANGE');
});

test('codec - a few bytes that announce a huge array allocate nothing', () => {
  const began = process.cpuUsage();
  const frame = Buffer.concat([head('ViolationFrame'), Buffer.from([0, 0, 0, 0, 0]), long(2n ** 50n)]);
  expect(codeOf(() => decode(frame))).toBe('TRUNCATED');
  const blocks = Buffer.concat([head('ViolationFrame'), Buffer.from([0, 0, 0, 0, 0]), long(-(2n ** 50n)), long(9n)]);
  expect(codeOf(() => decode(blocks))).toBe('TRUNCATED');
  const { user, system } = process.cpuUsage(began);
  expect(user + system).toBeLessThan(1_000_000);
});

test('codec - an enum or union index out of range is MALFORMED', () => {
  const fields = ['', '', 0, 0, ''].map(() => Buffer.from([0]));
  const kind = Buffer.concat([head('ViolationFrame'), ...fields, Buffer.from([2, 99]), Buffer.alloc(200)]);
  expect(codeOf(() => decode(kind))).toBe('MALFORMED');
});

test('codec - a message of another kind is WRONG_SCHEMA and names it', () => {
  expect(codeOf(() => decodeVerdict(encodeResponse(sampleResponse())))).toBe('WRONG_SCHEMA');
  expect(() => decodeVerdict(encodeResponse(sampleResponse()))).toThrow('expected a Verdict, found a Response');
});
