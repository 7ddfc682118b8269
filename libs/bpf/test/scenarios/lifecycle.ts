/**
 * Child process: open handles at garbage collection, at exit, in workers, and when callbacks throw.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { waitFor } from '@bailiff/service/testing';
import { nodeArgs } from '../../../../tools/children.ts';
import {
  type BpfError,
  BpfMap,
  BpfObject,
  type BpfProgram,
  LinkMonitor,
  MAP_TYPE,
  probeTcx,
  queryTcx,
  RingReader,
} from '../../src/index.ts';
import { scenarioMain } from '../helpers.ts';
import { addVeth, ip } from './network.ts';

const FRAME = Buffer.alloc(64);

const WORKER = nodeArgs('libs/bpf/test/scenarios/worker.ts').at(-1) as string;

function openFds(): number {
  return readdirSync('/proc/self/fd').length;
}

function loadTiny(path: string): { object: BpfObject; ring: BpfMap; first: BpfProgram } {
  const object = BpfObject.open(path);
  object.load();
  return { object, ring: object.map('ring'), first: object.program('first') };
}

/** Collects garbage until `done`, with turns of the event loop for finalizers. */
async function collectUntil(done: () => boolean, what: string): Promise<void> {
  const collect = (globalThis as { gc?: () => void }).gc;
  assert(collect, 'needs --expose-gc');
  await waitFor(
    () => {
      collect();
      return done();
    },
    { what, state: openFds },
  );
}

async function gcReleases(objectPath: string): Promise<unknown> {
  const before = openFds();
  (() => {
    for (let i = 0; i < 50; i++) {
      const { object, first } = loadTiny(objectPath);
      object.map('table').set(Buffer.alloc(4), Buffer.alloc(8));
      first.attachTcx(1, { direction: 'ingress' });
    }
  })();
  const peak = openFds();
  await collectUntil(() => openFds() <= before + 2, 'descriptors to be released');
  return { before, peak, after: openFds() };
}

async function gcKeepsReaders(objectPath: string): Promise<unknown> {
  const { object, ring, first } = loadTiny(objectPath);
  let batches = 0;
  let links = 0;
  (() => {
    new RingReader(ring, { onBatch: () => batches++ });
    new LinkMonitor({ onLinks: () => links++, onOverrun: () => assert.fail() });
  })();
  ring.close();
  object.close();
  let rounds = 0;
  await collectUntil(() => ++rounds > 5, 'five collections');
  first.testRun({ data: FRAME });
  addVeth('va', 'vb');
  await waitFor(() => batches > 0 && links > 0, { what: 'deliveries', state: () => ({ batches, links }) });
  setImmediate(() => process.exit(0));
  return { batches, links: links > 0 };
}

/** Opens one of everything, then ends as `how` names. */
function exitWithOpenHandles(objectPath: string, how: string): unknown {
  const { object, ring, first } = loadTiny(objectPath);
  const reader = new RingReader(ring, { onBatch: () => undefined });
  const monitor = new LinkMonitor({ onLinks: () => undefined, onOverrun: () => undefined });
  const link = first.attachTcx(1, { direction: 'ingress' });
  (globalThis as Record<string, unknown>)['kept'] = [object, ring, first, reader, monitor, link];
  first.testRun({ data: FRAME });
  if (how === 'exit') setImmediate(() => process.exit(0));
  if (how === 'close-then-exit') {
    setImmediate(() => {
      reader.close();
      monitor.close();
      process.exit(0);
    });
  }
  if (how === 'close') {
    reader.close();
    monitor.close();
  }
  return how;
}

async function throwingCallbacks(objectPath: string): Promise<unknown> {
  const caught: string[] = [];
  process.on('uncaughtException', (error) => caught.push(error.message));
  const { ring, first } = loadTiny(objectPath);
  let batches = 0;
  const reader = new RingReader(ring, {
    onBatch: () => {
      batches++;
      throw new Error(`ring ${batches}`);
    },
  });
  let linkBatches = 0;
  const monitor = new LinkMonitor({
    onLinks: () => {
      linkBatches++;
      throw new Error('links');
    },
    onOverrun: () => assert.fail(),
  });
  for (const round of [1, 2]) {
    first.testRun({ data: FRAME });
    await waitFor(() => batches === round, { what: `ring batch ${round}`, state: () => caught });
  }
  addVeth('va', 'vb');
  const seen = await waitFor(() => linkBatches, { what: 'link events' });
  ip('link', 'set', 'va', 'up');
  await waitFor(() => linkBatches > seen, { what: 'further link events' });
  reader.close();
  monitor.close();
  return [...new Set(caught)];
}

