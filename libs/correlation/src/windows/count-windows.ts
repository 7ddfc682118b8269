/**
 * Windows of the count types: packets (`event_count`) and distinct values (`value_count`). Pure.
 */
import type { ProjectedViolation } from '@bailiff/schemas';
import { type CompiledRule, countedValue, type ValueField } from './compiled-rule.ts';
import { BUCKETS, GroupWindow, NOT_COUNTED, type Pools } from './group-window.ts';

/** Counts the packets in the window. */
export class CountWindow extends GroupWindow {
  constructor(groupKey: string, pools: Pools) {
    super(groupKey, pools.counts);
  }

  /** Packets in the window, these included. */
  add(timeMicros: number, packets: number, timespanMicros: number): number {
    this.tick(timeMicros, packets, timespanMicros);
    return this.packets;
  }
  override count(
    timeMicros: number,
    packets: number,
    _matched: number,
    _violation: ProjectedViolation,
    rule: CompiledRule,
  ): number {
    return packets > 0 ? this.add(timeMicros, packets, rule.timespanMicros) : NOT_COUNTED;
  }
  override startAt(timespanMicros: number): number {
    const width = timespanMicros / BUCKETS;
    return Math.max(0, (Math.floor(this.clock / width) - BUCKETS + 1) * width);
  }
}

/**
 * Counts the distinct values in the window. Keeps the `limit` newest: enough to decide "at least
 * `limit`".
 */
export class ValueWindow extends GroupWindow {
  // Ordered by last use. #seen holds the hash and the time of each value. A scan of at most 256
  // entries costs less than a Map of new strings.
  readonly #values: string[] = [];
  readonly #seen: number[] = [];

  constructor(groupKey: string, pools: Pools) {
    super(groupKey, pools.values);
  }

  /** Distinct values in the window, this one included, at most `limit`. */
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
    violation: ProjectedViolation,
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

/** A quick filter only: the strings decide equality. */
function hashOf(text: string): number {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  return hash;
}
