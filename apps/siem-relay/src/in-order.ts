/**
 * Up to which message everything is done, when things are done out of order. Pure.
 *
 * Bounds: as many entries as its owner lets be under way.
 */
export class InOrder<T> {
  readonly #entries: { value: T; left: number }[] = [];

  /** Adds one, of which so many parts are still to be done. */
  add(value: T, parts: number): () => T | null {
    const entry = { value, left: parts };
    this.#entries.push(entry);
    return () => {
      entry.left -= 1;
      return this.advance();
    };
  }

  /** The newest whose parts are all done and before which nothing is left; null when it is none that was not told before. */
  advance(): T | null {
    let last: T | null = null;
    while (this.#entries[0]?.left === 0) last = this.#entries.shift()?.value ?? null;
    return last;
  }

  /** The oldest that is not done. */
  get oldest(): T | null {
    return this.#entries[0]?.value ?? null;
  }
  get size(): number {
    return this.#entries.length;
  }
  clear(): void {
    this.#entries.length = 0;
  }
}
