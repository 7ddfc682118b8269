/**
 * Windows of the temporal types: stages in any order (`temporal`) or in order (`temporal_ordered`).
 * Pure.
 */
import type { ProjectedViolation } from '@bailiff/schemas';
import type { CompiledRule } from './compiled-rule.ts';
import { GroupWindow, HEAD, type Pools } from './group-window.ts';
import { addToTwo, StepTimes } from './step-times.ts';
import { nodeTimeMicros, UNKNOWN_TIME } from './time.ts';

/** Keeps one time per stage (0 = not seen) in the window's row. */
abstract class StagesWindow extends GroupWindow {
  protected readonly stages: number;

  constructor(groupKey: string, pools: Pools, stages: number) {
    super(groupKey, pools.stages);
    this.stages = stages;
  }

  protected timeOf(stage: number): number {
    return this.page[this.at + HEAD + stage] as number;
  }
  protected setTime(stage: number, timeMicros: number): void {
    this.page[this.at + HEAD + stage] = timeMicros;
  }

  /** @param matched bit i: the violation matches stage i */
  abstract add(timeMicros: number, matched: number, timespanMicros: number): number;

  override count(
    timeMicros: number,
    _packets: number,
    matched: number,
    _violation: ProjectedViolation,
    rule: CompiledRule,
  ): number {
    return this.add(timeMicros, matched, rule.timespanMicros);
  }
}

/**
 * Counts the stages seen in the window, in any order. The time of a stage is its last occurrence.
 */
export class StageWindow extends StagesWindow {
  /** Stages seen in the window. */
  override add(timeMicros: number, matched: number, timespanMicros: number): number {
    const clock = this.tick(timeMicros, 0, timespanMicros);
    let seen = 0;
    for (let stage = 0; stage < this.stages; stage++) {
      if ((matched >>> stage) & 1) this.setTime(stage, clock);
      if (this.timeOf(stage) > Math.max(0, clock - timespanMicros)) seen++;
    }
    return seen;
  }
}

/**
 * Counts the stages that occurred in order within the window. Either order is accepted: that of the
 * stream, or that of the node's timestamps. So neither a clock step nor a burst that reached the
 * bus out of order hides a chain. The time of a stage is the latest start of a chain that reached
 * it.
 */
export class OrderedStageWindow extends StagesWindow {
  /** Null for two stages: the page holds their one step time after the stage times (`addToTwo`). */
  readonly #times: StepTimes | null;

  constructor(groupKey: string, pools: Pools, stages: number) {
    super(groupKey, pools, stages);
    this.#times = stages === 2 ? null : new StepTimes(stages);
  }

  /**
   * Number of stages reached. It is the number of all stages only if this violation completes a
   * chain: by stream order as its last step, by node time as any step.
   * @param matched as in StageWindow
   * @param ownMicros node time of the first event of the violation, by a clock that the whole group
   *   shares; UNKNOWN_TIME if there is none
   * @param sampled false: `ownMicros` is only an upper bound, because no sample recorded the time.
   *   The step may then precede later steps, but follows none
   */
  add(timeMicros: number, matched: number, timespanMicros: number, ownMicros = UNKNOWN_TIME, sampled = true): number {
    const clock = this.tick(timeMicros, 0, timespanMicros);
    const last = this.stages - 1;
    const expired = Math.max(0, clock - timespanMicros);
    let completes = false;
    // From the last stage down, so that one violation does not advance a chain by two steps.
    for (let stage = last; stage > 0; stage--) {
      if (((matched >>> stage) & 1) === 0) continue;
      const before = this.timeOf(stage - 1);
      if (before <= expired) continue;
      if (before > this.timeOf(stage)) this.setTime(stage, before);
      if (stage === last) completes = true;
    }
    if (matched & 1) this.setTime(0, clock);
    const steps = sampled ? matched : matched & 1;
    if (ownMicros !== UNKNOWN_TIME && steps !== 0) {
      const after = clock - timespanMicros;
      const times = this.#times;
      const ofTwo = this.at + HEAD + 2;
      if (times === null ? addToTwo(this.page, ofTwo, ownMicros, steps, after) : times.add(ownMicros, steps, after))
        completes = true;
    }
    if (completes) return last + 1;
    for (let stage = last - 1; stage >= 0; stage--) if (this.timeOf(stage) > expired) return stage + 1;
    return 0;
  }

  override count(
    timeMicros: number,
    _packets: number,
    matched: number,
    violation: ProjectedViolation,
    { timespanMicros, groupBy }: CompiledRule,
  ): number {
    // Pods of one owner or namespace may run on several nodes, whose clocks differ.
    const ownMicros = groupBy === 'pod' || groupBy === 'node' ? nodeTimeMicros(timeMicros, violation) : UNKNOWN_TIME;
    return this.add(timeMicros, matched, timespanMicros, ownMicros, violation.count > 0);
  }
}
