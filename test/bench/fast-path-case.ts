/**
 * Measures one fast path beside the general one and prints both as CPU nanoseconds per violation.
 * Started by fast-paths.ts, so that each path runs under the flags of its app.
 */

import { CorrelationEngine, RuleHistory } from '@bailiff/correlation';
import { packetSample, podInventoryOf, podRef, SimCollector } from '@bailiff/correlation/testing';
import { BUILT_IN_RULES } from '@bailiff/policy';
import {
  type CounterIdentity,
  decodeProjectedFrame,
  encodeCounterPart,
  encodeOwnerPart,
  encodePreEncodedFrame,
  encodeViolationFrame,
  type PodRef,
  ProjectedFrameRegistry,
  SchemaRegistry,
  type ViolationFrame,
} from '@bailiff/schemas';
import { CountWindow } from '../../libs/correlation/src/windows/count-windows.ts';
import { windowPools } from '../../libs/correlation/src/windows/group-window.ts';
import type { TypedRowPool } from '../../libs/correlation/src/windows/typed-row-pool.ts';
import { CURRENT } from '../../libs/schemas/src/codec/registry.ts';
import { CounterIdentities } from '../../libs/schemas/src/fast/counter-identity.ts';
import { FastFrameReader, READ_FINGERPRINT } from '../../libs/schemas/src/fast/fast-frame-reader.ts';
import { projectedFrameType } from '../../libs/schemas/src/fast/frame-projection.ts';
import { median } from './report.ts';

const NODES = 40;
const PODS_PER_NODE = 250;
const TURNS = 3;
const VIOLATIONS_PER_FRAME = 64;
const CLAIMED = ['10.9.0.1', '10.9.0.2', '10.9.0.3'];
const START_MICROS = 1_800_000_000_000_000;
const GROUPS = 60_000;
/** Items per slice: a few milliseconds. */
const SLICE_ITEMS = 3_000;
const WARM_UP_ROUNDS = 30;
const MEASURE_CPU_MICROS = 6_000_000;

/** Each way does a part of the work per call and returns its number of items. */
interface Pair {
  general: () => number;
  fast: () => number;
}

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
 * Medians of the CPU nanoseconds per item, garbage collection included. The two ways alternate in short
 * slices, so that other load affects both alike.
 */
function measure({ general, fast }: Pair): [general: number, fast: number] {
  const slices: [number[], number[]] = [[], []];
  const begun = process.cpuUsage();
  for (let round = 0; ; round += 1) {
    [general, fast].forEach((step, index) => {
      const before = process.cpuUsage();
      let items = 0;
      while (items < SLICE_ITEMS) items += step();
      if (round >= WARM_UP_ROUNDS) slices[index]?.push((cpuMicrosSince(before) * 1000) / items);
    });
    if (round > 2 * WARM_UP_ROUNDS && cpuMicrosSince(begun) > MEASURE_CPU_MICROS) break;
  }
  return [median(slices[0]), median(slices[1])];
}

function cpuMicrosSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

/** Works on the items in turn. */
function inTurn<T>(items: readonly T[], work: (item: T) => number): () => number {
  let at = 0;
  return () => {
    at = at + 1 < items.length ? at + 1 : 0;
    return work(items[at] as T);
  };
}

function decoding(): Pair {
  makeFrames();
  const messages = frames.map(encodeViolationFrame);
  const way = (registry: ProjectedFrameRegistry) =>
    inTurn(messages, (message) => decodeProjectedFrame(message, registry).violations.length);
  const types = { ViolationFrame: projectedFrameType() };
  return {
    general: way(new SchemaRegistry(null, Date.now, { types, readers: {} })),
    fast: way(new ProjectedFrameRegistry()),
  };
}

/** Reads every identity again. */
class NoIdentities extends CounterIdentities {
  override find(): null {
    return null;
  }
  override add(...[, , , , , counter, pod]: Parameters<CounterIdentities['add']>): CounterIdentity {
    return { ...counter, pod, number: -1 };
  }
}

function correlating(): Pair {
  makeFrames();
  const messages = frames.map((frame) => ({ node: frame.nodeName, data: encodeViolationFrame(frame) }));
  const way = (registry: ProjectedFrameRegistry) => {
    const engine = new CorrelationEngine({
      rules: new RuleHistory(BUILT_IN_RULES),
      inventory: podInventoryOf(lists),
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
  };
  const reader = new FastFrameReader(new NoIdentities());
  return {
    general: way(new SchemaRegistry(null, Date.now, { types: {}, readers: { [READ_FINGERPRINT]: reader } })),
    fast: way(new ProjectedFrameRegistry()),
  };
}

/**
 * Frames of one node, as its collector encodes them. The violations have the shape that it fills, with
 * the parts that it encodes once per counter.
 */
function framesOfNode(): Frame[] {
  makeFrames();
  const own = frames.filter(({ nodeName }) => nodeName === 'node-0') as Frame[];
  const parts = new Map<string, [Buffer, Buffer]>();
  for (const frame of own) {
    frame.violations = frame.violations.map((violation) => {
      const known = parts.get(violation.counterEpoch) ?? [encodeCounterPart(violation), encodeOwnerPart(violation)];
      parts.set(violation.counterEpoch, known);
      return { ...violation, encodedCounter: known[0], encodedOwner: known[1] };
    });
  }
  return own;
}

type Frame = Parameters<typeof encodePreEncodedFrame>[0];
const encoding = (own: readonly Frame[], encode: (frame: Frame) => Buffer) =>
  inTurn(own, (frame) => (encode(frame).length > 0 ? frame.violations.length : 0));

function encodingParts(): Pair {
  const own = framesOfNode();
  return { general: encoding(own, encodeViolationFrame), fast: encoding(own, encodePreEncodedFrame) };
}

function encodingInScratch(): Pair {
  const own = framesOfNode();
  const { type } = CURRENT.ViolationFrame;
  const head = encodeViolationFrame(own[0] as Frame).subarray(0, 10);
  return {
    general: encoding(own, (frame) => Buffer.concat([head, type.toBuffer(frame)])),
    fast: encoding(own, encodeViolationFrame),
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

function counting(): Pair {
  const way = (isTyped: boolean) => {
    const pools = windowPools();
    if (!isTyped) pools.counts.rows = new PlainRowPool(pools.counts.rows.width) as unknown as TypedRowPool;
    const windows = Array.from({ length: GROUPS }, (_, n) => new CountWindow(`group-${n}`, pools));
    let timeMicros = START_MICROS;
    let at = 0;
    return () => {
      at = (at + 7_919) % GROUPS;
      timeMicros += 50;
      (windows[at] as CountWindow).add(timeMicros, 1, 60_000_000);
      return 1;
    };
  };
  return { general: way(false), fast: way(true) };
}

const CASES = {
  decode: decoding,
  correlate: correlating,
  rows: counting,
  parts: encodingParts,
  scratch: encodingInScratch,
} as const;
export type CaseName = keyof typeof CASES;

process.stdout.write(JSON.stringify(measure(CASES[process.argv[2] as CaseName]())));
