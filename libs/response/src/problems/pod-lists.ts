/** Pods that ipam-sync leaves out of the lists of their nodes. Pure. */
import type { InstanceStatus } from '@bailiff/schemas';
import { plural, shortList } from '../status/text.ts';
import { reportedByLeader } from './instances.ts';
import { type Problem, warn } from './problem.ts';

/** Namespaces named; `--json` lists more. */
const MAX_NAMESPACES = 3;
const REMEDY = 'delete pods of that namespace, or limit them by a ResourceQuota: docs/alerts.md, BailiffPodsOmitted';

export function podListProblems(instances: readonly InstanceStatus[], nowMs: number): Problem[] {
  const omitted = reportedByLeader(instances, nowMs, 'omittedPods');
  if (!omitted) return [];
  const { total, nodes, namespaces } = omitted;
  const most = namespaces.slice(0, MAX_NAMESPACES).map(({ namespace, pods }) => `${pods} of namespace ${namespace}`);
  const named = most.length === 0 ? '' : `: ${shortList(most, MAX_NAMESPACES, namespaces.length)}`;
  const text = `omits ${plural(total, 'pod')} from the lists of ${plural(nodes, 'node')}${named}`;
  return [warn('ipam-sync', text, REMEDY, 'services')];
}
