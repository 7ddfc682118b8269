/**
 * Response policies: which verdicts are answered, by which actions, under which guards. Dry-run unless the operator says
 * otherwise, because an answer to a wrong verdict is an outage.
 */
import * as z from 'zod';
import { LEVELS } from './correlation.ts';
import { duration, kubeName } from './units.ts';

export const ACTIONS = ['observe', 'label', 'quarantine', 'evict', 'delete', 'cordon'] as const;
export type ResponseActionName = (typeof ACTIONS)[number];

/** Namespaces that are never touched unless the policy's own list says otherwise. */
export const PROTECTED_NAMESPACES = ['kube-system', 'kube-public', 'kube-node-lease', 'bailiff-system'];

const step = z.strictObject({
  action: z.enum(ACTIONS),
  /** Escalation: carried out this long after the verdict; absent = at once. */
  after: duration(0, 24 * 3_600_000).optional(),
  /** Undone after this long (label, quarantine, cordon). */
  expires: duration(1_000, 30 * 86_400_000).optional(),
  /** evict and delete: the pod's own grace period when absent. */
  gracePeriodSeconds: z.number().int().min(0).max(3600).optional(),
});
export type ResponseStep = z.infer<typeof step>;

export const guards = z.strictObject({
  protectedNamespaces: z.array(kubeName).max(256).default(PROTECTED_NAMESPACES),
  /** Owner kinds whose pods are only observed and labelled. */
  protectedOwnerKinds: z.array(z.string().max(63)).max(32).default(['DaemonSet', 'Node']),
  /** evict and delete only while the owner keeps at least this many ready replicas afterwards; 0 = no floor. */
  minHealthyReplicas: z.number().int().min(0).max(10_000).default(0),
  budget: z
    .strictObject({
      window: duration(1_000, 24 * 3_600_000).default('10m'),
      maxPods: z.number().int().min(0).max(100_000).default(10),
      /** Of the owner's replicas, rounded up. */
      maxPercent: z.number().min(0).max(100).default(50),
      maxNodes: z.number().int().min(0).max(1000).default(1),
    })
    .default({ window: '10m', maxPods: 10, maxPercent: 50, maxNodes: 1 }),
  /** After an action on a pod's owner, further ones of the same kind wait this long. */
  cooldown: duration(0, 24 * 3_600_000).default('0s'),
  /** `required`: the action waits for `bailiff responses approve`. */
  approval: z.enum(['none', 'required']).default('none'),
  /** This many deletes of one owner in the window stop deleting; its pods are quarantined instead. */
  deleteStorm: z
    .strictObject({
      deletes: z.number().int().min(1).max(1000).default(3),
      window: duration(1_000, 24 * 3_600_000).default('10m'),
    })
    .default({ deletes: 3, window: '10m' }),
});
export type Guards = z.infer<typeof guards>;

export const responsePolicy = z
  .strictObject({
    revision: z.number().int().nonnegative().default(0),
    enabled: z.boolean().default(true),
    dryRun: z.boolean().default(true),
    match: z
      .strictObject({
        levels: z.array(z.enum(LEVELS)).min(1).optional(),
        rules: z.array(kubeName).min(1).optional(),
        namespaces: z.array(kubeName).min(1).optional(),
      })
      .default({}),
    steps: z.array(step).min(1).max(6),
    guards: guards.default(() => guards.parse({})),
  })
  .superRefine((policy, ctx) => {
    policy.steps.forEach((s, index) => {
      if (policy.steps.findIndex((other) => other.action === s.action) !== index) {
        ctx.addIssue({ code: 'custom', path: ['steps', index, 'action'], message: `${s.action} is named twice` });
      }
      if (s.expires !== undefined && !['label', 'quarantine', 'cordon'].includes(s.action)) {
        ctx.addIssue({
          code: 'custom',
          path: ['steps', index, 'expires'],
          message: `${s.action} cannot be undone, so it cannot expire`,
        });
      }
      if (s.gracePeriodSeconds !== undefined && !['evict', 'delete'].includes(s.action)) {
        ctx.addIssue({
          code: 'custom',
          path: ['steps', index, 'gracePeriodSeconds'],
          message: `${s.action} has no grace period`,
        });
      }
    });
  });
export type ResponsePolicy = z.infer<typeof responsePolicy>;

/** In force until the operator writes a policy of the same name: everything is proposed, nothing is done. */
export const DEFAULT_RESPONSE_POLICIES: Readonly<Record<string, ResponsePolicy>> = {
  'answer-high': responsePolicy.parse({
    match: { levels: ['high', 'critical'] },
    steps: [{ action: 'observe' }, { action: 'label', expires: '24h' }, { action: 'delete' }],
  }),
};
