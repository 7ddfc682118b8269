/**
 * Fair queue of logins for TokenReviews, in two classes. Performs no I/O of its own.
 *
 * Logins with a proven token run first. All others get at most half of the slots and half of the
 * room, so that they cannot block a proven login. Limits: `slots` run at once, MAX_WAITING wait in
 * each class, and each pod has at most MAX_PER_POD that run or wait.
 */

/** Waiting logins per class: two replicas have room for 1,000 nodes with two logins each. */
export const MAX_WAITING = 1_024;
/** A collector has two connections, and may restart while its former logins wait. */
export const MAX_PER_POD = 4;

interface Entry<T> {
  one: T;
  pod: string;
}

interface LoginClass<T> {
  waiting: Entry<T>[];
  running: number;
  slots: number;
}

export class FairQueue<T> {
  readonly #proven: LoginClass<T>;
  readonly #others: LoginClass<T>;
  readonly #run: (one: T) => Promise<void>;
  /** Entries that run or wait, by pod. */
  readonly #byPod = new Map<string, number>();

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

  /**
   * Runs an entry now or later. @param pod of a proven login; null: unproven, its pod is not known
   * @returns false if there is no room
   */
  add(one: T, pod: string | null): boolean {
    const group = pod === null ? this.#others : this.#proven;
    const own = pod === null ? 0 : (this.#byPod.get(pod) ?? 0);
    if (group.waiting.length >= MAX_WAITING || own >= MAX_PER_POD) return false;
    if (pod !== null) this.#byPod.set(pod, own + 1);
    group.waiting.push({ one, pod: pod ?? '' });
    this.#next();
    return true;
  }

  /** Removes and returns the waiting entries. */
  clear(): T[] {
    const waiting = [...this.#proven.waiting.splice(0), ...this.#others.waiting.splice(0)];
    for (const { pod } of waiting) this.#ended(pod);
    return waiting.map(({ one }) => one);
  }

  #ended(pod: string): void {
    const left = (this.#byPod.get(pod) ?? 0) - 1;
    if (left > 0) this.#byPod.set(pod, left);
    else this.#byPod.delete(pod);
  }

  #next(): void {
    for (const group of [this.#proven, this.#others]) {
      while (group.waiting.length > 0 && group.running < group.slots && this.running < this.#proven.slots) {
        const { one, pod } = group.waiting.shift() as Entry<T>;
        group.running += 1;
        void this.#run(one).finally(() => {
          group.running -= 1;
          this.#ended(pod);
          this.#next();
        });
      }
    }
  }
}
