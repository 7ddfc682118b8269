// Handover: a term that ends during its writes, and the next one, with messages in every order.
import { BusError, type KvEntry } from '@bailiff/bus';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Snapshot, SnapshotWriter, type WriterOptions } from './writer.ts';

const KEYS = Array.from({ length: 8 }, (_, i) => `n${i}`);
/** Pods per key; null: the node is gone. */
type Truth = Map<string, number | null>;

/** A bucket in memory with compare-and-set and message delays. */
class RemoteBucket {
  entries = new Map<string, KvEntry>();
  /** Writes in the order of the bucket. */
  log: { key: string; by: string; pods: number | null; snapshotRevision: number }[] = [];
  #revision = 0;
  #watchers = new Set<(entry: KvEntry) => void>();

  store(by: string, key: string, value: string | null, previousRevision = 0): number {
    if ((this.entries.get(key)?.revision ?? 0) !== previousRevision) throw new BusError('BUS_CONFLICT', key);
    const revision = ++this.#revision;
    const bytes = Buffer.from(value ?? '');
    const about = { timestampMicros: 0, deleted: value === null, injected: false, header: () => '' };
    const entry: KvEntry = { key, value: bytes, revision, ...about };
    this.entries.set(key, entry);
    const snapshot = value === null ? null : (JSON.parse(value) as { revision: number; pods: { uid: number }[] });
    this.log.push({ key, by, pods: snapshot?.pods[0]?.uid ?? null, snapshotRevision: snapshot?.revision ?? 0 });
    for (const watcher of this.#watchers) watcher(entry);
    return revision;
  }
  existing(): string[] {
    return [...this.entries.values()].flatMap(({ key, deleted }) => (deleted ? [] : [key]));
  }
  watch(onEntry: (entry: KvEntry) => void, signal: AbortSignal): void {
    for (const entry of this.entries.values()) onEntry(entry);
    this.#watchers.add(onEntry);
    signal.addEventListener('abort', () => this.#watchers.delete(onEntry));
  }
}

/** A process: its delayed view of the truth, and a writer while it leads. */
class Replica {
  readonly picture: Truth = new Map();
  writer: SnapshotWriter | null = null;
  leads = false;
  #name: string;
  #bucket: RemoteBucket;
  #random: () => number;
  #term = new AbortController();
  #running: Promise<void> = Promise.resolve();
  /** A stopped process neither receives nor sends. */
  #stopped: { until: Promise<void>; wake: () => void } | null = null;
  #inbox: Promise<void> = Promise.resolve();

  constructor(name: string, bucket: RemoteBucket, random: () => number) {
    this.#name = name;
    this.#bucket = bucket;
    this.#random = random;
  }
  stop(): void {
    let wake = () => {};
    const until = new Promise<void>((resolve) => {
      wake = resolve;
    });
    this.#stopped = { until, wake };
  }
  /** Resumes as a leader whose lease has expired just after it checked the clock. */
  wake(): void {
    this.leads = false;
    this.#stopped?.wake();
    this.#stopped = null;
  }
  endTerm(): Promise<void> {
    this.leads = false;
    this.#term.abort();
    return this.#running;
  }
  /** The informer delivers a change, in order. */
  learn(key: string, pods: number | null): void {
    this.#receive(() => {
      this.picture.set(key, pods);
      this.writer?.mark([key]);
    });
  }
  lead(): void {
    this.leads = true;
    this.writer = new SnapshotWriter({
      bucket: this.#far(),
      plan: (key) => {
        const pods = this.picture.get(key) ?? null;
        return pods === null ? null : ({ nodeName: key, pods: [{ uid: pods }] } as unknown as Snapshot);
      },
      keys: () => [...this.picture].flatMap(([key, pods]) => (pods === null ? [] : [key])),
      isLeader: () => this.leads,
      confirmLeader: async () => {
        await this.#delay();
        return this.leads;
      },
      coalesceMs: 5,
    });
    this.#running = this.writer.run(this.#term.signal);
  }

