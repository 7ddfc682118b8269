/**
 * Counts the entries of a bounded store by owner (a namespace, a node). An owner gets a further entry
 * only while more are free than it has: one owner gets half of them, the next one half of the rest. So no
 * owner alone fills the store. Pure.
 */
export class FairCounts {
  /** Entries of all owners, at most. */
  readonly most: number;
  readonly #byOwner = new Map<string, number>();
  #size = 0;

  constructor(most: number) {
    this.most = most;
  }

  /** Entries of all owners. */
  get size(): number {
    return this.#size;
  }

  /** Entries of one owner. */
  of(owner: string): number {
    return this.#byOwner.get(owner) ?? 0;
  }

  /** Whether the owner may have a further entry. */
  hasRoom(owner: string): boolean {
    return this.roomFor(owner) > 0;
  }

  /** Entries that the owner may add now. @param promised entries that others are about to add */
  roomFor(owner: string, promised = 0): number {
    const free = this.most - this.#size - promised;
    return Math.max(0, Math.ceil((free - this.of(owner)) / 2));
  }

  add(owner: string, entries = 1): void {
    this.#byOwner.set(owner, this.of(owner) + entries);
    this.#size += entries;
  }

  remove(owner: string, entries = 1): void {
    const left = this.of(owner) - entries;
    if (left > 0) this.#byOwner.set(owner, left);
    else this.#byOwner.delete(owner);
    this.#size -= entries;
  }

  /** The owner with most entries; null: there are none. */
  largest(): string | null {
    let largest: string | null = null;
    for (const owner of this.#byOwner.keys())
      if (largest === null || this.of(owner) > this.of(largest)) largest = owner;
    return largest;
  }

  clear(): void {
    this.#byOwner.clear();
    this.#size = 0;
  }
}
