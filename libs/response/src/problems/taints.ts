/**
 * Nodes that ipam-sync tainted because no collector guards them, and why it did not taint others.
 * Pure.
 */
import { UNGUARDED_TAINT_KEY } from '@bailiff/policy';
import type { InstanceStatus, TaintStatus } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service/exit-codes';
import { plural, shortList } from '../status/text.ts';
import { reportedByLeader } from './instances.ts';
import { type Problem, shout, warn } from './problem.ts';

/** Taint status of the leader; null if no instance reports one: then nothing is tainted. */
export function taintsOf(instances: readonly InstanceStatus[], nowMs: number): TaintStatus | null {
  return reportedByLeader(instances, nowMs, 'taints') ?? null;
}

/** A warning per tainted node, and a failure of ipam-sync if it withholds taints. */
export function taintProblems(instances: readonly InstanceStatus[], nowMs: number): Problem[] {
  const taints = taintsOf(instances, nowMs);
  if (!taints) return [];
  const { tainted, withheld, withheldCount, problem, remedy } = taints;
  const lines = tainted.map((node): Problem => {
    const text = `is tainted ${UNGUARDED_TAINT_KEY}: no new pod is scheduled there until its collector runs again`;
    return warn(node, text, '', 'unguarded nodes');
  });
  if (problem === '') return lines;
  const which = withheldCount > 0 ? ` (not tainted: ${shortList(withheld, 2, withheldCount)})` : '';
  return [...lines, shout('ipam-sync', problem + which, remedy, EXIT.badConfiguration, 'unguarded nodes')];
}

/** `2 nodes are tainted: node-a, node-b` */
export function taintsLine({ tainted, taintedCount }: TaintStatus): string {
  if (taintedCount === 0) return 'no node is tainted';
  return `${plural(taintedCount, 'node is', 'nodes are')} tainted: ${shortList(tainted, 6, taintedCount)}`;
}
