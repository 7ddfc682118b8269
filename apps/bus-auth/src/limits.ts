/**
 * What protects the API server and us from those who ask too often. Pure but for the clock that is passed in.
 *
 * A budget refills evenly and holds a burst. The table of addresses is bounded: beyond MAX_ADDRESSES the one that was quiet longest is
 * forgotten, and begins with a full budget again.
 */
export class Budget {
  readonly #perMs: number;
  readonly #burst: number;
  #left: number;
  #atMs: number;

  constructor(perSecond: number, burst: number, nowMs: number) {
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
    this.#left = burst;
    this.#atMs = nowMs;
  }

  /** Whether there is one to take. */
  has(nowMs: number): boolean {
    this.#left = Math.min(this.#burst, this.#left + (nowMs - this.#atMs) * this.#perMs);
    this.#atMs = nowMs;
    return this.#left >= 1;
  }

  take(nowMs: number): boolean {
    if (!this.has(nowMs)) return false;
    this.#left -= 1;
    return true;
  }
}

export const MAX_ADDRESSES = 4_096;

/** Failures by address. */
export class Failures {
  readonly #perMinute: number;
  readonly #budgets = new Map<string, Budget>();

  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  get size(): number {
    return this.#budgets.size;
  }

  /** Whether an address has failed too often of late. */
  isOver(address: string, nowMs: number): boolean {
    return this.#budgets.get(address)?.has(nowMs) === false;
  }

  count(address: string, nowMs: number): void {
    const budget = this.#budgets.get(address) ?? new Budget(this.#perMinute / 60, this.#perMinute, nowMs);
    budget.take(nowMs);
    this.#budgets.delete(address);
    if (this.#budgets.size >= MAX_ADDRESSES) this.#budgets.delete(this.#budgets.keys().next().value as string);
    this.#budgets.set(address, budget);
  }
}
