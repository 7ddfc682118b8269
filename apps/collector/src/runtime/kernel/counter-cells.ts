/**
 * Who has which cells of rt_counters, and which numbers of rt_buckets: first fit over free ranges, lowest free number. Pure.
 *
 * Invariant: a cell has one owner at most. Full: null, and the caller refuses with the reason.
 */
import assert from 'node:assert/strict';

interface Range {
  base: number;
  end: number;
}

export class CellAllocator {
  readonly capacity: number;
  /** Ascending, never touching each other. */
  #free: Range[];

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#free = [{ base: 0, end: capacity }];
  }

  get used(): number {
    return this.capacity - this.#free.reduce((sum, { base, end }) => sum + end - base, 0);
  }

  /** First cell of so many in a row; null when there are none. */
  allocate(count: number): number | null {
    assert(count > 0);
    const at = this.#free.findIndex(({ base, end }) => end - base >= count);
    const range = this.#free[at];
    if (!range) return null;
    const { base } = range;
    range.base += count;
    if (range.base === range.end) this.#free.splice(at, 1);
    return base;
  }

  /** Takes cells that an earlier process gave out. False when some have an owner already, or do not exist. */
  reserve(base: number, count: number): boolean {
    const at = this.#free.findIndex((range) => range.base <= base && base + count <= range.end);
    const range = this.#free[at];
    if (!range || count <= 0) return false;
    const rest = [
      { base: range.base, end: base },
      { base: base + count, end: range.end },
    ].filter((r) => r.base < r.end);
    this.#free.splice(at, 1, ...rest);
    return true;
  }

  /** Gives cells back. */
  release(base: number, count: number): void {
    const end = base + count;
    const at = this.#free.findIndex((range) => range.base >= end);
    const index = at < 0 ? this.#free.length : at;
    const before = this.#free[index - 1];
    assert(!before || before.end <= base, 'cells were free already');
    this.#free.splice(index, 0, { base, end });
    this.#merge(index);
    if (index > 0) this.#merge(index - 1);
  }

  #merge(index: number): void {
    const left = this.#free[index] as Range;
    const right = this.#free[index + 1];
    if (!right || left.end !== right.base) return;
    left.end = right.end;
    this.#free.splice(index + 1, 1);
  }
}

/** Small numbers, each to one owner. */
export class Numbers {
  readonly #taken = new Set<number>();
  readonly #capacity: number;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  take(): number | null {
    for (let number = 0; number < this.#capacity; number += 1)
      if (!this.#taken.has(number)) {
        this.#taken.add(number);
        return number;
      }
    return null;
  }

  /** False when it has an owner already. */
  reserve(number: number): boolean {
    if (number < 0 || number >= this.#capacity || this.#taken.has(number)) return false;
    this.#taken.add(number);
    return true;
  }

  release(number: number): void {
    this.#taken.delete(number);
  }
}
