/**
 * The states of the page Now, one for each scope that a visitor has. Visitors with equal scopes share
 * one; a state holds nothing outside its scope.
 *
 * Bounds: MAX_SCOPES, and the scope of everything, whose place no other takes. One without a page ends after
 * IDLE_MS, or at once if another scope needs its place.
 */
import { EVERYTHING, type Scope } from '../access/scope.ts';
import { Live, type LiveOptions, type ViewListener } from './live.ts';

export const MAX_SCOPES = 16;
const IDLE_MS = 60_000;

interface Entry {
  live: Live;
  idle: NodeJS.Timeout | null;
  isKept: boolean;
}

export class Lives {
  readonly #options: Omit<LiveOptions, 'scope'>;
  readonly #entries = new Map<string, Entry>();
  readonly #ending = new Set<Promise<void>>();

  constructor(options: Omit<LiveOptions, 'scope'>) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** @returns a function that removes the listener; null: MAX_SCOPES are shown */
  subscribe(scope: Scope, listener: ViewListener): (() => void) | null {
    const entry = this.#entries.get(scope.key) ?? this.#start(scope);
    if (!entry) return null;
    if (entry.idle) clearTimeout(entry.idle);
    entry.idle = null;
    const remove = entry.live.subscribe(listener);
    return () => {
      remove();
      if (entry.isKept || entry.live.pages > 0 || this.#entries.get(scope.key) !== entry) return;
      entry.idle = setTimeout(() => this.#end(scope.key), IDLE_MS);
    };
  }

  /** Starts reading before a page asks, and goes on without one. */
  keep(scope: Scope): void {
    const entry = this.#start(scope);
    if (entry) entry.isKept = true;
  }

  async close(): Promise<void> {
    for (const key of [...this.#entries.keys()]) this.#end(key);
    await Promise.all(this.#ending);
  }

  #start(scope: Scope): Entry | null {
    const limited = [...this.#entries].filter(([key]) => key !== EVERYTHING.key);
    if (!scope.isAll && limited.length >= MAX_SCOPES) {
      const [unused] = limited.find(([, { live, isKept }]) => live.pages === 0 && !isKept) ?? [];
      if (unused === undefined) return null;
      this.#end(unused);
    }
    const entry = { live: new Live({ ...this.#options, scope }), idle: null, isKept: false };
    this.#entries.set(scope.key, entry);
    return entry;
  }

  #end(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    if (entry.idle) clearTimeout(entry.idle);
    const ended = entry.live.close().finally(() => this.#ending.delete(ended));
    this.#ending.add(ended);
  }
}
