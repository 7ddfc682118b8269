/**
 * The RBAC rules that the responder needs, from the actions of its policies. Pure.
 *
 * `bailiff responder rbac` prints them, and the manifest contains those of all actions.
 * test/cluster/responder-rbac.test.ts compares them with the requests of a responder. All rules are
 * cluster-wide, because a verdict may name a pod in any namespace.
 */
import { RESPONSE_ACTIONS, type ResponseActionName, type ResponsePolicy } from '@bailiff/policy';

/** A rule of a ClusterRole: one resource, sorted verbs. */
export interface RbacRule {
  apiGroups: [string];
  resources: [string];
  verbs: string[];
  /** Purpose: one sentence per action or guard. */
  why: string[];
}

interface Need {
  group: string;
  resource: string;
  verbs: readonly string[];
  why: string;
}

const need = (group: string, resource: string, verbs: readonly string[], why: string): Need => ({
  group,
  resource,
  verbs,
  why,
});

const POD = need(
  '',
  'pods',
  ['get'],
  'guards: whether it is still the pod of the verdict, its owner, and its protection',
);
const OWNERS = [
  need('apps', 'daemonsets', ['get'], 'guards: replicas of the owner'),
  need('apps', 'deployments', ['get'], 'guards: replicas of the owner'),
  need('apps', 'replicasets', ['get'], 'guards: replicas of the owner'),
  need('apps', 'statefulsets', ['get'], 'guards: replicas of the owner'),
  need('', 'replicationcontrollers', ['get'], 'guards: replicas of the owner'),
];
const NODE = need('', 'nodes', ['get'], 'cordon: whether the node is cordoned, and by Bailiff or not');
const QUARANTINE = [
  need('', 'pods', ['patch'], 'quarantine: the label of the pod, and its removal'),
  need(
    'networking.k8s.io',
    'networkpolicies',
    ['create', 'get', 'delete'],
    'quarantine: the NetworkPolicy that shows the quarantine, and its removal',
  ),
];

/** Requests of the guards, also in a dry run. */
const READS: Readonly<Record<ResponseActionName, readonly Need[]>> = {
  observe: [POD],
  label: [POD],
  quarantine: [POD, ...OWNERS],
  evict: [POD, ...OWNERS],
  delete: [POD, ...OWNERS],
  cordon: [POD, NODE, ...OWNERS],
  capture: [POD],
};

/** Requests of the actions and of their undo. */
const ACTS: Readonly<Record<ResponseActionName, readonly Need[]>> = {
  observe: [
    need('', 'events', ['create', 'get'], 'observe: the Event on the pod, and whether an earlier attempt created it'),
  ],
  label: [need('', 'pods', ['patch'], 'label: the label, and its removal when it expires')],
  quarantine: QUARANTINE,
  // A quarantine replaces a removal that the storm guard refuses, or that an exhausted budget
  // refuses under `exhausted: quarantine`.
  evict: [
    need('', 'pods/eviction', ['create'], 'evict: honours disruption budgets'),
    need('', 'pods', ['delete'], 'evict: a pod on the network of its node whose eviction a disruption budget refuses'),
    ...QUARANTINE,
  ],
  delete: [need('', 'pods', ['delete'], 'delete: with the UID as precondition'), ...QUARANTINE],
  cordon: [need('', 'nodes', ['patch'], 'cordon: unschedulable, and its removal')],
  // The node's collector captures, on request over the bus.
  capture: [],
};

/** Actions that run, and actions of which only the guards run. */
export interface RbacActions {
  acting: ReadonlySet<ResponseActionName>;
  dryRun: ReadonlySet<ResponseActionName>;
}

export const EVERY_ACTION: RbacActions = { acting: new Set(RESPONSE_ACTIONS), dryRun: new Set() };

/** Actions of the enabled policies. An action is a dry run only if it is one in every policy. */
export function actionsOf(policies: Iterable<ResponsePolicy>): RbacActions {
  const acting = new Set<ResponseActionName>();
  const dryRun = new Set<ResponseActionName>();
  for (const policy of policies) {
    if (!policy.enabled) continue;
    for (const { action } of policy.steps) (policy.dryRun ? dryRun : acting).add(action);
  }
  return { acting, dryRun: new Set([...dryRun].filter((action) => !acting.has(action))) };
}

/** The rules, sorted by group and resource; empty without actions. */
export function responderRules({ acting, dryRun }: RbacActions): RbacRule[] {
  const needs = [
    ...RESPONSE_ACTIONS.filter((action) => acting.has(action) || dryRun.has(action)).flatMap((action) => READS[action]),
    ...RESPONSE_ACTIONS.filter((action) => acting.has(action)).flatMap((action) => ACTS[action]),
  ];
  const rules = new Map<string, RbacRule>();
  for (const { group, resource, verbs, why } of needs) {
    const key = `${group}/${resource}`;
    const rule = rules.get(key) ?? { apiGroups: [group], resources: [resource], verbs: [], why: [] };
    rule.verbs = [...new Set([...rule.verbs, ...verbs])].sort();
    if (!rule.why.includes(why)) rule.why.push(why);
    rules.set(key, rule);
  }
  return [...rules.keys()].sort().map((key) => rules.get(key) as RbacRule);
}
