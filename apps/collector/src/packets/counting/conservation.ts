/**
 * Conservation of frames: what an interface received = what its programs judged. A difference is the
 * number of frames that passed unjudged, whatever made the kernel skip the programs. Pure.
 *
 * Data path: counters of the link and of the programs → here → violation `unjudged` and node status.
 * The two counters cannot be read at the same time, and frames may wait between them. So `received`
 * and `judged` are read in an order that makes each bound safe:
 *
 * - the difference can only grow, so every later reading that is too high bounds the one at the
 *   attachment (the base);
 * - an excess over the base counts only if two readings in a row have it, less the frames that waited in
 *   the kernel meanwhile. They are counted while the interface is busy: otherwise none waits at two readings.
 *
 * Invariant: never more than were unjudged. What frames hide that wait, or are judged between the two
 * counters, is found in a later pair of readings with fewer of them.
 * Limit: a frame that is judged and not received hides an unjudged one of the same reading. netkit has
 * such frames: behind the guard, other programs redirect or drop them, or the receive queue is full.
 */

/** One reading of the counters, in this order. */
export interface FrameReading {
  /** Frames that the programs had judged before `received` was read, and after. */
  judgedBefore: number;
  received: number;
  /** Frames of all interfaces that waited between `received` and `judgedAfter`. */
  waiting: number;
  judgedAfter: number;
}

/** State of one interface. */
export interface Conservation {
  /** Upper bound of received - judged at the attachment; null: not read yet. */
  base: number | null;
  /** Frames that are known to have passed unjudged since. */
  unjudged: number;
  /** Excess and `received` of the last reading. */
  lastExcess: number;
  lastReceived: number;
}

/** An interface that received more frames than this since the last reading is busy. */
export const BUSY_FRAMES = 1_000;

/** Frames by state of the interface, from the occurrences that are published and stored. */
export const unjudgedOf = (occurrences: Readonly<Record<string, number>>): number =>
  Object.entries(occurrences)
    .filter(([name]) => name.startsWith('unjudged/'))
    .reduce((sum, [, frames]) => sum + frames, 0);

export const newConservation = (base: number | null = null, unjudged = 0): Conservation => ({
  base,
  unjudged,
  lastExcess: 0,
  lastReceived: 0,
});

/** Whether frames may wait at two readings in a row. */
export const isBusy = ({ lastReceived }: Pick<Conservation, 'lastReceived'>, received: number): boolean =>
  received - lastReceived > BUSY_FRAMES;

/** Takes a reading. @returns frames that are known to be unjudged since the last call */
export function conserve(state: Conservation, { judgedBefore, received, waiting, judgedAfter }: FrameReading): number {
  state.base = Math.min(state.base ?? Number.POSITIVE_INFINITY, received - judgedBefore);
  const excess = received - waiting - judgedAfter - state.base;
  const found = Math.max(0, Math.min(excess, state.lastExcess) - state.unjudged);
  state.lastExcess = excess;
  state.lastReceived = received;
  state.unjudged += found;
  return found;
}
