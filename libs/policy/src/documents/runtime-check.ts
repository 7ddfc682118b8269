/**
 * Checks between the rules of a policy: contradictions, duplicates, allow rules without effect,
 * rules without a kind.
 *
 * These are errors and not warnings, because a security policy that does less than it states is
 * worse than none. Pure.
 */

import type { Posture, PostureClass } from '@bailiff/vocabulary';
import type * as z from 'zod';
import { kindOf, POSTURE_OF, RULE_KINDS, type RuleKind, type RuntimeRule } from './runtime-rule.ts';
import { issue } from './units.ts';

/** Part of a RuntimePolicy that is checked here. */
export interface PolicyRules {
  readonly rules: readonly RuntimeRule[];
  readonly defaultPosture: Readonly<Record<PostureClass, Posture>>;
}

/** Text that is equal for rules with the same match: keys and lists are sorted. */
function matchText(rule: RuntimeRule, kind: RuleKind): string {
  const canonical = (value: unknown): unknown => {
    if (Array.isArray(value))
      return value
        .map(canonical)
        .map((v) => JSON.stringify(v))
        .sort();
    if (value === null || typeof value !== 'object') return value;
    return Object.entries(value)
      .filter(([, v]) => v !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([k, v]) => [k, canonical(v)]);
  };
  return JSON.stringify([kind, canonical(rule[kind]), canonical(rule.fromSource ?? null)]);
}

function checkKind(rule: RuntimeRule, index: number, ctx: z.core.$RefinementCtx): RuleKind | null {
  const kind = kindOf(rule);
  if (kind !== null) return kind;
  const kinds = RULE_KINDS.filter((k) => rule[k] !== undefined);
  if (kinds.length === 0) issue(ctx, ['rules', index], `has no match: add one of ${RULE_KINDS.join(', ')}`);
  for (const extra of kinds.slice(1))
    issue(ctx, ['rules', index, extra], `a rule has one kind, and this one has ${kinds[0]} already: make it two rules`);
  return null;
}

const DENIES: ReadonlySet<string> = new Set(['block', 'kill']);

function checkAllow(policy: PolicyRules, index: number, kind: RuleKind, ctx: z.core.$RefinementCtx): void {
  const at = ['rules', index, 'action'];
  const posture = POSTURE_OF[kind];
  if (posture === null) {
    issue(ctx, at, 'drift is denied or audited by its own rules only, so an allow rule has no effect');
    return;
  }
  if (policy.defaultPosture[posture] !== 'allow') return;
  const deniesPath = (rule: RuntimeRule) =>
    DENIES.has(rule.action) && (rule.file ?? rule.execute ?? rule.unix) !== undefined;
  if (kind === 'mount' && policy.rules.some(deniesPath)) return;
  issue(
    ctx,
    at,
    `allow has no effect here: an operation that no rule denies is allowed already, and a denial overrides allow. ` +
      `Set defaultPosture.${posture} to audit or block, or name what is denied more narrowly`,
  );
}

/** Refinement of `runtimePolicy`. */
export function checkRules(policy: PolicyRules, ctx: z.core.$RefinementCtx): void {
  const names = new Map<string, number>();
  const matches = new Map<string, { index: number; action: string }[]>();
  policy.rules.forEach((rule, index) => {
    const first = names.get(rule.name);
    if (first !== undefined) issue(ctx, ['rules', index, 'name'], `rules.${first} has this name already`);
    else names.set(rule.name, index);
    const kind = checkKind(rule, index, ctx);
    if (kind === null) return;
    if (rule.action === 'allow') checkAllow(policy, index, kind, ctx);
    const text = matchText(rule, kind);
    for (const other of matches.get(text) ?? []) {
      const pair = [other.action, rule.action];
      if (other.action === rule.action) issue(ctx, ['rules', index], `repeats rules.${other.index}`);
      else if (pair.includes('allow') && pair.some((action) => DENIES.has(action)))
        issue(
          ctx,
          ['rules', index, 'action'],
          `contradicts rules.${other.index}, which matches the same: the denial would always win`,
        );
      else if (pair.every((action) => DENIES.has(action)))
        issue(ctx, ['rules', index, 'action'], `rules.${other.index} matches the same: kill always wins over block`);
    }
    matches.set(text, [...(matches.get(text) ?? []), { index, action: rule.action }]);
  });
  if (policy.rules.length === 0 && Object.values(policy.defaultPosture).every((posture) => posture === 'allow'))
    issue(ctx, ['rules'], 'the policy has no effect: add a rule or a defaultPosture');
}
