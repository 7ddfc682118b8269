/**
 * Fair queue of logins for TokenReviews, in two classes. Performs no I/O of its own.
 *
 * Logins with a proven token run first. All others get at most half of the slots and half of the
 * room, so that they cannot block a proven login. Limits: `slots` run at once, MAX_WAITING wait in
 * each class.
 */

/** Waiting logins per class: two replicas have room for 1,000 nodes with two logins each. */
export const MAX_WAITING = 1_024;

interface LoginClass<T> {
  waiting: T[];
  running: number;
  slots: number;
}

export class FairQueue<T> {
  readonly #proven: LoginClass<T>;
  readonly #others: LoginClass<T>;
  readonly #run: (one: T) => Promise<void>;

  /**
   * @param slots at least two
   * @param run never rejects
   */
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

  /** Runs an entry now or later. @returns false if there is no room */
  add(one: T, proven: boolean): boolean {
    const group = proven ? this.#proven : this.#others;
    if (group.waiting.length >= MAX_WAITING) return false;
    group.waiting.push(one);
    this.#next();
    return true;
  }

  /** Removes and returns the waiting entries. */
  clear(): T[] {
    return [...this.#proven.waiting.splice(0), ...this.#others.waiting.splice(0)];
  }

  #next(): void {
    for (const group of [this.#proven, this.#others]) {
      while (group.waiting.length > 0 && group.running < group.slots && this.running < this.#proven.slots) {
        const one = group.waiting.shift() as T;
        group.running += 1;
        void this.#run(one).finally(() => {
          group.running -= 1;
          this.#next();
        });
      }
    }
  }
}