  /** Delay of one message; longer while the process is stopped. */
  async #delay(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, Math.floor(this.#random() * 60)));
    await this.#stopped?.until;
  }
  #receive(handle: () => void): void {
    this.#inbox = this.#inbox.then(() => this.#delay()).then(handle);
  }
  #far(): WriterOptions['bucket'] {
    const write = async (key: string, value: string | null, previousRevision?: number) => {
      // Sent before the stop, or held back until the process resumes.
      if (this.#random() < 0.5) await this.#stopped?.until;
      await new Promise((resolve) => setTimeout(resolve, Math.floor(this.#random() * 200)));
      if (this.#random() < 0.1) throw new BusError('BUS_UNREACHABLE', 'the write was lost');
      const revision = this.#bucket.store(this.#name, key, value, previousRevision);
      await this.#delay();
      if (this.#random() < 0.1) throw new BusError('BUS_TIMEOUT', 'the ack was lost');
      return revision;
    };
    return {
      put: (key, value, options) => write(key, String(value), options?.previousRevision),
      delete: (key, options) => write(key, null, options?.previousRevision),
      newest: async (key) => {
        const entry = this.#bucket.entries.get(key) ?? null;
        await this.#delay();
        return entry;
      },
      watch: async ({ onEntry, onSynced, signal }) => {
        this.#bucket.watch((entry) => this.#receive(() => signal.aborted || onEntry(entry)), signal);
        this.#receive(() => onSynced?.());
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      },
    };
  }
}

/** Mulberry32: uniform and reproducible by its seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    const a = Math.imul(state ^ (state >>> 15), 1 | state);
    const b = (a + Math.imul(a ^ (a >>> 7), 61 | a)) ^ a;
    return ((b ^ (b >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Every change applies to the truth at once and to each view later; a key may return to a former
 * value.
 */
function changing(replicas: readonly Replica[], truth: Truth, random: () => number) {
  return async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const key = KEYS[Math.floor(random() * KEYS.length)] as string;
      const pods = random() < 0.15 ? null : 1 + Math.floor(random() * 2);
      truth.set(key, pods);
      for (const replica of replicas) replica.learn(key, pods);
      await vi.advanceTimersByTimeAsync(Math.floor(random() * 40));
    }
  };
}

describe('writer - handover', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test('writer - a leader paused during its writes resumes in the next term: the final state is the truth', async () => {
    let conflicts = 0;
    const property = fc.asyncProperty(fc.nat(0xffff_ffff), async (seed) => {
      const random = randomOf(seed);
      const bucket = new RemoteBucket();
      const truth: Truth = new Map();
      const [first, second] = [new Replica('first', bucket, random), new Replica('second', bucket, random)];
      const change = changing([first, second], truth, random);
      first.lead();
      await change(20);
      first.stop();
      await change(Math.floor(random() * 10));
      second.lead();
      await change(Math.floor(random() * 5));
      // In half of the cases the second leader finishes all keys before the first one resumes.
      if (random() < 0.5) while (!second.writer?.settled) await vi.advanceTimersByTimeAsync(10);
      const taken = second.writer?.settled ? bucket.existing() : [];
      const takenAt = bucket.log.length;
      first.wake();
      await change(Math.floor(random() * 3));
      const ended = first.endTerm();
      await vi.advanceTimersByTimeAsync(120_000);
      await ended;
      const stored = [...bucket.entries].flatMap(([key, { deleted, value }]) =>
        deleted ? [] : [[key, (JSON.parse(value.toString()) as { pods: { uid: number }[] }).pods[0]?.uid]],
      );
      expect(stored.sort()).toEqual([...truth].filter(([, pods]) => pods !== null).sort());
      expect(second.writer?.settled).toBe(true);
      const late = bucket.log.slice(takenAt).filter(({ by, key }) => by === 'first' && taken.includes(key));
      expect(late).toEqual([]);
      for (const key of KEYS) {
        const revisions = bucket.log.filter((write) => write.key === key && write.pods !== null);
        const grown = revisions.every(
          ({ snapshotRevision }, at) => snapshotRevision > (revisions[at - 1]?.snapshotRevision ?? 0),
        );
        expect(grown, JSON.stringify(revisions)).toBe(true);
      }
      conflicts += first.writer?.stats.conflicts ?? 0;
      await second.endTerm();
    });
    await fc.assert(property, { numRuns: 300 });
    // The tested interleaving occurred.
    expect(conflicts).toBeGreaterThan(0);
  });
});
