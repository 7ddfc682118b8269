import { guards as guardsSchema, type ResponsePolicy, responsePolicy } from '@bailiff/policy';
import type { Verdict } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { planVerdict, type Task } from '../planning/plan.ts';
import { STATUS_LAG_MICROS } from './action-limits.ts';
import { type ActionEntry, type Decision, type GuardInput, needsReservation } from './decision.ts';
import { CORDONED_BY, type Facts, type NodeFacts, type PodFacts } from './facts.ts';
import { checkGuards } from './guards.ts';

const NOW = 1_000_000_000_000_000;
const MINUTE = 60_000_000;
const OWNER = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', uid: 'rs-1' };

const pod = (more: Partial<PodFacts> = {}): PodFacts => ({
  uid: 'pod-1',
  resourceVersion: '1',
  staticUid: null,
  namespace: 'shop',
  name: 'web-1',
  nodeName: 'node-a',
  hostNetwork: false,
  labels: {},
  annotations: {},
  deleting: false,
  deletionGraceSeconds: null,
  terminationGraceSeconds: 30,
  ready: true,
  owner: OWNER,
  ...more,
});
const node = (more: Partial<NodeFacts> = {}): NodeFacts => ({
  uid: 'node-uid',
  resourceVersion: '1',
  name: 'node-a',
  unschedulable: false,
  annotations: {},
  ...more,
});
const verdict = (more: Partial<Verdict> = {}): Verdict => ({
  verdictId: 'v1',
  rule: 'repeated-spoofing',
  ruleType: 'event_count',
  level: 'high',
  groupBy: 'pod',
  groupKey: 'pod-1',
  configRevision: 0,
  triggeredAt: NOW,
  windowStartAt: NOW,
  observed: 10,
  threshold: 10,
  vectors: [],
  nodeName: 'node-a',
  pod: { uid: 'pod-1', namespace: 'shop', name: 'web-1', ownerKind: '', ownerName: '', ownerUid: '' },
  evidence: [],
  evidenceOmitted: 0,
  reason: 'because',
  tags: [],
  audited: false,
  ...more,
});
const policyOf = (action: string, guards: unknown = {}, more: Record<string, unknown> = {}): ResponsePolicy =>
  responsePolicy.parse({ dryRun: false, steps: [{ action }], guards, ...more });
const did = (action: ActionEntry['action'], more: Partial<ActionEntry> = {}): ActionEntry => ({
  taskId: `task-of-${more.podUid ?? 'pod-2'}-${action}`,
  atMicros: NOW - MINUTE,
  action,
  policy: 'p',
  podUid: 'pod-2',
  ownerUid: 'rs-1',
  claimedOwnerUid: '',
  namespace: 'shop',
  nodeName: 'node-a',
  ...more,
});

interface Row extends Partial<Omit<GuardInput, 'policy' | 'facts'>> {
  action: string;
  guards?: unknown;
  policy?: ResponsePolicy | null;
  step?: Record<string, unknown>;
  facts?: Partial<Facts>;
}
function checkRow({ action, guards, step, policy, facts, ...more }: Row): Decision {
  const acting = policyOf(action, guards, step ? { steps: [{ action, ...step }] } : {});
  const subject = more.verdict ?? verdict();
  const [task] = planVerdict(subject, NOW, new Map([['p', acting]])) as [Task];
  return checkGuards({
    task,
    verdict: subject,
    policy: policy === undefined ? acting : policy,
    disarmed: null,
    facts: { pod: pod(), owner: { replicas: 4, ready: 4 }, node: action === 'cordon' ? node() : null, ...facts },
    actions: [],
    reserved: false,
    pendingAtMicros: null,
    approvedAtMicros: null,
    nowMicros: NOW,
    limits: { maxOverdueMs: 3_600_000, approvalTimeoutMs: 3_600_000, maxGraceSeconds: 30 },
    ...more,
  });
}
/** Facts of the owner of a claimed member. */
const CLAIMED = { replicas: 4, ready: 4, isClaimed: true } as const;
/** Removals of claimed members. */
const ofClaimed = (uids: string) =>
  uids.split('').map((u) => did('delete', { podUid: u, ownerUid: '', claimedOwnerUid: 'rs-1' }));
