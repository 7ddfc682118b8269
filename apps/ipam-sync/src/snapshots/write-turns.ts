/**
 * Which snapshot is written next. Pure. A mark says that the plan of a key may have changed, and which
 * tenant changed it: the namespace of the pod. Planning and encoding the snapshot of a full node takes
 * tens of milliseconds, and a tenant can change labels of its pods on many nodes all the time.
 *
 * So the tenant with the least recent time of writing is first, and waits for one snapshot at most. If
 * one tenant has used a key for more than FREE_MS, its next write of the key waits, up to MAX_PAUSE_MS:
 * it uses about a tenth of this process, and of the collector that reads the snapshot. A write contains
 * the changes of all tenants. A key is written once at a time. Bound: the keys, for each tenant with a
 * mark.
 */

/** Tenant of changes that no namespace causes: nodes, settings, other writers of the bucket. */
export const NO_TENANT = '';
/**
 * Time that a tenant may use a key without a pause: a pod that starts causes two or three writes, also
 * on a node that others have filled.
 */
export const FREE_MS = 1_000;
/** Limit of one pause. */
export const MAX_PAUSE_MS = 500;
/** Of the time that a tenant has used, half is forgotten after this. */
export const HALF_LIFE_MS = 10_000;
/** Less than this is forgotten. */
const NOTHING_MS = 1;

/** A key whose turn it is. Pass it to `end`, or to `again` to try it later. */
export interface Turn {
  readonly key: string;
  /** Time of the first mark by tenant. */
  readonly marks: ReadonlyMap<string, number>;
}

export class WriteTurns {
  readonly #coalesceMs: number;
  readonly #nowMs: () => number;
  readonly #marks = new Map<string, Map<string, number>>();
  /** Keys of each tenant, in the order of their marks. */
  readonly #keys = new Map<string, Set<string>>();
  readonly #open = new Set<string>();
  /** Time that tenants used, and used for each key. */
  readonly #used = new Map<string, number>();
  readonly #usedOf = new Map<string, { usedMs: number; pausedUntilMs: number }>();
  #halvedMs: number;

  /** @param coalesceMs a mark waits this long for others */
  constructor(coalesceMs: number, nowMs: () => number) {
    this.#coalesceMs = coalesceMs;
    this.#nowMs = nowMs;
    this.#halvedMs = nowMs();
  }

  /** Marked keys. */
  get size(): number {
    return this.#marks.size;
  }

  /** Keys that are being written. */
  get open(): number {
    return this.#open.size;
  }

  mark(key: string, tenant: string): void {
    this.#mark(key, tenant, this.#nowMs());
  }

  #mark(key: string, tenant: string, sinceMs: number): void {
    const marks = this.#marks.get(key) ?? new Map<string, number>();
    this.#marks.set(key, marks.set(tenant, Math.min(sinceMs, marks.get(tenant) ?? sinceMs)));
    const keys = this.#keys.get(tenant) ?? new Set<string>();
    this.#keys.set(tenant, keys.add(key));
  }

  /** Starts the turn of a key that is due; null: none is. */
  next(): Turn | null {
    this.#forget();
    let first: { key: string; used: number } | null = null;
    for (const tenant of this.#keys.keys()) {
      const used = this.#used.get(tenant) ?? 0;
      if (first && used >= first.used) continue;
      const key = this.#firstDue(tenant);
      if (key !== null) first = { key, used };
    }
    if (!first) return null;
    const { key } = first;
    const marks = this.#marks.get(key) ?? new Map<string, number>();
    this.#unmark(key, marks);
    this.#open.add(key);
    return { key, marks };
  }

  #firstDue(tenant: string): string | null {
    for (const key of this.#keys.get(tenant) ?? []) if (this.#dueInMs(key, tenant) <= 0) return key;
    return null;
  }

  #dueInMs(key: string, tenant: string): number {
    if (this.#open.has(key)) return Number.POSITIVE_INFINITY;
    const dueMs = (this.#marks.get(key)?.get(tenant) ?? 0) + this.#coalesceMs;
    return Math.max(dueMs, this.#usedOf.get(pairOf(key, tenant))?.pausedUntilMs ?? 0) - this.#nowMs();
  }

  #unmark(key: string, marks: ReadonlyMap<string, number>): void {
    this.#marks.delete(key);
    for (const tenant of marks.keys()) {
      const keys = this.#keys.get(tenant);
      keys?.delete(key);
      if (keys?.size === 0) this.#keys.delete(tenant);
    }
  }

  /** Time until a key is due; Infinity if none is marked, or only keys that are being written. */
  get dueInMs(): number {
    let first = Number.POSITIVE_INFINITY;
    for (const [tenant, keys] of this.#keys)
      for (const key of keys) first = Math.min(first, this.#dueInMs(key, tenant));
    return Math.max(0, first);
  }

  /** @param tookMs time of this process that the turn took */
  end({ key, marks }: Turn, tookMs: number): void {
    this.#open.delete(key);
    for (const tenant of marks.keys()) {
      this.#used.set(tenant, (this.#used.get(tenant) ?? 0) + tookMs);
      if (tenant === NO_TENANT) continue;
      const pair = pairOf(key, tenant);
      const usedMs = (this.#usedOf.get(pair)?.usedMs ?? 0) + tookMs;
      const pauseMs = Math.min(MAX_PAUSE_MS, Math.max(0, usedMs - FREE_MS));
      this.#usedOf.set(pair, { usedMs, pausedUntilMs: this.#nowMs() + pauseMs });
    }
  }

  /** The key of a turn was not written: marks it again. */
  again({ key, marks }: Turn): void {
    this.#open.delete(key);
    for (const [tenant, sinceMs] of marks) this.#mark(key, tenant, sinceMs);
  }

  #forget(): void {
    const nowMs = this.#nowMs();
    if (nowMs - this.#halvedMs < HALF_LIFE_MS) return;
    this.#halvedMs = nowMs;
    for (const [tenant, used] of this.#used) {
      if (used < NOTHING_MS) this.#used.delete(tenant);
      else this.#used.set(tenant, used / 2);
    }
    for (const [pair, used] of this.#usedOf) {
      if (used.usedMs < NOTHING_MS) this.#usedOf.delete(pair);
      else this.#usedOf.set(pair, { ...used, usedMs: used.usedMs / 2 });
    }
  }
}

/** A namespace contains no blank. */
const pairOf = (key: string, tenant: string): string => `${tenant} ${key}`;
