/** Counts by name, with a limit of names. Pure. */

/** Limit of names; additions under other names count as omitted. */
const MOST_NAMES = 20_000;

export interface Ranked {
  name: string;
  count: number;
  newestMicros: number;
}

export class Ranking {
  readonly #counts = new Map<string, Ranked>();
  readonly most: number;
  omitted = 0;

  constructor(most = MOST_NAMES) {
    this.most = most;
  }

  add(name: string, count: number, atMicros: number): void {
    const found = this.#counts.get(name);
    if (!found && this.#counts.size >= this.most) {
      this.omitted += 1;
      return;
    }
    const newestMicros = Math.max(found?.newestMicros ?? 0, atMicros);
    this.#counts.set(name, { name, count: (found?.count ?? 0) + count, newestMicros });
  }

  /** Highest counts first; equal counts by name. */
  top(limit: number): Ranked[] {
    return [...this.#counts.values()]
      .filter(({ count }) => count > 0)
      .sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1))
      .slice(0, limit);
  }
}
