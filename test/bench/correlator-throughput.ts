/** Throughput of a correlator on a stored stream beside a bare consumer, and its memory per active pod. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Bus, ensureTopology, FramePublisher, openBucket, violationSubject } from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import { FrameShares, SETTLE_MICROS, VIOLATION_BYTES } from '@bailiff/correlation';
import { packetSample, podRef, SimCollector, snapshotJson } from '@bailiff/correlation/testing';
import { exec } from '@bailiff/lab/node';
import { encodeViolationFrame, type PodRef, type ViolationFrame } from '@bailiff/schemas';
import { pause } from '@bailiff/service/retry';
import { CORRELATOR_NODE_FLAGS } from '../../tools/node-flags.ts';
import { cpuSeconds, residentMb, startApp } from './app-process.ts';
import { fixed, median, type Section, thousands } from './report.ts';

const VIOLATIONS = 1_000_000;
const ROUNDS = 3;
const PODS = 10_000;
/** Active pods of the streams for the memory measurement. */
const MEMORY_PODS = [2_000, 20_000, 60_000] as const;
const MEMORY_VIOLATIONS = 480_000;
const PODS_PER_NODE = 250;
export const VIOLATIONS_PER_FRAME = 64;
/** Claimed addresses of each pod: fewer than the built-in rule needs. */
const CLAIMED = ['10.9.0.1', '10.9.0.2', '10.9.0.3'];
/** Time after reading for garbage collection. */
const QUIET_MS = 6_000;
const CATCH_UP_MS = 120_000;

export interface Node {
  collector: SimCollector;
  pods: PodRef[];
}

export function makeNodes(pods: number, podsPerNode = PODS_PER_NODE): Node[] {
  return Array.from({ length: Math.ceil(pods / podsPerNode) }, (_, n) => ({
    collector: new SimCollector(`node-${n}`),
    pods: Array.from({ length: Math.min(podsPerNode, pods - n * podsPerNode) }, (_, p) =>
      podRef(`web-${n}-${p}`, {
        ownerKind: 'ReplicaSet',
        ownerName: `web-${n}`,
        ownerUid: `0a1b2c3d-0000-4000-8000-${String(n).padStart(12, '0')}`,
        uid: `1a1b2c3d-0000-4000-8000-${String(n * podsPerNode + p).padStart(12, '0')}`,
      }),
    ),
  }));
}

/** Frames of 64 violations, every node and pod in turn, as collectors with samples would publish them. */
export function* framesOf(nodes: readonly Node[], violations: number): Generator<ViolationFrame> {
  const head = Buffer.alloc(60, 7);
  for (let made = 0, turn = 0; made < violations; turn += 1) {
    for (const { collector, pods } of nodes) {
      for (let at = 0; at < pods.length && made < violations; at += VIOLATIONS_PER_FRAME) {
        const observedAt = Date.now() * 1000;
        const sample = packetSample({ observedAt, claimedAddress: CLAIMED[turn % CLAIMED.length] as string, head });
        const some = pods.slice(at, at + Math.min(VIOLATIONS_PER_FRAME, violations - made));
        for (const pod of some) collector.spoof(pod, 1, { sample });
        made += some.length;
        yield collector.flush(observedAt) as ViolationFrame;
      }
    }
  }
}

/** @param framesPerSecond default: as fast as the share of the nodes allows @returns the number of frames */
export async function fill(
  bus: Bus,
  nodes: readonly Node[],
  violations: number,
  framesPerSecond = Number.POSITIVE_INFINITY,
): Promise<number> {
  const bucket = openBucket(bus, 'bailiff_pods');
  for (const { collector, pods } of nodes) await bucket.put(collector.node, snapshotJson(collector.node, pods));
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MICROS / 1000 + 100));
  const publisher = new FramePublisher(bus, { maxInFlight: 256 });
  // The correlator skips what is beyond the share of a node.
  const shares = new FrameShares();
  const run = randomUUID();
  const began = performance.now();
  let sent = 0;
  for (const frame of framesOf(nodes, violations)) {
    if (publisher.capacity === 0) await publisher.whenCapacity();
    const earlyMs = began + (sent * 1_000) / framesPerSecond - performance.now();
    if (earlyMs > 0) await pause(earlyMs);
    sent += 1;
    const { nodeName } = frame;
    const payload = encodeViolationFrame(frame);
    // A quarter more, because the bus stores later than this clock.
    while (!shares.take(nodeName, Date.now() * 1000, 1.25 * payload.length)) await pause(50);
    shares.charge(nodeName, frame.violations.length * VIOLATION_BYTES);
    void publisher.publish(violationSubject(nodeName, 'spoof'), payload, { msgId: `${run}-${sent}` });
  }
  await publisher.whenFlushed();
  publisher.close();
  return sent;
}

