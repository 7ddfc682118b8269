/** Violations per second from kernel counters and ring to acknowledgement, beside a bare publisher. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { consumeOrdered, lastSequence } from '@bailiff/bus';
import { ensureLabtool, labtoolArgs, NODE_NATS_URL, startLines, stopLines } from '@bailiff/lab/node';
import { decodeViolationFrame, encodeViolationFrame } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { COLLECTOR_NODE_FLAGS } from '../../tools/node-flags.ts';
import { NODE, TestNode } from '../support/node.ts';
import { cpuSeconds } from './app-process.ts';
import { fixed, median, type Section, thousands } from './report.ts';

const PODS = 250;
/** Violations of a full frame. */
const FULL_FRAME = 64;
/** As many as one pass over all interfaces produces. */
const FRAMES = 125;
const MAX_IN_FLIGHT = 64;
const ROUNDS = 5;
/** Duration of a phase before its measurement, and of the measurement. */
const SETTLE_MS = 500;
const MEASURE_MS = 2_000;
/** Shorter than a flush takes, so that the flush interval does not limit the collector. */
const FLUSH_INTERVAL_MS = '10';
/** More than a node may publish: the bench measures the collector, not the share of its interfaces. */
const BYTES_PER_SECOND = String(1024 ** 3);

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs one of this folder's files in the node's namespace. */
async function inside(node: TestNode, file: string, args: readonly string[]) {
  // The collector's own flags: a larger young generation would be an advantage.
  const command = [process.execPath, ...COLLECTOR_NODE_FLAGS, '--import', 'tsx'];
  const script = fileURLToPath(new URL(file, import.meta.url));
  let lines = 0;
  const process_ = await startLines(
    await ensureLabtool(),
    labtoolArgs({ netns: node.netns }, ['run', '--', ...command, script, ...args]),
    { onLine: () => (lines += 1) },
  );
  await waitFor(() => lines > 0 || process_.hasEnded(), { what: `${file} to be ready`, state: process_.stderrTail });
  return {
    pid: process_.pid,
    say: (line: string) => process_.child.stdin?.write(`${line}\n`),
    lines: () => lines,
    failure: () => (process_.hasEnded() ? process_.stderrTail() : null),
    async [Symbol.asyncDispose]() {
      await stopLines(process_, 'SIGTERM', 2_000);
    },
  };
}

interface Stored {
  frames: number;
  violations: number;
  sampled: number;
  /** CPU of the publisher in the same time. */
  cpuSeconds: number;
}

/** The messages that the bus stored between two times of its clock. */
async function storedBetween(node: TestNode, fromMs: number, toMs: number, sequence: number): Promise<Stored> {
  const last = await lastSequence(node.admin, 'VIOLATIONS');
  const stored: Stored = { frames: 0, violations: 0, sampled: 0, cpuSeconds: 0 };
  const end = new AbortController();
  await consumeOrdered(node.admin, 'VIOLATIONS', {
    start: { sequence },
    onMessage: (message) => {
      if (message.sequence >= last) end.abort();
      if (message.timestampMicros < fromMs * 1000 || message.timestampMicros >= toMs * 1000) return;
      const { violations } = decodeViolationFrame(message.data);
      stored.frames += 1;
      stored.violations += violations.length;
      for (const violation of violations) if (violation.sample) stored.sampled += 1;
    },
    signal: end.signal,
  });
  return stored;
}

/** Full frames of the collector for the bare publisher, of all interfaces, so that neither uses its cache. */
async function fullFrames(node: TestNode, file: string): Promise<void> {
  const full = await waitFor(
    () => {
      const found = node.ledger.frames.filter((f) => f.violations.length === FULL_FRAME).slice(-FRAMES);
      return found.length === FRAMES && found;
    },
    { what: `${FRAMES} full frames`, state: () => node.log.slice(-2000) },
  );
  const parts = full.map(encodeViolationFrame).flatMap((bytes) => {
    const head = Buffer.alloc(4);
    head.writeUInt32LE(bytes.length);
    return [head, bytes];
  });
  writeFileSync(file, Buffer.concat(parts));
}

