/**
 * Sliding windows of one group under one rule. Pure state: time and what happened in, "how much is in the window now" out.
 *
 * Within a window time never runs back: a violation that comes late counts as of the newest one (`clock`). By the bound on event time
 * it is late by at most twice EVENT_TIME_BOUND_MICROS, so a clock that stepped bends a window by that and hides nothing.
 * A window covers (clock - timespan, clock]. Packets are kept in buckets of a twentieth of the timespan, so up to one bucket at the old end
 * may be missing (a count window is never longer than the rule says); distinct values and stages are exact.
 * Memory: a ring of violations each, a ring of packets in a count window, at most `limit` (<= 256) values in a value window, a number
 * a stage (<= 8), what step-times.ts keeps of an ordered rule, and the evidence.
 */

import type { JudgedViolation } from '@bailiff/schemas';
import { EvidenceRing } from './evidence.ts';
import { RowPool } from './row-pool.ts';
import { type CompiledRule, countedValue, type ValueField } from './rules.ts';
import { StepTimes, TwoStepTimes } from './step-times.ts';
import { NOT_KNOWN, ownTimeMicros } from './time.ts';

/** Buckets of a ring: a window slides in steps of a twentieth of its timespan. */
export const BUCKETS = 20;

/** Below every threshold. */
export const NOT_COUNTED = -1;

// A row: newest time that counted, end of the quiet time, number of the newest bucket + 1 (0 = none yet), violations and packets in
// the ring; then the ring: violations of each bucket, and in a count window its packets beside them.
const CLOCK = 0;
const QUIET = 1;
const NEWEST = 2;
const VIOLATIONS = 3;
const PACKETS = 4;
const RING = 5;

/** Where windows get their rows. */
export interface Pools {
  counts: RowPool;
  others: RowPool;
}
export const windowPools = (): Pools => ({
  counts: new RowPool(RING + 2 * BUCKETS),
  others: new RowPool(RING + BUCKETS),
});

/** What all windows have. The timespan is the rule's, in microseconds, the same at every call. */
export abstract class GroupWindow {
  /** Pod uid, owner uid, namespace or node name. */
  readonly groupKey: string;
  readonly evidence = new EvidenceRing();
  readonly #pool: RowPool;
  readonly #row: number;
  readonly #page: Float64Array;
  readonly #at: number;
  /** Numbers a bucket. */
  readonly #width: number;
  /** Let go of: whoever holds it must look it up again. */
  gone = false;

  constructor(groupKey: string, pool: RowPool) {
    this.groupKey = groupKey;
    this.#pool = pool;
    this.#row = pool.take();
    this.#page = pool.page(this.#row);
    this.#at = pool.offset(this.#row);
    this.#width = pool.width > RING + BUCKETS ? 2 : 1;
  }

  /** Newest time that counted; 0 before the first. */
  get clock(): number {
    return this.#page[this.#at + CLOCK] as number;
  }
  /** No verdict before this time: end of the cooldown epoch of the last one. */
  get quietUntil(): number {
    return this.#page[this.#at + QUIET] as number;
  }
  set quietUntil(timeMicros: number) {
    this.#page[this.#at + QUIET] = timeMicros;
  }
  /** Violations in the window, to the bucket. */
  get violations(): number {
    return this.#page[this.#at + VIOLATIONS] as number;
  }
  /** Packets in a count window, to the bucket. */
  protected get packets(): number {
    return this.#page[this.#at + PACKETS] as number;
  }
  /** Oldest time that is in the window. */
  startAt(timespanMicros: number): number {
    return Math.max(0, this.clock - timespanMicros + 1);
  }

  /** Moves the clock, and counts one violation with its packets; gives the time at which it counts. */
  protected tick(timeMicros: number, packets: number, timespanMicros: number): number {
    const page = this.#page;
    const at = this.#at;
    let clock = page[at + CLOCK] as number;
    if (timeMicros > clock) {
      // Nothing of what was counted is in the window any more: the evidence of it says nothing about what comes.
      if (timeMicros - clock >= timespanMicros) this.evidence.clear();
      clock = timeMicros;
      page[at + CLOCK] = clock;
    }
    const bucket = Math.floor(clock / (timespanMicros / BUCKETS));
    if (bucket + 1 !== page[at + NEWEST]) this.#slide(bucket);
    const place = at + RING + (bucket % BUCKETS) * this.#width;
    page[place] = (page[place] as number) + 1;
    page[at + VIOLATIONS] = (page[at + VIOLATIONS] as number) + 1;
    if (this.#width === 2) {
      page[place + 1] = (page[place + 1] as number) + packets;
      page[at + PACKETS] = (page[at + PACKETS] as number) + packets;
    }
    return clock;
  }

