/**
 * Limits that protect the API server and bus-auth from frequent logins. Pure: the time is passed
 * in.
 *
 * A budget refills evenly and holds a burst. Beyond MAX_SOURCES, the source that was inactive
 * longest is forgotten and restarts with a full budget. Beyond MAX_KNOWN, the oldest granted token
 * is forgotten.
 */
import { createHash } from 'node:crypto';
import { RecentMap } from '@bailiff/service';

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

  /** Whether the budget has a token. */
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

  /** Takes a token also if none is left: the debt is refilled first. */
  charge(nowMs: number): void {
    this.has(nowMs);
    this.#left -= 1;
  }
}

export const MAX_SOURCES = 4_096;

/** Events by source, failures or logins, with the same budget a minute for each source. */
export class SourceBudgets {
  readonly #perMinute: number;
  readonly #burst: number;
  readonly #budgets = new RecentMap<string, Budget>(MAX_SOURCES);

  /** @param burst at once, by default the budget of a minute */
  constructor(perMinute: number, burst = perMinute) {
    this.#perMinute = perMinute;
    this.#burst = Math.min(burst, perMinute);
  }

  get size(): number {
    return this.#budgets.size;
  }

  /** Whether a source has used up its budget. */
  isOver(source: string, nowMs: number): boolean {
    return this.#budgets.get(source)?.has(nowMs) === false;
  }

  count(source: string, nowMs: number): void {
    this.#budgetOf(source, nowMs).take(nowMs);
  }

  /** Counts an event beyond the budget too: the source then waits longer. */
  charge(source: string, nowMs: number): void {
    this.#budgetOf(source, nowMs).charge(nowMs);
  }

  #budgetOf(source: string, nowMs: number): Budget {
    const budget = this.#budgets.get(source) ?? new Budget(this.#perMinute / 60, this.#burst, nowMs);
    this.#budgets.set(source, budget);
    return budget;
  }
}

/** As many collectors as a large cluster has nodes. */
export const MAX_KNOWN = 4_096;

/**
 * Granted tokens by hash, with their node. Such a token is reviewed again at each login, but does
 * not wait behind unproven ones and is not affected by their failures. It is forgotten when it
 * expires.
 */
export class KnownTokens {
  readonly #known = new RecentMap<string, { node: string; untilMs: number }>(MAX_KNOWN);

  add(token: string, node: string, untilMs: number): void {
    this.#known.set(hashOf(token), { node, untilMs });
  }

  /** Node of a granted token; null if unknown. */
  nodeOf(token: string, nowMs: number): string | null {
    const found = this.#known.get(hashOf(token));
    return found && found.untilMs > nowMs ? found.node : null;
  }

  /** Called when the API server no longer accepts the token. */
  forget(token: string): void {
    this.#known.delete(hashOf(token));
  }
}

/** Reviews that are kept: more than a replica makes in REPLAY_MS by default. */
export const MAX_REVIEWS = 4_096;
/**
 * A granted token needs no further review for this long. Both connections of a collector log in
 * with one token, and a replayed token costs the API server nothing.
 */
export const REPLAY_MS = 5_000;

/** Reviews of the last seconds by hash of their token, also those in flight. */
export class RecentReviews<R> {
  readonly #reviews = new RecentMap<string, { review: Promise<R>; atMs: number }>(MAX_REVIEWS);

  get(token: string, nowMs: number): Promise<R> | null {
    const found = this.#reviews.get(hashOf(token));
    return found && nowMs - found.atMs < REPLAY_MS ? found.review : null;
  }

  add(token: string, review: Promise<R>, nowMs: number): Promise<R> {
    this.#reviews.set(hashOf(token), { review, atMs: nowMs });
    return review;
  }

  /** Called for a review that failed or granted nothing. */
  forget(token: string): void {
    this.#reviews.delete(hashOf(token));
  }
}

const hashOf = (token: string) => createHash('sha256').update(token).digest('base64');
