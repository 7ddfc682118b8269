/**
 * The steps of one group under a `temporal_ordered` rule, by node time. Pure. A collector publishes
 * packets and operations independently, so the steps of one burst may reach the stream out of order.
 *
 * Invariant: a chain consists of distinct steps, each later than the one before it; stream order
 * decides between equal times. Bounds: one time for two stages, MAX_STEPS for more. Beyond it steps
 * are dropped, so a chain may be missed, but is never invented.
 */

/** Limit of the evidence of one verdict. */
export const MAX_STEPS = 32;
/** Length of a full list. */
const FULL = 2 * MAX_STEPS;

/**
 * StepTimes.add for a rule of two stages. Stream order already finds chains that end with a second
 * step, so only a late first step matters. The page holds the newest second step at `at`; 0 = none.
 */
export function addToTwo(
  page: Float64Array,
  at: number,
  timeMicros: number,
  matched: number,
  afterMicros: number,
): boolean {
  const second = page[at] as number;
  const completes = (matched & 1) === 1 && timeMicros > afterMicros && timeMicros < second;
  if ((matched & 2) === 2 && timeMicros > second) page[at] = timeMicros;
  return completes;
}

export class StepTimes {
  readonly #stages: number;
  /** Alternately time and stages (as bits), oldest first; equal times are in stream order. */
  readonly #steps: number[] = [];

  constructor(stages: number) {
    this.#stages = stages;
  }

  /**
   * Adds the next step of the stream. Returns whether it completes a chain of steps after
   * `afterMicros`.
   */
  add(timeMicros: number, matched: number, afterMicros: number): boolean {
    const steps = this.#steps;
    let position = steps.length;
    while (position > 0 && (steps[position - 2] as number) > timeMicros) position -= 2;
    const completes = timeMicros > afterMicros && this.#completes(position, matched, afterMicros);
    this.#insert(position, timeMicros, matched);
    return completes;
  }

  /**
   * Walks the steps by time: each stage at its earliest step, the new step as the latest stage
   * possible.
   */
  #completes(position: number, matched: number, afterMicros: number): boolean {
    const steps = this.#steps;
    let reached = 0;
    for (let at = 0; at <= steps.length; at += 2) {
      if (at === position) {
        let stage = Math.min(reached, this.#stages - 1);
        while (stage >= 0 && !((matched >>> stage) & 1)) stage--;
        if (stage < 0) return false;
        reached = stage + 1;
      }
      if (at === steps.length || (steps[at] as number) <= afterMicros) continue;
      if (((steps[at + 1] as number) >>> reached) & 1) reached++;
    }
    return reached === this.#stages;
  }

  #insert(at: number, timeMicros: number, matched: number): void {
    const steps = this.#steps;
    let position = at;
    if (steps.length === FULL) {
      const isSameStage = (index: number) => steps[index] === matched;
      if (isSameStage(position - 1) && isSameStage(position + 1)) return;
      if (isSameStage(position - 1) && isSameStage(position - 3)) {
        steps[position - 2] = timeMicros;
        return;
      }
      if (isSameStage(position + 1) && isSameStage(position + 3)) {
        steps[position] = timeMicros;
        return;
      }
      if (position === 0) return;
      steps.splice(0, 2);
      position -= 2;
    }
    steps.splice(position, 0, timeMicros, matched);
  }
}
