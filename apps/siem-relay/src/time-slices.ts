/**
 * Bounds how long readers and outputs work on messages before the event loop serves sockets again.
 *
 * Messages of the bus arrive up to 2 MB at a time, and most of their work needs no socket, so a backlog
 * would keep the loop for 100 ms and more in each round. An output with one event a request needs two
 * rounds an event. All share one slice a round, so their number does not matter.
 */

/** Longer slices do not increase throughput. */
const SLICE_MS = 5;

export class TimeSlices {
  #sinceMs = 0;
  #next: Promise<void> | null = null;

  /** Resolves at once within the slice of this round, otherwise in the next round. */
  turn(): Promise<void> | undefined {
    if (!this.#next && performance.now() - this.#sinceMs < SLICE_MS) return undefined;
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
