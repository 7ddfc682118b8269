/**
 * The newest rows of the last day, and the number of all of them, by kind. Pure. The numbers leave in steps
 * of STEP_MS. Bounds: MAX_ROWS, and MAX_KINDS a step.
 */
import type { RowAt, SeenRow } from '../data.ts';
import type { TableView } from '../wire.ts';

export const DAY_MS = 86_400_000;
/** Rows in a view. */
const MAX_ROWS = 50;
const STEP_MS = 600_000;
/** Kinds are actions with their phases, or empty. */
const MAX_KINDS = 64;

export class NewestRows {
  #rows: { row: RowAt; storedMs: number }[] = [];
  readonly #steps = new Map<number, Map<string, number>>();

  add({ row, storedMs, kind }: SeenRow): void {
    const step = Math.floor(storedMs / STEP_MS);
    const counts = this.#steps.get(step) ?? new Map<string, number>();
    this.#steps.set(step, counts);
    if (counts.has(kind) || counts.size < MAX_KINDS) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    this.#rows.unshift({ row, storedMs });
    if (this.#rows.length > MAX_ROWS) this.#rows.length = MAX_ROWS;
  }

  clear(): void {
    this.#rows = [];
    this.#steps.clear();
  }

  /** By kind, most first. */
  counts(nowMs: number): [kind: string, count: number][] {
    const first = Math.floor((nowMs - DAY_MS) / STEP_MS);
    const sums = new Map<string, number>();
    for (const [step, counts] of this.#steps) {
      if (step < first) this.#steps.delete(step);
      else for (const [kind, count] of counts) sums.set(kind, (sums.get(kind) ?? 0) + count);
    }
    return [...sums].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  }

  table(columns: TableView['columns'], nowMs: number): TableView {
    this.#rows = this.#rows.filter(({ storedMs }) => storedMs >= nowMs - DAY_MS - STEP_MS);
    const all = this.counts(nowMs).reduce((sum, [, count]) => sum + count, 0);
    const rows = this.#rows.map(({ row }) => row(nowMs));
    return { columns, rows, omitted: Math.max(0, all - rows.length) };
  }
}
