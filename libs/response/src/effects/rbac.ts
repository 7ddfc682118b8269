/**
 * What the responder asks of the API server, as RBAC rules: a pure function of the actions that its policies may carry out.
 *
 * Place in the path: `bailiff responder rbac` prints it, the manifest holds it for every action, and test/cluster/responder-rbac.test.ts compares
 * it with the requests that a responder really sends. Everything is cluster-wide: pods that break rules are in any namespace.
 */
import { ACTIONS, type ResponseActionName, type ResponsePolicy } from '@bailiff/policy';

/** As in a ClusterRole; one resource a rule, verbs sorted. */
export interface RbacRule {
  apiGroups: [string];
  resources: [string];
  verbs: string[];
  /** What for, one sentence an action or guard. */
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
  'guards: is it still the pod that the verdict names, of which owner, protected or not',
);
const OWNERS = [
  need('apps', 'daemonsets', ['get'], 'guards: replicas of the owner'),
  need('apps', 'deployments', ['get'], 'guards: replicas of the owner'),
  need('apps', 'replicasets', ['get'], 'guards: replicas of the owner'),
  need('apps', 'statefulsets', ['get'], 'guards: replicas of the owner'),
  need('', 'replicationcontrollers', ['get'], 'guards: replicas of the owner'),
];
const NODE = need('', 'nodes', ['get'], 'cordon: is it cordoned already, and by whom');
const QUARANTINE = [
  need('', 'pods', ['patch'], 'quarantine: the label that shows it, and its removal'),
  need(
    'networking.k8s.io',
    'networkpolicies',
    ['create', 'get', 'delete'],
    'quarantine: the record beside the pod, and its removal',
  ),
];

/** What guards read, also where nothing is to be done (dry-run). */
const READS: Readonly<Record<ResponseActionName, readonly Need[]>> = {
  observe: [POD],
  label: [POD],
  quarantine: [POD, ...OWNERS],
  evict: [POD, ...OWNERS],
  delete: [POD, ...OWNERS],
  cordon: [POD, NODE, ...OWNERS],
  capture: [POD],
};

/** What carrying it out takes, and undoing it. */
const ACTS: Readonly<Record<ResponseActionName, readonly Need[]>> = {
  observe: [need('', 'events', ['create', 'get'], 'observe: the Event on the pod, and whether an earlier try made it')],
  label: [need('', 'pods', ['patch'], 'label: the label, and its removal when it expires')],
  quarantine: QUARANTINE,
  evict: [need('', 'pods/eviction', ['create'], 'evict: honours disruption budgets')],
  // A storm of deletes stops, and the owner's pods are quarantined instead.
  delete: [need('', 'pods', ['delete'], 'delete: with the UID as precondition'), ...QUARANTINE],
  cordon: [need('', 'nodes', ['patch'], 'cordon: unschedulable, and back')],
  // Asked of the node's collector over the bus.
  capture: [],
};

/** Which actions may be carried out and which are only judged. */
export interface RbacActions {
  acting: ReadonlySet<ResponseActionName>;
  dryRun: ReadonlySet<ResponseActionName>;
}

export const EVERY_ACTION: RbacActions = { acting: new Set(ACTIONS), dryRun: new Set() };

/** Actions of the policies that are enabled; one that any of them carries out is not dry-run. */
export function actionsOf(policies: Iterable<ResponsePolicy>): RbacActions {
  const acting = new Set<ResponseActionName>();
  const dryRun = new Set<ResponseActionName>();
  for (const policy of policies) {
    if (!policy.enabled) continue;
    for (const { action } of policy.steps) (policy.dryRun ? dryRun : acting).add(action);
  }
  return { acting, dryRun: new Set([...dryRun].filter((action) => !acting.has(action))) };
}

/** The rules, by group and resource; empty for no actions. */
export function responderRules({ acting, dryRun }: RbacActions): RbacRule[] {
  const needs = [
    ...ACTIONS.filter((action) => acting.has(action) || dryRun.has(action)).flatMap((action) => READS[action]),
    ...ACTIONS.filter((action) => acting.has(action)).flatMap((action) => ACTS[action]),
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
