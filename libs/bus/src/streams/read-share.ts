/**
 * Which part of its limits a reader requests at once: as much as the line transfers in about a second.
 *
 * nats-server ends a connection to which it cannot send within WRITE_DEADLINE_S, also while it reads as
 * fast as its line allows. Begins with 1/16 and doubles while requests are fast.
 */

/** Reads that take less are repeated with twice as much. */
const FAST_MS = 500;
/** Reads that take longer, with half as much, down to FIRST: a busy server is slow too. */
const SLOW_MS = 1_000;
const FIRST = 1 / 16;
/** After failures. */
const LEAST = 1 / 256;

export class ReadShare {
  #share = FIRST;

  /** The part of a limit, at least 1. */
  readonly of = (limit: number): number => Math.max(1, Math.floor(limit * this.#share));

  /** A read failed: the connection may have ended because it was slow. */
  reduce(): void {
    this.#share = Math.max(LEAST, this.#share / 2);
  }

  /** Performs a read, and changes the share by its duration. */
  async measure<T>(read: () => Promise<T>): Promise<T> {
    const began = performance.now();
    const result = await read();
    const tookMs = performance.now() - began;
    if (tookMs > SLOW_MS) this.#share = Math.max(Math.min(FIRST, this.#share), this.#share / 2);
    else if (tookMs < FAST_MS) this.#share = Math.min(1, this.#share * 2);
    return result;
  }
}
