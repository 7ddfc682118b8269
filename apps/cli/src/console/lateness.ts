/**
 * How late a reading of a stream is, by the times of the server, because clocks differ. A check is a request
 * to the bus, so messages do not wait for it, and there is one at most every CHECK_MS.
 */
import { BusError, type StreamMessage } from '@bailiff/bus';

/** A reading with so many messages behind it, and so late, at two checks in a row, is too late. */
const MAX_BEHIND = 500;
const MAX_LATE_MS = 300;
export const CHECK_MS = 100;
/** Messages that are read before the newest one after that. */
export const RESUME = 50;

interface End {
  last_seq: number;
  last_ts: string;
}

export class Lateness {
  readonly #end: () => Promise<End>;
  readonly #nowMs: () => number;
  #checksBehind = 0;
  #checkedMs = Number.NEGATIVE_INFINITY;
  #isChecking = false;
  #read = { sequence: 0, timestampMicros: 0 };
  /** From where a reading that is too late goes on; null: it is not. */
  resumeAt: number | null = null;

  /** @param end of the stream @param nowMs a monotonic clock */
  constructor(end: () => Promise<End>, nowMs = () => performance.now()) {
    this.#end = end;
    this.#nowMs = nowMs;
  }

  reset(): void {
    this.#checksBehind = 0;
    this.resumeAt = null;
  }

  /** Called for each message. */
  isTooLate(message: Pick<StreamMessage, 'sequence' | 'timestampMicros'>): boolean {
    this.#read = message;
    if (!this.#isChecking && this.#nowMs() - this.#checkedMs >= CHECK_MS) void this.#check();
    return this.resumeAt !== null;
  }

  async #check(): Promise<void> {
    this.#isChecking = true;
    try {
      const { last_seq: last, last_ts: lastAt } = await this.#end();
      const { sequence, timestampMicros } = this.#read;
      const isLate = Date.parse(lastAt) - timestampMicros / 1000 > MAX_LATE_MS;
      this.#checksBehind = isLate && last - sequence > MAX_BEHIND ? this.#checksBehind + 1 : 0;
      if (this.#checksBehind >= 2) this.resumeAt = last - RESUME + 1;
    } catch (error) {
      // The reading itself reports a bus that does not respond.
      if (!(error instanceof BusError)) throw error;
    } finally {
      this.#checkedMs = this.#nowMs();
      this.#isChecking = false;
    }
  }
}