  #slide(bucket: number): void {
    const page = this.#page;
    const at = this.#at;
    const newest = (page[at + NEWEST] as number) - 1;
    for (let b = Math.max(newest + 1, bucket - BUCKETS + 1); b <= bucket; b++) {
      const place = at + RING + (b % BUCKETS) * this.#width;
      page[at + VIOLATIONS] = (page[at + VIOLATIONS] as number) - (page[place] as number);
      page[place] = 0;
      if (this.#width === 1) continue;
      page[at + PACKETS] = (page[at + PACKETS] as number) - (page[place + 1] as number);
      page[place + 1] = 0;
    }
    page[at + NEWEST] = bucket + 1;
  }

  /**
   * Counts a violation. Answers what the window holds now, measured as the rule's threshold is; NOT_COUNTED when there was nothing to count.
   * @param matched stages of the rule that the violation matches, as bits
   */
  abstract count(
    timeMicros: number,
    packets: number,
    matched: number,
    violation: JudgedViolation,
    rule: CompiledRule,
  ): number;

  /** Gives back what it holds; a second call does nothing. */
  release(): void {
    if (!this.gone) this.#pool.give(this.#row);
    this.gone = true;
  }
}

/** Packets in the window. */
export class CountWindow extends GroupWindow {
  constructor(groupKey: string, pools: Pools) {
    super(groupKey, pools.counts);
  }

  /** Packets in the window once these are in it. */
  add(timeMicros: number, packets: number, timespanMicros: number): number {
    this.tick(timeMicros, packets, timespanMicros);
    return this.packets;
  }
  override count(
    timeMicros: number,
    packets: number,
    _matched: number,
    _of: JudgedViolation,
    rule: CompiledRule,
  ): number {
    return packets > 0 ? this.add(timeMicros, packets, rule.timespanMicros) : NOT_COUNTED;
  }
  override startAt(timespanMicros: number): number {
    const width = timespanMicros / BUCKETS;
    return Math.max(0, (Math.floor(this.clock / width) - BUCKETS + 1) * width);
  }
}

/** Distinct values in the window. Holds the `limit` most recent ones: as many as decide whether there are at least `limit`. */
export class ValueWindow extends GroupWindow {
  // Parallel and in no order: `rank` says which was seen last. Scans of so few cost less than a Map of fresh strings.
  readonly #values: string[] = [];
  readonly #hashes: number[] = [];
  readonly #lastSeen: number[] = [];
  readonly #rank: number[] = [];
  #nextRank = 0;

  constructor(groupKey: string, pools: Pools) {
    super(groupKey, pools.others);
  }

  /** Distinct values in the window, at most `limit`, once this one is in it. */
  add(timeMicros: number, value: string, limit: number, timespanMicros: number): number {
    const clock = this.tick(timeMicros, 0, timespanMicros);
    while (this.#values.length > limit) this.#drop(this.#oldest());
    const hash = hashOf(value);
    let at = this.#find(value, hash);
    if (at < 0) {
      at = this.#values.length < limit ? this.#values.length : this.#oldest();
      this.#values[at] = value;
      this.#hashes[at] = hash;
    }
    this.#lastSeen[at] = clock;
    this.#rank[at] = this.#nextRank++;
    return this.#alive(clock - timespanMicros);
  }

  override count(
    timeMicros: number,
    _packets: number,
    _matched: number,
    violation: JudgedViolation,
    rule: CompiledRule,
  ): number {
    const value = countedValue(rule.field as ValueField, violation);
    return value === '' ? NOT_COUNTED : this.add(timeMicros, value, rule.threshold, rule.timespanMicros);
  }

  #find(value: string, hash: number): number {
    const hashes = this.#hashes;
    for (let i = 0; i < hashes.length; i++) if (hashes[i] === hash && this.#values[i] === value) return i;
    return -1;
  }

  #oldest(): number {
    const rank = this.#rank;
    let oldest = 0;
    for (let i = 1; i < rank.length; i++) if ((rank[i] as number) < (rank[oldest] as number)) oldest = i;
    return oldest;
  }

