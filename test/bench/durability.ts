/** Cost of syncing to disk before each acknowledgement, beside nats-server's default of two minutes. */
import { randomUUID } from 'node:crypto';
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ensureTopology, FramePublisher, openBucket, violationSubject } from '@bailiff/bus';
import { startNats, testUsers } from '@bailiff/bus/testing';
import { median, type Section, thousands } from './report.ts';

const NODE = 'node-a';
const ROUNDS = 5;
const MEASURE_MS = 2_000;
const MAX_IN_FLIGHT = 64;
/** A violation is about 200 bytes in Avro. */
const VIOLATION_BYTES = 200;
const FULL_FRAME = 64;
const INTERVALS = ['2m', 'always'] as const;
type Interval = (typeof INTERVALS)[number];

interface Rates {
  /** Messages per second: with one violation, with a full frame, and sequential puts of a key. */
  single: number;
  full: number;
  put: number;
}

/** Calls of `once` per second. */
async function rate(once: () => Promise<unknown> | undefined): Promise<number> {
  const began = performance.now();
  let done = 0;
  while (performance.now() - began < MEASURE_MS) {
    await once();
    done += 1;
  }
  return (done / (performance.now() - began)) * 1_000;
}

async function measure(syncInterval: Interval, directory: string): Promise<Rates> {
  const storeDir = mkdtempSync(path.join(directory, 'store-'));
  await using nats = await startNats({ storeDir, users: testUsers([NODE]), jetstream: { syncInterval } });
  const admin = await nats.connect();
  await ensureTopology(admin);
  const publisher = new FramePublisher(await nats.connect(`collector-${NODE}`), { maxInFlight: MAX_IN_FLIGHT });
  const frames = async (bytes: number) => {
    const payload = Buffer.alloc(bytes);
    const ackedBefore = publisher.acked;
    const perSecond = await rate(() => {
      void publisher.publish(violationSubject(NODE, 'spoof'), payload, { msgId: randomUUID() });
      return publisher.capacity > 0 ? undefined : publisher.whenCapacity();
    });
    const acked = publisher.acked - ackedBefore;
    await publisher.whenFlushed();
    return (perSecond * acked) / (publisher.acked - ackedBefore);
  };
  const bucket = openBucket(admin, 'bailiff_config');
  const single = await frames(VIOLATION_BYTES);
  const full = await frames(VIOLATION_BYTES * FULL_FRAME);
  const put = await rate(() => bucket.put('spoof.cluster._.default', Buffer.alloc(VIOLATION_BYTES)));
  publisher.close();
  return { single, full, put };
}

/** Rate of the disk for one writer that appends and syncs. */
async function fsyncs(directory: string, bytes: number): Promise<number> {
  const file = openSync(path.join(directory, 'floor'), 'a');
  try {
    return await rate(() => {
      writeSync(file, Buffer.alloc(bytes));
      fsyncSync(file);
      return undefined;
    });
  } finally {
    closeSync(file);
  }
}

export async function bench(): Promise<Section> {
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-durability-'));
  const rounds: (Record<Interval, Rates> & { floor: Rates })[] = [];
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      const measured: Partial<Record<Interval, Rates>> = {};
      for (const interval of round % 2 === 0 ? INTERVALS : INTERVALS.toReversed())
        measured[interval] = await measure(interval, directory);
      const single = await fsyncs(directory, VIOLATION_BYTES);
      const full = await fsyncs(directory, VIOLATION_BYTES * FULL_FRAME);
      rounds.push({ ...(measured as Record<Interval, Rates>), floor: { single, full, put: single } });
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
  const ratio = (kind: keyof Rates) => median(rounds.map((round) => round.always[kind] / round['2m'][kind]));
  const row = (name: string, kind: keyof Rates, violations: number) => [
    name,
    ...INTERVALS.map((interval) => thousands(median(rounds.map((round) => round[interval][kind])))),
    ratio(kind).toFixed(3),
    violations === 0 ? '-' : thousands(median(rounds.map((round) => round.always[kind])) * violations),
    thousands(median(rounds.map((round) => round.floor[kind]))),
  ];
  return {
    title: 'Writing through before acknowledging',
    method: `A bare publisher with ${MAX_IN_FLIGHT} in flight on one server, with \`sync_interval\` of two minutes and \`always\`; puts of a key run one after another. Floor: one writer appends as many bytes to a file and calls fsync. ${ROUNDS} alternating rounds of ${MEASURE_MS / 1_000} s.`,
    header: [
      'message',
      'messages/s, 2m',
      'messages/s, always',
      'ratio',
      'violations/s, always',
      'fsync of one writer, writes/s',
    ],
    rows: [
      row('one violation', 'single', 1),
      row(`a frame of ${FULL_FRAME}`, 'full', FULL_FRAME),
      row('a value of a key', 'put', 0),
    ],
    budgets: [],
  };
}
