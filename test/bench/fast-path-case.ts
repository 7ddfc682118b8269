/**
 * One variant of one fast path, in a process of its own: prints the CPU nanoseconds per violation.
 * Started by fast-paths.ts. A variant without a mechanism replaces it by the plain operation.
 */

import { CorrelationEngine, RuleHistory } from '@bailiff/correlation';
import { packetSample, podInventoryOf, podRef, SimCollector } from '@bailiff/correlation/testing';
import { BUILT_IN_RULES } from '@bailiff/policy';
import {
  decodeProjectedFrame,
  encodeCounterPart,
  encodeOwnerPart,
  encodePreEncodedFrame,
  encodeViolationFrame,
  type PodRef,
  type PreEncodedViolation,
  ProjectedFrameRegistry,
  SchemaRegistry,
  type Violation,
  type ViolationFrame,
} from '@bailiff/schemas';
import type avro from 'avsc';
import { CountWindow } from '../../libs/correlation/src/windows/count-windows.ts';
import { windowPools } from '../../libs/correlation/src/windows/group-window.ts';
import type { TypedRowPool } from '../../libs/correlation/src/windows/typed-row-pool.ts';
import { CURRENT } from '../../libs/schemas/src/codec/registry.ts';
import { CounterIdentities } from '../../libs/schemas/src/fast/counter-identity.ts';
import { projectedFrameType } from '../../libs/schemas/src/fast/frame-projection.ts';
import { StringInterner } from '../../libs/schemas/src/fast/string-interner.ts';

const NODES = 40;
const PODS_PER_NODE = 250;
const TURNS = 3;
const VIOLATIONS_PER_FRAME = 64;
const CLAIMED = ['10.9.0.1', '10.9.0.2', '10.9.0.3'];
const START_MICROS = 1_800_000_000_000_000;
const GROUPS = 60_000;
/** CPU time of a variant before it is measured, and while it is measured: other load does not count. */
const WARM_UP_CPU_MS = 1_500;
const MEASURE_CPU_MS = 1_500;

const lists: Record<string, PodRef[]> = {};
const frames: ViolationFrame[] = [];

function makeFrames(): void {
  const head = Buffer.alloc(60, 7);
  const collectors = Array.from({ length: NODES }, (_, n) => {
    const pods = Array.from({ length: PODS_PER_NODE }, (_, p) =>
      podRef(`web-${n}-${p}`, {
        ownerKind: 'ReplicaSet',
        ownerName: `web-${n}`,
        ownerUid: `0a1b2c3d-0000-4000-8000-${String(n).padStart(12, '0')}`,
        uid: `1a1b2c3d-0000-4000-8000-${String(n * PODS_PER_NODE + p).padStart(12, '0')}`,
      }),
    );
    lists[`node-${n}`] = pods;
    return { collector: new SimCollector(`node-${n}`), pods };
  });
  for (let turn = 0; turn < TURNS; turn += 1)
    for (const { collector, pods } of collectors)
      for (let at = 0; at < pods.length; at += VIOLATIONS_PER_FRAME) {
        const observedAt = START_MICROS + turn * 1_000_000;
        const sample = packetSample({ observedAt, claimedAddress: CLAIMED[turn % CLAIMED.length] as string, head });
        for (const pod of pods.slice(at, at + VIOLATIONS_PER_FRAME)) collector.spoof(pod, 1, { sample });
        frames.push(collector.flush(observedAt) as ViolationFrame);
      }
}

/** CPU nanoseconds per item. @param pass does the work once and returns its number of items */
function measure(pass: () => number): number {
  const run = (cpuMs: number) => {
    const before = process.cpuUsage();
    let items = 0;
    for (;;) {
      items += pass();
      const { user, system } = process.cpuUsage(before);
      if (user + system >= cpuMs * 1000) return ((user + system) * 1000) / items;
    }
  };
  run(WARM_UP_CPU_MS);
  return run(MEASURE_CPU_MS);
}

function decoding(registry: ProjectedFrameRegistry): () => number {
  makeFrames();
  const messages = frames.map(encodeViolationFrame);
  return () => {
    let violations = 0;
    for (const message of messages) violations += decodeProjectedFrame(message, registry).violations.length;
    return violations;
  };
}

