/**
 * The runtime engine of a node: why it does not enforce policies, which it refuses, and what it
 * lost. Pure.
 */
import type { NodeStatus, RuntimeStatus } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service/exit-codes';
import { proposed, quoted, reportedName, shortList } from '../status/text.ts';
import { lossPeriod, recentLoss } from './losses.ts';
import { byReason, MAX_NAMED, type Problem } from './problem.ts';

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

/** Why operations are not judged; null if they are, or if the engine is disabled. */
export function runtimeObstacle({ runtime }: NodeStatus): { reason: string; remedy: string } | null {
  if (!runtime || runtime.state === 'available' || runtime.state === 'off') return null;
  return { reason: `LSM ${runtime.state}: ${quoted(runtime.reason)}`, remedy: proposed(runtime.remedy) };
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
 * A refused policy sets the exit code. A node that cannot enforce policies does not: its network
 * enforcement works.
 */
export function runtimeProblems(node: string, status: NodeStatus): Problem[] {
  const { runtime, configRefused } = status;
  if (!runtime) return [];
  const problems: Problem[] = [];
  const obstacle = runtimeObstacle(status);
  const add = (severity: Problem['severity'], text: string, remedy: string, exitCode: Problem['exitCode'] = EXIT.ok) =>
    problems.push({ severity, area: 'runtime policies', node, text, remedy, exitCode });
  if (obstacle) add('warn', `runtime policies are not in force: ${obstacle.reason}`, obstacle.remedy);
  // Policies that every reader refuses are already reported as refused configuration.
  const known = new Set(configRefused.map(({ key }) => key));
  const refused = runtime.policies.filter(({ key, state }) => state === 'refused' && !known.has(key));
  for (const [reason, policies] of byReason(refused)) {
    const keys = policies.map(({ key }) => reportedName(key));
    const text = `refuses ${shortList(keys, MAX_NAMED)}: ${quoted(reason.split('\n').at(-1) ?? '')}`;
    add('shout', text, 'bailiff policy status', EXIT.badConfiguration);
  }
  if (runtime.missingHooks.length > 0) {
    add('warn', `its kernel lacks hooks of runtime policies: ${runtime.missingHooks.map(reportedName).join(', ')}`, '');
  }
  for (const [name, total] of Object.entries(runtime.losses)) {
    const count = recentLoss(status, `runtime-${name}`, total);
    if (count === 0 || EXPECTED_LOSSES.has(name)) continue;
    const { text, remedy } = LOSSES[name] ?? { text: `events of ${reportedName(name)}`, remedy: '' };
    add('warn', `runtime policies: ${text}: ${count} ${lossPeriod(status)}`, remedy);
  }
  return problems;
}
