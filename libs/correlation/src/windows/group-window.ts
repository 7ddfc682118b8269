/**
 * Sliding windows of one group under one rule. Pure state: time and what happened in, "how much is in the window now" out.
 *
 * Within a window time never runs back: a violation that comes late counts as of the newest one (`clock`). By the bound on event time
 * it is late by at most twice EVENT_TIME_BOUND_MICROS, so a clock that stepped bends a window by that and hides nothing.
 * A window covers (clock - timespan, clock]. Packets are kept in buckets of a twentieth of the timespan, so up to one bucket at the old end
 * may be missing (a count window is never longer than the rule says); distinct values and stages are exact.
 * Memory: a ring of violations each, a ring of packets in a count window, at most `limit` (<= 256) values of 64 characters in a value window, a number
 * a stage (<= 8), what step-times.ts keeps of an ordered rule, and the evidence.
 */

import type { Evidence, EvidenceProcess, JudgedViolation } from '@bailiff/schemas';
import { type CompiledRule, countedValue, type ValueField } from '../engine/rules.ts';
import { EVIDENCE_HEAD, EvidenceRows } from './evidence.ts';
import { addToTwo, StepTimes } from './step-times.ts';
import type { Interner } from './string-interner.ts';
import { NOT_KNOWN, ownTimeMicros } from './time.ts';
import { RowPool } from './typed-row-pool.ts';

/** Buckets of a ring: a window slides in steps of a twentieth of its timespan. */
export const BUCKETS = 20;

/** Below every threshold. */
export const NOT_COUNTED = -1;

// A row: newest time that counted, end of the quiet time, number of the newest bucket + 1 (0 = none yet), violations and packets in
// the window, and in its newest bucket; the head of the evidence; then the ring of the other buckets: violations of each, and in a count
// window its packets beside them; in a stage window a time a stage stands before the ring. So a violation in the same bucket as the one before it
// changes nothing but the beginning of the row.
const CLOCK = 0;
const QUIET = 1;
const NEWEST = 2;
const VIOLATIONS = 3;
const PACKETS = 4;
const NEWEST_VIOLATIONS = 5;
const NEWEST_PACKETS = 6;
const EVIDENCE = 7;
const HEAD = EVIDENCE + EVIDENCE_HEAD;
const MAX_STAGES = 8;

/** Where windows of one kind get their rows, and what lies where in them. */
interface RowKind {
  rows: RowPool;
  evidence: EvidenceRows;
  ring: number;
  /** Numbers a bucket. */
  width: number;
}

export interface Pools {
  counts: RowKind;
  values: RowKind;
  stages: RowKind;
}
export function windowPools(): Pools {
  const evidence = new EvidenceRows();
  const kind = (ring: number, width: number) => ({ rows: new RowPool(ring + width * BUCKETS), evidence, ring, width });
  return { counts: kind(HEAD, 2), values: kind(HEAD, 1), stages: kind(HEAD + MAX_STAGES, 1) };
}

/** The rule that a window belongs to. */
export interface WindowOwner {
  readonly rule: CompiledRule;
  windowOf(groupKey: string, nodeName: string): GroupWindow | null;
  silence(window: GroupWindow, untilMicros: number): void;
}

/** What all windows have. The timespan is the rule's, in microseconds, the same at every call. */
export abstract class GroupWindow {
  /** Set by its owner, who makes it. */
  owner: WindowOwner | null = null;
  /** Node whose violation was the first in it; set with `owner`. */
  openedBy = '';
  /** Let go of: whoever holds it must look it up again. */
  gone = false;
  protected readonly page: Float64Array;
  protected readonly at: number;
  readonly #kind: RowKind;
  /** By place of the piece; made with the first process: most pieces have none. */
  #processes: (EvidenceProcess | null)[] | null = null;
  /** Pod uid, owner uid, namespace or node name. */
  readonly groupKey: string;
  readonly #row: number;

