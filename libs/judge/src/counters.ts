/**
 * Exact packets out of cumulative counters. One EpochCounter per counter epoch takes every violation of it, in whatever order the
 * bus has them, and says how many packets it adds to all that came before.
 *
 * A violation covers the packets (base, cumulative], base = cumulative - (count + suppressed). What was seen is the hull of all of
 * them, so a violation adds by how much the hull grows: a duplicate adds nothing, a lost one is made up for by the next, and
 * one that was overtaken adds what lies before the hull. Only a frame older than every one seen may grow the hull downwards: a collector
 * that forgot what it published reports from an old base again, but never under an old frame sequence.
 *
 * Memory is two fixed slots of stream time, each holding the hull of its own violations alone. What a counter says is therefore a function of
 * the stream since the start of the slot before the current one and of nothing earlier, wherever a reader began.
 */

/** Frames this far behind the newest are taken for duplicates when they add no packets: more than a collector has in flight. */
const REPLAY_BITS = 64;

/** Nothing new: do not count it, not even as an occurrence. */
export const DUPLICATE = -1;

export class EpochCounter {
  #slot = -1;
  // The current slot: hull, lowest and highest frame sequence, and which of the 64 sequences below the highest were seen.
  #low = 0;
  #high = 0;
  #first = 0;
  #top = -1;
  #seen0 = 0;
  #seen1 = 0;
  // The slot before it; #oldTop is -1 when it saw nothing.
  #oldLow = 0;
  #oldHigh = 0;
  #oldFirst = 0;
  #oldTop = -1;
  #oldSeen0 = 0;
  #oldSeen1 = 0;

  /** Newest slot in which it was seen. */
  get slot(): number {
    return this.#slot;
  }

  /**
   * Packets that this violation adds, 0 for an occurrence whose packets were counted already, DUPLICATE for one seen before.
   * @param slot number of the slot of stream time, never smaller than at the call before
   * @param own count + suppressed
   */
  observe(slot: number, cumulative: number, own: number, frameSequence: number): number {
    if (slot !== this.#slot) this.#rotate(slot);
    const base = own > cumulative ? 0 : cumulative - own;
    const added = this.#growth(base, cumulative, own, frameSequence);
    const duplicate = added === 0 && (own === 0 || this.#wasSeen(frameSequence));
    // Duplicates are noted too: what a slot holds must not hang on what the slot before it held.
    this.#note(base, cumulative, frameSequence);
    return duplicate ? DUPLICATE : added;
  }

  #growth(base: number, cumulative: number, own: number, frameSequence: number): number {
    const current = this.#top >= 0;
    const old = this.#oldTop >= 0;
    if (!current && !old) return Math.min(cumulative, own);
    const high = !old || (current && this.#high > this.#oldHigh) ? this.#high : this.#oldHigh;
    if (cumulative > high) return cumulative - high;
    const low = !old || (current && this.#low < this.#oldLow) ? this.#low : this.#oldLow;
    const first = !old || (current && this.#first < this.#oldFirst) ? this.#first : this.#oldFirst;
    return frameSequence < first && base < low ? low - base : 0;
  }

  #wasSeen(frameSequence: number): boolean {
    return (
      isMarked(this.#top, this.#seen0, this.#seen1, frameSequence) ||
      isMarked(this.#oldTop, this.#oldSeen0, this.#oldSeen1, frameSequence)
    );
  }

  #note(base: number, cumulative: number, frameSequence: number): void {
    if (this.#top < 0) {
      this.#low = base;
      this.#high = cumulative;
      this.#first = frameSequence;
      this.#top = frameSequence;
      this.#seen0 = 1;
      this.#seen1 = 0;
      return;
    }
    if (base < this.#low) this.#low = base;
    if (cumulative > this.#high) this.#high = cumulative;
    if (frameSequence < this.#first) this.#first = frameSequence;
    const ahead = frameSequence - this.#top;
    if (ahead > 0) {
      this.#top = frameSequence;
      this.#shift(ahead);
      this.#seen0 |= 1;
    } else if (ahead > -32) {
      this.#seen0 |= 1 << -ahead;
    } else if (ahead > -REPLAY_BITS) {
      this.#seen1 |= 1 << (-ahead - 32);
    }
  }

  #shift(by: number): void {
    if (by >= 32) {
      this.#seen1 = by >= REPLAY_BITS ? 0 : this.#seen0 << (by - 32);
      this.#seen0 = 0;
    } else {
      this.#seen1 = (this.#seen1 << by) | (this.#seen0 >>> (32 - by));
      this.#seen0 <<= by;
    }
  }

  #rotate(slot: number): void {
    const next = slot === this.#slot + 1;
    this.#oldTop = next ? this.#top : -1;
    this.#oldLow = this.#low;
    this.#oldHigh = this.#high;
    this.#oldFirst = this.#first;
    this.#oldSeen0 = this.#seen0;
    this.#oldSeen1 = this.#seen1;
    this.#top = -1;
    this.#slot = slot;
  }
}

function isMarked(top: number, seen0: number, seen1: number, frameSequence: number): boolean {
  const behind = top - frameSequence;
  if (top < 0 || behind < 0) return false;
  if (behind < 32) return ((seen0 >>> behind) & 1) === 1;
  return behind >= REPLAY_BITS || ((seen1 >>> (behind - 32)) & 1) === 1;
}
