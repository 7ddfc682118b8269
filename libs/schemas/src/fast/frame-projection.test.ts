import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeViolationFrame, encodeViolationFrame } from '../codec/codec.ts';
import { cutEnd, MIN_TEXT_BYTES } from '../codec/limits.ts';
import { CURRENT, SchemaRegistry } from '../codec/registry.ts';
import { CURRENT_SCHEMAS } from '../generated/schemas.gen.ts';
import type { ViolationFrame } from '../generated/types.gen.ts';
import { sampleLsmViolation, sampleViolation } from '../testing.ts';
import { CounterIdentities } from './counter-identity.ts';
import { FastFrameReader, READ_FINGERPRINT } from './fast-frame-reader.ts';
import { decodeProjectedFrame, ProjectedFrameRegistry, projectedFrameType } from './frame-projection.ts';
import type { CounterIdentity, ProjectedFrame } from './projected-types.ts';

const registry = new ProjectedFrameRegistry();
/** Reads all frames by schema resolution, like those of other versions. */
const general: ProjectedFrameRegistry = new SchemaRegistry(null, Date.now, {
  types: { ViolationFrame: projectedFrameType() },
  readers: {},
});
const WAYS = [
  ['fast reader', registry],
  ['schema resolution', general],
] as const;
const frameOf = (
  violations = [sampleViolation(), sampleViolation({ pod: null, sample: null }), sampleLsmViolation()],
): ViolationFrame => ({
  nodeName: 'node-a',
  bootId: 'boot',
  frameSequence: 7,
  publishedAt: 1_790_000_000_000_000,
  collectorVersion: '0.1.0',
  violations,
  coverage: [
    { interfaceName: 'veth0', ifindex: 3, generation: 1, packetsBeforeGuard: 9, appearedToGuardedMicros: 1_000 },
  ],
});

/** The kept fields of a frame. */
function projected({ nodeName, frameSequence, violations }: ViolationFrame | ProjectedFrame): ProjectedFrame {
  return {
    nodeName,
    frameSequence,
    violations: violations.map((v) => ({
      kind: v.kind,
      vector: v.vector,
      action: v.action,
      state: v.state,
      counterEpoch: v.counterEpoch,
      cumulativePackets: v.cumulativePackets,
      count: v.count,
      suppressed: v.suppressed,
      firstSeenAt: v.firstSeenAt,
      lastSeenAt: v.lastSeenAt,
      pod: v.pod && {
        uid: v.pod.uid,
        namespace: v.pod.namespace,
        name: v.pod.name,
        ownerKind: v.pod.ownerKind,
        ownerName: v.pod.ownerName,
        ownerUid: v.pod.ownerUid,
      },
      sample: v.sample && {
        claimedMac: v.sample.claimedMac,
        claimedAddress: v.sample.claimedAddress,
        destinationAddress: v.sample.destinationAddress,
        destinationPort: v.sample.destinationPort,
        process: v.sample.process && {
          tgid: v.sample.process.tgid,
          uid: v.sample.process.uid,
          comm: v.sample.process.comm,
          executable: v.sample.process.executable,
          containerName: v.sample.process.containerName,
        },
      },
      operation: v.operation && {
        operation: v.operation.operation,
        subject: v.operation.subject,
        tgid: v.operation.tgid,
        uid: v.operation.uid,
        comm: v.operation.comm,
        executable: v.operation.executable,
        parentExecutable: v.operation.parentExecutable,
        containerName: v.operation.containerName,
      },
      severity: v.severity,
    })),
  };
}

const tried = <T>(read: () => T): { value: T } | { code: string } => {
  try {
    return { value: read() };
  } catch (error) {
    return { code: (error as { code: string }).code };
  }
};

type Json = { [key: string]: Json } | Json[] | string;

