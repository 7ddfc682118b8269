/**
 * What one rule remembers: a window a group, and which groups had their verdict. Pure state.
 *
 * Invariants: a window that stands empty is let go of by stream time alone, which changes nothing but memory. The end of a group's quiet time
 * outlives its window and the rule's shape, so that one cooldown epoch has one verdict whatever is edited meanwhile.
 * Bounds: MAX_WINDOWS a rule, of which one node may open MAX_WINDOWS_PER_NODE; a group beyond them is not counted under that rule, and `refused` says
 * how often.
 */

import {
  CountWindow,
  type GroupWindow,
  OrderedStageWindow,
  type Pools,
  StageWindow,
  ValueWindow,
  type WindowOwner,
} from '../windows/group-window.ts';
import { EVENT_TIME_BOUND_MICROS } from '../windows/time.ts';
import type { CompiledRule } from './rules.ts';

/** Ten times the pods of a large cluster. */
export const MAX_WINDOWS = 200_000;
/** Pods of one node that break a rule within its timespan. Only at a replay can a node name pods that no list has. */
export const MAX_WINDOWS_PER_NODE = 8_192;

/** Quiet until when, by `groupBy:groupKey`; one map for all shapes that a rule of that name ever has. */
export type QuietTimes = Map<string, number>;

export class RuleState implements WindowOwner {
  /** Replaced by a version of the same shape when only thresholds and the like change. */
  rule: CompiledRule;
  readonly #pools: Pools;
  readonly #windows = new Map<string, GroupWindow>();
  /** Windows by the node whose violation opened them. */
  readonly #perNode = new Map<string, number>();
  readonly #quiet: QuietTimes;
  /** Violations that found no room for a window. */
  refused = 0;

  constructor(rule: CompiledRule, pools: Pools, quiet: QuietTimes) {
    this.rule = rule;
    this.#pools = pools;
    this.#quiet = quiet;
  }

  get windows(): number {
    return this.#windows.size;
  }

  /** The group's window, made when there is none; null when there is no room. */
  windowOf(groupKey: string, nodeName: string): GroupWindow | null {
    const found = this.#windows.get(groupKey);
    if (found) return found;
    const ofNode = this.#perNode.get(nodeName) ?? 0;
    if (this.#windows.size >= MAX_WINDOWS || ofNode >= MAX_WINDOWS_PER_NODE) {
      this.refused++;
      return null;
    }
    this.#perNode.set(nodeName, ofNode + 1);
    const window = this.#make(groupKey);
    window.owner = this;
    window.openedBy = nodeName;
    if (this.#quiet.size > 0) window.quietUntil = this.#quiet.get(this.#quietKey(groupKey)) ?? 0;
    this.#windows.set(groupKey, window);
    return window;
  }

  #make(groupKey: string): GroupWindow {
    const { type, stages } = this.rule;
    if (type === 'event_count') return new CountWindow(groupKey, this.#pools);
    if (type === 'value_count') return new ValueWindow(groupKey, this.#pools);
    if (type === 'temporal') return new StageWindow(groupKey, this.#pools, stages.length);
    return new OrderedStageWindow(groupKey, this.#pools, stages.length);
  }

  /** The group has its verdict: none until the cooldown epoch is over. */
  silence(window: GroupWindow, untilMicros: number): void {
    window.quietUntil = untilMicros;
    this.#quiet.set(this.#quietKey(window.groupKey), untilMicros);
  }

  /** Lets go of windows in which nothing can count any more. */
  sweep(nowMicros: number): void {
    const oldest = nowMicros - this.rule.timespanMicros - 2 * EVENT_TIME_BOUND_MICROS;
    for (const [groupKey, window] of this.#windows) {
      if (window.clock >= oldest) continue;
      window.release();
      this.#windows.delete(groupKey);
      const left = (this.#perNode.get(window.openedBy) ?? 0) - 1;
      if (left > 0) this.#perNode.set(window.openedBy, left);
      else this.#perNode.delete(window.openedBy);
    }
  }

  /** Gives everything back: the rule went, or its windows mean something else now. */
  release(): void {
    for (const window of this.#windows.values()) window.release();
    this.#windows.clear();
    this.#perNode.clear();
  }

  #quietKey(groupKey: string): string {
    return `${this.rule.groupBy}:${groupKey}`;
  }
}
