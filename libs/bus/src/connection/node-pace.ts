/**
 * How fast a node may use the bus, and how a collector stays below it. bus-auth ends the connections of
 * a user beyond these rates, and refuses its logins for a minute
 * (apps/bus-auth/src/connection-shares.ts).
 */

/**
 * Messages of a user of a node in a second. A client that waits for nothing sends more than 10,000. From
 * nats-server 2.11 on, a publish may have a condition that costs up to 0.3 ms in a stream of 4,000 subjects.
 * With 2,000 messages a second, two stolen nodes left others no store.
 */
export const NODE_MESSAGES_PER_SECOND = 500;
/** Bytes to it in a second. */
export const NODE_BYTES_PER_SECOND = 40 * 1024 ** 2;
/**
 * Bytes of it in a second. nats-server reads messages faster than it stores them, and before 2.11 what
 * waits is limited by its memory alone. A collector that flushes a backlog sends 12 MiB at once.
 */
export const NODE_SENT_BYTES_PER_SECOND = 16 * 1024 ** 2;
/** Time over which bus-auth judges the rates; in a shorter one, a node may not send more either. */
export const NODE_INTERVAL_MS = 800;

/** Frames of a collector, and their bytes, also if `publishBytesPerSecond` allows more. */
export const FRAMES_PER_SECOND = 250;
export const FRAME_BYTES_PER_SECOND = 10 * 1024 ** 2;
/** Reads of keys, by all readers of a connection together (`paceOfReads`). */
export const READS_PER_SECOND = 150;
/** A value of so many bytes counts as one more read: 30 MiB in a second. */
export const BYTES_PER_READ = 200 * 1024;

/** At once, in seconds of a rate. */
const BURST_S = 0.1;

/** A rate of operations. */
export class Pace {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #nowMs: () => number;
  #left: number;
  #atMs: number;

  constructor(perSecond: number, nowMs: () => number) {
    this.#perMs = perSecond / 1_000;
    this.#burst = perSecond * BURST_S;
    this.#nowMs = nowMs;
    this.#left = this.#burst;
    this.#atMs = nowMs();
  }

  /** Until the next operation; 0: it may begin. */
  get waitMs(): number {
    const nowMs = this.#nowMs();
    this.#left = Math.min(this.#burst, this.#left + (nowMs - this.#atMs) * this.#perMs);
    this.#atMs = nowMs;
    return this.#left >= 0 ? 0 : Math.ceil(-this.#left / this.#perMs);
  }

  /** Counts operations that began, or whose cost is known afterwards. */
  take(count = 1): void {
    this.#left -= count;
  }
}

const paces = new WeakMap<object, Pace>();

/** Pace of the reads over a connection: bus-auth judges all readers of a collector as one user. */
export function paceOfReads(connection: object): Pace {
  const pace = paces.get(connection) ?? new Pace(READS_PER_SECOND, () => performance.now());
  paces.set(connection, pace);
  return pace;
}
