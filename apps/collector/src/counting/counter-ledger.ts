/**
 * Exact counting of cells that only grow. A book remembers, per cell, what was put into a frame and what was acknowledged, and turns a
 * reading into the cells that grew. Pure state, no I/O; what a cell counts is epochs.ts's or runtime/cell-facts.ts's business.
 *
 * A reading is numbers, `stride` a cell, the first of which is judged: no object a cell, because every book is read again and again and
 * almost no cell has grown. Invariants: acked <= enqueued <= kernel. A frame that is never acknowledged costs nothing: its cells are
 * reported again with a larger cumulative value, and a reader takes the maximum.
 */
import assert from 'node:assert/strict';

export interface BookShape {
  /** Cells that acknowledgements are kept of. */
  readonly cells: number;
  /** Cells that are looked at, the first of them. */
  readonly counted: number;
  /** Numbers a cell in a reading. */
  readonly stride: number;
}

const NOTHING: readonly number[] = [];

export class CountBook {
  readonly #shape: BookShape;
  // Made with the first count: most books never have one.
  #enqueued: Float64Array | null = null;
  #acked: Float64Array | null = null;
  /** Cells of which something is accounted for elsewhere. */
  protected readonly forgiven = new Set<number>();

  /** @param acked by cell, what an earlier process had acknowledged; it is not reported again until it grows */
  constructor(shape: BookShape, acked?: Float64Array) {
    this.#shape = shape;
    if (!acked) return;
    assert.equal(acked.length, shape.cells);
    this.#acked = acked.slice();
    this.#enqueued = acked.slice();
  }

  #at(reading: Float64Array, cell: number): number {
    return reading[cell * this.#shape.stride] as number;
  }

  /** Cells of a reading that grew since they were last enqueued. Does not change the book. */
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
   * Cells of a reading that a last word is about, whether they were said before or not. Of a cell that was forgiven there is none, unless
   * it grew since: a repeated cumulative value would bring what was forgiven onto the bus.
   */
  counted(reading: Float64Array): readonly number[] {
    const cells: number[] = [];
    for (let cell = 0; cell < this.#shape.counted; cell += 1) {
      const count = this.#at(reading, cell);
      if (count > 0 && (count !== this.enqueued(cell) || !this.forgiven.has(cell))) cells.push(cell);
    }
    return cells;
  }

  /** A frame that held the cell was not taken: what the bus does not have is to be enqueued again. */
  owe(cell: number): void {
    if (this.#enqueued) this.#enqueued[cell] = this.acked()[cell] as number;
  }

  /** How much of a cell is in frames. */
  enqueued(cell: number): number {
    return this.#enqueued ? (this.#enqueued[cell] as number) : 0;
  }

  /** The cell is in a frame now. */
  enqueue(cell: number, count: number): void {
    this.#enqueued ??= new Float64Array(this.#shape.cells);
    this.#enqueued[cell] = Math.max(this.#enqueued[cell] as number, count);
  }

  /** The bus has the cell. Frames may be acknowledged in any order. */
  ack(cell: number, count: number): void {
    const acked = this.acked();
    acked[cell] = Math.max(acked[cell] as number, count);
  }

  /** By cell, what the bus has: what a later process starts from. */
  acked(): Float64Array {
    this.#acked ??= new Float64Array(this.#shape.cells);
    return this.#acked;
  }

  /** How much of a reading the bus does not have. */
  unacked(reading: Float64Array): number {
    let sum = 0;
    for (let cell = 0; cell < this.#shape.counted; cell += 1) {
      const acked = this.#acked ? (this.#acked[cell] as number) : 0;
      sum += Math.max(0, this.#at(reading, cell) - acked);
    }
    return sum;
  }

  /** True when all of a reading has been acknowledged. */
  settled(reading: Float64Array): boolean {
    return this.unacked(reading) === 0;
  }
}