  constructor(groupKey: string, kind: RowKind) {
    this.#row = kind.rows.take();
    this.page = kind.rows.page(this.#row);
    this.at = kind.rows.offset(this.#row);
    this.#kind = kind;
    this.groupKey = groupKey;
  }

  /** Newest time that counted; 0 before the first. */
  get clock(): number {
    return this.page[this.at + CLOCK] as number;
  }
  /** No verdict before this time: end of the cooldown epoch of the last one. */
  get quietUntil(): number {
    return this.page[this.at + QUIET] as number;
  }
  set quietUntil(timeMicros: number) {
    this.page[this.at + QUIET] = timeMicros;
  }
  /** Violations in the window, to the bucket. */
  get violations(): number {
    return this.page[this.at + VIOLATIONS] as number;
  }
  /** Packets in a count window, to the bucket. */
  protected get packets(): number {
    return this.page[this.at + PACKETS] as number;
  }
  /** Remembers the violation that was counted last, as a piece of evidence. @param vector its number in the interner */
  remember(
    streamSequence: number,
    index: number,
    packets: number,
    vector: number,
    process: EvidenceProcess | null = null,
  ): void {
    const at = this.at + EVIDENCE;
    const place = this.#kind.evidence.add(this.page, at, this.clock, streamSequence, index, packets, vector);
    if (process !== null) this.#processes ??= [];
    if (this.#processes !== null) this.#processes[place] = process;
  }
  /** What is remembered of violations not older than the time, oldest first. */
  evidenceSince(timeMicros: number, vectors: Interner): Evidence[] {
    const pieces = this.#kind.evidence.since(this.page, this.at + EVIDENCE, timeMicros, vectors);
    return pieces.map(({ place, ...piece }) => ({ ...piece, process: this.#processes?.[place] ?? null }));
  }
  #forget(): void {
    this.#kind.evidence.clear(this.page, this.at + EVIDENCE);
    this.#processes = null;
  }

  /** Oldest time that is in the window. */
  startAt(timespanMicros: number): number {
    return Math.max(0, this.clock - timespanMicros + 1);
  }

  /** Moves the clock, and counts one violation with its packets; gives the time at which it counts. */
  protected tick(timeMicros: number, packets: number, timespanMicros: number): number {
    const page = this.page;
    const at = this.at;
    let clock = page[at + CLOCK] as number;
    if (timeMicros > clock) {
      // Nothing of what was counted is in the window any more: the evidence of it says nothing about what comes.
      if (timeMicros - clock >= timespanMicros) this.#forget();
      clock = timeMicros;
      page[at + CLOCK] = clock;
    }
    const bucket = Math.floor(clock / (timespanMicros / BUCKETS));
    if (bucket + 1 !== page[at + NEWEST]) this.#slide(bucket);
    page[at + VIOLATIONS] = (page[at + VIOLATIONS] as number) + 1;
    page[at + NEWEST_VIOLATIONS] = (page[at + NEWEST_VIOLATIONS] as number) + 1;
    page[at + PACKETS] = (page[at + PACKETS] as number) + packets;
    page[at + NEWEST_PACKETS] = (page[at + NEWEST_PACKETS] as number) + packets;
    return clock;
  }

  /** Puts the newest bucket into the ring, takes out what the window leaves, and begins another. */
  #slide(bucket: number): void {
    const page = this.page;
    const at = this.at;
    const { ring, width } = this.#kind;
    const newest = (page[at + NEWEST] as number) - 1;
    if (newest >= 0) {
      const place = at + ring + (newest % BUCKETS) * width;
      page[place] = page[at + NEWEST_VIOLATIONS] as number;
      if (width === 2) page[place + 1] = page[at + NEWEST_PACKETS] as number;
    }
    for (let b = Math.max(newest + 1, bucket - BUCKETS + 1); b <= bucket; b++) {
      const place = at + ring + (b % BUCKETS) * width;
      page[at + VIOLATIONS] = (page[at + VIOLATIONS] as number) - (page[place] as number);
      page[place] = 0;
      if (width === 1) continue;
      page[at + PACKETS] = (page[at + PACKETS] as number) - (page[place + 1] as number);
      page[place + 1] = 0;
    }
    page[at + NEWEST] = bucket + 1;
    page[at + NEWEST_VIOLATIONS] = 0;
    page[at + NEWEST_PACKETS] = 0;
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
    if (this.gone) return;
    this.gone = true;
    this.#forget();
    this.#kind.rows.give(this.#row);
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
  // In the order in which they were last seen; of each its hash and that time. Scans of so few cost less than a Map of fresh strings.
  readonly #values: string[] = [];
  readonly #seen: number[] = [];

  constructor(groupKey: string, pools: Pools) {
    super(groupKey, pools.values);
  }

  /** Distinct values in the window, at most `limit`, once this one is in it. */
  add(timeMicros: number, value: string, limit: number, timespanMicros: number): number {
    const clock = this.tick(timeMicros, 0, timespanMicros);
    const hash = hashOf(value);
    const found = this.#find(value, hash);
    if (found >= 0) this.#drop(found);
    while (this.#values.length >= limit) this.#drop(0);
    this.#values.push(value);
    this.#seen.push(hash, clock);
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
    const values = this.#values;
    const seen = this.#seen;
    for (let i = values.length - 1; i >= 0; i--) if (seen[2 * i] === hash && values[i] === value) return i;
    return -1;
  }

  #alive(expiredMicros: number): number {
    const seen = this.#seen;
    let expired = 0;
    while ((seen[2 * expired + 1] as number) <= expiredMicros) expired++;
    return this.#values.length - expired;
  }

  #drop(at: number): void {
    const values = this.#values;
    const seen = this.#seen;
    for (let i = at + 1; i < values.length; i++) values[i - 1] = values[i] as string;
    for (let i = 2 * at + 2; i < seen.length; i++) seen[i - 2] = seen[i] as number;
    values.pop();
    seen.pop();
    seen.pop();
  }
}

/** Only to tell most strings apart quickly; equality is decided by the strings. */
function hashOf(text: string): number {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  return hash;
}

/** A time a stage, 0 = none, in the window's row. */
abstract class StagesWindow extends GroupWindow {
  protected readonly stages: number;

  constructor(groupKey: string, pools: Pools, stages: number) {
    super(groupKey, pools.stages);
    this.stages = stages;
  }

  protected timeOf(stage: number): number {
    return this.page[this.at + HEAD + stage] as number;
  }
  protected setTime(stage: number, timeMicros: number): void {
    this.page[this.at + HEAD + stage] = timeMicros;
  }

  /** @param matched bit i: the violation matches stage i */
  abstract add(timeMicros: number, matched: number, timespanMicros: number): number;

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

/** Which stages were seen in the window, in any order. The time of a stage is when it was last seen. */
export class StageWindow extends StagesWindow {
  /** Stages seen in the window. */
  override add(timeMicros: number, matched: number, timespanMicros: number): number {
    const clock = this.tick(timeMicros, 0, timespanMicros);
    let seen = 0;
    for (let stage = 0; stage < this.stages; stage++) {
      if ((matched >>> stage) & 1) this.setTime(stage, clock);
      if (this.timeOf(stage) > Math.max(0, clock - timespanMicros)) seen++;
    }
    return seen;
  }
}

/**
 * How far the stages were gone through in their order within the window: in the order of the bus, whatever the times say, or in that of the
 * node's own times. So a clock that stepped hides nothing, and neither does a bus that has a burst turned around. The time of a stage is the latest
 * at which a chain that reached it began, in the order of the bus.
 */
export class OrderedStageWindow extends StagesWindow {
  /** null of two stages, for which one number decides: it lies behind their times. */
  readonly #times: StepTimes | null;

  constructor(groupKey: string, pools: Pools, stages: number) {
    super(groupKey, pools, stages);
    this.#times = stages === 2 ? null : new StepTimes(stages);
  }

  /**
   * Stages reached; all of them only when this violation is one of a whole chain, in the order of the bus the last of it.
   * @param matched as in StageWindow
   * @param ownMicros when the first of what it tells happened, by a clock that others of the group share; NOT_KNOWN: nobody says
   * @param seen false: it had happened by then, and nobody saw when. So it may be before what is later, and is after nothing
   */
  add(timeMicros: number, matched: number, timespanMicros: number, ownMicros = NOT_KNOWN, seen = true): number {
    const clock = this.tick(timeMicros, 0, timespanMicros);
    const last = this.stages - 1;
    const expired = Math.max(0, clock - timespanMicros);
    let completes = false;
    // From the last stage down, so that one violation is not two steps of a chain.
    for (let stage = last; stage > 0; stage--) {
      if (((matched >>> stage) & 1) === 0) continue;
      const before = this.timeOf(stage - 1);
      if (before <= expired) continue;
      if (before > this.timeOf(stage)) this.setTime(stage, before);
      if (stage === last) completes = true;
    }
    if (matched & 1) this.setTime(0, clock);
    const steps = seen ? matched : matched & 1;
    if (ownMicros !== NOT_KNOWN && steps !== 0) {
      const after = clock - timespanMicros;
      const times = this.#times;
      const ofTwo = this.at + HEAD + 2;
      if (times === null ? addToTwo(this.page, ofTwo, ownMicros, steps, after) : times.add(ownMicros, steps, after))
        completes = true;
    }
    if (completes) return last + 1;
    for (let stage = last - 1; stage >= 0; stage--) if (this.timeOf(stage) > expired) return stage + 1;
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
