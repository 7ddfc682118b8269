/**
 * Runtime policy: what the programs of selected containers may do, decided by the LSM programs before it happens.
 *
 * A policy names its pods, a mode, a posture for each class of operations and up to 256 rules of one kind each. Contradictions within a
 * policy are refused here (runtime-check.ts); between policies, denial wins (libs/runtime, merge.ts).
 */
import * as z from 'zod';
import { LEVELS } from './correlation.ts';
import { checkRules } from './runtime-check.ts';
import {
  capabilitiesMatch,
  containerPath,
  driftMatch,
  executeMatch,
  fileMatch,
  kernelMatch,
  mountMatch,
  networkMatch,
  socketMatch,
  unixMatch,
} from './runtime-match.ts';
import { POSTURES, RUNTIME_ACTIONS, RUNTIME_MODES } from './runtime-words.ts';
import { kubeName } from './units.ts';

/** Rules of one policy: the cells of a pod's counters are given out for whole sets of policies. */
export const MAX_POLICY_RULES = 256;

const labelKey = z
  .string()
  .max(317)
  .regex(/^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/, {
    error: 'must be a label key, such as "app" or "example.org/tier"',
  });
const labelValue = z
  .string()
  .max(63)
  .regex(/^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/, {
    error: 'must be a label value',
  });

const expression = z
  .strictObject({
    key: labelKey,
    operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
    values: z.array(labelValue).min(1).max(64).optional(),
  })
  .superRefine((e, ctx) => {
    const wants = e.operator === 'In' || e.operator === 'NotIn';
    if (wants !== (e.values !== undefined))
      ctx.addIssue({ code: 'custom', path: ['values'], message: `${e.operator} ${wants ? 'needs' : 'has no'} values` });
  });

/** Which containers; what is not said selects all. All that is said must hold. */
export const runtimeSelector = z.strictObject({
  namespaces: z.array(kubeName).min(1).max(256).optional(),
  excludeNamespaces: z.array(kubeName).min(1).max(256).optional(),
  podLabels: z
    .strictObject({
      matchLabels: z.record(labelKey, labelValue).optional(),
      matchExpressions: z.array(expression).max(32).optional(),
    })
    .optional(),
  /** Names of containers, init and ephemeral ones too. */
  containers: z.array(kubeName).min(1).max(64).optional(),
});
export type RuntimeSelector = z.infer<typeof runtimeSelector>;

const source = z.strictObject({
  path: containerPath,
  /** Also what programs it started, at any depth, whatever they are. */
  children: z.boolean().default(false),
});
export type RuleSource = z.infer<typeof source>;

export const runtimeRule = z.strictObject({
  /** With the policy's name it is the violation's `vector`. */
  name: kubeName.max(63),
  action: z.enum(RUNTIME_ACTIONS),
  description: z.string().max(1024).optional(),
  /** Only operations of these programs; absent: of any. */
  fromSource: z.array(source).min(1).max(16).optional(),
  file: fileMatch.optional(),
  execute: executeMatch.optional(),
  drift: driftMatch.optional(),
  network: networkMatch.optional(),
  socket: socketMatch.optional(),
  unix: unixMatch.optional(),
  capabilities: capabilitiesMatch.optional(),
  mount: mountMatch.optional(),
  kernel: kernelMatch.optional(),
});
export type RuntimeRule = z.infer<typeof runtimeRule>;

const posture = z.enum(POSTURES).default('allow');
const NO_POSTURE = { file: 'allow', execute: 'allow', network: 'allow', capability: 'allow', kernel: 'allow' } as const;

export const runtimePolicy = z
  .strictObject({
    /** Ordering guard: a write with a lower revision than the stored one is refused. */
    revision: z.number().int().nonnegative().default(0),
    enabled: z.boolean().default(true),
    description: z.string().max(1024).default(''),
    selector: runtimeSelector.default({}),
    /** audit: what would be blocked or killed is counted and passes. */
    mode: z.enum(RUNTIME_MODES).default('audit'),
    severity: z.enum(LEVELS).default('medium'),
    tags: z.array(z.string().min(1).max(64)).max(32).default([]),
    /** What a violation of this policy says to who reads it. */
    message: z.string().max(512).default(''),
    /** Per class, what happens to an operation that no allow rule names. */
    defaultPosture: z
      .strictObject({ file: posture, execute: posture, network: posture, capability: posture, kernel: posture })
      .default(NO_POSTURE),
    /** A path deeper than the kernel program walks, in a class of which this policy says something. */
    onUnresolvable: z.enum(['audit', 'block']).default('block'),
    rules: z.array(runtimeRule).max(MAX_POLICY_RULES).default([]),
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