/** Any value of a schema. */
function anyOf(schema: Json): fc.Arbitrary<unknown> {
  if (Array.isArray(schema)) return fc.oneof(...schema.map(anyOf));
  if (typeof schema === 'object') {
    const { type, fields, items, symbols } = schema as { type: Json; fields: Json[]; items: Json; symbols: string[] };
    if (type === 'record')
      return fc.record(
        Object.fromEntries(fields.map((f) => [(f as { name: string }).name, anyOf((f as Json & { type: Json }).type)])),
      );
    if (type === 'array') return fc.array(anyOf(items), { maxLength: 4 });
    return type === 'enum' ? fc.constantFrom(...symbols) : anyOf(type);
  }
  if (schema === 'null') return fc.constant(null);
  if (schema === 'boolean') return fc.boolean();
  if (schema === 'int') return fc.integer();
  if (schema === 'long')
    return fc.oneof(
      fc.nat({ max: 200 }),
      fc.maxSafeInteger().map((n) => Math.trunc(n / 2)),
    );
  if (schema === 'bytes') return fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes));
  expect(schema).toBe('string');
  const short = fc.constantFrom('', '10.9.0.1', 'default', 'Stra\u00dfe', '\u{1f47e}');
  const any = fc.oneof(short, fc.string({ maxLength: 100 }), fc.string({ unit: 'binary', maxLength: 60 }));
  return any.map((text) => cutEnd(text, MIN_TEXT_BYTES));
}

const identitiesOf = (frame: ProjectedFrame): CounterIdentity[] =>
  frame.violations.map(({ identity }) => identity as CounterIdentity);
const read = (frame: ViolationFrame) => decodeProjectedFrame(encodeViolationFrame(frame), registry);

describe('projected frame', () => {
  it.each(WAYS)('%s - has the kept fields', (_, way) => {
    const frame = frameOf();
    expect(projected(decodeProjectedFrame(encodeViolationFrame(frame), way))).toEqual(projected(frame));
  });

  it('schema resolution - has no other field', () => {
    const frame = decodeProjectedFrame(encodeViolationFrame(frameOf()), general);
    expect(JSON.parse(JSON.stringify(frame))).toEqual(JSON.parse(JSON.stringify(projected(frameOf()))));
  });

  it.each(WAYS)(
    'property - %s accepts the damaged messages that a full reader accepts, with the same content, and throws only its errors',
    (_, way) => {
      const message = encodeViolationFrame(frameOf());
      const damage = fc.record({ at: fc.nat({ max: message.length - 1 }), byte: fc.nat({ max: 255 }) });
      fc.assert(
        fc.property(fc.array(damage, { minLength: 1, maxLength: 4 }), fc.nat({ max: message.length }), (all, cut) => {
          const damaged = Buffer.from(cut > 10 && cut % 3 === 0 ? message.subarray(0, cut) : message);
          for (const { at, byte } of all) if (at >= 10 && at < damaged.length) damaged[at] = byte;
          const full = tried(() => decodeViolationFrame(damaged));
          const short = tried(() => projected(decodeProjectedFrame(damaged, way)));
          if ('value' in full) expect(short).toEqual({ value: projected(full.value) });
          else if ('code' in short)
            expect(short.code).toMatch(/^(TRUNCATED|TRAILING_BYTES|MALFORMED|LONG_RANGE|FIELD_TOO_LONG)$/);
        }),
        { numRuns: 2_000 },
      );
    },
  );

  it.each(WAYS)('%s - a skipped string of negative length is rejected', (_, way) => {
    const violation = sampleViolation({ interfaceName: 'x'.repeat(40) });
    const message = encodeViolationFrame(frameOf([violation]));
    const at = message.indexOf('x'.repeat(40)) - 1;
    expect(message[at]).toBe(80);
    message[at] = 79;
    expect(() => decodeProjectedFrame(message, way)).toThrow(expect.objectContaining({ code: 'MALFORMED' }));
    message[at] = 80;
    expect(decodeProjectedFrame(message, way).violations.length).toBe(1);
  });
});

