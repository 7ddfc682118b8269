import { COUNTER_NUMBERS, type CounterCell, type SpoofSample } from '@bailiff/bpf';
import { encodePreEncodedFrame, encodeViolationFrame, type ViolationFrame } from '@bailiff/schemas';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CELL_NAMES, cellOf, isBeforeGuard } from '../packets/counting/cells.ts';
import { InterfaceAdapter } from '../packets/publishing/adapter.ts';
import { type GuardedInterface, newInterface } from '../packets/subjects/guarded-interface.ts';
import { Registry } from '../packets/subjects/registry.ts';
import { Flusher, type FlusherOptions } from './flusher.ts';
import { blankViolation, MAX_FRAME_VIOLATIONS } from './frame.ts';

const link = { ifindex: 7, name: 'veth7', kind: 'veth', mac: '', linkNetnsid: 1, peerIfindex: 2 };
const binding = {
  source: 'cni' as const,
  podUid: 'u',
  podNamespace: 'shop',
  podName: 'web',
  ifName: 'eth0',
  mac: '',
  addresses: [],
  link,
};

const pod = {
  uid: 'u',
  namespace: 'shop',
  name: 'web',
  serviceAccount: '',
  ownerKind: '',
  ownerName: '',
  ownerUid: '',
};

/** A guarded and bound interface without unguarded packets, due at once. */
function makeIface(generation: number, over: Partial<GuardedInterface> = {}): GuardedInterface {
  return {
    ...newInterface({ ifindex: generation, generation, slot: generation, seenBase: 0, link }, 0),
    binding,
    pod,
    attachError: '',
    guardedAfterMs: 0,
    packetsBeforeGuard: 0,
    unguardedReported: true,
    flushedAtMs: Number.NEGATIVE_INFINITY,
    ...over,
  };
}

const drop = (
  packets: number,
  vector: CounterCell['vector'] = 'ipv4-source',
  state: CounterCell['state'] = 'programmed',
): CounterCell => ({
  vector,
  action: vector === 'unknown-interface' ? 'audit' : 'drop',
  state,
  packets: BigInt(packets),
  skbs: BigInt(packets),
  bytes: BigInt(packets * 60),
});
const sample = (generation: number): SpoofSample => ({
  boottimeNs: 5_000n,
  cgroupId: 0n,
  socketCookie: 9n,
  ifindex: generation,
  generation,
  lengthBytes: 60,
  gsoSegments: 1,
  vector: 'ipv4-source',
  action: 'drop',
  state: 'programmed',
  egress: false,
  first: true,
  l4Protocol: 17,
  etherType: 0x800,
  sourcePort: 1,
  destinationPort: 2,
  claimedMac: '',
  expectedMac: '',
  claimedAddress: '10.0.0.66',
  expectedAddress: '10.0.0.2',
  destinationAddress: '10.0.0.3',
  head: Buffer.alloc(4),
});

