/** When a recorded message is due, so that a replay keeps the distances of the recording. Pure but for what it is told. */

/** How much faster than it was; null = as fast as it goes. */
export const SPEEDS = { '1x': 1, '10x': 10, max: null } as const;
export type Speed = keyof typeof SPEEDS;

export class Pace {
  readonly #factor: number | null;
  #first: { recordedMs: number; wallMs: number } | null = null;

  constructor(speed: Speed) {
    this.#factor = SPEEDS[speed];
  }

  /** Milliseconds to wait until the message is due; one that is late is due at once and those after it keep their own times. */
  waitMs(recordedMs: number, wallMs: number): number {
    if (this.#factor === null) return 0;
    this.#first ??= { recordedMs, wallMs };
    const due = this.#first.wallMs + (recordedMs - this.#first.recordedMs) / this.#factor;
    return Math.max(0, due - wallMs);
  }

  /** How long the rest of the recording takes from here; null when it goes as fast as it can. */
  leftMs(recordedMs: number, lastMs: number): number | null {
    return this.#factor === null ? null : Math.max(0, lastMs - recordedMs) / this.#factor;
  }
}
