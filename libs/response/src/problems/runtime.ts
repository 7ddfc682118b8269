/**
 * The runtime engine of a node: why it does not enforce policies, which it refuses, and what it
 * lost. Pure.
 */
import type { NodeStatus, RuntimeStatus } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service/exit-codes';
import { lastQuoted, proposed, quoted, reportedName, shortList } from '../status/text.ts';
import { lossPeriod, recentLoss } from './losses.ts';
import { byReason, MAX_NAMED, NOT_ENFORCED, type Problem } from './problem.ts';

/**
 * Every container start adds to these: the runtime's own operations before the first program, and a
 * first program that starts before its pod's policies are on the node. Policies hold once they are
 * there. They stay in the metric.
 */
const EXPECTED_LOSSES: ReadonlySet<string> = new Set(['unarmed', 'unbound']);

/** What each loss means, by its name in the metric, and the remedy. */
const LOSSES: Readonly<Record<string, { text: string; remedy: string }>> = {
  'ring-full': { text: 'samples lost to a full ring; counts are exact', remedy: '' },
  'no-cell': {
    text: 'decisions without a counter: enforced, but not published',
    remedy: 'fewer policies and subjects on this node; see docs/reference/limits.md',
  },
  'no-scratch': {
    text: 'operations decided as unresolved, because their pod used its share of the working memory',
    remedy: 'fewer busy tasks in one pod; see docs/reference/kernel-maps.md',
  },
  unresolved: {
    text: 'paths beyond the limits: denied by policies that enforce',
    remedy: 'shorter paths, or fewer nested mounts, in the affected containers',
  },
  'no-state': {
    text: 'forks and first programs refused, because the map of tasks was full',
    remedy: 'fewer tasks on this node; see docs/reference/kernel-maps.md',
  },
  'task-share': {
    text: 'forks refused, because their pod had as many tasks as the map has free entries',
    remedy: 'find the pod with many tasks; limit the tasks of pods (podPidsLimit of the kubelet)',
  },
  'no-record': {
    text: 'pods, containers or sockets without a record, because a map was full',
    remedy: 'fewer pods on this node; see docs/reference/kernel-maps.md',
  },
  orphan: {
    text: 'operations denied, because the policy of their pod was no longer in the maps',
    remedy: 'restart the affected pods; report it if it grows',
  },
  'cgroups-full': {
    text: 'cgroups of pods that the kernel could not record: bound later, from user space',
    remedy: 'fewer pods on this node',
  },
  'cgroup-refused': {
    text: 'cgroups with the name of a pod that no kubelet made: ignored',
    remedy: 'find out which program of the node makes them',
  },
};

/**
 * Hooks of newer kernels whose operations another hook judges before (docs/runtime-hooks.md), and the
 * one that serves the cache of opens alone.
 */
const REPLACED_HOOKS: ReadonlySet<string> = new Set([
  'lsm/file_truncate',
  'lsm/inode_set_acl',
  'lsm/inode_remove_acl',
  'lsm/file_ioctl_compat',
  'lsm/d_instantiate',
]);

/** Why a node enforces no policy; null if it does. */
function obstacleOf({ runtime }: NodeStatus): { reason: string; remedy: string } | null {
  if (!runtime) return { reason: 'its collector does not support them', remedy: 'upgrade its collector' };
  const { state, reason, remedy } = runtime;
  if (state === 'available') return null;
  return { reason: `${state === 'off' ? '' : 'LSM '}${state}: ${quoted(reason)}`, remedy: proposed(remedy) };
}

/** `9 in force, 1 refused, for 12 pods and containers`, or why no policy is in force. */
export function runtimeText(runtime: RuntimeStatus | undefined): string {
  if (!runtime) return 'its collector does not support runtime policies';
  if (runtime.state !== 'available') return [runtime.state, quoted(runtime.reason)].filter(Boolean).join(': ');
  const of = (state: 'in-force' | 'refused') => runtime.policies.filter((one) => one.state === state).length;
  const refused = of('refused') > 0 ? `, ${of('refused')} refused` : '';
  const more = runtime.policiesOmitted > 0 ? `, ${runtime.policiesOmitted} more` : '';
  const uncached = runtime.openCacheProblem ? `; opens are not cached: ${quoted(runtime.openCacheProblem)}` : '';
  return `${of('in-force')} in force${refused}${more}, for ${runtime.subjects} pods and containers${uncached}`;
}

/**
 * What a node denies less than its policies say. Without a policy in enforce, a node that cannot
 * enforce keeps every promise: its network enforcement works.
 * @param enforced names of the policies in enforce
 */
export function runtimeProblems(node: string, status: NodeStatus, enforced: readonly string[]): Problem[] {
  const { runtime, configRefused } = status;
  const problems: Problem[] = [];
  const add = (severity: Problem['severity'], text: string, remedy: string, exitCode: Problem['exitCode'] = EXIT.ok) =>
    problems.push({ severity, area: 'runtime policies', node, text, remedy, exitCode });
  const lacking = enforced.length > 0 ? NOT_ENFORCED : EXIT.ok;
  const names = shortList(enforced, MAX_NAMED);
  const obstacle = obstacleOf(status);
  if (obstacle && (enforced.length > 0 || (runtime && runtime.state !== 'off'))) {
    const passes = enforced.length > 0 ? `; what is denied by ${names} may pass uncounted` : '';
    add('warn', `runtime policies are not in force: ${obstacle.reason}${passes}`, obstacle.remedy, lacking);
  }
  if (!runtime) return problems;
  // Policies that every reader refuses are already reported as refused configuration.
  const known = new Set(configRefused.map(({ key }) => key));
  // Without programs, a collector reports the obstacle as the reason of each policy.
  const refused = obstacle ? [] : runtime.policies.filter(({ key, state }) => state === 'refused' && !known.has(key));
  for (const [reason, policies] of byReason(refused)) {
    const keys = policies.map(({ key }) => reportedName(key));
    const text = `refuses ${shortList(keys, MAX_NAMED)}: ${lastQuoted(reason)}`;
    add('shout', text, 'bailiff policy status', EXIT.badConfiguration);
  }
  const missing = runtime.missingHooks.filter((hook) => !REPLACED_HOOKS.has(hook));
  if (missing.length > 0) {
    const passes = enforced.length > 0 ? `: what is denied there by ${names} passes uncounted` : '';
    const text = `its kernel lacks hooks of runtime policies (${missing.map(reportedName).join(', ')})${passes}`;
    add('warn', text, 'docs/runtime-hooks.md lists the operations of each hook', lacking);
  }
  for (const [name, total] of Object.entries(runtime.losses)) {
    const count = recentLoss(status, `runtime-${name}`, total);
    if (count === 0 || EXPECTED_LOSSES.has(name)) continue;
    // A node chooses the name, also one that every object has (`constructor`).
    const known = Object.hasOwn(LOSSES, name) ? LOSSES[name] : undefined;
    const { text, remedy } = known ?? { text: `events of ${reportedName(name)}`, remedy: '' };
    add('warn', `runtime policies: ${text}: ${count} ${lossPeriod(status)}`, remedy);
  }
  return problems;
}
