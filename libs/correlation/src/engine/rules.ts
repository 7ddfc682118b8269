/**
 * Rules as the fold uses them: durations in microseconds, selections as tests, one shape for all four types. Pure.
 *
 * `shape` names what a window's content depends on (what is counted, by which group, over how long). Two versions of a rule with
 * one shape share their windows, so that a new threshold, level or cooldown applies to what was counted already.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { type CorrelationRule, parseDurationMs, type Selection } from '@bailiff/policy';
import type { GroupBy, JudgedPod, JudgedViolation, Level, RuleType } from '@bailiff/schemas';

/** What a selection looks at. */
export type Facts = Pick<JudgedViolation, 'kind' | 'vector' | 'action' | 'state' | 'severity'> & {
  /** Of the sampled operation; empty when none was. */
  operation: string;
  pod: JudgedPod | null;
};

export type ValueField = Extract<CorrelationRule, { type: 'value_count' }>['field'];

export interface CompiledRule {
  readonly name: string;
  readonly type: RuleType;
  readonly level: Level;
  readonly groupBy: GroupBy;
  readonly timespanMicros: number;
  readonly cooldownMicros: number;
  /** Packets, distinct values, or all stages. */
  readonly threshold: number;
  /** One for the count types, two to eight for the temporal ones. */
  readonly stages: readonly Selection[];
  /** Only of value_count. */
  readonly field: ValueField | null;
  readonly description: string;
  readonly tags: readonly string[];
  readonly shape: string;
}

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

/** Bit i: the violation matches stage i. 0: the rule does not look at it. */
export function matchedStages(rule: CompiledRule, facts: Facts): number {
  let matched = 0;
  for (let i = 0; i < rule.stages.length; i++) if (selects(rule.stages[i] as Selection, facts)) matched |= 1 << i;
  return matched;
}

/** What is not said matches all. A violation without a pod is in no namespace. */
export function selects(selection: Selection, facts: Facts): boolean {
  const namespace = facts.pod?.namespace ?? '';
  const within = (list: readonly string[] | undefined, value: string) => list === undefined || list.includes(value);
  return (
    within(selection.kinds, facts.kind) &&
    within(selection.vectors, facts.vector) &&
    within(selection.actions, facts.action) &&
    within(selection.states, facts.state) &&
    selectsPolicy(selection, facts) &&
    within(selection.namespaces, namespace) &&
    !(selection.excludeNamespaces ?? []).includes(namespace)
  );
}

/** What is said of runtime policies; `<policy>/<rule>` is their vector. */
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

/** Which group of the rule a violation falls into; null when it has none (no pod known). A bare pod is its own owner. */
export function groupKeyOf(groupBy: GroupBy, nodeName: string, pod: JudgedPod | null): string | null {
  if (groupBy === 'node') return nodeName;
  if (pod === null) return null;
  if (groupBy === 'namespace') return pod.namespace;
  return groupBy === 'owner' && pod.ownerUid !== '' ? pod.ownerUid : pod.uid;
}

/** Of a longer value its digest is counted: a window only needs to know whether it saw the value, and keeps up to 256. */
const MAX_VALUE_CHARS = 64;

/** The value a value_count rule counts; empty when the violation has none. */
export function countedValue(field: ValueField, violation: JudgedViolation): string {
  const value = rawValue(field, violation);
  return value.length <= MAX_VALUE_CHARS ? value : createHash('sha256').update(value).digest('base64');
}

function rawValue(field: ValueField, violation: JudgedViolation): string {
  if (field === 'vector') return violation.vector;
  if (field === 'policyRule') return violation.kind === 'lsm' ? violation.vector : '';
  if (field === 'operation' || field === 'executable' || field === 'subject') return violation.operation?.[field] ?? '';
  const sample = violation.sample;
  if (sample === null) return '';
  if (field === 'destinationPort') return sample.destinationPort === 0 ? '' : String(sample.destinationPort);
  return sample[field];
}

function micros(duration: string): number {
  const ms = parseDurationMs(duration);
  assert(ms !== null, `a checked rule has durations: ${duration}`);
  return ms * 1000;
}

// Order of writing does not change what is selected.
function sorted(selection: Selection): unknown {
  return Object.entries(selection)
    .map(([key, values]) => [key, [...(values as readonly string[])].sort()])
    .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
}
