/** Pods that ipam-sync leaves out of the lists of their nodes, or cannot tie to their workload. Pure. */
import type { InstanceStatus } from '@bailiff/schemas';
import { plural, shortList } from '../status/text.ts';
import { reportedByLeader } from './instances.ts';
import { type Problem, warn } from './problem.ts';

/** Namespaces named; `--json` lists more. */
const MAX_NAMESPACES = 3;
const REMEDY = 'delete pods of that namespace, or limit them by a ResourceQuota: docs/alerts.md, BailiffPodsOmitted';

export function podListProblems(instances: readonly InstanceStatus[], nowMs: number): Problem[] {
  return [...omittedProblems(instances, nowMs), ...claimedProblems(instances, nowMs)];
}

/** Their guards hold (libs/response/src/guards), but modes and grants of their workload do not apply. */
function claimedProblems(instances: readonly InstanceStatus[], nowMs: number): Problem[] {
  const claimed = reportedByLeader(instances, nowMs, 'claimedMembers');
  if (!claimed) return [];
  const { pods, controllers } = claimed;
  const text = `guards of ${plural(pods, 'pod')} of ${plural(controllers, 'controller')} are weak, because these pods do not run the template of their controller: a webhook (mesh, cloud identity, image digests, tracing) or a patch changed them`;
  return [warn('ipam-sync', text, WEAK, 'services')];
}

const WEAK =
  'where a guard prevents their removal, they are quarantined; modes and grants of the workload do not apply to them: docs/operations.md#pods-that-webhooks-change';

function omittedProblems(instances: readonly InstanceStatus[], nowMs: number): Problem[] {
  const omitted = reportedByLeader(instances, nowMs, 'omittedPods');
  if (!omitted) return [];
  const { total, nodes, namespaces } = omitted;
  const most = namespaces.slice(0, MAX_NAMESPACES).map(({ namespace, pods }) => `${pods} of namespace ${namespace}`);
  const named = most.length === 0 ? '' : `: ${shortList(most, MAX_NAMESPACES, namespaces.length)}`;
  const text = `omits ${plural(total, 'pod')} from the lists of ${plural(nodes, 'node')}${named}`;
  return [warn('ipam-sync', text, REMEDY, 'services')];
}
