/**
 * Compiles correlation rules (durations in microseconds, one structure for all four types) and
 * matches violations against them. Pure.
 *
 * `shape` identifies what the content of a window depends on: counted value, group, timespan. Two
 * versions of a rule with the same shape share their windows, so a new threshold, level or cooldown
 * applies to violations that were counted before the edit.
 */
import assert from 'node:assert/strict';
import {
  type CorrelationRule,
  NAMED_ONLY_VECTORS,
  parseDurationMs,
  type Selection,
  USERSPACE_VECTORS,
} from '@bailiff/policy';
import type { GroupBy, ProjectedPod, ProjectedViolation } from '@bailiff/schemas';
import type { CompiledRule } from '../windows/compiled-rule.ts';

/** Fields of a violation that a selection matches. */
export type Facts = Pick<ProjectedViolation, 'kind' | 'vector' | 'action' | 'state' | 'severity'> & {
  /** Operation of the sample; empty without one. */
  operation: string;
  pod: ProjectedPod | null;
};

export function compileRule(name: string, rule: CorrelationRule): CompiledRule {
  const temporal = rule.type === 'temporal' || rule.type === 'temporal_ordered';
  const stages = temporal ? rule.rules.map((stage) => stage.selection) : [rule.selection];
  const field = rule.type === 'value_count' ? rule.field : null;
  const timespanMicros = micros(rule.timespan);
  return {
    name,
    type: rule.type,
    level: rule.level,
    groupBy: rule['group-by'],
    timespanMicros,
    cooldownMicros: micros(rule.cooldown),
    threshold: temporal ? stages.length : rule.condition.gte,
    stages,
    field,
    description: rule.description,
    tags: rule.tags,
    shape: JSON.stringify([rule.type, rule['group-by'], timespanMicros, field, stages.map(sorted)]),
  };
}

/** Bit i: the violation matches stage i. 0: the rule ignores the violation. */
export function matchedStages(rule: CompiledRule, facts: Facts): number {
  let matched = 0;
  for (let i = 0; i < rule.stages.length; i++) if (selects(rule.stages[i] as Selection, facts)) matched |= 1 << i;
  return matched;
}

/** What user space finds has no mode, so no rule has to ask for its action. */
const FOUND_BY_USER_SPACE: ReadonlySet<string> = new Set(USERSPACE_VECTORS);

/** Whether the violation passed because of a mode: of its vector, its policy, or a disarming. */
export const isAudited = ({ action, vector }: Pick<Facts, 'action' | 'vector'>): boolean =>
  action === 'audit' && !FOUND_BY_USER_SPACE.has(vector);

/**
 * Without `actions`, audited violations are not selected; without `vectors`, those that rules have to
 * name. Any other absent field matches everything. A violation without a pod has no namespace.
 */
export function selects(selection: Selection, facts: Facts): boolean {
  const namespace = facts.pod?.namespace ?? '';
  const within = (list: readonly string[] | undefined, value: string) => list === undefined || list.includes(value);
  return (
    within(selection.kinds, facts.kind) &&
    (selection.vectors?.some((one) => one === facts.vector) ?? !NAMED_ONLY_VECTORS.has(facts.vector)) &&
    (selection.actions?.includes(facts.action) ?? !isAudited(facts)) &&
    within(selection.states, facts.state) &&
    selectsPolicy(selection, facts) &&
    within(selection.namespaces, namespace) &&
    !(selection.excludeNamespaces ?? []).includes(namespace)
  );
}

/** Matches runtime policies, whose vector is `<policy>/<rule>`. */
function selectsPolicy({ policies, rules, operations, severities }: Selection, facts: Facts): boolean {
  if (operations !== undefined && !operations.some((one) => one === facts.operation)) return false;
  if (severities !== undefined && !severities.some((one) => one === facts.severity)) return false;
  if (policies === undefined && rules === undefined) return true;
  const slash = facts.kind === 'lsm' ? facts.vector.indexOf('/') : -1;
  if (slash < 0) return false;
  return (
    (policies === undefined || policies.includes(facts.vector.slice(0, slash))) &&
    (rules === undefined || rules.includes(facts.vector.slice(slash + 1)))
  );
}

/**
 * The group of a violation; null if it has none because its pod is unknown. A pod without owner is
 * its own owner. An owner is that of a namespace: a tenant can write the UID of another namespace's
 * workload above its own ReplicaSet, and the API server keeps it there if the kind is unknown.
 */
export function groupKeyOf(groupBy: GroupBy, nodeName: string, pod: ProjectedPod | null): string | null {
  if (groupBy === 'node') return nodeName;
  if (pod === null) return null;
  if (groupBy === 'namespace') return pod.namespace;
  return groupBy === 'owner' && pod.ownerUid !== '' ? `${pod.namespace}/${pod.ownerUid}` : pod.uid;
}

function micros(duration: string): number {
  const ms = parseDurationMs(duration);
  assert(ms !== null, `a validated rule has valid durations: ${duration}`);
  return ms * 1000;
}

// The order of keys and values does not change the selection.
function sorted(selection: Selection): unknown {
  return Object.entries(selection)
    .map(([key, values]) => [key, [...(values as readonly string[])].sort()])
    .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
}
