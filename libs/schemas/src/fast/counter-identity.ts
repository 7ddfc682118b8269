/**
 * Cache of counter identities by their bytes. The violations of one counter repeat vector, action,
 * state, counter epoch and pod, more than half of their bytes. Equal bytes give the same object, and
 * no string is created. The engine caches counter state and attribution by identity.
 *
 * fast-frame-reader.ts calls it for every violation. Invariant: an identity equals its bytes; the hash
 * only finds them. Bounds: MAX_IDENTITIES, MAX_PAGES; a full cache is cleared. A longer identity than
 * MAX_BYTES is not cached.
 */
import type { CounterFields, CounterIdentity, ProjectedPod } from './projected-types.ts';

/** Limit of cached identities. With more active counters, the cache is cleared now and then. */
const MAX_IDENTITIES = 65_536;
/** Table slots per hash. A sender that chooses colliding bytes cannot make a lookup longer. */
const PROBES = 8;
/** About 4,000 identities. */
const PAGE_BYTES = 1 << 20;
const MAX_PAGES = 16;
/** Typical identities have 250 bytes. */
const MAX_BYTES = 2_048;
const WORD = 4;

class Identity implements CounterIdentity {
  readonly kind: CounterFields['kind'];
  readonly vector: string;
  readonly action: CounterFields['action'];
  readonly state: CounterFields['state'];
  readonly counterEpoch: string;
  readonly pod: ProjectedPod | null;
  readonly number: number;

  constructor({ kind, vector, action, state, counterEpoch }: CounterFields, pod: ProjectedPod | null, number: number) {
    this.kind = kind;
    this.vector = vector;
    this.action = action;
    this.state = state;
    this.counterEpoch = counterEpoch;
    this.pod = pod;
    this.number = number;
  }
}

interface Kept {
  readonly identity: CounterIdentity;
  readonly hash: number;
  readonly page: DataView;
  readonly at: number;
  readonly counterBytes: number;
  readonly podBytes: number;
}

export class CounterIdentities {
  readonly #most: number;
  /** By hash: number of an identity + 1; 0 = none. Half of the slots stay empty. */
  readonly #table: Int32Array;
  readonly #mask: number;
  readonly #kept: Kept[] = [];
  readonly #pages: DataView[] = [];
  #page = 0;
  #end = 0;
  /** Number of the identity of the last hit. */
  #last = -1;

  /** @param most identities before the cache is cleared */
  constructor(most: number = MAX_IDENTITIES) {
    this.#most = most;
    this.#table = new Int32Array(2 ** Math.ceil(Math.log2(2 * most)));
    this.#mask = this.#table.length - 1;
  }

  /**
   * The identity of these bytes; null if it is not cached.
   * @param counterAt start of the counter's fields; `podAt`: start of the pod
   */
  find(
    message: DataView,
    counterAt: number,
    counterBytes: number,
    podAt: number,
    podBytes: number,
  ): CounterIdentity | null {
    const hash = hashOf(message, counterAt, counterBytes);
    // A node reports its counters in a stable order, so the next identity is checked first.
    let number = this.#last + 1;
    for (let probe = -1; probe < PROBES; probe += 1) {
      if (probe >= 0) number = (this.#table[(hash + probe) & this.#mask] as number) - 1;
      if (number < 0) return null;
      if (number === this.#kept.length) continue;
      const { identity, hash: keptHash, page, at, counterBytes: first, podBytes: second } = this.#kept[number] as Kept;
      if (
        keptHash === hash &&
        first === counterBytes &&
        second === podBytes &&
        areEqual(message, counterAt, page, at, counterBytes) &&
        areEqual(message, podAt, page, at + counterBytes, podBytes)
      ) {
        this.#last = number;
        return identity;
      }
    }
    return null;
  }

  /** Adds the identity of bytes that `find` did not know. */
  add(
    message: DataView,
    counterAt: number,
    counterBytes: number,
    podAt: number,
    podBytes: number,
    counter: CounterFields,
    pod: ProjectedPod | null,
  ): CounterIdentity {
    const bytes = counterBytes + podBytes;
    if (bytes > MAX_BYTES) return new Identity(counter, pod, -1);
    const page = this.#room(bytes);
    const at = this.#end;
    copy(message, counterAt, page, at, counterBytes);
    copy(message, podAt, page, at + counterBytes, podBytes);
    this.#end += bytes;
    const hash = hashOf(message, counterAt, counterBytes);
    const identity = new Identity(counter, pod, this.#kept.length);
    this.#kept.push({ identity, hash, page, at, counterBytes, podBytes });
    this.#table[this.#slotFor(hash)] = identity.number + 1;
    return identity;
  }

  /** A free slot, or the first one: its identity is no longer found. */
  #slotFor(hash: number): number {
    for (let probe = 0; probe < PROBES; probe += 1) {
      const place = (hash + probe) & this.#mask;
      if (this.#table[place] === 0) return place;
    }
    return hash & this.#mask;
  }

  /** The page with room for the bytes at `#end`. */
  #room(bytes: number): DataView {
    if (this.#end + bytes > PAGE_BYTES) {
      this.#page += 1;
      this.#end = 0;
    }
    if (this.#page === MAX_PAGES || this.#kept.length === this.#most) {
      this.#kept.length = 0;
      this.#table.fill(0);
      this.#last = -1;
      this.#page = 0;
      this.#end = 0;
    }
    const page = this.#pages[this.#page] ?? new DataView(new ArrayBuffer(PAGE_BYTES));
    this.#pages[this.#page] = page;
    return page;
  }
}

function hashOf(bytes: DataView, at: number, length: number): number {
  let hash = length;
  const end = at + length;
  for (; at + WORD <= end; at += WORD) hash = Math.imul(hash ^ bytes.getUint32(at, true), 0x9e3779b1) ^ (hash >>> 15);
  for (; at < end; at += 1) hash = Math.imul(hash ^ bytes.getUint8(at), 0x9e3779b1);
  return hash;
}

function areEqual(a: DataView, atA: number, b: DataView, atB: number, length: number): boolean {
  const end = atA + length;
  for (; atA + WORD <= end; atA += WORD, atB += WORD) if (a.getUint32(atA) !== b.getUint32(atB)) return false;
  for (; atA < end; atA += 1, atB += 1) if (a.getUint8(atA) !== b.getUint8(atB)) return false;
  return true;
}

function copy(from: DataView, atFrom: number, to: DataView, atTo: number, length: number): void {
  for (let i = 0; i < length; i += 1) to.setUint8(atTo + i, from.getUint8(atFrom + i));
}
