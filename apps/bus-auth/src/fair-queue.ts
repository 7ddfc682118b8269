/**
 * Fair queue of logins for TokenReviews, in two classes. Performs no I/O of its own.
 *
 * Logins with a proven token run first. All others get at most half of the slots and half of the
 * room, so that they cannot block a proven login. Limits: `slots` run at once, MAX_WAITING wait in
 * each class, and each pod has at most MAX_PER_POD that run or wait, each address without a proven
 * token at most MAX_PER_ADDRESS.
 */

/** Waiting logins per class: two replicas have room for 1,000 nodes with two logins each. */
export const MAX_WAITING = 1_024;
/** A collector has two connections, and may restart while its former logins wait. */
export const MAX_PER_POD = 4;
/** Host-network pods of a node and clients behind a translation share an address. */
export const MAX_PER_ADDRESS = 16;

interface Entry<T> {
  one: T;
  source: string;
}

interface LoginClass<T> {
  waiting: Entry<T>[];
  running: number;
  slots: number;
  maxPerSource: number;
  /** Entries that run or wait. */
  bySource: Map<string, number>;
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
    const ofClass = (most: number, maxPerSource: number): LoginClass<T> => {
      return { waiting: [], running: 0, slots: most, maxPerSource, bySource: new Map() };
    };
    this.#proven = ofClass(slots, MAX_PER_POD);
    this.#others = ofClass(Math.floor(slots / 2), MAX_PER_ADDRESS);
    this.#run = run;
  }

  get running(): number {
    return this.#proven.running + this.#others.running;
  }

  get waiting(): number {
    return this.#proven.waiting.length + this.#others.waiting.length;
  }

  /**
   * Runs an entry now or later. @param source the pod of a proven login, the address of another one
   * @returns false if there is no room
   */
  add(one: T, source: string, isProven: boolean): boolean {
    const group = isProven ? this.#proven : this.#others;
    const own = group.bySource.get(source) ?? 0;
    if (group.waiting.length >= MAX_WAITING || own >= group.maxPerSource) return false;
    group.bySource.set(source, own + 1);
    group.waiting.push({ one, source });
    this.#next();
    return true;
  }

  /** Removes and returns the waiting entries. */
  clear(): T[] {
    return [this.#proven, this.#others].flatMap((group) => {
      const waiting = group.waiting.splice(0);
      for (const { source } of waiting) this.#ended(group, source);
      return waiting.map(({ one }) => one);
    });
  }

  #ended({ bySource }: LoginClass<T>, source: string): void {
    const left = (bySource.get(source) ?? 0) - 1;
    if (left > 0) bySource.set(source, left);
    else bySource.delete(source);
  }

  #next(): void {
    for (const group of [this.#proven, this.#others]) {
      while (group.waiting.length > 0 && group.running < group.slots && this.running < this.#proven.slots) {
        const { one, source } = group.waiting.shift() as Entry<T>;
        group.running += 1;
        void this.#run(one).finally(() => {
          group.running -= 1;
          this.#ended(group, source);
          this.#next();
        });
      }
    }
  }
}
