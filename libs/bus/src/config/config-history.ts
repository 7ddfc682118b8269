/**
 * The configuration at any time, folded from its log. Pure: changes in, configurations out.
 *
 * Place in the path: config-log.ts feeds it from CONFIG_LOG; correlator, replay and backtest ask it. Invariants: the same log
 * gives the same answers in every process, however it was read: times are made never to fall, and of each key the same number of
 * changes is kept as in the stream. A key with so many counts, before the oldest of them, as that one: what was there is forgotten, and
 * nothing would be a worse guess. A log that was made anew begins from what was in force (`from`), which stands until it says something:
 * that is the live process's memory, not the log's, and better than to fall back to nothing for a moment. Asking forwards in time costs one comparison; the answer is the same object until it changes.
 */
import assert from 'node:assert';
import { CONFIG_LOG_PER_KEY } from '../topology/topology.ts';

export interface ConfigChange {
  /** In CONFIG_LOG. */
  sequence: number;
  /** When the bus stored it. */
  timestampMicros: number;
  key: string;
  /** null = deleted */
  json: string | null;
  by: string;
  why: string;
}

export interface ConfigAt {
  /** Sequence in CONFIG_LOG of the newest change in it; 0 = nothing was ever configured. */
  revision: number;
  /** Server time of that change; 0 with revision 0. */
  timestampMicros: number;
  entries: ReadonlyMap<string, string>;
}

const NOTHING: ConfigAt = { revision: 0, timestampMicros: 0, entries: new Map() };

export class ConfigHistory {
  private readonly changes: ConfigChange[] = [];
  private readonly perKey = new Map<string, number>();
  /** Oldest kept change of each key that has as many as are kept. */
  private readonly floors = new Map<string, ConfigChange>();
  private readonly from: ConfigAt;
  private cached: ConfigAt;
  /** Index after the last change in `cached`; -1 when it holds nothing of use. */
  private cachedLength = 0;

  /** @param from what is in force before the first change; not built upon by the changes */
  constructor(from: ConfigAt = NOTHING) {
    this.from = from;
    this.cached = from;
  }

  /** Changes that are kept. */
  get length(): number {
    return this.changes.length;
  }

  /** Takes the next change of the log. */
  append(change: ConfigChange): void {
    const last = this.changes.at(-1);
    assert(!last || change.sequence > last.sequence, 'changes come in the order of the log');
    // A clock that was set back between two leaders must not hide a change behind an older one.
    const timestampMicros = Math.max(change.timestampMicros, last?.timestampMicros ?? 0);
    this.changes.push({ ...change, timestampMicros });
    const kept = (this.perKey.get(change.key) ?? 0) + 1;
    this.perKey.set(change.key, kept);
    if (kept >= CONFIG_LOG_PER_KEY) this.floor(change.key, kept);
  }

  /** Forgets what the stream forgets, and remembers what a key then began with. */
  private floor(key: string, kept: number): void {
    if (kept > CONFIG_LOG_PER_KEY) {
      this.changes.splice(
        this.changes.findIndex((change) => change.key === key),
        1,
      );
      this.perKey.set(key, CONFIG_LOG_PER_KEY);
    }
    this.floors.set(key, this.changes.find((change) => change.key === key) as ConfigChange);
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
    const isIn = (index: number) => (this.changes[index]?.timestampMicros ?? Number.POSITIVE_INFINITY) <= timeMicros;
    // Nearly every question is about the same configuration as the last one.
    const cached = this.cachedLength;
    if (cached >= 0 && !isIn(cached) && (cached === 0 || isIn(cached - 1))) return cached;
    let low = 0;
    let high = this.changes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isIn(middle)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private build(length: number): ConfigAt {
    if (length === this.cachedLength) return this.cached;
    // A floor is in the way of going on from the last answer: its key may not have begun yet.
    if (length === 0 && this.floors.size === 0) {
      this.cached = this.from;
      this.cachedLength = 0;
      return this.cached;
    }
    const from = this.floors.size === 0 && length > this.cachedLength ? Math.max(0, this.cachedLength) : 0;
    const entries = new Map(from > 0 ? this.cached.entries : []);
    for (let index = from; index < length; index += 1) fold(entries, this.changes[index] as ConfigChange);
    const newest = this.changes[length - 1];
    for (const floor of this.floors.values()) if (floor.sequence > (newest?.sequence ?? 0)) fold(entries, floor);
    this.cached = { revision: newest?.sequence ?? 0, timestampMicros: newest?.timestampMicros ?? 0, entries };
    this.cachedLength = length;
    return this.cached;
  }
}

function fold(entries: Map<string, string>, { key, json }: ConfigChange): void {
  if (json === null) entries.delete(key);
  else entries.set(key, json);
}