export interface Place extends AsyncDisposable {
  nats: TestNats;
  nodes: readonly Node[];
  passwordFile: string;
}

export async function filledPlace(pods: number, violations: number): Promise<Place> {
  const nats = await startNats({ users: testUsers([]) });
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-bench-'));
  const passwordFile = path.join(directory, 'password');
  writeFileSync(passwordFile, 'password-of-correlator', { mode: 0o600 });
  const bus = await nats.connect('admin');
  await ensureTopology(bus);
  const nodes = makeNodes(pods);
  await fill(bus, nodes, violations);
  return {
    nats,
    nodes,
    passwordFile,
    async [Symbol.asyncDispose]() {
      await nats.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function bare({ nats, passwordFile }: Place): Promise<number> {
  const script = fileURLToPath(new URL('./bare-consumer.ts', import.meta.url));
  const flags = [...CORRELATOR_NODE_FLAGS, '--import', 'tsx'];
  const out = await exec(process.execPath, [...flags, script, nats.url, passwordFile], { timeoutMs: CATCH_UP_MS });
  const { violations, seconds } = JSON.parse(out) as { violations: number; seconds: number };
  return violations / seconds;
}

export function startCorrelator({ nats, passwordFile }: Place) {
  const busFlags = ['--nats-url', nats.url, '--nats-user', 'correlator', '--nats-password-file', passwordFile];
  return startApp('correlator', busFlags);
}

/**
 * Starts a correlator that reads the whole stream. @returns its rate, and its memory after garbage
 * collection
 */
export async function judged(place: Place, violations: number, forMemory: boolean) {
  await using correlator = startCorrelator(place);
  const begun = await correlator.until('reading violations');
  const done = await correlator.until('caught up', CATCH_UP_MS);
  const rate = violations / ((done.time - begun.time) / 1000);
  const cpu = cpuSeconds(correlator.pid);
  let memoryMb = residentMb(correlator.pid);
  for (const until = performance.now() + QUIET_MS; forMemory && performance.now() < until; ) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    memoryMb = Math.min(memoryMb, residentMb(correlator.pid));
  }
  return { rate, cpu, memoryMb };
}

async function throughput(): Promise<{ bare: number; judged: number }[]> {
  await using place = await filledPlace(PODS, VIOLATIONS);
  const rates: { bare: number; judged: number }[] = [];
  for (let round = 0; round < ROUNDS; round += 1)
    rates.push({ bare: await bare(place), judged: (await judged(place, VIOLATIONS, false)).rate });
  return rates;
}

async function memoryAt(pods: number): Promise<number> {
  await using place = await filledPlace(pods, MEMORY_VIOLATIONS);
  return (await judged(place, MEMORY_VIOLATIONS, true)).memoryMb;
}

export async function bench(): Promise<Section> {
  const rates = await throughput();
  const memory: { pods: number; memoryMb: number }[] = [];
  for (const pods of MEMORY_PODS) memory.push({ pods, memoryMb: await memoryAt(pods) });
  const [least, middle, most] = memory as [(typeof memory)[0], (typeof memory)[0], (typeof memory)[0]];
  const perPodKb = (a: typeof least, b: typeof least) => ((b.memoryMb - a.memoryMb) * 1000) / (b.pods - a.pods);
  const ratio = median(rates.map((r) => r.judged / r.bare));
  const first = perPodKb(least, middle);
  const second = perPodKb(middle, most);
  return {
    title: 'Correlator throughput and memory',
    method: `A bundled correlator judges a stream by the built-in rules: ${thousands(VIOLATIONS)} violations of ${thousands(PODS)} pods on ${PODS / PODS_PER_NODE} nodes, in frames of ${VIOLATIONS_PER_FRAME}, each with a sample. The bare consumer decodes each frame and sums its packets. ${ROUNDS} alternating rounds. Memory is resident memory after catching up, on streams of ${thousands(MEMORY_VIOLATIONS)} violations.`,
    header: ['', 'result'],
    rows: [
      ['bare consumer', `${thousands(median(rates.map((r) => r.bare)))} violations/s`],
      ['correlator', `${thousands(median(rates.map((r) => r.judged)))} violations/s`],
      ...memory.map(({ pods, memoryMb }) => [`memory at ${thousands(pods)} pods`, `${fixed(memoryMb)} MB`]),
    ],
    budgets: [
      { budget: 'at least 0.9 of the bare consumer', measured: fixed(ratio, 2), met: ratio >= 0.9 },
      {
        budget:
          'memory linear in active pods: a pod costs at most twice as much from 20,000 to 60,000 pods as from 2,000 to 20,000',
        measured: `${fixed(first, 2)} kB, then ${fixed(second, 2)} kB`,
        met: second <= Math.max(first, 0.5) * 2,
      },
    ],
  };
}
