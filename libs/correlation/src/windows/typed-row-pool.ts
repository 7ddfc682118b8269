/**
 * Rows of numbers in typed-array pages: what a window or a counter changes with every violation lies in two or three cache lines of its own,
 * and is nothing that the garbage collector has to look at. (A number above 2^31 in a field of an object is an object itself.)
 *
 * Pages never move, so who has a row keeps its page and its offset. A row that is taken is zero.
 */

/** A page of the widest row, a count window's, is 192 KB. */
const PAGE_SHIFT = 9;
const PAGE_ROWS = 1 << PAGE_SHIFT;

export class RowPool {
  /** Numbers in a row. */
  readonly width: number;
  readonly #pages: Float64Array[] = [];
  readonly #free: number[] = [];

  constructor(width: number) {
    this.width = width;
  }

  /** Rows in use. */
  get used(): number {
    return this.#pages.length * PAGE_ROWS - this.#free.length;
  }

  /** Gives out a row. */
  take(): number {
    if (this.#free.length === 0) {
      const first = this.#pages.length * PAGE_ROWS;
      this.#pages.push(new Float64Array(PAGE_ROWS * this.width));
      for (let row = first + PAGE_ROWS - 1; row >= first; row--) this.#free.push(row);
    }
    return this.#free.pop() as number;
  }
  page(row: number): Float64Array {
    return this.#pages[row >>> PAGE_SHIFT] as Float64Array;
  }
  /** Where the row begins in its page. */
  offset(row: number): number {
    return (row & (PAGE_ROWS - 1)) * this.width;
  }
  /** Takes a row back and wipes it. */
  give(row: number): void {
    const start = this.offset(row);
    this.page(row).fill(0, start, start + this.width);
    this.#free.push(row);
  }
}