describe('flusher', () => {
  let registry: Registry;
  let kernel: Map<number, CounterCell[]>;
  let frames: ViolationFrame[];
  let acks: (() => void)[];
  let rejections: ((error: Error) => void)[];
  let errors: Error[];
  let capacity: number;
  /** Generations that have used their share. */
  let waiting: Set<number>;
  let nowMs: number;
  let settled: number[];
  let flusher: Flusher<GuardedInterface>;
  let take: (samples: readonly SpoofSample[]) => void;
  let freed: (() => void)[];
  let readInto: (key: { generation: number }, into: Float64Array) => boolean;

  beforeEach(() => {
    vi.useFakeTimers();
    registry = new Registry(256);
    kernel = new Map();
    frames = [];
    acks = [];
    rejections = [];
    errors = [];
    freed = [];
    capacity = 1_000;
    waiting = new Set();
    nowMs = 10_000;
    settled = [];
    let sequence = 0;
    readInto = (key, into) => {
      into.fill(0);
      for (const cell of kernel.get(key.generation) ?? [])
        into.set([cell.packets, cell.skbs, cell.bytes].map(Number), cellOf(cell) * 3);
      return kernel.has(key.generation);
    };
    const clock = { nowMicros: () => nowMs * 1000, nowMs: () => nowMs, bootWallMicros: () => 0 };
    const adapter = new InterfaceAdapter({
      bootId: 'b',
      clock,
      registry,
      counters: { readInto } as never,
      unknownGraceMs: 5_000,
      processOf: () => null,
      onSettled: (iface) => settled.push(iface.generation),
      onAcked: () => {},
      onUnguardedReported: () => {},
    });
    const options: FlusherOptions = {
      nodeName: 'n1',
      bootId: 'b',
      version: '1',
      clock,
      flushIntervalMs: 250,
      sink: {
        publish: (frame) => {
          // The frame is reused after the call, so it is copied.
          frames.push(structuredClone(frame));
          // Encoded parts equal the fields beside them, whatever the object contained before.
          expect(encodePreEncodedFrame(frame)).toEqual(encodeViolationFrame(frame));
          return new Promise((resolve, reject) => {
            acks.push(resolve);
            rejections.push(reject);
          });
        },
        hasCapacity: () => frames.length - acks.filter((a) => (a as { done?: boolean }).done).length < capacity,
        whenCapacity: () => new Promise((resolve) => freed.push(resolve)),
        hasShare: (source) => !waiting.has((source as GuardedInterface).generation),
      },
      nextSequence: () => ++sequence,
      onError: (error) => errors.push(error),
    };
    flusher = new Flusher(options, adapter);
    take = (samples) => flusher.received(adapter.takeSamples(samples));
  });
  afterEach(() => vi.useRealTimers());
  const pass = async (ms: number) => {
    nowMs += ms;
    await vi.advanceTimersByTimeAsync(ms);
  };
  const ackAll = async () => {
    for (const ack of acks.splice(0)) ack();
    await vi.advanceTimersByTimeAsync(0);
  };

  it('first violation - published at once, later ones at growing intervals, with the exact cumulative count', async () => {
    registry.add(makeIface(1));
    kernel.set(1, [drop(1)]);
    take([sample(1)]);
    expect(frames).toHaveLength(1);
    expect(frames[0]?.violations[0]).toMatchObject({
      cumulativePackets: 1,
      count: 1,
      suppressed: 0,
      counterEpoch: 'b/1/1/ipv4-source/drop/programmed',
    });
    kernel.set(1, [drop(500)]);
    take([sample(1)]);
    expect(frames).toHaveLength(1);
    await pass(10);
    expect(frames[1]?.violations[0]).toMatchObject({ cumulativePackets: 500, count: 1, suppressed: 498 });
  });

  it('continued violations - published after 10 ms, 20 ms and so on up to the interval; after a quiet turn at once', async () => {
    registry.add(makeIface(1));
    for (let ms = 0; ms < 1_500; ms += 5) {
      kernel.set(1, [drop(ms + 1)]);
      if (ms % 100 === 0) take([sample(1)]);
      await pass(5);
    }
    const times = frames.map((f) => f.publishedAt / 1000);
    const gaps = times.slice(1).map((t, i) => t - (times[i] as number));
    expect(gaps.slice(0, 4)).toEqual([10, 20, 40, 80]);
    expect(gaps.at(-1)).toBe(250);
    for (let turn = 0; turn < 40; turn += 1) await pass(50);
    const before = frames.length;
    kernel.set(1, [drop(10_000)]);
    take([sample(1)]);
    expect(frames.length).toBe(before + 1);
  });

  it('growth without sample - found by the sweep', () => {
    registry.add(makeIface(1));
    kernel.set(1, [drop(7)]);
    flusher.sweep();
    expect(frames[0]?.violations[0]).toMatchObject({ cumulativePackets: 7, count: 0, suppressed: 7, sample: null });
  });

  it('frame limit - the cells of an interface may be in two frames', () => {
    for (let g = 1; g <= 40; g += 1) {
      registry.add(makeIface(g));
      kernel.set(g, [drop(1), drop(2, 'arp-sender')]);
    }
    flusher.sweep();
    expect(frames.map((f) => f.violations.length)).toEqual([MAX_FRAME_VIOLATIONS, 16]);
    expect(new Set(frames.flatMap((f) => f.violations.map((v) => v.counterEpoch))).size).toBe(80);
    expect(frames.map((f) => f.frameSequence)).toEqual([1, 2]);
  });

  it('another pod or name - published from then on', () => {
    const iface = makeIface(1);
    registry.add(iface);
    const publish = (packets: number) => {
      kernel.set(1, [drop(packets)]);
      flusher.flush([iface]);
      return frames.at(-1)?.violations[0];
    };
    expect(publish(1)).toMatchObject({ interfaceName: 'veth7', pod: { name: 'web' } });
    iface.pod = { ...pod, name: 'db' };
    expect(publish(2)).toMatchObject({ interfaceName: 'veth7', pod: { name: 'db' } });
    iface.link = { ...link, name: 'veth8' };
    expect(publish(3)).toMatchObject({ interfaceName: 'veth8', pod: { name: 'db' } });
  });

  it('without capacity - nothing is built and nothing is lost', async () => {
    capacity = 0;
    registry.add(makeIface(1));
    kernel.set(1, [drop(3)]);
    take([sample(1)]);
    expect(frames).toHaveLength(0);
    kernel.set(1, [drop(9)]);
    capacity = 10;
    freed.splice(0).forEach((resume) => {
      resume();
    });
    await vi.advanceTimersByTimeAsync(0);
    expect(frames[0]?.violations[0]).toMatchObject({ cumulativePackets: 9, count: 1, suppressed: 8 });
  });

  it('an interface without a share - waits with its exact count, others do not, and it publishes at the end', async () => {
    for (const generation of [1, 2, 3]) {
      registry.add(makeIface(generation));
      kernel.set(generation, [drop(generation)]);
    }
    const published = () => frames.flatMap(({ violations }) => violations.map((one) => one.cumulativePackets));
    waiting = new Set([1, 3]);
    take([sample(1), sample(2), sample(3)]);
    expect(published()).toEqual([2]);
    kernel.set(1, [drop(100)]);
    await pass(249);
    expect(published()).toEqual([2]);
    waiting.delete(1);
    await pass(1);
    expect(published()).toEqual([2, 100]);
    const stopping = flusher.stop(1_000);
    expect(published()).toEqual([2, 100, 3]);
    await ackAll();
    await stopping;
  });

  it('capacity for one frame - the longest due first, without sources flushed meanwhile', async () => {
    capacity = 0;
    const full = (packets: number) =>
      CELL_NAMES.slice(0, MAX_FRAME_VIOLATIONS).map((name) => ({ ...drop(packets), ...name }));
    const all = [1, 2, 3, 4];
    const grow = (packets: number) => {
      for (const generation of all) kernel.set(generation, full(packets));
    };
    for (const generation of all) registry.add(makeIface(generation, { flushedAtMs: -generation }));
    grow(1);
    take(all.map(sample));
    const wake = async () => {
      nowMs += 1;
      capacity = frames.length + 1;
      for (const resume of freed.splice(0)) resume();
      await vi.advanceTimersByTimeAsync(0);
    };
    await wake();
    nowMs += 1;
    capacity = frames.length + 1;
    take([sample(2)]);
    for (let frame = 2; frame < all.length; frame += 1) await wake();
    const published = () => frames.map((frame) => frame.violations[0]?.generation);
    expect(published()).toEqual([4, 2, 3, 1]);
    await wake();
    grow(2);
    await pass(20);
    for (let frame = 1; frame < all.length; frame += 1) await wake();
    expect(published().slice(all.length)).toEqual([4, 2, 3, 1]);
    expect(frames.at(-1)?.violations).toHaveLength(MAX_FRAME_VIOLATIONS);
  });

  it('unbound interface - published after the grace period', async () => {
    registry.add(makeIface(1, { binding: null, pod: null, appearedAtMs: 9_000 }));
    kernel.set(1, [drop(4, 'unknown-interface', 'unknown')]);
    flusher.sweep();
    expect(frames).toHaveLength(0);
    nowMs = 14_001;
    flusher.sweep();
    expect(frames[0]?.violations[0]).toMatchObject({ vector: 'unknown-interface', cumulativePackets: 4, pod: null });
  });

  it('gone interface - published as final, settled after the acknowledgement', async () => {
    const iface = makeIface(1);
    registry.add(iface);
    kernel.set(1, [drop(4)]);
    registry.markGone(iface);
    flusher.touch(iface);
    await pass(250);
    expect(frames[0]?.violations[0]).toMatchObject({ final: true, cumulativePackets: 4 });
    await pass(1_000);
    expect(settled).toEqual([]);
    await ackAll();
    await pass(250);
    expect(settled).toEqual([1]);
  });

  it('gone interface - a final count even if all counts are acknowledged', async () => {
    const iface = makeIface(1);
    registry.add(iface);
    kernel.set(1, [drop(4)]);
    flusher.sweep();
    await ackAll();
    await pass(20);
    registry.markGone(iface);
    flusher.touch(iface);
    await pass(20);
    expect(frames.at(-1)?.violations).toMatchObject([{ final: true, cumulativePackets: 4, count: 0, suppressed: 0 }]);
    expect(settled).toEqual([]);
    await ackAll();
    await pass(20);
    expect(settled).toEqual([1]);
  });

  it('gone interface with excluded packets only - nothing is published, settled at once', async () => {
    const iface = makeIface(1);
    registry.add(iface);
    kernel.set(1, [drop(4, 'unknown-interface', 'unknown')]);
    const counters = new Float64Array(COUNTER_NUMBERS);
    readInto({ generation: 1 }, counters);
    iface.ledger.exclude(counters, isBeforeGuard);
    registry.markGone(iface);
    flusher.touch(iface);
    await pass(20);
    expect(frames).toEqual([]);
    expect(settled).toEqual([1]);
  });

  it('rejected frame - published again with a new sequence, with unguarded packets and found violations', async () => {
    const found = { ...blankViolation(), vector: 'interface-moved' as const };
    registry.add(makeIface(1, { unguardedReported: false, packetsBeforeGuard: 3, found: [found] }));
    kernel.set(1, [drop(4)]);
    flusher.sweep();
    rejections.splice(0)[0]?.(new Error('refused'));
    await pass(300);
    expect(errors).toHaveLength(1);
    flusher.sweep();
    expect(frames.at(-1)).toMatchObject({
      frameSequence: 2,
      violations: [{ cumulativePackets: 4, suppressed: 4 }, { vector: 'interface-moved' }],
      coverage: [{ packetsBeforeGuard: 3 }],
    });
    await ackAll();
    await pass(300);
    const before = frames.length;
    flusher.sweep();
    expect(frames).toHaveLength(before);
  });

  it('unguarded packets - reported once, when the pod is known', () => {
    registry.add(makeIface(1, { unguardedReported: false, packetsBeforeGuard: 3, guardedAfterMs: 2 }));
    registry.add(makeIface(2, { unguardedReported: false, packetsBeforeGuard: 9, guardedAfterMs: null }));
    for (const generation of [1, 2]) kernel.set(generation, []);
    flusher.sweep();
    flusher.sweep();
    expect(frames.map((f) => f.coverage)).toEqual([
      [
        { interfaceName: 'veth7', ifindex: 1, generation: 1, packetsBeforeGuard: 3, appearedToGuardedMicros: 2000 },
        // It existed before the collector.
        { interfaceName: 'veth7', ifindex: 2, generation: 2, packetsBeforeGuard: 9, appearedToGuardedMicros: -1 },
      ],
    ]);
  });
});
