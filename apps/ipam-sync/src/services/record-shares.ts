/**
 * Bounds the memory of Services and EndpointSlices: tenants choose their number and size. Entries are
 * addresses and ports; a namespace gets further ones only while more are free than it has. An object
 * beyond that is ignored as if it had no UDP port, and read again when there is room. Pure.
 */
import { FairCounts } from '@bailiff/service';

/** Measured: up to 140 bytes each, so 37 MB in all. Some 20,000 Services with one address and port. */
export const MAX_ENTRIES = 262_144;
/** Characters of text that take as much as an entry. */
export const CHARACTERS_PER_ENTRY = 128;
/** What an object takes without its entries. */
const ENTRIES_PER_OBJECT = 5;
/** Refused objects that are counted. */
const MAX_REFUSED = 4_096;

interface Held {
  namespace: string;
  entries: number;
}

export class RecordShares {
  readonly #counts: FairCounts;
  readonly #held = new Map<string, Held>();
  readonly #refused = new Set<string>();
  #isFreed = false;

  /** @param most for tests */
  constructor(most = MAX_ENTRIES) {
    this.#counts = new FairCounts(most);
  }

  /** Refused objects, at most MAX_REFUSED; those that are gone too, until `takeRoom`. */
  get refused(): number {
    return this.#refused.size;
  }

  /** Whether an object with so many addresses and ports fits, instead of what it had before. */
  put(uid: string, namespace: string, addressesAndPorts: number): boolean {
    const entries = addressesAndPorts + ENTRIES_PER_OBJECT;
    const before = this.#held.get(uid);
    if (before) this.#counts.remove(before.namespace, before.entries);
    this.#held.delete(uid);
    this.#isFreed ||= (before?.entries ?? 0) > entries;
    if (this.#counts.roomFor(namespace) < entries) {
      if (this.#refused.size < MAX_REFUSED) this.#refused.add(uid);
      return false;
    }
    this.#counts.add(namespace, entries);
    this.#held.set(uid, { namespace, entries });
    this.#refused.delete(uid);
    return true;
  }

  /** An object is gone, or `put` refused it. */
  remove(uid: string): void {
    const held = this.#held.get(uid);
    if (!held) return;
    this.#counts.remove(held.namespace, held.entries);
    this.#held.delete(uid);
    this.#isFreed = true;
  }

  /** Whether refused objects may fit now. Each removal is reported once; forgets the refused ones. */
  takeRoom(): boolean {
    if (!this.#isFreed || this.#refused.size === 0) return false;
    this.#isFreed = false;
    this.#refused.clear();
    return true;
  }
}
