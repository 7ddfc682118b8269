/**
 * Detects intervals in which this process did not run: a busy node, a stopped machine. Events that
 * the process reads after a stall are older than they seem: the CNI record of an interface may
 * already be written when its netlink event is read.
 */

/** An interval without running, on the monotonic clock. */
export interface Stall {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Time limits of an interface that netlink announced. Wall clock, milliseconds. */
export interface Announcement {
  /** When the event was read. */
  readonly readAtMs: number;
  /** A CNI record that is older belongs to an earlier interface of the same name. */
  readonly notBeforeMs: number;
}

export const TICK_MS = 250;
/** A tick that is later than this after the previous one ends a stall. */
const LATE_MS = 2 * TICK_MS;
/**
 * More stalls than fit into the looked-back interval, because at least LATE_MS lies between two.
 */
const MAX_STALLS = 16;

/**
 * The moment that lies `runningMs` of running time before `nowMs`: stalls do not count. Pure.
 * @param stalls in the order of time
 */
export function subtractRunning(runningMs: number, nowMs: number, stalls: readonly Stall[]): number {
  let [at, left] = [nowMs, runningMs];
  for (const { fromMs, toMs } of stalls.toReversed()) {
    const ran = Math.max(0, at - toMs);
    if (ran >= left) break;
    left -= ran;
    at = fromMs;
  }
  return at - left;
}

/** Notices a stall both at the next tick and at the first announcement after it. */
export class StallDetector {
  readonly #nowMs: () => number;
  readonly #stalls: Stall[] = [];
  readonly #timer: NodeJS.Timeout;
  #tickAtMs: number;

  /** @param nowMs a monotonic clock */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
    this.#tickAtMs = nowMs();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#timer.unref();
  }

  /**
   * Limits of an event that is read now.
   * @param slackMs running time that a valid CNI record may be older than the event
   */
  announcement(slackMs: number): Announcement {
    this.#tick();
    const [nowMs, readAtMs] = [this.#nowMs(), Date.now()];
    return { readAtMs, notBeforeMs: readAtMs - (nowMs - subtractRunning(slackMs, nowMs, this.#stalls)) };
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const nowMs = this.#nowMs();
    if (nowMs - this.#tickAtMs > LATE_MS) this.#stalls.push({ fromMs: this.#tickAtMs, toMs: nowMs });
    if (this.#stalls.length > MAX_STALLS) this.#stalls.shift();
    this.#tickAtMs = nowMs;
  }
}
