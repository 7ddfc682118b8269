/**
 * At most so many verdicts a minute, so that a wrong rule or a broad attack cannot set off more answers than anybody can take back. Minutes
 * are those of stream time, so that a replay caps what was capped live. Half of the room is kept for high and critical ones.
 * What is capped is not lost while it goes on: the group is not silenced, so its next violation crosses the threshold again.
 */
import type { Level } from '@bailiff/schemas';

/** Verdicts a minute unless the caller says otherwise. */
export const DEFAULT_VERDICTS_PER_MINUTE = 600;

const MINUTE_MICROS = 60_000_000;

export class VerdictCap {
  readonly #perMinute: number;
  #minute = -1;
  #given = 0;
  /** Verdicts that were held back. */
  suppressed = 0;

  constructor(perMinute: number = DEFAULT_VERDICTS_PER_MINUTE) {
    this.#perMinute = perMinute;
  }

  /** Whether one more verdict may be given. @param nowMicros stream time, never falling */
  allow(nowMicros: number, level: Level): boolean {
    const minute = Math.floor(nowMicros / MINUTE_MICROS);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#given = 0;
    }
    const urgent = level === 'high' || level === 'critical';
    if (this.#given >= (urgent ? this.#perMinute : Math.ceil(this.#perMinute / 2))) {
      this.suppressed++;
      return false;
    }
    this.#given++;
    return true;
  }
}
