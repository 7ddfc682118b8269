/**
 * Shares the event loop: a long work asks between its steps whether others are due. A process that also
 * serves requests then responds within about TURN_MS and one step. Several works with one Turns share one turn
 * in each round of the loop, so their number does not matter.
 */

/** A turn costs some microseconds; a step is much shorter. */
const TURN_MS = 10;

export class Turns {
  readonly #turnMs: number;
  #sinceMs = performance.now();
  #next: Promise<void> | null = null;

  constructor(turnMs = TURN_MS) {
    this.#turnMs = turnMs;
  }

  /** Resolves when others had their turn; undefined: the work goes on. Cheap enough for each step. */
  due(): Promise<void> | undefined {
    if (!this.#next && performance.now() - this.#sinceMs < this.#turnMs) return undefined;
    this.#next ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#next = null;
        this.#sinceMs = performance.now();
        resolve();
      });
    });
    return this.#next;
  }
}
