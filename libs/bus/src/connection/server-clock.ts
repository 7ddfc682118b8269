/**
 * Lower bound of the servers' time: the newest time that a server has stamped, plus the time that
 * has passed here since. Readers of streams update it, so that no request is needed for the time.
 */

/** Clocks of two machines differ in speed by less than this; NTP corrects by at most half of it. */
const MAX_DRIFT = 0.001;

export class ServerClock {
  #micros = 0;
  #atMs = 0;

  /** 0 before the first stamp. @param nowMs of a monotonic clock */
  nowMicros(nowMs = performance.now()): number {
    return this.#micros === 0 ? 0 : this.#micros + Math.floor((nowMs - this.#atMs) * 1000 * (1 - MAX_DRIFT));
  }

  /** A server stamped a message at that time, at some point before now. */
  observe(micros: number, nowMs = performance.now()): void {
    if (micros > this.nowMicros(nowMs)) this.set(micros, nowMs);
  }

  /** A server stamped a response at that time. Also corrects a clock that has been set back. */
  set(micros: number, nowMs = performance.now()): void {
    this.#micros = micros;
    this.#atMs = nowMs;
  }
}

/** Microseconds of an RFC 3339 time with up to nine decimals; NaN if it is invalid. */
export function microsOf(time: string): number {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(time);
  if (!match) return Number.NaN;
  const seconds = Date.parse(`${match[1]}${match[3]}`) / 1000;
  return seconds * 1_000_000 + Number((match[2] ?? '').padEnd(6, '0').slice(0, 6));
}
