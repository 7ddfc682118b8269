/**
 * Allocates cells of rt_counters, first fit over free ranges, and numbers of rt_buckets, the lowest
 * free one. Pure.
 *
 * Invariant: a cell has at most one owner. Without enough adjacent free cells, or without a free
 * number, allocation returns null and the caller refuses the subject with the reason.
 */
import assert from 'node:assert/strict';

interface Range {
  base: number;
  end: number;
}

export class CellAllocator {
  readonly capacity: number;
  /** Ascending, never adjacent. */
  #free: Range[];

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#free = [{ base: 0, end: capacity }];
  }

  get used(): number {
    return this.capacity - this.#free.reduce((sum, { base, end }) => sum + end - base, 0);
  }

  /** First of so many adjacent cells; null: there are none. */
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

  /**
   * Reserves cells that an earlier process allocated. False: some have an owner or do not exist.
   */
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

/** Allocates numbers below a capacity, each to one owner. */
export class NumberAllocator {
  readonly #taken = new Set<number>();
  readonly #capacity: number;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** null: all are taken. */
  allocate(): number | null {
    for (let number = 0; number < this.#capacity; number += 1)
      if (!this.#taken.has(number)) {
        this.#taken.add(number);
        return number;
      }
    return null;
  }

  /** False: it has an owner or does not exist. */
  reserve(number: number): boolean {
    if (number < 0 || number >= this.#capacity || this.#taken.has(number)) return false;
    this.#taken.add(number);
    return true;
  }

  release(number: number): void {
    this.#taken.delete(number);
  }
}
