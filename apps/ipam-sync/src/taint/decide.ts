/**
 * Decides which nodes get and which lose the taint for unguarded nodes. Pure. Input: node objects,
 * heartbeats and the setting; output: the plan of the TaintController.
 *
 * If more nodes are unguarded than the limit allows, or no other node would be left, no further
 * node is tainted, because the bus or the feed is the likely cause. A taint is removed only when
 * the node's collector reports again and guards, or by the setting.
 */
import type { UnguardedNodes } from '@bailiff/policy';
import { parseDurationMs } from '@bailiff/policy';
import type { InterfaceStatus, NodeStatus } from '@bailiff/schemas';

export interface AssessedNode {
  name: string;
  tainted: boolean;
  /** Has the labels of the setting. */
  selected: boolean;
  /** Accepts pods, apart from Bailiff's taint. */
  takesPods: boolean;
  silentMs: number;
  /** By the newest status received during the watch; false without one. */
  guards: boolean;
}

export interface TaintPlan {
  put: string[];
  remove: string[];
  /** Unguarded nodes that the limit protects from the taint. */
  withheld: string[];
  /** Schedulable nodes without a guarding collector, tainted or not. */
  unguarded: number;
  /** Limit of tainted nodes. */
  bound: number;
}

export function planTaints(nodes: readonly AssessedNode[], setting: UnguardedNodes): TaintPlan {
  const afterMs = parseDurationMs(setting.after) as number;
  const isOff = setting.taint === 'off';
  const isBack = ({ guards, silentMs }: AssessedNode) => guards && silentMs <= afterMs;
  const isUnguarded = (node: AssessedNode) => (node.tainted ? !isBack(node) : node.silentMs > afterMs);
  const assessed = isOff ? [] : nodes.filter(({ selected, takesPods }) => selected && takesPods);
  const unguarded = assessed.filter(isUnguarded);
  const bound = Math.max(0, Math.min(Math.ceil((assessed.length * setting.maxPercent) / 100), assessed.length - 1));
  const wanting = names(unguarded.filter(({ tainted }) => !tainted));
  const isTooMany = unguarded.length > bound;
  return {
    put: isTooMany ? [] : wanting,
    remove: names(nodes.filter((node) => node.tainted && (isOff || !node.selected || isBack(node)))),
    withheld: isTooMany ? wanting : [],
    unguarded: unguarded.length,
    bound,
  };
}

const names = (nodes: readonly AssessedNode[]): string[] => nodes.map(({ name }) => name);

/**
 * True if the collector's status shows that it attaches and guards at least one of its guardable
 * interfaces. A pod can have so many networks without a host side that the status only counts the guarded ones.
 */
export function guardsPods({
  hook,
  interfaces,
  interfacesOmitted: { guarded = 0, partial = 0 } = {},
}: Pick<NodeStatus, 'hook'> & {
  interfaces: readonly Pick<InterfaceStatus, 'coverage'>[];
  interfacesOmitted?: { guarded?: number | undefined; partial?: number | undefined } | undefined;
}): boolean {
  if (hook === 'none') return false;
  const guardable = interfaces.filter(({ coverage }) => coverage !== 'not-applicable');
  return (
    guarded + partial > 0 || guardable.length === 0 || guardable.some(({ coverage }) => coverage !== 'not-covered')
  );
}
