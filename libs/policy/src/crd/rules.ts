/**
 * Refinements of the schemas over several fields, as validation rules that the API server
 * evaluates. Indexed by kind and by path within `spec` (`rules[]`: the items of a list). A test
 * compares each rule with its refinement.
 *
 * Limits: the server refuses a definition whose rules may cost too much. So a rule checks fields
 * and never compares all items with each other, and no rule is on an integer-or-string, which the
 * server counts as long as a whole request.
 */
import { REMOVING_ACTIONS, UNDOABLE_ACTIONS } from '@bailiff/vocabulary';
import type { ResourceKind } from '../configuration/custom-resources.ts';
import { RULE_KINDS } from '../documents/runtime-rule.ts';
import type { Validation } from './structural.ts';

const removing = [...REMOVING_ACTIONS];
const undoable = [...UNDOABLE_ACTIONS];
/** As a list in CEL. */
const celList = (words: readonly string[]): string => `[${words.map((word) => `'${word}'`).join(', ')}]`;

type ByPath<T> = Readonly<Record<ResourceKind, Readonly<Record<string, T>>>>;

const has = (...fields: string[]) => fields.map((field) => `has(self.${field})`).join(' || ');
/** `anonymous: false` alone is not a subject. */
const SOMEWHERE = 'name paths, directories or suffixes';
const RECURSIVE = {
  rule: '!has(self.recursive) || has(self.directories)',
  message: 'recursive applies to directories, and none is named',
};
const CLUSTER_ONLY = [
  ...['unknown', 'tunnelPorts', 'tunnelNetworks', 'allowedPrefixes', 'allowedMacs', 'allowedTunnels'],
  ...['allowedNeighbours', 'quarantine', 'unguardedNodes'],
];
const COUNTED = "self.type == 'event_count' || self.type == 'value_count'";

/** An `allow` rule of a class with the posture `allow` has no effect. */
function idleAllow(kinds: readonly string[], posture: string, unless = ''): Validation {
  const ofKind = kinds.map((kind) => `has(r.${kind})`).join(' || ');
  const idle = `self.rules.exists(r, r.action == 'allow' && (${ofKind}))`;
  return {
    rule: `self.defaultPosture.${posture} != 'allow' || !${idle}${unless}`,
    message: `an allow rule of ${kinds.join(' or ')} does nothing while defaultPosture.${posture} is allow`,
  };
}
const DENIES_A_PATH =
  " || self.rules.exists(r, r.action in ['block', 'kill'] && (has(r.file) || has(r.execute) || has(r.unix)))";

export const CRD_RULES: ByPath<readonly Validation[]> = {
  SpoofPolicy: {
    '': [
      {
        rule: `!has(self.target) || !(${has(...CLUSTER_ONLY)})`,
        message: `only a policy without a target, for the whole cluster, has ${CLUSTER_ONLY.join(', ')}`,
      },
    ],
  },
  RuntimePolicy: {
    '': [
      {
        rule: "size(self.rules) > 0 || self.defaultPosture.file != 'allow' || self.defaultPosture.execute != 'allow' || self.defaultPosture.network != 'allow' || self.defaultPosture.capability != 'allow' || self.defaultPosture.kernel != 'allow'",
        message: 'the policy has no effect: add a rule or a defaultPosture',
      },
      idleAllow(['file', 'unix'], 'file'),
      idleAllow(['execute'], 'execute'),
      idleAllow(['network', 'socket'], 'network'),
      idleAllow(['capabilities'], 'capability'),
      idleAllow(['kernel'], 'kernel'),
      idleAllow(['mount'], 'kernel', DENIES_A_PATH),
    ],
    'selector.podLabels.matchExpressions[]': [
      {
        rule: "(self.operator in ['In', 'NotIn']) == has(self.values)",
        message: 'In and NotIn need values, Exists and DoesNotExist have none',
      },
    ],
    'rules[]': [
      {
        rule: `[${RULE_KINDS.map((kind) => `has(self.${kind})`).join(', ')}].filter(given, given).size() == 1`,
        message: `a rule has exactly one of ${RULE_KINDS.join(', ')}`,
      },
      {
        rule: "!(has(self.drift) && self.action == 'allow')",
        message: 'drift is denied or audited by its own rules only, so an allow rule has no effect',
      },
    ],
    'rules[].file': [
      { rule: has('paths', 'directories', 'suffixes'), message: SOMEWHERE },
      RECURSIVE,
      {
        rule: '!(has(self.operations) && has(self.readOnly))',
        message: 'readOnly replaces operations; use one of them',
      },
    ],
    'rules[].execute': [
      {
        rule: `${has('paths', 'directories', 'suffixes')} || (has(self.anonymous) && self.anonymous)`,
        message: SOMEWHERE,
      },
      RECURSIVE,
    ],
    'rules[].unix': [{ rule: has('paths', 'directories', 'suffixes', 'abstract'), message: SOMEWHERE }, RECURSIVE],
    'rules[].socket': [
      {
        rule: '!has(self.protocols) || has(self.families)',
        message: 'a protocol means something only within a family',
      },
    ],
  },
  CorrelationRule: {
    '': [
      {
        rule: `(${COUNTED}) == has(self.condition)`,
        message: 'event_count and value_count have a condition, others none',
      },
      { rule: `(${COUNTED}) || !has(self.selection)`, message: 'temporal rules select by their rules' },
      { rule: `(${COUNTED}) != has(self.rules)`, message: 'temporal and temporal_ordered have rules, others none' },
      { rule: "(self.type == 'value_count') == has(self.field)", message: 'value_count has a field, others none' },
      {
        rule: "self.type != 'value_count' || !has(self.condition) || self.condition.gte <= 256",
        message: 'value_count counts up to 256 values',
      },
    ],
  },
  ResponsePolicy: {
    'steps[]': [
      {
        rule: `!has(self.expires) || self.action in ${celList(undoable)}`,
        message: `only ${undoable.slice(0, -1).join(', ')} and ${undoable.at(-1)} can be undone, so only they expire`,
      },
      {
        rule: `!has(self.gracePeriodSeconds) || self.action in ${celList(removing)}`,
        message: `only ${removing.join(' and ')} have a grace period`,
      },
    ],
  },
};

/**
 * Lists whose items have a unique field. Two items of one name are refused, and several writers of
 * a list do not overwrite each other.
 */
export const CRD_LIST_KEYS: ByPath<string> = {
  SpoofPolicy: {},
  RuntimePolicy: { rules: 'name' },
  CorrelationRule: {},
  ResponsePolicy: { steps: 'action' },
};

/** Descriptions of the kinds. Fields have descriptions in their schemas. */
export const CRD_DESCRIPTIONS: Readonly<Record<ResourceKind, string>> = {
  SpoofPolicy:
    'Modes of the packet checks for the cluster, a namespace or a workload. Missing fields are inherited from the wider scope.',
  RuntimePolicy:
    'What programs of the selected containers may do, enforced in the kernel. It is cluster-scoped: select namespaces in its selector.',
  CorrelationRule:
    'When violations become a verdict, in the terms of Sigma correlations. A rule with the name of a built-in rule replaces it.',
  ResponsePolicy: 'Which verdicts get a response, by which actions, under which guards.',
};
