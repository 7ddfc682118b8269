/**
 * What protects the API server and us from those who ask too often. Pure but for the clock that is passed in.
 *
 * A budget refills evenly and holds a burst. Tables are bounded: beyond MAX_SOURCES the one that was quiet longest is forgotten, and
 * begins with a full budget again; beyond MAX_KNOWN the token that was let in longest ago is one like any other.
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

  /** Whether there is one to take. */
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

/** Failures by source: the pod of a proven token, else the client's address. */
export class Failures {
  readonly #perMinute: number;
  readonly #budgets = new Map<string, Budget>();

  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  get size(): number {
    return this.#budgets.size;
  }

  /** Whether a source has failed too often of late. */
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
 * Tokens that were let in, by hash, and the node of each: who shows one is no stranger. It is judged by the API server again all the same; it
 * does not wait behind strangers for that, nor pay for their failures. Each is forgotten with its end.
 */
export class KnownTokens {
  readonly #known = new Map<string, { node: string; untilMs: number }>();

  add(token: string, node: string, untilMs: number): void {
    const hash = hashOf(token);
    this.#known.delete(hash);
    if (this.#known.size >= MAX_KNOWN) this.#known.delete(this.#known.keys().next().value as string);
    this.#known.set(hash, { node, untilMs });
  }

  /** Node of a token that was let in; null for a stranger. */
  nodeOf(token: string, nowMs: number): string | null {
    const found = this.#known.get(hashOf(token));
    return found && found.untilMs > nowMs ? found.node : null;
  }

  /** The API server does not take it any more. */
  forget(token: string): void {
    this.#known.delete(hashOf(token));
  }
}

const hashOf = (token: string) => createHash('sha256').update(token).digest('base64');
