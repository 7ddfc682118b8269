/**
 * Runtime policy: what the programs of selected containers may do, decided by the LSM programs before it happens.
 *
 * A policy names its pods, a mode, a posture for each class of operations and up to 256 rules of one kind each. Contradictions within a
 * policy are refused here (runtime-check.ts); between policies, denial wins (libs/runtime, merge.ts).
 */

import { LEVELS, POSTURES, RUNTIME_MODES } from '@bailiff/vocabulary';
import * as z from 'zod';
import { checkRules } from './runtime-check.ts';
import { runtimeRule } from './runtime-rule.ts';
import { kubeName, labelKey, labels, labelValue, revision } from './units.ts';

/** Rules of one policy: the cells of a pod's counters are given out for whole sets of policies. */
export const MAX_POLICY_RULES = 256;

const expression = z
  .strictObject({
    key: labelKey.describe('label of the pod'),
    operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']).describe('as in Kubernetes'),
    values: z.array(labelValue).min(1).max(64).optional().describe('for In and NotIn'),
  })
  .superRefine((e, ctx) => {
    const wants = e.operator === 'In' || e.operator === 'NotIn';
    if (wants !== (e.values !== undefined))
      ctx.addIssue({ code: 'custom', path: ['values'], message: `${e.operator} ${wants ? 'needs' : 'has no'} values` });
  });

/** Which containers; what is not said selects all. All that is said must hold. */
export const runtimeSelector = z.strictObject({
  namespaces: z.array(kubeName).min(1).max(256).optional().describe('pods in these namespaces'),
  excludeNamespaces: z.array(kubeName).min(1).max(256).optional().describe('but not in these'),
  podLabels: z
    .strictObject({
      matchLabels: labels().optional().describe('each label has this value'),
      matchExpressions: z.array(expression).max(32).optional().describe('each expression holds'),
    })
    .optional()
    .describe('pods with these labels'),
  containers: z
    .array(kubeName)
    .min(1)
    .max(64)
    .optional()
    .describe('names of containers, init and ephemeral ones too; absent: any'),
});
export type RuntimeSelector = z.infer<typeof runtimeSelector>;

const posture = (what: string) =>
  z.enum(POSTURES).default('allow').describe(`${what}: what happens to those that no allow rule names`);
const NO_POSTURE = { file: 'allow', execute: 'allow', network: 'allow', capability: 'allow', kernel: 'allow' } as const;

export const runtimePolicy = z
  .strictObject({
    revision,
    enabled: z.boolean().default(true).describe('false: as if the policy were not there'),
    description: z.string().max(1024).default('').describe('what it protects from'),
    selector: runtimeSelector.default({}).describe('which containers it holds for; absent: all'),
    mode: z
      .enum(RUNTIME_MODES)
      .default('audit')
      .describe('enforce denies; audit counts what would be denied and lets it pass'),
    severity: z.enum(LEVELS).default('medium').describe('of its violations; correlation rules may ask for it'),
    tags: z
      .array(z.string().min(1).max(64))
      .max(32)
      .default([])
      .describe('such as "attack.t1611"; handed on to readers'),
    message: z.string().max(512).default('').describe('what a violation of this policy says to who reads it'),
    defaultPosture: z
      .strictObject({
        file: posture('files and Unix sockets'),
        execute: posture('programs and libraries'),
        network: posture('addresses and sockets'),
        capability: posture('capabilities'),
        kernel: posture('mounts and the kernel'),
      })
      .default(NO_POSTURE)
      .describe('per class, what happens to an operation that no allow rule names'),
    onUnresolvable: z
      .enum(['audit', 'block'])
      .default('block')
      .describe('a path deeper than the kernel program walks, in a class of which this policy says something'),
    rules: z
      .array(runtimeRule)
      .max(MAX_POLICY_RULES)
      .default([])
      .describe('each of one kind; a denial wins over allow'),
  })
  .superRefine(checkRules);
export type RuntimePolicy = z.infer<typeof runtimePolicy>;
/** As it is written: defaults may be left out. */
export type RuntimePolicyInput = z.input<typeof runtimePolicy>;

/** At namespace scope the key names the namespace. */
export const runtimePolicyScoped = runtimePolicy.superRefine((policy, ctx) => {
  for (const field of ['namespaces', 'excludeNamespaces'] as const) {
    if (policy.selector[field] !== undefined)
      ctx.addIssue({
        code: 'custom',
        path: ['selector', field],
        message: 'a policy of one namespace selects only there: write it at cluster scope',
      });
  }
});