  #alive(expiredMicros: number): number {
    const lastSeen = this.#lastSeen;
    let alive = 0;
    for (let i = 0; i < lastSeen.length; i++) if ((lastSeen[i] as number) > expiredMicros) alive++;
    return alive;
  }

  #drop(at: number): void {
    for (const list of [this.#values, this.#hashes, this.#lastSeen, this.#rank]) list.splice(at, 1);
  }
}

/** Only to tell most strings apart quickly; equality is decided by the strings. */
function hashOf(text: string): number {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  return hash;
}

/** Which stages were seen in the window, in any order. */
export class StageWindow extends GroupWindow {
  readonly #lastSeen: number[];

  constructor(groupKey: string, pools: Pools, stages: number) {
    super(groupKey, pools.others);
    this.#lastSeen = new Array<number>(stages).fill(-1);
  }

  /** Stages seen in the window. @param matched bit i: the violation matches stage i */
  add(timeMicros: number, matched: number, timespanMicros: number): number {
    const clock = this.tick(timeMicros, 0, timespanMicros);
    let seen = 0;
    for (let stage = 0; stage < this.#lastSeen.length; stage++) {
      if ((matched >>> stage) & 1) this.#lastSeen[stage] = clock;
      const last = this.#lastSeen[stage] as number;
      if (last >= 0 && last > clock - timespanMicros) seen++;
    }
    return seen;
  }

  override count(
    timeMicros: number,
    _packets: number,
    matched: number,
    _of: JudgedViolation,
    rule: CompiledRule,
  ): number {
    return this.add(timeMicros, matched, rule.timespanMicros);
  }
}

/**
 * How far the stages were gone through in their order within the window: in the order of the bus, whatever the times say, or in that of the
 * node's own times. So a clock that stepped hides nothing, and neither does a bus that has a burst turned around.
 */
export class OrderedStageWindow extends GroupWindow {
  // Per stage: the latest time at which a chain that reached this stage began.
  readonly #begun: number[];
  readonly #times: StepTimes | TwoStepTimes;

  constructor(groupKey: string, pools: Pools, stages: number) {
    super(groupKey, pools.others);
    this.#begun = new Array<number>(stages).fill(-1);
    this.#times = stages === 2 ? new TwoStepTimes() : new StepTimes(stages);
  }

  /**
   * Stages reached; all of them only when this violation is one of a whole chain, in the order of the bus the last of it.
   * @param matched as in StageWindow
   * @param ownMicros when the first of what it tells happened, by a clock that others of the group share; NOT_KNOWN: nobody says
   * @param seen false: it had happened by then, and nobody saw when. So it may be before what is later, and is after nothing
   */
  add(timeMicros: number, matched: number, timespanMicros: number, ownMicros = NOT_KNOWN, seen = true): number {
    const clock = this.tick(timeMicros, 0, timespanMicros);
    const last = this.#begun.length - 1;
    const alive = (begun: number) => begun >= 0 && begun > clock - timespanMicros;
    let completes = false;
    // From the last stage down, so that one violation is not two steps of a chain.
    for (let stage = last; stage > 0; stage--) {
      const before = this.#begun[stage - 1] as number;
      if (!((matched >>> stage) & 1) || !alive(before)) continue;
      if (before > (this.#begun[stage] as number)) this.#begun[stage] = before;
      if (stage === last) completes = true;
    }
    if (matched & 1) this.#begun[0] = clock;
    const steps = seen ? matched : matched & 1;
    if (ownMicros !== NOT_KNOWN && steps !== 0) {
      if (this.#times.add(ownMicros, steps, clock - timespanMicros)) completes = true;
    }
    if (completes) return last + 1;
    for (let stage = last - 1; stage >= 0; stage--) if (alive(this.#begun[stage] as number)) return stage + 1;
    return 0;
  }

  override count(
    timeMicros: number,
    _packets: number,
    matched: number,
    violation: JudgedViolation,
    { timespanMicros, groupBy }: CompiledRule,
  ): number {
    // Pods of one owner or namespace may be of several nodes, whose clocks differ.
    const ownMicros = groupBy === 'pod' || groupBy === 'node' ? ownTimeMicros(timeMicros, violation) : NOT_KNOWN;
    return this.add(timeMicros, matched, timespanMicros, ownMicros, violation.count > 0);
  }
}