describe('fast frame reader', () => {
  it('supports the schema that this build writes', () => {
    expect(READ_FINGERPRINT).toBe(CURRENT.ViolationFrame.fingerprint);
  });

  it('property - reads any frame like a full reader, also when most of it is cached', () => {
    const text = CURRENT_SCHEMAS.find(({ name }) => name === 'ViolationFrame')?.text as string;
    fc.assert(
      fc.property(anyOf(JSON.parse(text)) as fc.Arbitrary<ViolationFrame>, (frame) => {
        const message = encodeViolationFrame(frame);
        const whole = projected(decodeViolationFrame(message));
        for (let time = 0; time < 2; time += 1)
          expect(projected(decodeProjectedFrame(message, registry))).toEqual(whole);
      }),
      { numRuns: 300 },
    );
  });
});

describe('counter identities', () => {
  it('are the same object for the same counter and pod, whatever the other fields are', () => {
    const [first] = identitiesOf(read(frameOf([sampleViolation()])));
    const more = {
      cumulativePackets: 9_999,
      lastSeenAt: 1,
      final: true,
      sample: null,
      interfaceName: 'other',
      severity: 'low',
    };
    expect(identitiesOf(read(frameOf([sampleViolation(), sampleViolation(more)])))).toEqual([first, first]);
    expect(identitiesOf(read(frameOf([sampleViolation(more)])))[0]).toBe(first);
  });

  it('differ when any field of counter or pod differs', () => {
    const pod = sampleViolation().pod as NonNullable<ViolationFrame['violations'][0]['pod']>;
    const parts = [
      {},
      { kind: 'lsm' as const },
      { vector: 'ipv6-source' },
      { action: 'audit' as const },
      { state: 'provisional' as const },
      { counterEpoch: 'x' },
      { pod: null },
      ...Object.keys(pod).map((field) => ({ pod: { ...pod, [field]: 'another' } })),
    ];
    const violations = parts.map((part) => sampleViolation(part));
    const identities = identitiesOf(read(frameOf(violations)));
    expect(new Set(identities).size).toBe(parts.length);
    expect(new Set(identities.map(({ number }) => number)).size).toBe(parts.length);
    // Also from the cache.
    expect(projected(read(frameOf(violations)))).toEqual(projected(frameOf(violations)));
  });

  it('too many - the cache is cleared, numbers restart, and frames are read correctly', () => {
    const reader = new FastFrameReader(new CounterIdentities(640));
    const own: ProjectedFrameRegistry = new SchemaRegistry(null, Date.now, {
      types: {},
      readers: { [READ_FINGERPRINT]: reader },
    });
    const reading = (from: number) => {
      const violations = Array.from({ length: 64 }, (_, i) => sampleViolation({ counterEpoch: `boot/${from + i}/1` }));
      const message = encodeViolationFrame(frameOf(violations));
      return { read: decodeProjectedFrame(message, own), whole: decodeViolationFrame(message) };
    };
    const first = identitiesOf(reading(0).read)[0];
    for (let at = 64; at < 640; at += 64) reading(at);
    expect(identitiesOf(reading(0).read)[0]).toBe(first);
    reading(640);
    const { read, whole } = reading(0);
    expect(projected(read)).toEqual(projected(whole));
    expect(identitiesOf(read)[0]).not.toBe(first);
    expect(identitiesOf(read)[0]?.number).toBeLessThan(200);
  });

  it('very long - are read and not cached', () => {
    const pod = sampleViolation().pod as NonNullable<ViolationFrame['violations'][0]['pod']>;
    const names = { namespace: 'n', name: 'o', serviceAccount: 's', ownerKind: 'k', ownerName: 'w' };
    const long = Object.fromEntries(Object.entries(names).map(([field, letter]) => [field, letter.repeat(253)]));
    const epoch = { vector: 'v'.repeat(384), counterEpoch: 'e'.repeat(512) };
    const frame = frameOf([sampleViolation({ ...epoch, pod: { ...pod, ...long } })]);
    const [one] = identitiesOf(read(frame)) as [CounterIdentity];
    expect(one.number).toBe(-1);
    expect(identitiesOf(read(frame))[0]).not.toBe(one);
    expect(projected(read(frame))).toEqual(projected(frame));
  });
});
