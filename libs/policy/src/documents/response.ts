/**
 * Response policies: which verdicts get a response, by which actions, under which guards. Dry-run
 * by default, because a response to a wrong verdict is an outage.
 */
import {
  CAPTURED_ARGUMENTS,
  LEVELS,
  PACKET_ACTIONS,
  REMOVING_ACTIONS,
  RESPONSE_ACTIONS,
  UNDOABLE_ACTIONS,
} from '@bailiff/vocabulary';
import * as z from 'zod';
import { duration, issue, kubeName, revision, someOf, whole } from './units.ts';

/** Namespaces that are only observed, unless the policy has its own list. */
export const PROTECTED_NAMESPACES = ['kube-system', 'kube-public', 'kube-node-lease', 'bailiff-system'];

const step = z.strictObject({
  action: z
    .enum(RESPONSE_ACTIONS)
    .describe('action on the pod (cordon: on its node; capture: records its processes and sockets)'),
  after: duration(0, 24 * 3_600_000)
    .optional()
    .describe('escalation: delay after the verdict, 0ms to 24h; absent: immediately'),
  expires: duration(1_000, 30 * 86_400_000)
    .optional()
    .describe(
      'undone after this time, 1s to 30d: label, quarantine and cordon only; absent: quarantine 30d, the others until an operator undoes them',
    ),
  gracePeriodSeconds: whole(0, 3600)
    .optional()
    .describe("seconds that the pod has to end: evict and delete only; absent: the pod's own"),
  arguments: z
    .enum(CAPTURED_ARGUMENTS)
    .optional()
    .describe(
      'capture only: process arguments are omitted, included without likely secrets, or included in full; absent: redacted',
    ),
});
export type ResponseStep = z.infer<typeof step>;

export const guards = z.strictObject({
  protectedNamespaces: z
    .array(kubeName)
    .max(256)
    .default(PROTECTED_NAMESPACES)
    .describe('namespaces whose pods are only observed'),
  protectedOwnerKinds: z
    .array(z.string().max(63))
    .max(32)
    .default(['DaemonSet', 'Node'])
    .describe(
      'kinds of owners whose pods are quarantined instead of evicted or deleted; applies if the API server has the owner and its selector matches: ReplicaSet, StatefulSet, DaemonSet, ReplicationController; not to pods on the network of their node, which cannot be quarantined; static pods are never removed',
    ),
  minHealthyReplicas: whole(0, 10_000)
    .default(0)
    .describe(
      'evict and delete only while the owner keeps at least this many ready replicas afterwards, otherwise the pod is quarantined; 0: no floor; not applied to a pod whose owner the API server does not have, nor to one on the network of its node',
    ),
  budget: z
    .strictObject({
      window: duration(1_000, 24 * 3_600_000)
        .default('10m')
        .describe('sliding window of the budget: 1s to 24h'),
      maxPods: whole(0, 100_000)
        .default(10)
        .describe(
          'pods evicted or deleted in the window, by any policy; with `exhausted: refuse` also quarantined ones',
        ),
      maxPodsPerNamespace: whole(0, 100_000)
        .optional()
        .describe(
          'of these, the maximum per namespace; absent: half of maxPods, rounded up, and a further pod only while more are left than the namespace has had',
        ),
      maxPercent: z
        .number()
        .min(0)
        .max(100)
        .default(50)
        .describe(
          "of these at most this share of one owner's replicas, in per cent, rounded up; not applied to a pod on the network of its node",
        ),
      maxQuarantines: whole(0, 100_000)
        .default(100)
        .describe(
          'pods quarantined in the window, by any policy, above which a quarantine is refused; a namespace gets a further one only while more are left than it has had',
        ),
      maxNodes: whole(0, 1000)
        .default(1)
        .describe('nodes cordoned in the window for verdicts about pods, and as many for verdicts about nodes'),
      exhausted: z
        .enum(['refuse', 'quarantine'])
        .default('quarantine')
        .describe(
          'response to an evict or delete that the budget refuses; quarantine: the pod is quarantined instead, as by the quarantine step or for 1h, and only maxQuarantines limits quarantines of this policy; refuse: a tenant that has used up its share has further pods without a response',
        ),
    })
    .default({
      window: '10m',
      maxPods: 10,
      maxPercent: 50,
      maxNodes: 1,
      maxQuarantines: 100,
      exhausted: 'quarantine' as const,
    })
    .describe('limits of actions in a window'),
  cooldown: duration(0, 24 * 3_600_000)
    .default('0s')
    .describe("after an action on a pod's owner, further ones of the same kind wait this long: 0s to 24h"),
  approval: z
    .enum(['none', 'required'])
    .default('none')
    .describe('required: the action waits for `bailiff responses approve`'),
  deleteStorm: z
    .strictObject({
      deletes: whole(1, 1000).default(3).describe('evicted or deleted pods of one owner'),
      window: duration(1_000, 24 * 3_600_000)
        .default('10m')
        .describe('within this time: 1s to 24h'),
    })
    .default({ deletes: 3, window: '10m' })
    .describe(
      'this many removals of one owner in the window stop further removals; its pods are quarantined instead; not applied to pods on the network of their node',
    ),
});

export const responsePolicy = z
  .strictObject({
    revision,
    enabled: z.boolean().default(true).describe('false: the policy is ignored'),
    dryRun: z.boolean().default(true).describe('true: actions are recorded but not carried out'),
    match: z
      .strictObject({
        levels: someOf(z.enum(LEVELS)).describe('of these levels; absent: any'),
        rules: someOf(kubeName, 256).describe('of these correlation rules; absent: any'),
        namespaces: someOf(kubeName, 256).describe('of pods in these namespaces; absent: any'),
        actions: someOf(z.enum(PACKET_ACTIONS)).describe(
          'drop: verdicts that count only what was prevented; audit: verdicts that count anything that was audited and passed; absent: drop',
        ),
      })
      .default({})
      .describe('verdicts that get a response; all given fields must match'),
    steps: z.array(step).min(1).max(7).describe('actions, each at most once'),
    guards: guards.default(() => guards.parse({})).describe('conditions for an action'),
  })
  .superRefine((policy, ctx) => {
    policy.steps.forEach((s, index) => {
      const refuse = (field: keyof ResponseStep, message: string) => issue(ctx, ['steps', index, field], message);
      const { action, expires, gracePeriodSeconds } = s;
      if (policy.steps.findIndex((other) => other.action === action) !== index)
        refuse('action', `${action} is named twice`);
      if (expires !== undefined && !UNDOABLE_ACTIONS.has(action))
        refuse('expires', `${action} cannot be undone, so it cannot expire`);
      if (gracePeriodSeconds !== undefined && !REMOVING_ACTIONS.has(action))
        refuse('gracePeriodSeconds', `${action} has no grace period`);
      if (s.arguments !== undefined && action !== 'capture') refuse('arguments', `${action} records no arguments`);
    });
  });
export type ResponsePolicy = z.infer<typeof responsePolicy>;

/**
 * In force until the operator writes a policy of the same name. Its actions are proposed and not
 * carried out.
 */
export const BUILT_IN_RESPONSE_POLICIES: Readonly<Record<string, ResponsePolicy>> = {
  'answer-high': responsePolicy.parse({
    match: { levels: ['high', 'critical'] },
    steps: [{ action: 'observe' }, { action: 'label', expires: '24h' }, { action: 'delete' }],
  }),
};
