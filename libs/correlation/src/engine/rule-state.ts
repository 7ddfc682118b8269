/**
 * State of one rule: a window per group, and the cooldowns of its groups. Pure.
 *
 * Invariants: stream time alone removes an empty window, which frees memory and changes no verdict.
 * A cooldown stays in force when its window is removed or an edit changes what the rule counts (its
 * shape, see rules.ts), so an edit causes no second verdict of the group before it ends. Bounds:
 * MAX_WINDOWS a rule, MAX_WINDOWS_PER_NODE opened by one node, of which pods of a namespace open a
 * further one only while more are free than it has. The rule does not count violations of groups
 * beyond them; `refused` is the number of these violations.
 */

import { FairCounts } from '@bailiff/service/fair-counts';
import type { CompiledRule } from '../windows/compiled-rule.ts';
import { CountWindow, ValueWindow } from '../windows/count-windows.ts';
import type { GroupWindow, Pools, WindowOwner } from '../windows/group-window.ts';
import { OrderedStageWindow, StageWindow } from '../windows/stage-windows.ts';
import { EVENT_TIME_BOUND_MICROS } from '../windows/time.ts';

/** Windows of one rule. Kubernetes is tested up to 150,000 pods. */
export const MAX_WINDOWS = 200_000;
/**
 * Windows of one rule that one node opened: more than the node has pods within a timespan. A replay
 * needs the bound, because only there can a node open windows for pods that no list contains.
 */
export const MAX_WINDOWS_PER_NODE = 8_192;

/** End of the cooldown by `groupBy:groupKey`. One map per rule name, for all shapes of the rule. */
export type Cooldowns = Map<string, number>;

export class RuleState implements WindowOwner {
  /** Replaced in place by a version of the same shape. */
  rule: CompiledRule;
  readonly #pools: Pools;
  readonly #windows = new Map<string, GroupWindow>();
  /** Windows that a node opened, by namespace. */
  readonly #perNode = new Map<string, FairCounts>();
  readonly #cooldowns: Cooldowns;
  /** Violations whose window exceeded a bound. */
  refused = 0;

  constructor(rule: CompiledRule, pools: Pools, cooldowns: Cooldowns) {
    this.rule = rule;
    this.#pools = pools;
    this.#cooldowns = cooldowns;
  }

  get windows(): number {
    return this.#windows.size;
  }

  /** The group's window, created on first use; null if a bound is reached. */
  windowOf(groupKey: string, nodeName: string, namespace: string): GroupWindow | null {
    const found = this.#windows.get(groupKey);
    if (found) return found;
    const opened = this.#perNode.get(nodeName) ?? new FairCounts(MAX_WINDOWS_PER_NODE);
    if (this.#windows.size >= MAX_WINDOWS || !opened.hasRoom(namespace)) {
      this.refused++;
      return null;
    }
    opened.add(namespace);
    this.#perNode.set(nodeName, opened);
    const window = this.#create(groupKey);
    window.owner = this;
    window.openedBy = nodeName;
    window.openedFor = namespace;
    if (this.#cooldowns.size > 0) window.cooldownUntil = this.#cooldowns.get(this.#cooldownKey(groupKey)) ?? 0;
    this.#windows.set(groupKey, window);
    return window;
  }

  #create(groupKey: string): GroupWindow {
    const { type, stages } = this.rule;
    if (type === 'event_count') return new CountWindow(groupKey, this.#pools);
    if (type === 'value_count') return new ValueWindow(groupKey, this.#pools);
    if (type === 'temporal') return new StageWindow(groupKey, this.#pools, stages.length);
    return new OrderedStageWindow(groupKey, this.#pools, stages.length);
  }

  /** Suppresses verdicts of the group until the cooldown epoch ends. */
  startCooldown(window: GroupWindow, untilMicros: number): void {
    window.cooldownUntil = untilMicros;
    this.#cooldowns.set(this.#cooldownKey(window.groupKey), untilMicros);
  }

  /** Removes windows that no later violation can extend. */
  sweep(nowMicros: number): void {
    const oldest = nowMicros - this.rule.timespanMicros - 2 * EVENT_TIME_BOUND_MICROS;
    for (const [groupKey, window] of this.#windows) {
      if (window.clock >= oldest) continue;
      window.release();
      this.#windows.delete(groupKey);
      this.#closed(window);
    }
  }

  #closed({ openedBy, openedFor }: GroupWindow): void {
    const opened = this.#perNode.get(openedBy) as FairCounts;
    opened.remove(openedFor);
    if (opened.size === 0) this.#perNode.delete(openedBy);
  }

  /** Releases all windows: the rule was removed or has another shape. */
  release(): void {
    for (const window of this.#windows.values()) window.release();
    this.#windows.clear();
    this.#perNode.clear();
  }

  #cooldownKey(groupKey: string): string {
    return `${this.rule.groupBy}:${groupKey}`;
  }
}
