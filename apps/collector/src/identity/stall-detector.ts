/**
 * When this process did not run: a busy node, a stopped machine. What it reads after that has waited, and is older than it seems: an
 * interface that was made meanwhile is read about after its CNI record was written.
 */
export interface HeldUp {
  readonly fromMs: number;
  readonly toMs: number;
}

/** How an interface came to be known: netlink announced it. Wall clock, milliseconds. */
export interface Announcement {
  /** When that was read. */
  readonly readAtMs: number;
  /** A record that is older than this is of an earlier bearer of the name. */
  readonly notBeforeMs: number;
}

/** Between two beats, in milliseconds. */
export const BEAT_MS = 250;
/** A beat that is later than this after the one before: the process was held up. */
const LATE_MS = 2 * BEAT_MS;
/** More than there can be within what is looked back on: of each nothing less than LATE_MS is between two beats. */
const KEPT = 16;

/** The moment that lies `ranMs` of running before another: time in which the process was held up does not count. `heldUp` in order of time. Pure. */
export function backBy(ranMs: number, nowMs: number, heldUp: readonly HeldUp[]): number {
  let [at, left] = [nowMs, ranMs];
  for (const { fromMs, toMs } of heldUp.toReversed()) {
    const ran = Math.max(0, at - toMs);
    if (ran >= left) break;
    left -= ran;
    at = fromMs;
  }
  return at - left;
}

/** Knows of each time in which it was held up, a moment after it runs again as well as in that moment. */
export class RunWatch {
  readonly #nowMs: () => number;
  readonly #heldUp: HeldUp[] = [];
  readonly #timer: NodeJS.Timeout;
  #beatAtMs: number;

  /** @param nowMs a clock that nobody sets */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
    this.#beatAtMs = nowMs();
    this.#timer = setInterval(() => this.#beat(), BEAT_MS);
    this.#timer.unref();
  }

  /** An announcement that is read now, of which a record is not older than `slackMs` of running. */
  announced(slackMs: number): Announcement {
    this.#beat();
    const [nowMs, readAtMs] = [this.#nowMs(), Date.now()];
    return { readAtMs, notBeforeMs: readAtMs - (nowMs - backBy(slackMs, nowMs, this.#heldUp)) };
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #beat(): void {
    const nowMs = this.#nowMs();
    if (nowMs - this.#beatAtMs > LATE_MS) this.#heldUp.push({ fromMs: this.#beatAtMs, toMs: nowMs });
    if (this.#heldUp.length > KEPT) this.#heldUp.shift();
    this.#beatAtMs = nowMs;
  }
}
