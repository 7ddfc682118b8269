import { BusError, type BusErrorCode, type KvEntry } from '@bailiff/bus';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, test } from 'vitest';
import { type Snapshot, SnapshotWriter, type WriterOptions } from './writer.ts';

/** A bucket in memory with compare-and-set and a watch. */
class ModelBucket {
  entries = new Map<string, KvEntry>();
  #revision = 0;
  #watchers = new Set<(entry: KvEntry) => void | Promise<void>>();
  failures: BusErrorCode[] = [];
  attempts = 0;
  /** Runs before the next write is checked. */
  before: (() => void) | null = null;

  foreign(key: string, value: string | null): number {
    const revision = ++this.#revision;
    const entry: KvEntry = {
      key,
      value: Buffer.from(value ?? ''),
      revision,
      timestampMicros: 0,
      deleted: value === null,
      injected: false,
      header: () => '',
    };
    this.entries.set(key, entry);
    for (const watcher of this.#watchers) watcher(entry);
    return revision;
  }
  async #write(key: string, value: string | null, previousRevision = 0): Promise<number> {
    await new Promise((resolve) => setImmediate(resolve));
    this.attempts += 1;
    this.before?.();
    this.before = null;
    const failure = this.failures.shift();
    if (failure) throw new BusError(failure, 'injected');
    if ((this.entries.get(key)?.revision ?? 0) !== previousRevision) throw new BusError('BUS_CONFLICT', key);
    return this.foreign(key, value);
  }
  put: WriterOptions['bucket']['put'] = (key, value, options) =>
    this.#write(key, String(value), options?.previousRevision);
  delete: WriterOptions['bucket']['delete'] = (key, options) => this.#write(key, null, options?.previousRevision);
  newest: WriterOptions['bucket']['newest'] = async (key) => this.entries.get(key) ?? null;
  watch: WriterOptions['bucket']['watch'] = async ({ onEntry, onSynced, signal }) => {
    for (const entry of this.entries.values()) onEntry(entry);
    this.#watchers.add(onEntry);
    onSynced?.();
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    this.#watchers.delete(onEntry);
  };
  stored(key: string) {
    const entry = this.entries.get(key);
    return entry && !entry.deleted
      ? (JSON.parse(entry.value.toString()) as { revision: number; pods: unknown[] })
      : null;
  }
}

const snapshot = (nodeName: string, ...uids: string[]) =>
  ({ nodeName, pods: uids.map((uid) => ({ uid })) }) as unknown as Snapshot;

function begin(bucket: ModelBucket, plans: Record<string, Snapshot>, change: Partial<WriterOptions> = {}) {
  const term = new AbortController();
  const failures: string[] = [];
  const writer = new SnapshotWriter({
    bucket,
    onFailure: ({ code }) => failures.push(code),
    plan: (key) => plans[key] ?? null,
    keys: () => Object.keys(plans),
    isLeader: () => true,
    confirmLeader: async () => true,
    coalesceMs: 5,
    nowMs: () => 1,
    ...change,
  });
  const running = writer.run(term.signal);
  return {
    writer,
    failures,
    settle: () => waitFor(() => writer.settled, { state: () => writer.stats }),
    async end() {
      term.abort();
      await running;
    },
  };
}

