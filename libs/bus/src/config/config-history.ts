/**
 * The configuration at any time, computed from its log. Pure.
 *
 * Data path: CONFIG_LOG → config-log.ts → here → correlator, replay, backtest. The same log gives
 * the same result in every process: times never decrease, and each key keeps as many changes as the
 * stream. If the stream dropped changes of a key, the oldest kept change also applies before its own
 * time. After CONFIG_LOG was recreated, `from` is in force until the first change of the new log.
 * Queries in ascending time cost one comparison. They return the same object while the configuration
 * stays the same.
 */
import assert from 'node:assert';
import { CONFIG_LOG_PER_KEY } from '../topology/topology.ts';

export interface ConfigChange {
  /** Sequence in CONFIG_LOG. */
  sequence: number;
  /** When the bus stored the change. */
  timestampMicros: number;
  key: string;
  /** null = deleted */
  json: string | null;
  by: string;
  why: string;
}

export interface ConfigAt {
  /** Sequence in CONFIG_LOG of the newest included change; 0 = nothing was ever configured. */
  revision: number;
  /** Server time of that change; 0 with revision 0. */
  timestampMicros: number;
  entries: ReadonlyMap<string, string>;
}

const NOTHING: ConfigAt = { revision: 0, timestampMicros: 0, entries: new Map() };

export class ConfigHistory {
  private readonly changes: ConfigChange[] = [];
  private readonly perKey = new Map<string, number>();
  /** Oldest kept change of each key that has reached CONFIG_LOG_PER_KEY. */
  private readonly oldestKept = new Map<string, ConfigChange>();
  private readonly from: ConfigAt;
  private cached: ConfigAt;
  /** Index after the last change in `cached`; -1 if the cache is invalid. */
  private cachedLength = 0;

  /** @param from configuration in force before the first change, which replaces it as a whole */
  constructor(from: ConfigAt = NOTHING) {
    this.from = from;
    this.cached = from;
  }

  /** Number of kept changes. */
  get length(): number {
    return this.changes.length;
  }

  /** Appends the next change of the log. */
  append(change: ConfigChange): void {
    const last = this.changes.at(-1);
    assert(!last || change.sequence > last.sequence, 'changes must arrive in log order');
    // A new leader's clock may be behind. A later change must not take effect before an earlier one.
    const timestampMicros = Math.max(change.timestampMicros, last?.timestampMicros ?? 0);
    this.changes.push({ ...change, timestampMicros });
    const kept = (this.perKey.get(change.key) ?? 0) + 1;
    this.perKey.set(change.key, kept);
    if (kept >= CONFIG_LOG_PER_KEY) this.dropOldest(change.key, kept);
  }

  /** Drops the change of the key that the stream has dropped, and records the oldest kept change. */
  private dropOldest(key: string, kept: number): void {
    if (kept > CONFIG_LOG_PER_KEY) {
      this.changes.splice(
        this.changes.findIndex((change) => change.key === key),
        1,
      );
      this.perKey.set(key, CONFIG_LOG_PER_KEY);
    }
    this.oldestKept.set(key, this.changes.find((change) => change.key === key) as ConfigChange);
    this.cachedLength = -1;
  }

  /** The newest configuration whose server time is at or before a time. */
  at(timeMicros: number): ConfigAt {
    return this.build(this.countUntil(timeMicros));
  }

  latest(): ConfigAt {
    return this.build(this.changes.length);
  }

  /** Changes of a key, oldest first. */
  of(key: string): ConfigChange[] {
    return this.changes.filter((change) => change.key === key);
  }

  private countUntil(timeMicros: number): number {
    const isIncluded = (index: number) =>
      (this.changes[index]?.timestampMicros ?? Number.POSITIVE_INFINITY) <= timeMicros;
    // Most queries need the same configuration as the query before.
    const cached = this.cachedLength;
    if (cached >= 0 && !isIncluded(cached) && (cached === 0 || isIncluded(cached - 1))) return cached;
    let low = 0;
    let high = this.changes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isIncluded(middle)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private build(length: number): ConfigAt {
    if (length === this.cachedLength) return this.cached;
    if (length === 0 && this.oldestKept.size === 0) {
      this.cached = this.from;
      this.cachedLength = 0;
      return this.cached;
    }
    // The cache has changes of `oldestKept` that are later than its time, so it cannot be extended.
    const from = this.oldestKept.size === 0 && length > this.cachedLength ? Math.max(0, this.cachedLength) : 0;
    const entries = new Map(from > 0 ? this.cached.entries : []);
    for (let index = from; index < length; index += 1) fold(entries, this.changes[index] as ConfigChange);
    const newest = this.changes[length - 1];
    for (const oldest of this.oldestKept.values()) if (oldest.sequence > (newest?.sequence ?? 0)) fold(entries, oldest);
    this.cached = { revision: newest?.sequence ?? 0, timestampMicros: newest?.timestampMicros ?? 0, entries };
    this.cachedLength = length;
    return this.cached;
  }
}

function fold(entries: Map<string, string>, { key, json }: ConfigChange): void {
  if (json === null) entries.delete(key);
  else entries.set(key, json);
}
