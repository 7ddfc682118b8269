/**
 * Rings of BUCKETS numbers over time, a row each, in typed-array pages that are handed out row by row and never move: 100,000 windows
 * cost their numbers and a small object each, and nothing for the garbage collector to follow.
 */

/** Buckets of a ring: a window slides in steps of a twentieth of its timespan. */
export const BUCKETS = 20;
/** Rows of a page: one of packets is 80 KB. */
const PAGE_ROWS = 512;

type Page = Float64Array | Uint32Array;

/** Rows of one kind of number. A row that is taken is zero. */
export class BucketPool {
  readonly #make: (length: number) => Page;
  #pages: Page[] = [];
  #free: number[] = [];

  private constructor(make: (length: number) => Page) {
    this.#make = make;
  }
  /** Exact up to 2^53. */
  static ofPackets(): BucketPool {
    return new BucketPool((length) => new Float64Array(length));
  }
  /** Exact up to 2^32: violations, of which the bus holds fewer. */
  static ofViolations(): BucketPool {
    return new BucketPool((length) => new Uint32Array(length));
  }

  /** Rows in use. */
  get used(): number {
    return this.#pages.length * PAGE_ROWS - this.#free.length;
  }
  take(): BucketRing {
    if (this.#free.length === 0) {
      const first = this.#pages.length * PAGE_ROWS;
      this.#pages.push(this.#make(PAGE_ROWS * BUCKETS));
      for (let row = first + PAGE_ROWS - 1; row >= first; row--) this.#free.push(row);
    }
    const row = this.#free.pop() as number;
    return new BucketRing(this.#pages[Math.floor(row / PAGE_ROWS)] as Page, (row % PAGE_ROWS) * BUCKETS, row);
  }
  give(ring: BucketRing): void {
    ring.wipe();
    this.#free.push(ring.row);
  }
}

/** Sum over the newest BUCKETS buckets of time. */
export class BucketRing {
  readonly row: number;
  readonly #page: Page;
  readonly #offset: number;
  #newest = -1;
  /** In the ring now. */
  total = 0;

  constructor(page: Page, offset: number, row: number) {
    this.#page = page;
    this.#offset = offset;
    this.row = row;
  }

  /** @param bucket number of the bucket since 1970, never smaller than at the call before */
  add(bucket: number, amount: number): void {
    if (bucket !== this.#newest) this.#slide(bucket);
    this.#page[this.#offset + (bucket % BUCKETS)]! += amount;
    this.total += amount;
  }

  #slide(bucket: number): void {
    for (let b = Math.max(this.#newest + 1, bucket - BUCKETS + 1); b <= bucket; b++) {
      const at = this.#offset + (b % BUCKETS);
      this.total -= this.#page[at] as number;
      this.#page[at] = 0;
    }
    this.#newest = bucket;
  }

  wipe(): void {
    this.#page.fill(0, this.#offset, this.#offset + BUCKETS);
    this.total = 0;
    this.#newest = -1;
  }
}
