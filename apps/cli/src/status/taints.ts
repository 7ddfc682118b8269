/** Nodes that ipam-sync has tainted because no collector guards them, and why it does not. Pure. */
import { UNGUARDED_TAINT_KEY } from '@bailiff/policy';
import type { InstanceStatus, TaintStatus } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service';
import { named, plural } from '../shared/text/plural.ts';
import { speaking } from './instances.ts';
import type { Problem } from './report.ts';

/** What the leader says; null when none says anything: then nothing is tainted, nor to be. */
export function taintsOf(instances: readonly InstanceStatus[], nowMs: number): TaintStatus | null {
  const told = speaking(instances, nowMs).filter(({ taints }) => taints !== undefined);
  // Two only while the lease changes hands.
  const newest = told.sort((a, b) => Date.parse(b.updatedAt) - Date.parse(a.updatedAt))[0];
  return newest?.taints ?? null;
}

/** A line of each tainted node, which is as it was asked for, and one of ipam-sync when not all is. */
export function taintProblems(instances: readonly InstanceStatus[], nowMs: number): Problem[] {
  const taints = taintsOf(instances, nowMs);
  if (!taints) return [];
  const { tainted, withheld, withheldCount, problem, remedy } = taints;
  const lines = tainted.map((node): Problem => {
    const text = `is tainted ${UNGUARDED_TAINT_KEY}: no new pod is put there until its collector guards again`;
    return { severity: 'warn', node, text, remedy: '', exitCode: EXIT.ok };
  });
  if (problem === '') return lines;
  const which = withheldCount > 0 ? ` (not tainted: ${named(withheld, 2, withheldCount)})` : '';
  return [
    ...lines,
    { severity: 'shout', node: 'ipam-sync', text: problem + which, remedy, exitCode: EXIT.badConfiguration },
  ];
}

/** `2 nodes are tainted: node-a, node-b` */
export function taintsLine({ tainted, taintedCount }: TaintStatus): string {
  if (taintedCount === 0) return 'none is tainted';
  return `${plural(taintedCount, 'node is', 'nodes are')} tainted: ${named(tainted, 6, taintedCount)}`;
}
