/**
 * Correlation rules as Sigma documents: one for each selection, and one that correlates them. Pure.
 *
 * The attribute `bailiff` has what Sigma has no word for: cooldown, and rules that are off.
 */
import { type CorrelationRule, parseDurationMs, type Selection } from '@bailiff/policy';
import {
  auditedMaps,
  COUNTED_FIELDS,
  GROUP_FIELDS,
  isOfOperations,
  LIST_FIELDS,
  type ListName,
  LOG_SOURCE,
  NAMED_ONLY,
} from './fields.ts';
import type { SigmaProblem } from './problem.ts';

export interface SigmaDocuments {
  documents: Record<string, unknown>[];
  /** What Sigma cannot express; then the rule has no documents. */
  problems: SigmaProblem[];
}

const plain = (values: readonly string[]) => (values.length === 1 ? values[0] : [...values]);

/** The detection that matches what a selection matches. */
export function detectionOf(selection: Selection): Record<string, unknown> {
  const { policies, rules, vectors, actions, excludeNamespaces } = selection;
  const lists = Object.entries(LIST_FIELDS).flatMap(([name, field]) => {
    const values = selection[name as ListName];
    return values === undefined ? [] : [[field, plain(values)] as const];
  });
  const chosen = Object.fromEntries([
    ...lists,
    ...(policies ? [['vector|startswith', plain(policies.map((name) => `${name}/`))]] : []),
    ...(rules ? [['vector|endswith', plain(rules.map((name) => `/${name}`))]] : []),
  ]);
  const audited = actions === undefined ? auditedMaps(selection) : [];
  const shown = audited.map((map) =>
    Object.fromEntries(Object.entries(map).map(([field, values]) => [field, plain(values)])),
  );
  const filters = {
    ...(excludeNamespaces ? { filter_namespaces: { 'pod.namespace': plain(excludeNamespaces) } } : {}),
    ...(vectors === undefined && !isOfOperations(selection) ? { filter_named_only: { vector: [...NAMED_ONLY] } } : {}),
    ...(shown.length > 0 ? { filter_audited: shown.length === 1 ? shown[0] : shown } : {}),
  };
  return {
    selection: Object.keys(chosen).length > 0 ? chosen : { kind: ['spoof', 'lsm'] },
    ...filters,
    condition: Object.keys(filters).length > 0 ? 'selection and not 1 of filter_*' : 'selection',
  };
}

/** `90s` for `90s` and `90000ms`; null for parts of a second. */
function timespanOf(text: string): string | null {
  if (!text.endsWith('ms')) return text;
  const ms = parseDurationMs(text) as number;
  return ms % 1_000 === 0 ? `${ms / 1_000}s` : null;
}

function stagesOf(name: string, rule: CorrelationRule): { name: string; selection: Selection }[] {
  if (rule.type === 'temporal' || rule.type === 'temporal_ordered') {
    return rule.rules.map((stage) => ({ name: `${name}.${stage.name}`, selection: stage.selection }));
  }
  // A packet has no value of this field, so it is not counted.
  const isPolicyRule = rule.type === 'value_count' && rule.field === 'policyRule' && !isOfOperations(rule.selection);
  const selection: Selection = isPolicyRule ? { ...rule.selection, kinds: ['lsm'] } : rule.selection;
  return [{ name: `${name}.events`, selection }];
}

function conditionOf(rule: CorrelationRule): Record<string, unknown> {
  if (rule.type === 'event_count') return { gte: rule.condition.gte };
  if (rule.type !== 'value_count') return { gte: rule.rules.length };
  return { field: rule.field === 'policyRule' ? 'vector' : COUNTED_FIELDS[rule.field], gte: rule.condition.gte };
}

/** The documents of one rule, in the order in which they refer to each other. */
export function toSigma(name: string, rule: CorrelationRule): SigmaDocuments {
  const timespan = timespanOf(rule.timespan);
  if (timespan === null) {
    return {
      documents: [],
      problems: [{ path: `${name}: timespan`, message: `Sigma has no parts of a second: ${rule.timespan}` }],
    };
  }
  const stages = stagesOf(name, rule);
  const bases = stages.map((stage) => ({
    title: `Bailiff ${stage.name}`,
    name: stage.name,
    logsource: LOG_SOURCE,
    detection: detectionOf(stage.selection),
  }));
  const correlation = {
    title: `Bailiff ${name}`,
    name,
    ...(rule.description === '' ? {} : { description: rule.description }),
    ...(rule.tags.length > 0 ? { tags: [...rule.tags] } : {}),
    correlation: {
      type: rule.type,
      rules: stages.map((stage) => stage.name),
      'group-by': [GROUP_FIELDS[rule['group-by']]],
      timespan,
      condition: conditionOf(rule),
    },
    level: rule.level,
    bailiff: { cooldown: rule.cooldown, ...(rule.enabled ? {} : { enabled: false }) },
  };
  return { documents: [...bases, correlation], problems: [] };
}
