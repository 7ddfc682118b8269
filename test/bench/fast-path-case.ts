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
  type ViolationFrame,
} from '@bailiff/schemas';
import { CountWindow } from '../../libs/correlation/src/windows/count-windows.ts';
import { windowPools } from '../../libs/correlation/src/windows/group-window.ts';
import type { TypedRowPool } from '../../libs/correlation/src/windows/typed-row-pool.ts';
import { CURRENT } from '../../libs/schemas/src/codec/registry.ts';
import { CounterIdentities } from '../../libs/schemas/src/fast/counter-identity.ts';
import { projectedFrameType } from '../../libs/schemas/src/fast/frame-projection.ts';
import { StringInterner } from '../../libs/schemas/src/fast/string-interner.ts';
import { quantile } from './report.ts';

const NODES = 40;
const PODS_PER_NODE = 250;
const TURNS = 3;
const VIOLATIONS_PER_FRAME = 64;
const CLAIMED = ['10.9.0.1', '10.9.0.2', '10.9.0.3'];
const START_MICROS = 1_800_000_000_000_000;
const GROUPS = 60_000;
const SLICE_CPU_MICROS = 40_000;
const WARM_UP_SLICES = 40;
const SLICES = 40;
/** Items between two looks at the CPU time. */
const STEPS_ITEMS = 512;

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

/**
 * CPU nanoseconds per item, garbage collection included: the lower quartile of many slices, so that
 * other load counts little.
 * @param step does a part of the work and returns its number of items
 */
function measure(step: () => number): number {
  const slices: number[] = [];
  for (let slice = 0; slice < WARM_UP_SLICES + SLICES; slice += 1) {
    const before = process.cpuUsage();
    let items = 0;
    let cpuMicros = 0;
    while (cpuMicros < SLICE_CPU_MICROS) {
      for (const end = items + STEPS_ITEMS; items < end; ) items += step();
      const { user, system } = process.cpuUsage(before);
      cpuMicros = user + system;
    }
    if (slice >= WARM_UP_SLICES) slices.push((cpuMicros * 1000) / items);
  }
  return quantile(slices, 0.25);
}

/** Works on the items in turn. */
function inTurn<T>(items: readonly T[], work: (item: T) => number): () => number {
  let at = 0;
  return () => {
    at = at + 1 < items.length ? at + 1 : 0;
    return work(items[at] as T);
  };
}

function decoding(registry: ProjectedFrameRegistry): () => number {
  makeFrames();
  return inTurn(
    frames.map(encodeViolationFrame),
    (message) => decodeProjectedFrame(message, registry).violations.length,
  );
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
  return inTurn(messages, ({ node, data }) => {
    const frame = decodeProjectedFrame(data, registry);
    sequence += 1;
    timestampMicros += 300;
    engine.processFrame({ sequence, timestampMicros, node }, frame);
    return frame.violations.length;
  });
}

/** Encodes the frames of one node. Its violations have the shape that the collector fills. */
function encoding(encode: (frame: Frame) => Buffer, prepare: (violation: PreEncodedViolation) => void): () => number {
  makeFrames();
  const own = frames.filter(({ nodeName }) => nodeName === 'node-0') as Frame[];
  for (const frame of own) {
    frame.violations = frame.violations.map((one) => ({ ...one, encodedCounter: null, encodedOwner: null }));
    frame.violations.forEach(prepare);
  }
  return inTurn(own, (frame) => (encode(frame).length > 0 ? frame.violations.length : 0));
}

type Frame = Parameters<typeof encodePreEncodedFrame>[0];
const unprepared = () => undefined;

/** The collector encodes the parts of a counter once. */
function preparedParts() {
  const parts = new Map<string, [Buffer, Buffer]>();
  return (violation: PreEncodedViolation) => {
    const known = parts.get(violation.counterEpoch) ?? [encodeCounterPart(violation), encodeOwnerPart(violation)];
    parts.set(violation.counterEpoch, known);
    [violation.encodedCounter, violation.encodedOwner] = known;
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
  const after = process.memoryUsage();
  const bytes = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers;
  process.stderr.write(`${Math.round(bytes / GROUPS)} bytes a group\n`);
  let timeMicros = START_MICROS;
  let at = 0;
  return () => {
    at = (at + 7_919) % GROUPS;
    timeMicros += 50;
    (windows[at] as CountWindow).add(timeMicros, 1, 60_000_000);
    return 1;
  };
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
  'encode-general': () => encoding(encodeViolationFrame, unprepared),
  'encode-parts': () => encoding(encodePreEncodedFrame, preparedParts()),
  'encode-without-scratch': () => {
    const { type, fingerprint } = CURRENT.ViolationFrame;
    const head = Buffer.from([0xc3, 0x01, 0, 0, 0, 0, 0, 0, 0, 0]);
    head.writeBigUInt64LE(BigInt(`0x${fingerprint}`), 2);
    return encoding((frame) => Buffer.concat([head, type.toBuffer(frame)]), unprepared);
  },
  'rows-typed': () => counting(true),
  'rows-plain': () => counting(false),
} as const;
export type CaseName = keyof typeof CASES;

const name = process.argv[2] as CaseName;
process.stdout.write(`${measure(CASES[name]())}\n`);
