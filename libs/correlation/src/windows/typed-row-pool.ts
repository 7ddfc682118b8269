/**
 * A pool of fixed-width rows of numbers in typed-array pages, for windows and counters.
 *
 * Each row occupies two or three cache lines and is invisible to the garbage collector. (V8
 * allocates a heap object for a number above 2^31 in a field.) Pages never move, so the owner of a
 * row keeps its page and offset. An allocated row contains zeros.
 */

/** A page of the widest row, that of a count window, has 192 KB. */
const PAGE_SHIFT = 9;
const PAGE_ROWS = 1 << PAGE_SHIFT;

export class TypedRowPool {
  /** Numbers per row. */
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

  allocate(): number {
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
  /** Start of the row in its page. */
  offset(row: number): number {
    return (row & (PAGE_ROWS - 1)) * this.width;
  }
  /** Zeroes the row and makes it available again. */
  free(row: number): void {
    const start = this.offset(row);
    this.page(row).fill(0, start, start + this.width);
    this.#free.push(row);
  }
}
