/**
 * Tracks up to which message everything is complete when messages complete out of order. Pure. Its
 * size is limited by what the owner has in progress.
 */
export class InOrder<T> {
  readonly #entries: { value: T; left: number }[] = [];

  /**
   * Adds a message with a number of outstanding parts. Returns a function that completes one part.
   */
  add(value: T, parts: number): () => T | null {
    const entry = { value, left: parts };
    this.#entries.push(entry);
    return () => {
      entry.left -= 1;
      return this.advance();
    };
  }

  /** Newest message that is complete together with all before it; null if that has not advanced. */
  advance(): T | null {
    let last: T | null = null;
    while (this.#entries[0]?.left === 0) last = this.#entries.shift()?.value ?? null;
    return last;
  }

  /** The oldest incomplete message. */
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
