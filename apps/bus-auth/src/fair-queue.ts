/**
 * Who may ask the API server next. Pure but for what it is given to run.
 *
 * Two lanes: logins by a token that is known to be the API server's go first; all others hold at most half of the slots and half of the room,
 * so however many they are, one that is proven finds a slot. Bounds: `slots` run at once, MAX_WAITING wait in each lane.
 */

/** Logins that wait for a slot, a lane. A fleet of a thousand that comes back at once fits. */
export const MAX_WAITING = 1_024;

interface Lane<T> {
  waiting: T[];
  running: number;
  slots: number;
}

export class Lanes<T> {
  readonly #proven: Lane<T>;
  readonly #others: Lane<T>;
  readonly #run: (one: T) => Promise<void>;

  /** @param slots two at least @param run never rejects */
  constructor(slots: number, run: (one: T) => Promise<void>) {
    this.#proven = { waiting: [], running: 0, slots };
    this.#others = { waiting: [], running: 0, slots: Math.floor(slots / 2) };
    this.#run = run;
  }

  get running(): number {
    return this.#proven.running + this.#others.running;
  }

  get waiting(): number {
    return this.#proven.waiting.length + this.#others.waiting.length;
  }

  /** Runs it now or later. @returns false: there is no room */
  add(one: T, proven: boolean): boolean {
    const lane = proven ? this.#proven : this.#others;
    if (lane.waiting.length >= MAX_WAITING) return false;
    lane.waiting.push(one);
    this.#next();
    return true;
  }

  /** Those that wait no longer. */
  clear(): T[] {
    return [...this.#proven.waiting.splice(0), ...this.#others.waiting.splice(0)];
  }

  #next(): void {
    for (const lane of [this.#proven, this.#others]) {
      while (lane.waiting.length > 0 && lane.running < lane.slots && this.running < this.#proven.slots) {
        const one = lane.waiting.shift() as T;
        lane.running += 1;
        void this.#run(one).finally(() => {
          lane.running -= 1;
          this.#next();
        });
      }
    }
  }
}
