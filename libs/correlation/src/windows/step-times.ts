/**
 * Steps of one group under an ordered rule, by when their node says that they happened: of one burst the bus may have a later step before an
 * earlier one, because what a collector tells of packets and of operations each keeps its own pace. Pure state.
 *
 * Place in the path: windows.ts asks here when the order of the bus completes nothing. Invariant: what is answered yes is a chain of distinct
 * steps, the new one among them, each after the one before it; of one time the order of the bus decides.
 * Bound: of two stages one time, which decides as all steps would. Of more MAX_STEPS; beyond it what lies between two of the same stages is
 * left out, then the oldest: a chain may go unseen, never be made up.
 */

/** As many as the evidence of a verdict can name. */
export const MAX_STEPS = 32;
/** Length of a list that is full. */
const FULL = 2 * MAX_STEPS;

/**
 * For a rule of two stages, as StepTimes.add. What ends with a second step the order of the bus has too: only a first one that comes late is asked
 * about. What is kept is the time of the newest second step, at this place of a page; 0 = there was none.
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
  /** Time and stages (as bits) in turn, oldest first; of one time, in the order of the bus. */
  readonly #steps: number[] = [];

  constructor(stages: number) {
    this.#stages = stages;
  }

  /** Takes the next step of the bus. Answers whether it completes an order of steps that are newer than `afterMicros`. */
  add(timeMicros: number, matched: number, afterMicros: number): boolean {
    const steps = this.#steps;
    let place = steps.length;
    while (place > 0 && (steps[place - 2] as number) > timeMicros) place -= 2;
    const completes = timeMicros > afterMicros && this.#completes(place, matched, afterMicros);
    this.#keep(place, timeMicros, matched);
    return completes;
  }

  /** Goes through the steps in time, taking each stage as early as it comes, and the new step as the latest stage that it can be. */
  #completes(place: number, matched: number, afterMicros: number): boolean {
    const steps = this.#steps;
    let reached = 0;
    for (let at = 0; at <= steps.length; at += 2) {
      if (at === place) {
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

  #keep(at: number, timeMicros: number, matched: number): void {
    const steps = this.#steps;
    let place = at;
    if (steps.length === FULL) {
      const is = (index: number) => steps[index] === matched;
      if (is(place - 1) && is(place + 1)) return;
      if (is(place - 1) && is(place - 3)) {
        steps[place - 2] = timeMicros;
        return;
      }
      if (is(place + 1) && is(place + 3)) {
        steps[place] = timeMicros;
        return;
      }
      if (place === 0) return;
      steps.splice(0, 2);
      place -= 2;
    }
    steps.splice(place, 0, timeMicros, matched);
  }
}