describe('writer', () => {
  test('writer - a term writes the plan, deletes other keys and rewrites equal ones', async () => {
    const bucket = new ModelBucket();
    bucket.foreign('gone', JSON.stringify({ ...snapshot('gone', 'x'), revision: 7 }));
    const same = bucket.foreign('same', JSON.stringify({ ...snapshot('same', 'a'), revision: 7 }));
    bucket.foreign('broken', '{');
    bucket.foreign('tombstone', null);
    const plans = { same: snapshot('same', 'a'), fresh: snapshot('fresh', 'b'), broken: snapshot('broken') };
    const run = begin(bucket, plans);
    await run.settle();
    expect(bucket.stored('gone')).toBeNull();
    expect(bucket.stored('fresh')).toMatchObject({ revision: 1, pods: [{ uid: 'b' }] });
    expect(bucket.stored('same')?.revision).toBe(8);
    expect(bucket.entries.get('same')?.revision).toBeGreaterThan(same);
    expect(bucket.stored('broken')).toMatchObject({ pods: [] });
    expect(run.writer.stats).toMatchObject({ writes: 3, deletes: 1, conflicts: 0 });
    await run.end();
  });

  test('writer - many marks cause one write, an unchanged plan none', async () => {
    const bucket = new ModelBucket();
    const plans: Record<string, Snapshot> = { n1: snapshot('n1') };
    const run = begin(bucket, plans);
    await run.settle();
    for (let i = 0; i < 100; i++) {
      plans['n1'] = snapshot('n1', `pod-${i}`);
      run.writer.mark(['n1']);
    }
    await run.settle();
    expect(run.writer.stats.writes).toBe(2);
    expect(bucket.stored('n1')?.pods).toEqual([{ uid: 'pod-99' }]);
    run.writer.mark(['n1']);
    await run.settle();
    expect(run.writer.stats.writes).toBe(2);
    await run.end();
  });

  test('writer - corrects a foreign write while it leads', async () => {
    const bucket = new ModelBucket();
    const run = begin(bucket, { n1: snapshot('n1', 'a') });
    await run.settle();
    bucket.foreign('n1', JSON.stringify({ ...snapshot('n1', 'forged'), revision: 500 }));
    await waitFor(() => bucket.stored('n1')?.revision === 501);
    expect(bucket.stored('n1')?.pods).toEqual([{ uid: 'a' }]);
    bucket.foreign('n1', null);
    await waitFor(() => bucket.stored('n1')?.revision === 502);
    bucket.foreign('unknown', '{}');
    await waitFor(() => bucket.entries.get('unknown')?.deleted);
    await run.end();
  });

  test('writer - a stale leader gets a conflict, confirms its term is over and overwrites nothing', async () => {
    const bucket = new ModelBucket();
    const plans: Record<string, Snapshot> = { n1: snapshot('n1', 'a') };
    let leads = true;
    let asked = 0;
    const confirmLeader = async () => {
      asked += 1;
      leads = false;
      return false;
    };
    const run = begin(bucket, plans, { isLeader: () => leads, confirmLeader });
    await run.settle();
    // The new leader writes between the clock check and the write.
    plans['n1'] = snapshot('n1', 'stale');
    bucket.before = () =>
      bucket.foreign('n1', JSON.stringify({ ...snapshot('n1', 'by the new leader'), revision: 900 }));
    run.writer.mark(['n1']);
    await waitFor(() => asked);
    await run.end();
    expect(bucket.stored('n1')?.pods).toEqual([{ uid: 'by the new leader' }]);
    expect(run.writer.stats.conflicts).toBe(1);
  });

  test('writer - a leader replaces the entry it read after the same conflict', async () => {
    const bucket = new ModelBucket();
    const plans: Record<string, Snapshot> = { n1: snapshot('n1', 'a') };
    const run = begin(bucket, plans);
    await run.settle();
    plans['n1'] = snapshot('n1', 'b');
    bucket.before = () => bucket.foreign('n1', JSON.stringify({ ...snapshot('n1', 'other'), revision: 900 }));
    run.writer.mark(['n1']);
    await waitFor(() => bucket.stored('n1')?.revision === 901);
    expect(bucket.stored('n1')?.pods).toEqual([{ uid: 'b' }]);
    expect(run.writer.stats.conflicts).toBe(1);
    await run.end();
  });

  test('writer - retries a refused write until it is stored', async () => {
    const bucket = new ModelBucket();
    bucket.failures = ['BUS_UNREACHABLE', 'BUS_TIMEOUT', 'BUS_FULL'];
    const run = begin(bucket, { n1: snapshot('n1', 'a') });
    await waitFor(() => bucket.stored('n1'));
    await run.settle();
    expect(run.writer.stats).toMatchObject({ writes: 1, failures: 3 });
    expect(run.failures).toEqual(['BUS_UNREACHABLE', 'BUS_TIMEOUT', 'BUS_FULL']);
    await run.end();
  });

  test('writer - finds a stored write whose ack was lost', async () => {
    const bucket = new ModelBucket();
    const plans: Record<string, Snapshot> = { n1: snapshot('n1', 'a') };
    bucket.failures = ['BUS_TIMEOUT'];
    bucket.before = () => bucket.foreign('n1', JSON.stringify({ ...snapshot('n1', 'a'), revision: 1 }));
    const run = begin(bucket, plans);
    await waitFor(() => run.writer.stats.failures);
    await run.settle();
    expect(bucket.stored('n1')?.pods).toEqual([{ uid: 'a' }]);
    await run.end();
  });

  test('writer - deletes a key that ended while its ack was lost', async () => {
    const bucket = new ModelBucket();
    const plans: Record<string, Snapshot> = { n1: snapshot('n1', 'a') };
    bucket.failures = ['BUS_TIMEOUT'];
    bucket.before = () => {
      bucket.foreign('n1', JSON.stringify({ ...snapshot('n1', 'a'), revision: 1 }));
      delete plans['n1'];
    };
    const run = begin(bucket, plans);
    await waitFor(() => run.writer.stats.failures);
    await run.settle();
    expect([bucket.entries.get('n1')?.deleted, run.writer.stats.deletes]).toEqual([true, 1]);
    await run.end();
  });

  test('writer - writes nothing without leading', async () => {
    const bucket = new ModelBucket();
    let leads = false;
    let asked = 0;
    const isLeader = () => {
      asked += 1;
      return leads;
    };
    const run = begin(bucket, { n1: snapshot('n1', 'a') }, { isLeader });
    await waitFor(() => asked >= 3);
    expect(bucket.attempts).toBe(0);
    leads = true;
    await waitFor(() => bucket.stored('n1'));
    await run.end();
  });

  test('writer - refuses and counts a snapshot above the limit, the former one stays', async () => {
    const bucket = new ModelBucket();
    const plans: Record<string, Snapshot> = { n1: snapshot('n1', 'a'), n2: snapshot('n2', 'b') };
    const run = begin(bucket, plans);
    await run.settle();
    plans['n1'] = snapshot('n1', 'x'.repeat(5 * 1024 * 1024));
    plans['n2'] = snapshot('n2', 'c');
    run.writer.mark(['n1', 'n2']);
    await run.settle();
    expect(run.writer.stats.tooLarge).toBe(1);
    expect([...run.writer.oversized]).toEqual(['n1']);
    expect(bucket.stored('n1')?.pods).toEqual([{ uid: 'a' }]);
    expect(bucket.stored('n2')?.pods).toEqual([{ uid: 'c' }]);
    plans['n1'] = snapshot('n1', 'd');
    run.writer.mark(['n1']);
    await run.settle();
    expect(run.writer.oversized.size).toBe(0);
    await run.end();
  });
});
