/**
 * Runtime policies: what programs of the selected containers may do, enforced by the LSM programs.
 *
 * A policy selects pods. It has a mode, a posture per class of operations, and up to 256 rules.
 * Each rule has one kind. Contradictions within a policy are refused here (runtime-check.ts).
 * Between policies, a denial wins (merge.ts of libs/runtime).
 */

import { LEVELS, POSTURES, RUNTIME_MODES } from '@bailiff/vocabulary';
import * as z from 'zod';
import { checkRules } from './runtime-check.ts';
import { runtimeRule } from './runtime-rule.ts';
import { issue, kubeName, labelKey, labels, labelValue, revision, someOf } from './units.ts';

/** Rules of one policy. Counter cells are allocated for whole sets of policies. */
export const MAX_POLICY_RULES = 256;

const expression = z
  .strictObject({
    key: labelKey.describe('label of the pod'),
    operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']).describe('as in Kubernetes'),
    values: someOf(labelValue).describe('for In and NotIn'),
  })
  .superRefine((e, ctx) => {
    const wants = e.operator === 'In' || e.operator === 'NotIn';
    if (wants !== (e.values !== undefined))
      issue(ctx, ['values'], `${e.operator} ${wants ? 'needs' : 'has no'} values`);
  });

/** Containers that a policy selects. A missing field selects all; all given fields must match. */
export const runtimeSelector = z.strictObject({
  namespaces: someOf(kubeName, 256).describe('pods in these namespaces'),
  excludeNamespaces: someOf(kubeName, 256).describe('but not in these'),
  podLabels: z
    .strictObject({
      matchLabels: labels().optional().describe('each label has this value'),
      matchExpressions: z.array(expression).max(32).optional().describe('each expression holds'),
    })
    .optional()
    .describe('pods with these labels'),
  containers: someOf(kubeName).describe('names of containers, init and ephemeral ones too; absent: any'),
});
export type RuntimeSelector = z.infer<typeof runtimeSelector>;

const posture = (what: string) =>
  z.enum(POSTURES).default('allow').describe(`${what}: action for those without a matching allow rule`);
const NO_POSTURE = { file: 'allow', execute: 'allow', network: 'allow', capability: 'allow', kernel: 'allow' } as const;

export const runtimePolicy = z
  .strictObject({
    revision,
    enabled: z.boolean().default(true).describe('false: the policy is ignored'),
    description: z.string().max(1024).default('').describe('what the policy protects against'),
    selector: runtimeSelector.default({}).describe('containers that the policy applies to; absent: all'),
    mode: z
      .enum(RUNTIME_MODES)
      .default('audit')
      .describe('enforce denies; audit counts what would be denied and lets it pass'),
    severity: z.enum(LEVELS).default('medium').describe('of its violations; correlation rules can select by it'),
    tags: z
      .array(z.string().min(1).max(64))
      .max(32)
      .default([])
      .describe('such as "attack.t1611"; handed on to readers'),
    message: z.string().max(512).default('').describe('message of its violations'),
    defaultPosture: z
      .strictObject({
        file: posture('files and Unix sockets'),
        execute: posture('programs and libraries'),
        network: posture('addresses and sockets'),
        capability: posture('capabilities'),
        kernel: posture('mounts and the kernel'),
      })
      .default(NO_POSTURE)
      .describe('per class, the action for an operation without a matching allow rule'),
    onUnresolvable: z
      .enum(['audit', 'block'])
      .default('block')
      .describe(
        'action for a path deeper than the kernel resolves, and for an address that no hook sees, in a class that this policy has rules or a posture for',
      ),
    rules: z
      .array(runtimeRule)
      .max(MAX_POLICY_RULES)
      .default([])
      .describe('rules with one kind each; a rule that denies overrides one that allows'),
  })
  .superRefine(checkRules);
export type RuntimePolicy = z.infer<typeof runtimePolicy>;
/** Input type: fields with defaults are optional. */
export type RuntimePolicyInput = z.input<typeof runtimePolicy>;

/** At namespace scope, the key names the namespace. */
export const runtimePolicyScoped = runtimePolicy.superRefine((policy, ctx) => {
  for (const field of ['namespaces', 'excludeNamespaces'] as const) {
    if (policy.selector[field] !== undefined)
      issue(
        ctx,
        ['selector', field],
        'a policy at namespace scope applies only to its own namespace: remove the field, or write the policy at cluster scope',
      );
  }
});
