/**
 * Limits that protect the API server and bus-auth from frequent logins. Pure: the time is passed
 * in.
 *
 * A budget refills evenly and holds a burst. Beyond MAX_SOURCES, the source that was inactive
 * longest is forgotten and restarts with a full budget. Beyond MAX_KNOWN, the oldest granted token
 * is forgotten.
 */
import { createHash } from 'node:crypto';

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
}

export const MAX_SOURCES = 4_096;

/** Failures by source: the pod of a valid token, otherwise the client's address. */
export class Failures {
  readonly #perMinute: number;
  readonly #budgets = new Map<string, Budget>();

  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  get size(): number {
    return this.#budgets.size;
  }

  /** Whether a source has exceeded its failure budget. */
  isOver(source: string, nowMs: number): boolean {
    return this.#budgets.get(source)?.has(nowMs) === false;
  }

  count(source: string, nowMs: number): void {
    const budget = this.#budgets.get(source) ?? new Budget(this.#perMinute / 60, this.#perMinute, nowMs);
    budget.take(nowMs);
    this.#budgets.delete(source);
    if (this.#budgets.size >= MAX_SOURCES) this.#budgets.delete(this.#budgets.keys().next().value as string);
    this.#budgets.set(source, budget);
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
  readonly #known = new Map<string, { node: string; untilMs: number }>();

  add(token: string, node: string, untilMs: number): void {
    const hash = hashOf(token);
    this.#known.delete(hash);
    if (this.#known.size >= MAX_KNOWN) this.#known.delete(this.#known.keys().next().value as string);
    this.#known.set(hash, { node, untilMs });
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

const hashOf = (token: string) => createHash('sha256').update(token).digest('base64');
