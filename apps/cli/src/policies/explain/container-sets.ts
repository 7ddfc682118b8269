/** Merges a pod's policies into one set per group of containers. Pure. */

import type { PlacedPod } from '@bailiff/insight';
import { POSTURE_CLASSES } from '@bailiff/policy';
import { podName } from '@bailiff/response';
import {
  containersNamed,
  describeRule,
  explain,
  mergeSelected,
  type NamedPolicy,
  type Operation,
  type PolicySet,
  selects,
  type TaskFacts,
} from '@bailiff/runtime';
import { type Conflict, conflictsOf } from './conflicts.ts';

/** Containers with equal policies. */
export interface ExplainedSet {
  /** Null stands for containers whose name is not known yet. */
  containers: (string | null)[];
  policies: NamedPolicy[];
  /** Null without policies. */
  set: PolicySet | null;
  conflicts: Conflict[];
  conflictsComplete: boolean;
}

/** Ordered by the first container of each set. @throws PolicyError POLICY_LIMIT */
export function explainedSets(policies: readonly NamedPolicy[], pod: PlacedPod): ExplainedSet[] {
  const names = new Set([...pod.containers.map(({ name }) => name), ...containersNamed(policies, pod)]);
  const groups = new Map<string, { containers: (string | null)[]; policies: NamedPolicy[] }>();
  for (const container of [...names, null]) {
    const selected = policies.filter((named) => selects(named, pod, container));
    const key = selected.map((named) => named.key).join(' ');
    const group = groups.get(key) ?? { containers: [], policies: selected };
    group.containers.push(container);
    groups.set(key, group);
  }
  return [...groups.values()].map((group) => {
    if (group.policies.length === 0) return { ...group, set: null, conflicts: [], conflictsComplete: true };
    const set = mergeSelected(group.policies);
    const { conflicts, complete } = conflictsOf(set);
    return { ...group, set, conflicts, conflictsComplete: complete };
  });
}

/** `every container`, `app, side`, `containers not yet known by name`. */
export function containersText({ containers }: ExplainedSet, groups: number): string {
  if (groups === 1) return 'every container';
  const words = containers.map((name) => name ?? 'containers of unknown name');
  return words.join(', ');
}

/** Lists of operations with a common name. */
type OperationGroups = readonly (readonly [string, readonly string[]])[];

const PROTOCOLS: Readonly<Record<string, string>> = {
  ' protocol 6': ' tcp',
  ' protocol 17': ' udp',
  ' protocol any': '',
};

/**
 * Matches in short form, at most `max`: `change *release_agent, *notify_on_release; read
 * /etc/shadow; and 3 more`.
 */
export function shortMatches(matches: readonly string[], words: OperationGroups, max: number): string {
  const groups = new Map<string, string[]>();
  for (const text of matches.slice(0, max)) {
    const space = text.indexOf(' ');
    const ops = text.slice(0, space).split(',');
    const same = words.find(([, list]) => list.length === ops.length && list.every((op) => ops.includes(op)));
    const word = same?.[0] ?? ops.join(',');
    const what = text
      .slice(space + 1)
      .replace(' ports 0-65535', '')
      .replace(/ protocol (6|17|any)$/, (all) => PROTOCOLS[all] as string);
    groups.set(word, [...(groups.get(word) ?? []), what]);
  }
  const shown = [...groups].map(([word, what]) => `${word} ${what.join(', ')}`);
  const more = matches.length - max;
  return [...shown, ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
}

function setJson({ containers, policies, set, conflicts, conflictsComplete }: ExplainedSet) {
  return {
    containers,
    policies: policies.map(({ key, policy: { revision, mode, severity } }) => ({ key, revision, mode, severity })),
    digest: set?.digest ?? null,
    postures: set && Object.fromEntries(POSTURE_CLASSES.map((name) => [name, postureJson(set, name)])),
    onUnresolvable: set?.onUnresolvable ?? null,
    rules:
      set?.rules.map((rule) => {
        const { policy, revision, severity } = rule;
        return { policy, revision, severity, ...describeRule(rule) };
      }) ?? [],
    conflicts,
    conflictsComplete,
  };
}

function postureJson(set: PolicySet, name: (typeof POSTURE_CLASSES)[number]) {
  const { block, audit } = set.postures[name];
  return { posture: block ? 'block' : audit ? 'audit' : 'allow', by: (block ?? audit)?.policy ?? null };
}

/** The decision about an operation, per group of containers. */
export function decisionsOf(sets: readonly ExplainedSet[], request: { operation: Operation; task: TaskFacts }) {
  return sets.map(({ containers, set }) => {
    if (!set)
      return {
        containers,
        outcome: 'pass' as const,
        by: 'nothing' as const,
        decidedBy: null,
        text: 'passes: no policy applies',
        matched: [],
        counted: 0,
      };
    const { outcome, by, decidedBy, text, matched, counted } = explain(set, request.operation, request.task);
    const rules = matched.map((rule) => ({
      rule: `${rule.policyName}/${rule.name}`,
      action: rule.action,
      policy: rule.policy,
    }));
    return { containers, outcome, by, decidedBy, text, matched: rules, counted: counted.length };
  });
}

export function explainedJson(
  pod: PlacedPod,
  sets: readonly ExplainedSet[],
  request: { operation: Operation; task: TaskFacts } | null,
) {
  const { uid, namespace, name, nodeName, labels } = pod;
  return {
    pod: { uid, namespace, name, nodeName, labels },
    sets: sets.map(setJson),
    ...(request ? { decisions: decisionsOf(sets, request) } : {}),
  };
}

export const podTitle = (pod: PlacedPod) => `${podName(pod)} on ${pod.nodeName}`;