async function phase(node: TestNode, pid: number, begin: () => void, end: () => void): Promise<Stored> {
  const sequence = (await lastSequence(node.admin, 'VIOLATIONS')) + 1;
  begin();
  await pause(SETTLE_MS);
  const from = Date.now();
  const cpuBefore = cpuSeconds(pid);
  await pause(MEASURE_MS);
  const to = Date.now();
  const taken = cpuSeconds(pid) - cpuBefore;
  end();
  return { ...(await storedBetween(node, from, to, sequence)), cpuSeconds: taken };
}

export async function bench(): Promise<Section> {
  await using node = await TestNode.start();
  const collector = await node.startCollector({
    args: ['--flush-interval-ms', FLUSH_INTERVAL_MS, '--publish-bytes-per-second', BYTES_PER_SECOND],
  });
  for (let i = 0; i < PODS; i += 1) await node.addPod();
  await node.putPods(1);
  await waitFor(
    async () => (await node.offlineStatus()).interfaces.filter((i) => i.state === 'programmed').length === PODS,
    { what: 'all pods to be programmed', timeoutMs: 60_000, intervalMs: 500 },
  );
  await using load = await inside(node, './grow.ts', [node.pinDir]);
  const framesFile = path.join(node.dir, 'frames');
  await fullFrames(node, framesFile);
  await node.ledger.close();
  collector.kill('SIGSTOP');
  const identity = [`collector-${NODE}`, path.join(node.dir, 'password')];
  await using bare = await inside(node, './bare-publisher.ts', [
    NODE_NATS_URL,
    ...identity,
    framesFile,
    String(MAX_IN_FLIGHT),
  ]);
  const rounds: { collector: Stored; bare: Stored }[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const own = () =>
      phase(
        node,
        collector.pid as number,
        () => collector.kill('SIGCONT'),
        () => collector.kill('SIGSTOP'),
      );
    const floor = () =>
      phase(
        node,
        bare.pid,
        () => bare.say('go'),
        () => bare.say('halt'),
      );
    // The order alternates, so that drift of the machine favours neither.
    if (round % 2 === 0) rounds.push({ collector: await own(), bare: await floor() });
    else {
      const stored = await floor();
      rounds.push({ collector: await own(), bare: stored });
    }
    const failure = load.failure() ?? bare.failure();
    if (failure !== null) throw new Error(`the load or the bare publisher ended: ${failure}`);
  }
  collector.kill('SIGCONT');
  const perSecond = (stored: Stored) => stored.violations / (MEASURE_MS / 1000);
  const ratio = median(rounds.map((r) => perSecond(r.collector) / perSecond(r.bare)));
  const row = (name: string, of: 'collector' | 'bare') => {
    const perFrame = median(rounds.map((r) => r[of].violations / r[of].frames));
    const sampled = median(rounds.map((r) => r[of].sampled / (MEASURE_MS / 1000)));
    return [
      name,
      thousands(median(rounds.map((r) => perSecond(r[of])))),
      thousands(median(rounds.map((r) => r[of].frames / (MEASURE_MS / 1000)))),
      fixed(perFrame),
      thousands(median(rounds.map((r) => r[of].violations / r[of].cpuSeconds))),
      thousands(sampled),
    ];
  };
  return {
    title: 'Collector throughput, kernel to acknowledgement',
    method: `A load process increments 32 counter cells of each of ${PODS} interfaces every 5 ms and keeps their token buckets empty. The bundled collector flushes every ${FLUSH_INTERVAL_MS} ms. Under the same load, the bare publisher encodes and publishes the same frames, with ${MAX_IN_FLIGHT} in flight and at the same pace: bus-auth lets a collector publish 10 MiB a second. ${ROUNDS} alternating rounds of ${MEASURE_MS / 1000} s, counted on the bus by the bus’s time.`,
    header: ['publisher', 'violations/s', 'frames/s', 'violations per frame', 'violations per CPU second', 'samples/s'],
    rows: [row('collector', 'collector'), row('bare publisher', 'bare')],
    budgets: [{ budget: 'at least 0.85 of the bare publisher', measured: fixed(ratio, 2), met: ratio >= 0.85 }],
  };
}
