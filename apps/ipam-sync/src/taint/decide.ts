/**
 * Which nodes get the taint of the unguarded now, and which lose it. Pure.
 *
 * Place in the path: node objects, what Silence heard and the setting → here → TaintKeeper. Invariants: when more nodes are unguarded than the
 * bound allows, or none would be left, no further one is tainted: it is more likely that the bus or the feed is broken than the nodes.
 * What is tainted stays so until its collector has spoken and guards; that alone, and the setting, take a taint away.
 */
import type { UnguardedNodes } from '@bailiff/policy';
import { parseDurationMs } from '@bailiff/policy';
import type { InterfaceStatus, NodeStatus } from '@bailiff/schemas';

export interface JudgedNode {
  name: string;
  tainted: boolean;
  /** It has the labels of the setting. */
  selected: boolean;
  /** Pods may be put there, but for our taint. */
  takesPods: boolean;
  silentMs: number;
  /** By its newest status, while it is listened to; false when it said none. */
  guards: boolean;
}

export interface TaintPlan {
  put: string[];
  remove: string[];
  /** Unguarded, and not tainted because of the bound. */
  withheld: string[];
  /** Nodes that take pods and have no collector that guards them, tainted or not. */
  unguarded: number;
  /** Of these, how many may be tainted. */
  bound: number;
}

export function planTaints(nodes: readonly JudgedNode[], setting: UnguardedNodes): TaintPlan {
  const afterMs = parseDurationMs(setting.after) as number;
  const isOff = setting.taint === 'off';
  const isBack = ({ guards, silentMs }: JudgedNode) => guards && silentMs <= afterMs;
  const isUnguarded = (node: JudgedNode) => (node.tainted ? !isBack(node) : node.silentMs > afterMs);
  const judged = isOff ? [] : nodes.filter(({ selected, takesPods }) => selected && takesPods);
  const unguarded = judged.filter(isUnguarded);
  const bound = Math.max(0, Math.min(Math.ceil((judged.length * setting.maxPercent) / 100), judged.length - 1));
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

const names = (nodes: readonly JudgedNode[]): string[] => nodes.map(({ name }) => name);

/** Whether a collector guards by its status: it attaches, and not every interface that it should guard is bare. */
export function guardsPods({
  hook,
  interfaces,
}: Pick<NodeStatus, 'hook'> & { interfaces: readonly Pick<InterfaceStatus, 'coverage'>[] }): boolean {
  const guardable = interfaces.filter(({ coverage }) => coverage !== 'not-applicable');
  return hook !== 'none' && (guardable.length === 0 || guardable.some(({ coverage }) => coverage !== 'not-covered'));
}
