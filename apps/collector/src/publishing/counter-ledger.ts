/**
 * Counts cells exactly whose counters only grow: a ledger holds the value of each cell that is in
 * frames and the value that the bus acknowledged. Pure. packets/counting and operations/counting name
 * the cells.
 *
 * A reading has `stride` numbers per cell and the first one is compared: plain numbers, because
 * every ledger is read often. Invariant: acknowledged <= enqueued <= kernel. An unacknowledged cell
 * is published again with a larger cumulative value, and readers take the maximum.
 */
import assert from 'node:assert/strict';
import * as z from 'zod';

/** Index and value of the numbers that are not 0, as files store them. */
export const sparse = (max: number = Number.MAX_SAFE_INTEGER) =>
  z.array(z.tuple([z.int().nonnegative().lt(max), z.number().nonnegative()]));
export const toSparse = (numbers: Float64Array): [number, number][] =>
  [...numbers.entries()].filter(([, value]) => value !== 0);
export function fromSparse(count: number, entries: readonly (readonly [number, number])[]): Float64Array {
  const numbers = new Float64Array(count);
  for (const [index, value] of entries) numbers[index] = value;
  return numbers;
}

export interface LedgerShape {
  /** Cells with an acknowledged value. */
  readonly cells: number;
  /** Cells that are compared: the first ones. */
  readonly counted: number;
  /** Numbers per cell in a reading. */
  readonly stride: number;
}

const NOTHING: readonly number[] = [];

export class CounterLedger {
  readonly #shape: LedgerShape;
  // Created by the first count: most ledgers never have one.
  #enqueued: Float64Array | null = null;
  #acked: Float64Array | null = null;
  /** Cells with a part that is published elsewhere and never as a violation. */
  protected readonly excluded = new Set<number>();

  /**
   * @param acked by cell, what an earlier process had acknowledged; published again only when it
   *   grows
   */
  constructor(shape: LedgerShape, acked?: Float64Array) {
    this.#shape = shape;
    if (!acked) return;
    assert.equal(acked.length, shape.cells);
    this.#acked = acked.slice();
    this.#enqueued = acked.slice();
  }

  #at(reading: Float64Array, cell: number): number {
    return reading[cell * this.#shape.stride] as number;
  }

  /** Cells of a reading that grew since they were last enqueued. Does not change the ledger. */
  grown(reading: Float64Array): readonly number[] {
    assert(reading.length >= this.#shape.counted * this.#shape.stride, 'a reading of other cells');
    let result: number[] | null = null;
    for (let cell = 0; cell < this.#shape.counted; cell += 1) {
      const count = this.#at(reading, cell);
      const before = this.enqueued(cell);
      if (count === before) continue;
      assert(count > before, 'a kernel counter never shrinks');
      result ??= [];
      result.push(cell);
    }
    return result ?? NOTHING;
  }

  /**
   * Cells of a reading that belong into a final count, published before or not. An excluded cell
   * belongs to it only if it grew since: repeating its cumulative value would publish the excluded
   * part.
   */
  counted(reading: Float64Array): readonly number[] {
    const cells: number[] = [];
    for (let cell = 0; cell < this.#shape.counted; cell += 1) {
      const count = this.#at(reading, cell);
      if (count > 0 && (count !== this.enqueued(cell) || !this.excluded.has(cell))) cells.push(cell);
    }
    return cells;
  }

  /** The frame with the cell was not stored: enqueues again what the bus does not have. */
  requeue(cell: number): void {
    if (this.#enqueued) this.#enqueued[cell] = this.acked()[cell] as number;
  }

  /** Value of a cell that is in frames. */
  enqueued(cell: number): number {
    return this.#enqueued ? (this.#enqueued[cell] as number) : 0;
  }

  /** Records that a frame contains the cell. */
  enqueue(cell: number, count: number): void {
    this.#enqueued ??= new Float64Array(this.#shape.cells);
    this.#enqueued[cell] = Math.max(this.#enqueued[cell] as number, count);
  }

  /** Records that the bus stored the cell. Frames may be acknowledged in any order. */
  ack(cell: number, count: number): void {
    const acked = this.acked();
    acked[cell] = Math.max(acked[cell] as number, count);
  }

  /** Acknowledged value by cell: a later process starts from it. */
  acked(): Float64Array {
    this.#acked ??= new Float64Array(this.#shape.cells);
    return this.#acked;
  }

  /** Sum of a reading that the bus does not have. */
  unacked(reading: Float64Array): number {
    let sum = 0;
    for (let cell = 0; cell < this.#shape.counted; cell += 1) {
      const acked = this.#acked ? (this.#acked[cell] as number) : 0;
      sum += Math.max(0, this.#at(reading, cell) - acked);
    }
    return sum;
  }

  /** True if the bus acknowledged the whole reading. */
  settled(reading: Float64Array): boolean {
    return this.unacked(reading) === 0;
  }
}
