/**
 * Merges all policies of a container to one policy set.
 *
 * Invariants: pure and deterministic. Rules are in the order of the policies' keys, then of their
 * rules, whatever the order of the input. A policy in audit mode denies nothing: block and kill
 * become audit, allow satisfies only audited postures, and a blocking posture audits. No policy
 * weakens another: all denials hold, and the strictest posture of each class holds. Allow rules of
 * all policies count together.
 */

import { POSTURE_OF, type RuleKind, type RuntimePolicy, type RuntimeRule } from '@bailiff/policy';
import { POSTURE_CLASSES, type PostureClass, type RuleAction } from '@bailiff/vocabulary';
import { PolicyError } from '../sets/errors.ts';
import {
  digestOf,
  MAX_SET_RULES,
  type PolicySet,
  type PostureIR,
  type PostureOwner,
  type RuleIR,
} from '../sets/set.ts';
import { expandRule } from './expand.ts';
import type { NamedPolicy } from './select.ts';

function actionOf(rule: RuntimeRule, policy: RuntimePolicy): RuleAction {
  if (policy.mode === 'enforce') return rule.action;
  return rule.action === 'allow' ? 'allow-audit' : 'audit';
}

function ownerOf({ key, name, policy }: NamedPolicy): PostureOwner {
  const { revision, severity, tags, message } = policy;
  return { policy: key, policyName: name, revision, severity, tags, message };
}

/**
 * Rules of each policy, expanded once: a tenant can choose by labels a different combination of
 * policies for each pod, and copies of the matches in each of these sets would fill the memory.
 */
const expanded = new WeakMap<NamedPolicy, readonly Omit<RuleIR, 'index'>[]>();

function rulesOf(named: NamedPolicy, firstIndex: number): RuleIR[] {
  let rules = expanded.get(named);
  if (!rules) {
    rules = named.policy.rules.map((rule, index) => ({
      ...ownerOf(named),
      name: rule.name,
      action: actionOf(rule, named.policy),
      source: rule.fromSource ?? null,
      matches: expandRule(rule, index),
    }));
    expanded.set(named, rules);
  }
  return rules.map((rule, index) => ({ index: firstIndex + index, ...rule }));
}

function posturesOf(policies: readonly NamedPolicy[]): Record<PostureClass, PostureIR> {
  const of = (name: PostureClass): PostureIR => {
    const first = (wanted: 'block' | 'audit') => {
      const found = policies.find(({ policy }) => {
        const posture = policy.defaultPosture[name];
        return wanted === (posture === 'block' && policy.mode === 'audit' ? 'audit' : posture);
      });
      return found === undefined ? null : ownerOf(found);
    };
    return { block: first('block'), audit: first('audit') };
  };
  return Object.fromEntries(POSTURE_CLASSES.map((name) => [name, of(name)])) as Record<PostureClass, PostureIR>;
}

const PATH_KINDS: readonly RuleKind[] = ['file', 'execute', 'unix'];
const ADDRESS_KINDS: readonly RuleKind[] = ['network'];

/**
 * True if a rule or posture of one of the kinds decides. Other policies do not decide about paths
 * or addresses that cannot be resolved.
 */
function decidesBy(kinds: readonly RuleKind[], policy: RuntimePolicy): boolean {
  const byPosture = kinds.some((kind) => policy.defaultPosture[POSTURE_OF[kind] as PostureClass] !== 'allow');
  return byPosture || policy.rules.some((rule) => kinds.some((kind) => rule[kind] !== undefined));
}

function unresolvableOf(kinds: readonly RuleKind[], policies: readonly NamedPolicy[]): 'audit' | 'block' {
  const blocks = ({ policy }: NamedPolicy) =>
    policy.mode === 'enforce' && policy.onUnresolvable === 'block' && decidesBy(kinds, policy);
  return policies.some(blocks) ? 'block' : 'audit';
}

/** Merges policies that are known to select one container. @throws PolicyError POLICY_LIMIT */
export function mergeSelected(policies: readonly NamedPolicy[]): PolicySet {
  const ordered = [...policies].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  const rules: RuleIR[] = [];
  for (const named of ordered) {
    rules.push(...rulesOf(named, rules.length));
    if (rules.length > MAX_SET_RULES)
      throw new PolicyError('POLICY_LIMIT', `more than ${MAX_SET_RULES} rules hold for one container`, [
        { policy: named.key, field: 'rules' },
      ]);
  }
  const content = {
    rules,
    postures: posturesOf(ordered),
    onUnresolvable: unresolvableOf(PATH_KINDS, ordered),
    onUnresolvableAddress: unresolvableOf(ADDRESS_KINDS, ordered),
  };
  return { digest: digestOf(content), ...content };
}