const codeOf = (decision: Decision) => ('code' in decision ? decision.code : decision.kind);

const wide = { window: '10m', maxPods: 100, maxPercent: 100, maxNodes: 100 };
const ROWS: [name: string, row: Row, expected: string][] = [
  // No refusal.
  ...['observe', 'label', 'quarantine', 'evict', 'delete', 'cordon', 'capture'].map((action): [string, Row, string] => [
    `${action} of an ordinary pod`,
    { action },
    'go',
  ]),
  // Identity.
  ['the pod is gone, label', { action: 'label', facts: { pod: null } }, 'pod-gone'],
  // The node knows its containers by UID.
  ...['observe', 'quarantine', 'evict', 'delete', 'capture'].flatMap((action): [string, Row, string][] => [
    [`${action} after the pod is gone`, { action, facts: { pod: null } }, 'go'],
    [`${action} after another pod has its name`, { action, facts: { pod: pod({ uid: 'pod-9' }) } }, 'go'],
  ]),
  ['another pod has its name, label', { action: 'label', facts: { pod: pod({ uid: 'pod-9' }) } }, 'uid-changed'],
  ['the pod lives on another node', { action: 'delete', facts: { pod: pod({ nodeName: 'node-b' }) } }, 'node-mismatch'],
  ['the same for observe', { action: 'observe', facts: { pod: pod({ nodeName: 'node-b' }) } }, 'node-mismatch'],
  ['the same for capture', { action: 'capture', facts: { pod: pod({ nodeName: 'node-b' }) } }, 'node-mismatch'],
  ['the same for cordon', { action: 'cordon', facts: { pod: pod({ nodeName: 'node-b' }) } }, 'node-mismatch'],
  ['cordon after the pod is gone', { action: 'cordon', facts: { pod: null } }, 'go'],
  ['a verdict about a node has no pod to delete', { action: 'delete', verdict: verdict({ pod: null }) }, 'no-pod'],
  ['it has a node to cordon', { action: 'cordon', verdict: verdict({ pod: null }), facts: { pod: null } }, 'go'],
  ['it has a node to observe', { action: 'observe', verdict: verdict({ pod: null }), facts: { pod: null } }, 'go'],
  ['the node is gone', { action: 'cordon', facts: { node: null } }, 'node-gone'],
  [
    'the node was cordoned by another user',
    { action: 'cordon', facts: { node: node({ unschedulable: true }) } },
    'already-cordoned',
  ],
  [
    'the node was cordoned by us',
    { action: 'cordon', facts: { node: node({ unschedulable: true, annotations: { [CORDONED_BY]: 'v0/p' } }) } },
    'go',
  ],
  [
    'it is being deleted: until it is gone, its traffic has to be blocked',
    { action: 'delete', facts: { pod: pod({ deleting: true, deletionGraceSeconds: 30 }) } },
    'go',
  ],
  [
    'it is being deleted more slowly than asked',
    {
      action: 'delete',
      step: { gracePeriodSeconds: 0 },
      facts: { pod: pod({ deleting: true, deletionGraceSeconds: 30 }) },
    },
    'go',
  ],
  ['it can still be labelled while it is deleted', { action: 'label', facts: { pod: pod({ deleting: true }) } }, 'go'],
  // Protection.
  ['a protected namespace', { action: 'label', guards: { protectedNamespaces: ['shop'] } }, 'protected-namespace'],
  ['observe in a protected namespace', { action: 'observe', guards: { protectedNamespaces: ['shop'] } }, 'go'],
  ['an unprotected namespace', { action: 'delete', guards: { protectedNamespaces: ['kube-system'] } }, 'go'],
  [
    'a DaemonSet by default',
    { action: 'delete', facts: { pod: pod({ owner: { ...OWNER, kind: 'DaemonSet' } }) } },
    'protected-owner-kind',
  ],
  [
    'quarantine of a DaemonSet: a tenant can create one',
    { action: 'quarantine', facts: { pod: pod({ owner: { ...OWNER, kind: 'DaemonSet' } }) } },
    'go',
  ],
  [
    'a pod that a DaemonSet selects, changed by a webhook',
    { action: 'evict', facts: { pod: pod({ owner: { ...OWNER, kind: 'DaemonSet' } }), owner: CLAIMED } },
    'protected-owner-kind',
  ],
  // Any user who may write the pod may write an owner reference.
  [
    'a DaemonSet that does not exist does not protect',
    { action: 'delete', facts: { pod: pod({ owner: { ...OWNER, kind: 'DaemonSet' } }), owner: null } },
    'go',
  ],
  [
    'nor does a DaemonSet of an unknown API group',
    {
      action: 'quarantine',
      facts: { pod: pod({ owner: { ...OWNER, apiVersion: 'made.up/v1', kind: 'DaemonSet' } }), owner: null },
    },
    'go',
  ],
  [
    'nor does a node as owner of a pod that is not static',
    { action: 'delete', facts: { pod: pod({ owner: { ...OWNER, apiVersion: 'v1', kind: 'Node' } }), owner: null } },
    'go',
  ],
  [
    'a kind that the responder may not read does not protect: it is unconfirmed',
    {
      action: 'delete',
      guards: { protectedOwnerKinds: ['Rollout'] },
      facts: { pod: pod({ owner: { ...OWNER, apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout' } }), owner: null },
    },
    'go',
  ],
  ['label of a DaemonSet', { action: 'label', facts: { pod: pod({ owner: { ...OWNER, kind: 'DaemonSet' } }) } }, 'go'],
  [
    'a static pod is not deleted',
    { action: 'delete', facts: { pod: pod({ staticUid: 's', owner: { ...OWNER, kind: 'Node' } }) } },
    'static-pod',
  ],
  [
    'a static pod is not evicted',
    { action: 'evict', facts: { pod: pod({ staticUid: 's', owner: null }) } },
    'static-pod',
  ],
  [
    'a static pod is quarantined',
    { action: 'quarantine', facts: { pod: pod({ staticUid: 's', owner: { ...OWNER, kind: 'Node' } }) } },
    'go',
  ],
  [
    'a static pod has the uid of its kubelet',
    { action: 'quarantine', facts: { pod: pod({ uid: 'mirror', staticUid: 'pod-1', owner: null }) } },
    'go',
  ],
  [
    'a pod that claims this uid on another node is another pod',
    { action: 'quarantine', facts: { pod: pod({ uid: 'mirror', staticUid: 'pod-1', nodeName: 'node-b' }) } },
    'go',
  ],
  [
    'control: a pod with this uid on another node',
    { action: 'quarantine', facts: { pod: pod({ nodeName: 'node-b' }) } },
    'node-mismatch',
  ],
  [
    'quarantine of a pod on the network of its node would block nothing',
    { action: 'quarantine', facts: { pod: pod({ hostNetwork: true, owner: null }) } },
    'host-network',
  ],
  ['which can be deleted', { action: 'delete', facts: { pod: pod({ hostNetwork: true, owner: null }) } }, 'go'],
  [
    'a DaemonSet does not protect a pod on the network of its node: no quarantine could replace the deletion',
    { action: 'delete', facts: { pod: pod({ hostNetwork: true, owner: { ...OWNER, kind: 'DaemonSet' } }) } },
    'go',
  ],
  [
    'nor does a floor of healthy replicas',
    { action: 'delete', guards: { minHealthyReplicas: 4 }, facts: { pod: pod({ hostNetwork: true }) } },
    'go',
  ],
  [
    'nor does the share of an owner, which a tenant writes with 0 replicas',
    { action: 'delete', facts: { pod: pod({ hostNetwork: true }), owner: { replicas: 0, ready: 0 } } },
    'go',
  ],
  [
    'control: one that can be quarantined, of such an owner',
    { action: 'delete', facts: { owner: { replicas: 0, ready: 0 } } },
    'budget-exhausted',
  ],
  [
    'nor does the storm limit of its owner',
    {
      action: 'delete',
      guards: { budget: wide },
      facts: { pod: pod({ hostNetwork: true }) },
      actions: ['a', 'b', 'c'].map((u) => did('delete', { podUid: u })),
    },
    'go',
  ],
  [
    'but the budgets of the namespace and the cluster hold for it',
    {
      action: 'delete',
      guards: { budget: { ...wide, maxPods: 1 } },
      facts: { pod: pod({ hostNetwork: true }) },
      actions: [did('delete')],
    },
    'budget-exhausted',
  ],
  [
    'but a static pod on the network of its node is not deleted',
    { action: 'delete', facts: { pod: pod({ hostNetwork: true, staticUid: 's' }) } },
    'static-pod',
  ],
  [
    'a protected namespace spares a pod on the network of its node',
    { action: 'delete', guards: { protectedNamespaces: ['shop'] }, facts: { pod: pod({ hostNetwork: true }) } },
    'protected-namespace',
  ],
  // Configuration.
  ['the policy was deleted', { action: 'delete', policy: null }, 'policy-withdrawn'],
  ['the policy no longer has the action', { action: 'delete', policy: policyOf('label') }, 'policy-withdrawn'],
  ['a quarantine that replaces a delete', { action: 'quarantine', policy: policyOf('delete') }, 'go'],
  ['a dry run since', { action: 'delete', policy: policyOf('delete', {}, { dryRun: true }) }, 'dry-run'],
  ['disarmed', { action: 'delete', disarmed: 'the cluster is disarmed' }, 'disarmed'],
  ['too old', { action: 'delete', nowMicros: NOW + 61 * MINUTE }, 'stale-verdict'],
  ['old, but started', { action: 'delete', nowMicros: NOW + 61 * MINUTE, reserved: true }, 'go'],
  [
    'old, but approved',
    { action: 'delete', nowMicros: NOW + 61 * MINUTE, pendingAtMicros: NOW, approvedAtMicros: NOW },
    'go',
  ],
  // Approval.
  ['approval is required', { action: 'delete', guards: { approval: 'required' } }, 'approval-required'],
  ['approved', { action: 'delete', guards: { approval: 'required' }, approvedAtMicros: NOW }, 'go'],
  [
    'approval timed out',
    { action: 'delete', guards: { approval: 'required' }, pendingAtMicros: NOW - 61 * MINUTE },
    'approval-expired',
  ],
  // Storm.
  [
    'two deletes of the owner',
    { action: 'delete', guards: { budget: wide }, actions: ['a', 'b'].map((u) => did('delete', { podUid: u })) },
    'go',
  ],
  [
    'three deletes of the owner',
    { action: 'delete', guards: { budget: wide }, actions: ['a', 'b', 'c'].map((u) => did('delete', { podUid: u })) },
    'delete-storm',
  ],
  [
    'deletes and evictions together',
    {
      action: 'evict',
      guards: { budget: wide },
      actions: [did('delete', { podUid: 'a' }), did('evict', { podUid: 'b' }), did('evict', { podUid: 'c' })],
    },
    'delete-storm',
  ],
  [
    'three deletes of the owner long ago',
    {
      action: 'delete',
      guards: { budget: wide },
      actions: ['a', 'b', 'c'].map((u) => did('delete', { podUid: u, atMicros: NOW - 11 * MINUTE })),
    },
    'go',
  ],
  [
    'three deletes of another owner',
    {
      action: 'delete',
      guards: { budget: wide },
      actions: ['a', 'b', 'c'].map((u) => did('delete', { podUid: u, ownerUid: 'rs-2' })),
    },
    'go',
  ],
  [
    'three deletes of an unconfirmed owner',
    {
      action: 'delete',
      guards: { budget: wide, cooldown: '5m' },
      facts: { owner: null },
      actions: ['a', 'b', 'c'].map((u) => did('delete', { podUid: u })),
    },
    'go',
  ],
  [
    'quarantine in a storm of deletes',
    {
      action: 'quarantine',
      guards: { budget: wide },
      actions: ['a', 'b', 'c'].map((u) => did('delete', { podUid: u })),
    },
    'go',
  ],
  [
    'three removals of claimed members, a claimed one',
    { action: 'delete', guards: { budget: wide }, facts: { owner: CLAIMED }, actions: ofClaimed('abc') },
    'delete-storm',
  ],
  [
    'of confirmed and claimed ones, a claimed one',
    {
      action: 'delete',
      guards: { budget: wide },
      facts: { owner: CLAIMED },
      actions: [...ofClaimed('ab'), did('delete', { podUid: 'c' })],
    },
    'delete-storm',
  ],
  [
    'three removals of claimed members, a confirmed one: they spend nothing of it',
    { action: 'delete', guards: { budget: { ...wide, maxPercent: 25 } }, actions: ofClaimed('abc') },
    'go',
  ],
  // Cooldown.
  [
    'a quarantine waits for no other pod of the owner',
    { action: 'quarantine', guards: { cooldown: '5m', budget: wide }, actions: [did('quarantine')] },
    'go',
  ],
  [
    'a second quarantine of the pod waits',
    {
      action: 'quarantine',
      guards: { cooldown: '5m', budget: wide },
      actions: [did('quarantine', { podUid: 'pod-1' })],
    },
    'cooldown',
  ],
  [
    'a cooldown of the owner, a claimed member',
    {
      action: 'delete',
      guards: { cooldown: '5m', budget: wide },
      facts: { owner: CLAIMED },
      actions: [did('delete'), ...ofClaimed('a')],
    },
    'go',
  ],
  [
    'a cooldown of the owner',
    { action: 'delete', guards: { cooldown: '5m', budget: wide }, actions: [did('delete')] },
    'cooldown',
  ],
  [
    'a cooldown that is over',
    { action: 'delete', guards: { cooldown: '30s', budget: wide }, actions: [did('delete')] },
    'go',
  ],
  [
    'a cooldown of another action',
    { action: 'delete', guards: { cooldown: '5m', budget: wide }, actions: [did('label')] },
    'go',
  ],
  [
    'a cooldown of another owner',
    { action: 'delete', guards: { cooldown: '5m', budget: wide }, actions: [did('delete', { ownerUid: 'x' })] },
    'go',
  ],
  ['a cooldown of the node', { action: 'cordon', guards: { cooldown: '5m' }, actions: [did('cordon')] }, 'cooldown'],
  // Budgets.
  [
    'pods: the last of the budget',
    {
      action: 'delete',
      guards: { budget: { ...wide, maxPods: 2, maxPodsPerNamespace: 2 } },
      actions: [did('delete', { ownerUid: '' })],
    },
    'go',
  ],
  [
    'namespace: its share is half of the pods',
    {
      action: 'delete',
      guards: { budget: { ...wide, maxPods: 4 } },
      actions: ['a', 'b'].map((u) => did('delete', { podUid: u, ownerUid: '' })),
    },
    'budget-exhausted',
  ],
  [
    'namespace: a used-up share does not affect others',
    {
      action: 'delete',
      guards: { budget: { ...wide, maxPods: 4 } },
      actions: ['a', 'b', 'c', 'd'].map((u) => did('quarantine', { podUid: u, ownerUid: '', namespace: 'tenant' })),
    },
    'go',
  ],
  [
    'namespace: the shares of two use up the cluster budget',
    {
      action: 'delete',
      guards: { budget: { ...wide, maxPods: 4 } },
      actions: ['a', 'b', 'c', 'd'].map((u, at) => did('delete', { podUid: u, ownerUid: '', namespace: `n${at % 2}` })),
    },
    'budget-exhausted',
  ],
  [
    'namespace: two that have used all they get leave the rest to a third',
    {
      action: 'delete',
      guards: { budget: { ...wide, maxPods: 8 } },
      actions: 'abcdef'
        .split('')
        .map((u, at) => did('delete', { podUid: u, ownerUid: '', namespace: `n${Math.trunc(at / 4)}` })),
    },
    'go',
  ],
  [
    'namespace: a further pod only while more are left than it has had, although its share is larger',
    {
      action: 'delete',
      guards: { budget: { ...wide, maxPods: 8 } },
      actions: 'abcdef'
        .split('')
        .map((u, at) => did('delete', { podUid: u, ownerUid: '', ...(at < 4 ? { namespace: 'tenant' } : {}) })),
    },
    'budget-exhausted',
  ],
  [
    'namespace: a policy may allow the whole budget',
    {
      action: 'delete',
      guards: { budget: { ...wide, maxPods: 4, maxPodsPerNamespace: 4 } },
      actions: ['a', 'b', 'c'].map((u) => did('delete', { podUid: u, ownerUid: '' })),
    },
    'go',
  ],
  [
    'quarantines: by default no budget of removals limits them',
    {
      action: 'quarantine',
      actions: [...'abcdefghijkl'].map((u) => did('quarantine', { podUid: u })),
    },
    'go',
  ],
  [
    'quarantines: the share of a namespace is half of their own budget',
    {
      action: 'quarantine',
      guards: { budget: { ...wide, maxQuarantines: 8 } },
      actions: [...'abcd'].map((u) => did('quarantine', { podUid: u })),
    },
    'budget-exhausted',
  ],
  [
    'quarantines: a used-up share does not affect others',
    {
      action: 'quarantine',
      guards: { budget: { ...wide, maxQuarantines: 8 } },
      actions: [...'abcd'].map((u) => did('quarantine', { podUid: u, namespace: 'tenant' })),
    },
    'go',
  ],
  [
    'quarantines: removals do not count',
    {
      action: 'quarantine',
      guards: { budget: { ...wide, maxQuarantines: 2 } },
      actions: [...'abcd'].map((u) => did('delete', { podUid: u })),
    },
    'go',
  ],
  [
    'quarantines: a policy may limit them like removals',
    {
      action: 'quarantine',
      guards: { budget: { ...wide, maxPods: 2, exhausted: 'refuse' } },
      actions: [did('delete')],
    },
    'budget-exhausted',
  ],
  [
    'a quarantine that replaces a removal refused by the budget',
    { action: 'quarantine', guards: { budget: { ...wide, maxPods: 0, exhausted: 'quarantine' } } },
    'go',
  ],
  [
    'pods: none left',
    { action: 'delete', guards: { budget: { ...wide, maxPods: 1 } }, actions: [did('evict', { ownerUid: '' })] },
    'budget-exhausted',
  ],
  [
    'pods: quarantines use up no removals',
    { action: 'delete', guards: { budget: { ...wide, maxPods: 1 } }, actions: [did('quarantine', { ownerUid: '' })] },
    'go',
  ],
  [
    'pods: they do if the policy refuses further ones',
    {
      action: 'delete',
      guards: { budget: { ...wide, maxPods: 1, exhausted: 'refuse' } },
      actions: [did('quarantine', { ownerUid: '' })],
    },
    'budget-exhausted',
  ],
  ['pods: labels are free', { action: 'label', guards: { budget: { ...wide, maxPods: 0 } } }, 'go'],
  [
    'pods: labels do not count',
    { action: 'delete', guards: { budget: { ...wide, maxPods: 1 } }, actions: [did('label')] },
    'go',
  ],
  [
    'pods: the same pod counts once',
    {
      action: 'delete',
      guards: { budget: { ...wide, maxPods: 1 } },
      actions: [did('quarantine', { podUid: 'pod-1' })],
    },
    'go',
  ],
  [
    'pods: the window is over',
    { action: 'delete', guards: { budget: { ...wide, window: '30s', maxPods: 1 } }, actions: [did('delete')] },
    'go',
  ],
  [
    'per cent: half of four is two',
    { action: 'delete', guards: { budget: { ...wide, maxPercent: 50 } }, actions: [did('delete')] },
    'go',
  ],
  [
    'per cent: not three',
    {
      action: 'delete',
      guards: { budget: { ...wide, maxPercent: 50 } },
      actions: [did('delete'), did('quarantine', { podUid: 'pod-3' })],
    },
    'budget-exhausted',
  ],
  ['per cent: rounded up', { action: 'delete', guards: { budget: { ...wide, maxPercent: 1 } } }, 'go'],
  ['per cent: zero', { action: 'delete', guards: { budget: { ...wide, maxPercent: 0 } } }, 'budget-exhausted'],
  [
    'per cent: not for pods with an unconfirmed owner',
    { action: 'delete', facts: { owner: null }, guards: { budget: wide }, actions: [did('delete')] },
    'go',
  ],
  ['nodes: one a window', { action: 'cordon', actions: [did('cordon', { nodeName: 'node-b' })] }, 'budget-exhausted'],
  [
    'nodes: a tenant’s violating pods use up no cordon of a node that is to blame itself',
    { action: 'cordon', verdict: verdict({ pod: null }), actions: [did('cordon', { nodeName: 'node-b' })] },
    'go',
  ],
  [
    'nodes: verdicts about nodes have a budget of their own',
    { action: 'cordon', verdict: verdict({ pod: null }), actions: [did('cordon', { nodeName: 'node-b', podUid: '' })] },
    'budget-exhausted',
  ],
  [
    'nodes: and use up none of those about pods',
    { action: 'cordon', actions: [did('cordon', { nodeName: 'node-b', podUid: '' })] },
    'go',
  ],
  ['nodes: the same node again', { action: 'cordon', actions: [did('cordon')] }, 'go'],
  [
    'a reservation is not counted twice',
    { action: 'delete', guards: { budget: { ...wide, maxPods: 0 } }, reserved: true },
    'go',
  ],
  // Health.
  ['enough stay healthy', { action: 'delete', guards: { minHealthyReplicas: 3, budget: wide } }, 'go'],
  ['one too few', { action: 'delete', guards: { minHealthyReplicas: 4, budget: wide } }, 'below-min-healthy'],
  [
    'it was not healthy itself',
    { action: 'delete', guards: { minHealthyReplicas: 4, budget: wide }, facts: { pod: pod({ ready: false }) } },
    'go',
  ],
  [
    'a removal newer than the count',
    {
      action: 'delete',
      guards: { minHealthyReplicas: 3, budget: wide },
      actions: [did('delete', { atMicros: NOW - STATUS_LAG_MICROS / 2 })],
    },
    'below-min-healthy',
  ],
  [
    'a removal older than the count',
    { action: 'delete', guards: { minHealthyReplicas: 3, budget: wide }, actions: [did('delete')] },
    'go',
  ],
  [
    'a pod without owner has no floor',
    { action: 'delete', guards: { minHealthyReplicas: 1 }, facts: { pod: pod({ owner: null }), owner: null } },
    'go',
  ],
  [
    'an unconfirmed owner has no floor',
    { action: 'evict', guards: { minHealthyReplicas: 1, budget: wide }, facts: { owner: null } },
    'go',
  ],
  [
    'a claimed member counts as one of the workload',
    { action: 'delete', guards: { minHealthyReplicas: 4, budget: wide }, facts: { owner: CLAIMED } },
    'below-min-healthy',
  ],
  [
    'with the removals of others that are newer than the count',
    {
      action: 'delete',
      guards: { minHealthyReplicas: 3, budget: wide, deleteStorm: { deletes: 9, window: '10m' } },
      facts: { owner: CLAIMED },
      actions: ofClaimed('a').map((one) => ({ ...one, atMicros: NOW - STATUS_LAG_MICROS / 2 })),
    },
    'below-min-healthy',
  ],
  ['quarantine has no floor', { action: 'quarantine', guards: { minHealthyReplicas: 9, budget: wide } }, 'go'],
];

describe('guards', () => {
  it.each(ROWS)('checkGuards - %s', (_name, row, expected) => {
    const decision = checkRow(row);
    expect(codeOf(decision), JSON.stringify(decision)).toBe(expected);
    if ('reason' in decision) expect(decision.reason.length).toBeGreaterThan(10);
  });

  it('checkGuards - a refusal names no negative number of healthy replicas', () => {
    const decision = checkRow({
      action: 'delete',
      guards: { minHealthyReplicas: 1, budget: wide },
      facts: { owner: { replicas: 4, ready: 0 } },
    });
    expect(decision).toMatchObject({ reason: expect.stringContaining('would have 0 healthy replicas left') });
  });

  it("checkGuards - Bailiff's own namespace is protected, whatever the policy says", () => {
    const limits = { maxOverdueMs: 3_600_000, approvalTimeoutMs: 3_600_000, maxGraceSeconds: 30 };
    const row: Row = { action: 'delete', guards: { protectedNamespaces: [] } };
    const codeWith = (more: Partial<GuardInput['limits']>, action = 'delete') =>
      codeOf(checkRow({ ...row, action, limits: { ...limits, ...more } }));
    expect(codeWith({ ownNamespace: 'shop' })).toBe('protected-namespace');
    expect(codeWith({ ownNamespace: 'shop' }, 'observe')).toBe('go');
    expect(codeWith({ ownNamespace: 'security' })).toBe('go');
    expect(codeWith({ ownNamespace: '' })).toBe('go');
  });

  it('checkGuards - a responder in dry run acts for no policy, and reports refusals', () => {
    const limits = { maxOverdueMs: 3_600_000, approvalTimeoutMs: 3_600_000, maxGraceSeconds: 30, dryRun: true };
    expect(checkRow({ action: 'delete', limits })).toMatchObject({ kind: 'dryrun', code: 'dry-run' });
    expect(checkRow({ action: 'delete', limits: { ...limits, dryRun: false } })).toEqual({ kind: 'go' });
    const guards = { protectedNamespaces: ['shop'] };
    expect(codeOf(checkRow({ action: 'delete', limits, guards }))).toBe('protected-namespace');
  });

  it('checkGuards - a dry run still reports a refusal', () => {
    const policy = policyOf('delete', { protectedNamespaces: ['shop'] }, { dryRun: true });
    expect(codeOf(checkRow({ action: 'delete', policy }))).toBe('protected-namespace');
  });

  it('checkGuards - a task planned as a dry run stays one after the policy changes', () => {
    const planned = planVerdict(verdict(), NOW, new Map([['p', policyOf('delete', {}, { dryRun: true })]]))[0];
    expect(planned?.dryRun).toBe(true);
    expect(codeOf(checkRow({ action: 'delete', task: planned as Task }))).toBe('dry-run');
  });

  it('checkGuards - a wait ends when the cooldown does', () => {
    const guards = { cooldown: '5m', budget: wide };
    const decision = checkRow({ action: 'delete', guards, actions: [did('delete', { atMicros: NOW - MINUTE })] });
    expect(decision).toMatchObject({ kind: 'wait', untilMicros: NOW + 4 * MINUTE });
    // The clock of the bus was ahead then, and is set back.
    const ahead = checkRow({ action: 'delete', guards, actions: [did('delete', { atMicros: NOW + 1440 * MINUTE })] });
    expect(ahead).toMatchObject({ kind: 'wait', untilMicros: NOW + 5 * MINUTE });
  });

  it('needsReservation - only actions that take a pod or node out of service', () => {
    const all = ['observe', 'label', 'quarantine', 'evict', 'delete', 'cordon', 'capture'];
    expect(all.filter(needsReservation)).toEqual(['quarantine', 'evict', 'delete', 'cordon']);
  });

  it('the defaults protect the system namespaces', () => {
    expect(guardsSchema.parse({}).protectedNamespaces).toContain('kube-system');
  });
});
