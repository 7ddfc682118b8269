/**
 * Due times of replayed messages, which keep the intervals of the recording. Pure: clock values are
 * parameters.
 */

/** Speed factor; null = without waiting. */
export const SPEEDS = { '1x': 1, '10x': 10, max: null } as const;
export type Speed = keyof typeof SPEEDS;

export class Pace {
  readonly #factor: number | null;
  #first: { recordedMs: number; wallMs: number } | null = null;

  constructor(speed: Speed) {
    this.#factor = SPEEDS[speed];
  }

  /**
   * Milliseconds until a message is due. A late message is due immediately and does not delay later
   * ones.
   */
  waitMs(recordedMs: number, wallMs: number): number {
    if (this.#factor === null) return 0;
    this.#first ??= { recordedMs, wallMs };
    const due = this.#first.wallMs + (recordedMs - this.#first.recordedMs) / this.#factor;
    return Math.max(0, due - wallMs);
  }

  /** Remaining duration of the replay; null without pacing. */
  leftMs(recordedMs: number, lastMs: number): number | null {
    return this.#factor === null ? null : Math.max(0, lastMs - recordedMs) / this.#factor;
  }
}
