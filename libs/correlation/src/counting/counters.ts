/**
 * Exact packet increments from cumulative counters, in whatever order violations arrive. Pure.
 *
 * A violation covers the packets (base, cumulative], base = cumulative - (count + suppressed). It adds
 * the growth of the hull of all intervals seen: a duplicate adds nothing, and the next violation makes
 * up for a lost one. Only a frame older than all frames seen may extend the hull downwards. Each of
 * two slots of stream time has its own hull, so the result depends on those two slots only.
 */
import { TypedRowPool } from '../windows/typed-row-pool.ts';

/**
 * A frame this far behind the newest that adds no packets is a duplicate. A collector has fewer
 * frames in flight.
 */
const REPLAY_BITS = 64;

/** The violation was seen before. It does not count, not even as an occurrence. */
export const DUPLICATE = -1;

// Layout of a row: number of the current slot + 1 (0 = none yet), current slot, previous slot.
const SLOT = 0;
const CURRENT = 1;
const OLD = 7;
const WIDTH = 13;
// Layout of a slot: hull, lowest frame sequence, highest frame sequence + 1 (0 = empty slot),
// bitmap of the seen frames among the 64 up to the highest.
const LOW = 0;
const HIGH = 1;
const FIRST = 2;
const TOP = 3;
const SEEN0 = 4;
const SEEN1 = 5;

export const counterPool = (): TypedRowPool => new TypedRowPool(WIDTH);

export class EpochCounter {
  readonly #pool: TypedRowPool;
  readonly #row: number;
  readonly #page: Float64Array;
  readonly #at: number;

  /** @param pool from counterPool(); `release` returns the row */
  constructor(pool: TypedRowPool) {
    this.#pool = pool;
    this.#row = pool.allocate();
    this.#page = pool.page(this.#row);
    this.#at = pool.offset(this.#row);
  }

  /** Newest slot with a violation; -1 before the first. */
  get slot(): number {
    return (this.#page[this.#at + SLOT] as number) - 1;
  }
  release(): void {
    this.#pool.free(this.#row);
  }

  /**
   * Packets that this violation adds: 0 if they were counted already, DUPLICATE if it was seen
   * before.
   * @param slot slot of stream time, never lower than in the previous call
   * @param own count + suppressed
   */
  observe(slot: number, cumulative: number, own: number, frameSequence: number): number {
    const page = this.#page;
    if (slot !== (page[this.#at] as number) - 1) this.#rotate(slot);
    const current = this.#at + CURRENT;
    const old = this.#at + OLD;
    const base = own > cumulative ? 0 : cumulative - own;
    const added = growth(page, current, old, base, cumulative, own, frameSequence);
    const duplicate =
      added === 0 && (own === 0 || wasSeen(page, current, frameSequence) || wasSeen(page, old, frameSequence));
    // Duplicates are recorded too: the content of a slot must not depend on the previous slot.
    record(page, current, base, cumulative, frameSequence);
    return duplicate ? DUPLICATE : added;
  }

  #rotate(slot: number): void {
    const page = this.#page;
    const current = this.#at + CURRENT;
    const old = this.#at + OLD;
    const next = slot === page[this.#at];
    for (let i = LOW; i <= SEEN1; i++) {
      page[old + i] = next ? (page[current + i] as number) : 0;
      page[current + i] = 0;
    }
    page[this.#at + SLOT] = slot + 1;
  }
}

function growth(
  page: Float64Array,
  current: number,
  old: number,
  base: number,
  cumulative: number,
  own: number,
  frameSequence: number,
): number {
  const hasCurrent = page[current + TOP] !== 0;
  const hasOld = page[old + TOP] !== 0;
  if (!hasCurrent && !hasOld) return Math.min(cumulative, own);
  const either = (field: number, pick: (a: number, b: number) => number): number => {
    if (!hasOld) return page[current + field] as number;
    if (!hasCurrent) return page[old + field] as number;
    return pick(page[current + field] as number, page[old + field] as number);
  };
  const high = either(HIGH, Math.max);
  if (cumulative > high) return cumulative - high;
  const low = either(LOW, Math.min);
  return frameSequence < either(FIRST, Math.min) && base < low ? low - base : 0;
}

function wasSeen(page: Float64Array, at: number, frameSequence: number): boolean {
  const top = (page[at + TOP] as number) - 1;
  const behind = top - frameSequence;
  if (top < 0 || behind < 0) return false;
  if (behind < 32) return (((page[at + SEEN0] as number) >>> behind) & 1) === 1;
  return behind >= REPLAY_BITS || (((page[at + SEEN1] as number) >>> (behind - 32)) & 1) === 1;
}

function record(page: Float64Array, at: number, base: number, cumulative: number, frameSequence: number): void {
  if (page[at + TOP] === 0) {
    page[at + LOW] = base;
    page[at + HIGH] = cumulative;
    page[at + FIRST] = frameSequence;
    page[at + TOP] = frameSequence + 1;
    page[at + SEEN0] = 1;
    return;
  }
  if (base < (page[at + LOW] as number)) page[at + LOW] = base;
  if (cumulative > (page[at + HIGH] as number)) page[at + HIGH] = cumulative;
  if (frameSequence < (page[at + FIRST] as number)) page[at + FIRST] = frameSequence;
  const ahead = frameSequence - ((page[at + TOP] as number) - 1);
  if (ahead > 0) {
    page[at + TOP] = frameSequence + 1;
    shift(page, at, ahead);
    page[at + SEEN0] = (page[at + SEEN0] as number) | 1;
  } else if (ahead > -32) {
    page[at + SEEN0] = (page[at + SEEN0] as number) | (1 << -ahead);
  } else if (ahead > -REPLAY_BITS) {
    page[at + SEEN1] = (page[at + SEEN1] as number) | (1 << (-ahead - 32));
  }
}

function shift(page: Float64Array, at: number, by: number): void {
  const seen0 = page[at + SEEN0] as number;
  if (by >= 32) {
    page[at + SEEN1] = by >= REPLAY_BITS ? 0 : seen0 << (by - 32);
    page[at + SEEN0] = 0;
  } else {
    page[at + SEEN1] = ((page[at + SEEN1] as number) << by) | (seen0 >>> (32 - by));
    page[at + SEEN0] = seen0 << by;
  }
}
