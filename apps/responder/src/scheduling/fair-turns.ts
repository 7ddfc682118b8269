/**
 * Fair order of the jobs of one queue, for tenants that share its rate: the turn of a job is one above
 * that of the tenant's job before it, but above the turns that have started. So the next job of a tenant
 * with few waits behind one job of each other tenant, and not behind all of them. Jobs of one tenant
 * keep their order. Pure. Bound: tenants with jobs beyond the started turn.
 */

/** The highest priority number of BullMQ; beyond it jobs are in the order of their addition. */
export const LAST_TURN = 2 ** 21 - 1;
/** Of a job that has not run. */
export const LAST_NEW_TURN = 2 ** 20;

/**
 * Turn of a job that has waited for something else: behind all that have not run, and before those of
 * tenants that have more outstanding.
 */
export const waitedTurn = (outstanding: number): number => Math.min(LAST_TURN, LAST_NEW_TURN + outstanding);

/** Tenants whose last turn is over are forgotten above this. */
const MAX_REMEMBERED = 4_096;

export class FairTurns {
  #started = 0;
  /** The highest turn since the beginning. */
  #given = 0;
  readonly #last = new Map<string, number>();

  /** Turn of the next job of a tenant, from 1; smaller ones run first. */
  next(tenant: string): number {
    let turn = Math.max(this.#started, this.#last.get(tenant) ?? 0) + 1;
    if (turn > LAST_NEW_TURN) {
      // After days without a moment in which nothing waited. What waits now runs behind the next ones, once.
      this.clear();
      turn = 1;
    }
    if (this.#last.size >= MAX_REMEMBERED)
      for (const [other, last] of this.#last) if (last <= this.#started) this.#last.delete(other);
    this.#last.set(tenant, turn);
    this.#given = Math.max(this.#given, turn);
    return turn;
  }

  /** A job of this turn has started. One that had waited, or of before the turns began again, starts late. */
  started(turn: number): void {
    if (turn <= this.#given) this.#started = Math.max(this.#started, turn);
  }

  /** No job waits any more. */
  clear(): void {
    this.#started = 0;
    this.#given = 0;
    this.#last.clear();
  }
}
