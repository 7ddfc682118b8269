/**
 * What the schemas' refinements say of several fields at once, as rules that the API server evaluates. By kind
 * and path within `spec` (`rules[]` are the items of a list). A test holds each rule against the refinement that it stands for.
 *
 * Bounds: the server refuses a definition whose rules could cost too much, so a rule looks at fields and never compares all of a list with all;
 * and none is about an integer or string, whose text counts as being as long as a request may be.
 */
import type { ResourceKind } from '../configuration/custom-resources.ts';
import { RULE_KINDS } from '../documents/runtime-rule.ts';
import type { Validation } from './structural.ts';

type ByPath<T> = Readonly<Record<ResourceKind, Readonly<Record<string, T>>>>;

const has = (...fields: string[]) => fields.map((field) => `has(self.${field})`).join(' || ');
/** Nothing is said by an `anonymous: false`. */
const SOMEWHERE = 'name paths, directories or suffixes';
const RECURSIVE = {
  rule: '!has(self.recursive) || has(self.directories)',
  message: 'recursive is said of directories, and none is named',
};
const CLUSTER_ONLY = ['unknown', 'tunnelPorts', 'allowedPrefixes', 'quarantine', 'unguardedNodes'];
const COUNTED = "self.type == 'event_count' || self.type == 'value_count'";

/** `allow` rules of a class whose posture lets everything pass do nothing. */
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
        message: `only a policy without a target, for the whole cluster, says ${CLUSTER_ONLY.join(', ')}`,
      },
    ],
  },
  RuntimePolicy: {
    '': [
      {
        rule: "size(self.rules) > 0 || self.defaultPosture.file != 'allow' || self.defaultPosture.execute != 'allow' || self.defaultPosture.network != 'allow' || self.defaultPosture.capability != 'allow' || self.defaultPosture.kernel != 'allow'",
        message: 'the policy says nothing: add a rule or a defaultPosture',
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
        rule: `[${RULE_KINDS.map((kind) => `has(self.${kind})`).join(', ')}].filter(said, said).size() == 1`,
        message: `a rule has exactly one of ${RULE_KINDS.join(', ')}`,
      },
      {
        rule: "!(has(self.drift) && self.action == 'allow')",
        message: 'drift is denied or audited by its own rules only, so nothing asks an allow rule for it',
      },
    ],
    'rules[].file': [
      { rule: has('paths', 'directories', 'suffixes'), message: SOMEWHERE },
      RECURSIVE,
      {
        rule: '!(has(self.operations) && has(self.readOnly))',
        message: 'readOnly stands instead of operations, not with them',
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
        rule: "!has(self.expires) || self.action in ['label', 'quarantine', 'cordon']",
        message: 'only label, quarantine and cordon can be undone, so only they expire',
      },
      {
        rule: "!has(self.gracePeriodSeconds) || self.action in ['evict', 'delete']",
        message: 'only evict and delete have a grace period',
      },
    ],
  },
};

/** Lists whose items are known by a field: two of one name are refused, and several writers of a list do not overwrite each other. */
export const CRD_LIST_KEYS: ByPath<string> = {
  SpoofPolicy: {},
  RuntimePolicy: { rules: 'name' },
  CorrelationRule: {},
  ResponsePolicy: { steps: 'action' },
};

/** By kind; fields describe themselves in their schemas. */
export const CRD_DESCRIPTIONS: Readonly<Record<ResourceKind, string>> = {
  SpoofPolicy:
    'How strictly packets are judged, for the cluster, a namespace or a workload. What is not said is inherited from what is wider.',
  RuntimePolicy:
    'What programs of selected containers may do, decided in the kernel before it happens. It has no namespace: name namespaces in its selector.',
  CorrelationRule:
    'When violations become a verdict, in the words of Sigma correlations. One of the name of a built-in rule takes its place.',
  ResponsePolicy: 'Which verdicts are answered, by which actions, under which guards.',
};
