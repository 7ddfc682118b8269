/**
 * How often pods change which policies they have. A tenant can patch the labels of all its pods many
 * times a second, and each change compiles a set and writes it. So a subject that has changed lately
 * waits, with its former set in force, while its namespace has used up its changes. Changes of policies
 * never wait, nor does a subject that has none yet or had the same set for a minute. Pure.
 */

/** Of a namespace. A change takes some milliseconds. */
export const CHANGES_PER_SECOND = 10;
/** At once, after a pause. */
export const CHANGES_AT_ONCE = 100;
/** A subject that had the same set for this long does not wait. */
export const STEADY_MS = 60_000;

export class ChangeRates {
  readonly #nowMs: () => number;
  /** Time until which the changes of a namespace are used up, at the permitted rate. */
  readonly #usedUntilMs = new Map<string, number>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Counts a change, if the subject may change now. @param changedAtMs its last change */
  take(namespace: string, changedAtMs: number): boolean {
    const nowMs = this.#nowMs();
    const usedUntilMs = Math.max(nowMs, this.#usedUntilMs.get(namespace) ?? nowMs);
    const intervalMs = 1_000 / CHANGES_PER_SECOND;
    const isOver = usedUntilMs - nowMs > (CHANGES_AT_ONCE - 1) * intervalMs;
    if (isOver && nowMs - changedAtMs < STEADY_MS) return false;
    this.#forgetUnused(nowMs);
    // Steady subjects do not take more than all changes at once from the others.
    this.#usedUntilMs.set(namespace, isOver ? usedUntilMs : usedUntilMs + intervalMs);
    return true;
  }

  #forgetUnused(nowMs: number): void {
    for (const [namespace, untilMs] of this.#usedUntilMs) if (untilMs <= nowMs) this.#usedUntilMs.delete(namespace);
  }
}