function correlating(): () => number {
  makeFrames();
  const messages = frames.map((frame) => ({ node: frame.nodeName, data: encodeViolationFrame(frame) }));
  const registry = new ProjectedFrameRegistry();
  const inventory = podInventoryOf(lists);
  const engine = new CorrelationEngine({
    rules: new RuleHistory(BUILT_IN_RULES),
    inventory,
    onVerdict: () => undefined,
  });
  let sequence = 0;
  let timestampMicros = START_MICROS;
  return () => {
    let violations = 0;
    for (const { node, data } of messages) {
      const frame = decodeProjectedFrame(data, registry);
      sequence += 1;
      timestampMicros += 300;
      engine.processFrame({ sequence, timestampMicros, node }, frame);
      violations += frame.violations.length;
    }
    return violations;
  };
}

/** Encodes the frames of one node, as its collector does. */
function encoding(encode: (frame: ViolationFrame) => Buffer, prepare = (_: Violation) => ({})): () => number {
  makeFrames();
  const own = frames.filter(({ nodeName }) => nodeName === 'node-0');
  for (const frame of own) frame.violations = frame.violations.map((one) => ({ ...one, ...prepare(one) }));
  return () => {
    let violations = 0;
    for (const frame of own) if (encode(frame).length > 0) violations += frame.violations.length;
    return violations;
  };
}

/** The collector encodes the parts of a counter once. */
function preparedParts() {
  const parts = new Map<string, Pick<PreEncodedViolation, 'encodedCounter' | 'encodedOwner'>>();
  return (violation: Violation) => {
    const known = parts.get(violation.counterEpoch) ?? {
      encodedCounter: encodeCounterPart(violation),
      encodedOwner: encodeOwnerPart(violation),
    };
    parts.set(violation.counterEpoch, known);
    return known;
  };
}

/** Rows that are plain arrays, one a group. */
class PlainRowPool {
  readonly #rows: number[][] = [];
  readonly width: number;
  constructor(width: number) {
    this.width = width;
  }
  allocate(): number {
    return this.#rows.push(new Array<number>(this.width).fill(0)) - 1;
  }
  page(row: number): number[] {
    return this.#rows[row] as number[];
  }
  offset(): number {
    return 0;
  }
}

function counting(isTyped: boolean): () => number {
  const pools = windowPools();
  if (!isTyped) pools.counts.rows = new PlainRowPool(pools.counts.rows.width) as unknown as TypedRowPool;
  const before = process.memoryUsage();
  const windows = Array.from({ length: GROUPS }, (_, n) => new CountWindow(`group-${n}`, pools));
  let timeMicros = START_MICROS;
  let at = 0;
  const pass = () => {
    for (let i = 0; i < GROUPS; i += 1) {
      at = (at + 7_919) % GROUPS;
      timeMicros += 50;
      (windows[at] as CountWindow).add(timeMicros, 1, 60_000_000);
    }
    return GROUPS;
  };
  pass();
  const after = process.memoryUsage();
  const bytes = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers;
  process.stderr.write(`${Math.round(bytes / GROUPS)} bytes a group\n`);
  return pass;
}

const CASES = {
  'decode-fast': () => decoding(new ProjectedFrameRegistry()),
  'decode-projected': () =>
    decoding(new SchemaRegistry(null, Date.now, { types: { ViolationFrame: projectedFrameType() }, readers: {} })),
  'decode-without-interner': () => {
    StringInterner.prototype.read = (tap, limit) => tap.readText(limit);
    return decoding(new ProjectedFrameRegistry());
  },
  'correlate-fast': correlating,
  'correlate-without-identity': () => {
    CounterIdentities.prototype.find = () => null;
    CounterIdentities.prototype.add = (_message, _a, _b, _c, _d, counter, pod) => ({ ...counter, pod, number: -1 });
    return correlating();
  },
  'encode-general': () => encoding(encodeViolationFrame),
  'encode-parts': () => encoding(encodePreEncodedFrame as (frame: ViolationFrame) => Buffer, preparedParts()),
  'encode-without-scratch': () => {
    const { type, fingerprint } = CURRENT.ViolationFrame;
    const head = Buffer.from([0xc3, 0x01, 0, 0, 0, 0, 0, 0, 0, 0]);
    head.writeBigUInt64LE(BigInt(`0x${fingerprint}`), 2);
    return encoding((frame) => Buffer.concat([head, (type as avro.Type).toBuffer(frame)]));
  },
  'rows-typed': () => counting(true),
  'rows-plain': () => counting(false),
} as const;
export type CaseName = keyof typeof CASES;

const name = process.argv[2] as CaseName;
process.stdout.write(`${measure(CASES[name]())}\n`);
