/**
 * Shares the event loop: a long work asks between its steps whether others are due. A process that also
 * serves requests then responds within about TURN_MS and one step.
 */

/** A turn costs some microseconds; a step is much shorter. */
const TURN_MS = 10;

export class Turns {
  #sinceMs = performance.now();

  /** Resolves when others had their turn; undefined: the work goes on. Cheap enough for each step. */
  due(): Promise<void> | undefined {
    if (performance.now() - this.#sinceMs < TURN_MS) return undefined;
    return new Promise((resolve) => {
      setImmediate(() => {
        this.#sinceMs = performance.now();
        resolve();
      });
    });
  }
}
