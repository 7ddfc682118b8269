/**
 * The Avro decoder with arbitrary bytes. For any input it returns a value of the current type or
 * throws a SchemaError, within time and memory bounded by the length of the message, and never ends
 * the process.
 */
import {
  CURRENT_SCHEMAS,
  decode,
  encodeResponse,
  encodeVerdict,
  encodeViolationFrame,
  fingerprintHex,
  SchemaError,
} from '@bailiff/schemas';
import { headOf, sampleFrame, sampleResponse, sampleVerdict, sampleViolation } from '@bailiff/schemas/testing';
import fc from 'fast-check';
import { expect, test } from 'vitest';

const RUNS = Number(process.env['BAILIFF_FUZZ_RUNS'] ?? 20_000);
/**
 * A small message is decoded in well under a millisecond. One that takes this long, even on a busy
 * machine, is a bomb.
 */
const SLOW_MS = 5_000;

const encoders = { ViolationFrame: encodeViolationFrame, Verdict: encodeVerdict, Response: encodeResponse };
const reEncode = (decoded: ReturnType<typeof decode>): Buffer =>
  (encoders[decoded.name] as (value: unknown) => Buffer)(decoded.value);

const heads = CURRENT_SCHEMAS.map(({ text }) => headOf(fingerprintHex(JSON.parse(text))));
const messages = [
  encodeViolationFrame(sampleFrame()),
  encodeVerdict(sampleVerdict()),
  encodeResponse(sampleResponse()),
];

/** Decodes; a refusal is counted by its code, anything else thrown fails the test. */
function judge(message: Uint8Array, seen: Map<string, number>): void {
  const started = performance.now();
  let outcome = 'decoded';
  try {
    const decoded = decode(message);
    // An accepted value can be encoded, and decodes to the same value.
    expect(decode(reEncode(decoded))).toEqual(decoded);
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    outcome = error.code;
  }
  const tookMs = performance.now() - started;
  if (message.length < 4_096 && tookMs > SLOW_MS) throw new Error(`${message.length} bytes took ${tookMs} ms`);
  seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
}

test('avro fuzz - any bytes, with and without a good head', () => {
  const seen = new Map<string, number>();
  const bytes = fc.uint8Array({ maxLength: 600 });
  const headed = fc.tuple(fc.constantFrom(...heads), bytes).map(([head, body]) => Buffer.concat([head, body]));
  fc.assert(
    fc.property(fc.oneof(bytes, headed), (message) => judge(message, seen)),
    { numRuns: RUNS },
  );
  // The test passed the header, so message bodies were decoded.
  for (const code of ['NOT_SINGLE_OBJECT', 'TRUNCATED', 'MALFORMED'])
    expect(seen.get(code) ?? 0, code).toBeGreaterThan(0);
});

test('avro fuzz - valid messages with bytes changed, removed, doubled and inserted', () => {
  const seen = new Map<string, number>();
  const change = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    kind: fc.constantFrom('set', 'cut', 'double', 'insert'),
    length: fc.integer({ min: 1, max: 12 }),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }),
  });
  fc.assert(
    fc.property(fc.constantFrom(...messages), fc.array(change, { minLength: 1, maxLength: 6 }), (good, changes) => {
      let message: Buffer = Buffer.from(good);
      for (const { at, kind, length, bytes } of changes) {
        const position = Math.floor(at * message.length);
        const before = message.subarray(0, position);
        const after = message.subarray(position);
        if (kind === 'set') message = Buffer.concat([before, bytes, after.subarray(bytes.length)]);
        else if (kind === 'cut') message = Buffer.concat([before, after.subarray(length)]);
        else if (kind === 'double') message = Buffer.concat([before, after.subarray(0, length), after]);
        else message = Buffer.concat([before, bytes, after]);
      }
      judge(message, seen);
    }),
    { numRuns: RUNS },
  );
  for (const outcome of ['decoded', 'TRUNCATED', 'TRAILING_BYTES', 'MALFORMED']) {
    expect(seen.get(outcome) ?? 0, outcome).toBeGreaterThan(0);
  }
});

test('avro fuzz - counts and lengths at their limits, everywhere in a message', () => {
  const seen = new Map<string, number>();
  const long = (value: bigint) => {
    const bytes: number[] = [];
    let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
    for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
    return Buffer.from([...bytes, Number(rest)]);
  };
  const extremes = [
    1n,
    -1n,
    60n,
    2n ** 20n,
    2n ** 25n,
    2n ** 31n,
    2n ** 32n - 1n,
    2n ** 53n,
    2n ** 62n,
    -(2n ** 31n),
    -(2n ** 62n),
  ];
  const before = process.memoryUsage.rss();
  let largest = before;
  for (const good of messages) {
    for (let at = 10; at <= good.length; at += 1) {
      for (const extreme of extremes) {
        judge(Buffer.concat([good.subarray(0, at), long(extreme), good.subarray(at)]), seen);
        judge(Buffer.concat([good.subarray(0, at), long(extreme), good.subarray(at + 1)]), seen);
        largest = Math.max(largest, process.memoryUsage.rss());
      }
    }
  }
  // Room for 2^25 items would be 256 MiB.
  expect((largest - before) / 1024 ** 2).toBeLessThan(150);
  expect(seen.get('TRUNCATED') ?? 0).toBeGreaterThan(0);
});

test('avro fuzz - every value of the schema survives encoding and decoding', () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 40 });
  const micros = fc.maxSafeNat().filter((value) => value < Number.MAX_SAFE_INTEGER);
  const violation = fc
    .record({
      vector: text,
      cumulativePackets: micros,
      final: fc.boolean(),
      ifindex: fc.integer(),
      detail: text,
      head: fc.uint8Array({ maxLength: 64 }),
      hasPod: fc.boolean(),
      hasSample: fc.boolean(),
    })
    .map(({ head, hasPod, hasSample, ...part }) => {
      const whole = sampleViolation(part);
      const sample = whole.sample && { ...whole.sample, head: Buffer.from(head) };
      return { ...whole, pod: hasPod ? whole.pod : null, sample: hasSample ? sample : null };
    });
  const frame = fc
    .record({ nodeName: text, frameSequence: micros, violations: fc.array(violation, { maxLength: 70 }) })
    .map((part) => sampleFrame(part));
  fc.assert(
    fc.property(frame, (value) => {
      expect(decode(encodeViolationFrame(value)).value).toEqual(value);
    }),
    { numRuns: Math.ceil(RUNS / 20) },
  );
});
