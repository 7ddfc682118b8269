/**
 * Sliding windows of one group under one rule. Pure state: time and what happened in, "how much is in the window now" out.
 *
 * Within a window time never runs back: a violation that comes late counts as of the newest one (`clock`). By the bound on event time
 * it is late by at most twice EVENT_TIME_BOUND_MICROS, so a clock that stepped bends a window by that and hides nothing.
 * A window covers (clock - timespan, clock]. Packets are kept in buckets of a twentieth of the timespan, so up to one bucket at the old end
 * may be missing (a count window is never longer than the rule says); distinct values and stages are exact.
 * Memory: a ring of violations each, a ring of packets in a count window, at most `limit` (<= 256) values in a value window, a number
 * a stage (<= 8), and the evidence.
 */
import { BUCKETS, type BucketPool, type BucketRing } from './bucket-pool.ts';
import { EvidenceRing } from './evidence.ts';

/** Where windows get their rings. */
export interface Pools {
  packets: BucketPool;
  violations: BucketPool;
}

/** What all windows have. The timespan is the rule's, in microseconds, the same at every call. */
export abstract class GroupWindow {
  /** Pod uid, owner uid, namespace or node name. */
  readonly groupKey: string;
  readonly evidence = new EvidenceRing();
  readonly #violations: BucketRing;
  readonly #pool: BucketPool;
  /** Newest time that counted; -1 before the first. */
  clock = -1;
  /** No verdict before this time: end of the cooldown epoch of the last one. */
  quietUntil = 0;
  /** Let go of: whoever holds it must look it up again. */
  gone = false;

  constructor(groupKey: string, pools: Pools) {
    this.groupKey = groupKey;
    this.#pool = pools.violations;
    this.#violations = pools.violations.take();
  }

  /** Moves the clock and counts one violation; gives the number of the bucket in which it counts. */
  protected tick(timeMicros: number, timespanMicros: number): number {
    if (timeMicros > this.clock) {
      // Nothing of what was counted is in the window any more: the evidence of it says nothing about what comes.
      if (timeMicros - this.clock >= timespanMicros) this.evidence.clear();
      this.clock = timeMicros;
    }
    const bucket = Math.floor(this.clock / (timespanMicros / BUCKETS));
    this.#violations.add(bucket, 1);
    return bucket;
  }

  /** Violations in the window, to the bucket. */
  get violations(): number {
    return this.#violations.total;
  }
  /** Oldest time that is in the window. */
  startAt(timespanMicros: number): number {
    return Math.max(0, this.clock - timespanMicros + 1);
  }
  /** Gives back what it holds; a second call does nothing. */
  release(): void {
    if (!this.gone) this.#pool.give(this.#violations);
    this.gone = true;
  }
}

/** Packets in the window. */
export class CountWindow extends GroupWindow {
  readonly #packets: BucketRing;
  readonly #packetPool: BucketPool;

  constructor(groupKey: string, pools: Pools) {
    super(groupKey, pools);
    this.#packetPool = pools.packets;
    this.#packets = pools.packets.take();
  }

  /** Packets in the window once these are in it. */
  add(timeMicros: number, packets: number, timespanMicros: number): number {
    this.#packets.add(this.tick(timeMicros, timespanMicros), packets);
    return this.#packets.total;
  }
  override startAt(timespanMicros: number): number {
    const width = timespanMicros / BUCKETS;
    return Math.max(0, (Math.floor(this.clock / width) - BUCKETS + 1) * width);
  }
  override release(): void {
    if (!this.gone) this.#packetPool.give(this.#packets);
    super.release();
  }
}

/** Distinct values in the window. Holds the `limit` most recent ones: as many as decide whether there are at least `limit`. */
export class ValueWindow extends GroupWindow {
  // Oldest first: a value that is seen again moves to the end, and time does not run back.
  readonly #lastSeen = new Map<string, number>();
  #newest = '';

  /** Distinct values in the window, at most `limit`, once this one is in it. */
  add(timeMicros: number, value: string, limit: number, timespanMicros: number): number {
    this.tick(timeMicros, timespanMicros);
    if (value !== this.#newest) {
      this.#lastSeen.delete(value);
      this.#newest = value;
    }
    this.#lastSeen.set(value, this.clock);
    for (const [oldest, seen] of this.#lastSeen) {
      if (seen > this.clock - timespanMicros && this.#lastSeen.size <= limit) break;
      this.#lastSeen.delete(oldest);
    }
    return this.#lastSeen.size;
  }
}

/** Which stages were seen in the window, in any order. */
export class StageWindow extends GroupWindow {
  readonly #lastSeen: number[];

  constructor(groupKey: string, pools: Pools, stages: number) {
    super(groupKey, pools);
    this.#lastSeen = new Array<number>(stages).fill(-1);
  }

  /** Stages seen in the window. @param matched bit i: the violation matches stage i */
  add(timeMicros: number, matched: number, timespanMicros: number): number {
    this.tick(timeMicros, timespanMicros);
    let seen = 0;
    for (let stage = 0; stage < this.#lastSeen.length; stage++) {
      if ((matched >>> stage) & 1) this.#lastSeen[stage] = this.clock;
      const last = this.#lastSeen[stage] as number;
      if (last >= 0 && last > this.clock - timespanMicros) seen++;
    }
    return seen;
  }
}

/** How far the stages were gone through in their order within the window. */
export class OrderedStageWindow extends GroupWindow {
  // Per stage: the latest time at which a chain that reached this stage began.
  readonly #begun: number[];

  constructor(groupKey: string, pools: Pools, stages: number) {
    super(groupKey, pools);
    this.#begun = new Array<number>(stages).fill(-1);
  }

  /** Stages reached; all of them only when this violation is the last of a whole chain. @param matched as in StageWindow */
  add(timeMicros: number, matched: number, timespanMicros: number): number {
    this.tick(timeMicros, timespanMicros);
    const last = this.#begun.length - 1;
    const alive = (begun: number) => begun >= 0 && begun > this.clock - timespanMicros;
    let completes = false;
    // From the last stage down, so that one violation is not two steps of a chain.
    for (let stage = last; stage > 0; stage--) {
      const before = this.#begun[stage - 1] as number;
      if (!((matched >>> stage) & 1) || !alive(before)) continue;
      if (before > (this.#begun[stage] as number)) this.#begun[stage] = before;
      if (stage === last) completes = true;
    }
    if (matched & 1) this.#begun[0] = this.clock;
    if (completes) return last + 1;
    for (let stage = last - 1; stage >= 0; stage--) if (alive(this.#begun[stage] as number)) return stage + 1;
    return 0;
  }
}