function throwingUncaught(objectPath: string): void {
  const { ring, first } = loadTiny(objectPath);
  new RingReader(ring, {
    onBatch: () => {
      throw new Error('this is never caught');
    },
  });
  first.testRun({ data: FRAME });
}

/** A promise rejected in onBatch, and microtasks, run as in any Node callback. */
async function microtasks(objectPath: string): Promise<unknown> {
  const order: string[] = [];
  const { ring, first } = loadTiny(objectPath);
  const reader = new RingReader(ring, {
    maxRecords: 1,
    onBatch: () => {
      order.push('batch');
      Promise.resolve().then(() => order.push('microtask'));
      process.nextTick(() => order.push('tick'));
    },
  });
  first.testRun({ data: FRAME, repeat: 2 });
  await waitFor(() => order.length === 6, { what: 'two batches', state: () => order });
  reader.close();
  return order;
}

async function closeInCallback(objectPath: string): Promise<unknown> {
  const { ring, first } = loadTiny(objectPath);
  let batches = 0;
  const reader = new RingReader(ring, {
    maxRecords: 1,
    onBatch: () => {
      batches++;
      reader.close();
      reader.close();
    },
  });
  let links = 0;
  const monitor = new LinkMonitor({
    onLinks: () => {
      links++;
      monitor.close();
    },
    onOverrun: () => assert.fail(),
  });
  first.testRun({ data: FRAME, repeat: 3 });
  addVeth('va', 'vb');
  await waitFor(() => batches > 0 && links > 0, { what: 'both callbacks' });
  const rest = new RingReader(ring, { onBatch: () => undefined });
  const left = rest.take()?.count;
  rest.close();
  return { batches, links, left };
}

/** `end`: how each worker stops while its handles are open. */
async function workers(objectPath: string, end: string): Promise<unknown> {
  const codes: number[] = [];
  for (let round = 0; round < 3; round++) {
    const pair = [0, 1].map(() => new Worker(WORKER, { workerData: { objectPath, end } }));
    await Promise.all(
      pair.map(
        (worker) =>
          new Promise<void>((resolve, reject) => {
            worker.on('error', reject);
            worker.on('message', () => {
              if (end === 'terminate') worker.terminate();
            });
            worker.on('exit', (code) => {
              codes.push(code);
              resolve();
            });
          }),
      ),
    );
  }
  const map = BpfMap.create({ type: MAP_TYPE.hash, keySizeBytes: 4, valueSizeBytes: 4, maxEntries: 1 });
  map.set(Buffer.alloc(4), Buffer.alloc(4));
  return { codes, stillWorks: map.entries().length };
}

/** Without capabilities. The addon is loaded before they are dropped. */
function unprivileged(objectPath: string): unknown {
  const object = BpfObject.open(objectPath);
  process.setgid?.(65534);
  process.setuid?.(65534);
  const refused = (call: () => unknown) => {
    try {
      call();
    } catch (error) {
      const { code, errnoName, hint } = error as BpfError;
      return [code, errnoName, hint];
    }
    return 'permitted';
  };
  return [
    refused(() =>
      BpfMap.create({ type: MAP_TYPE.lpmTrie, keySizeBytes: 8, valueSizeBytes: 4, maxEntries: 1, flags: 1 }),
    ),
    refused(() => object.load()),
    refused(() => queryTcx(1, 'ingress')),
    probeTcx().available,
  ];
}

await scenarioMain({
  unprivileged,
  gcReleases,
  gcKeepsReaders,
  exitWithOpenHandles,
  throwingCallbacks,
  throwingUncaught,
  microtasks,
  closeInCallback,
  workers,
});
