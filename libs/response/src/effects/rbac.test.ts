import { BUILT_IN_RESPONSE_POLICIES, RESPONSE_ACTIONS, type ResponseActionName, responsePolicy } from '@bailiff/policy';
import { describe, expect, it } from 'vitest';
import { actionsOf, EVERY_ACTION, type RbacActions, responderRules } from './rbac.ts';

const rights = (actions: RbacActions) =>
  responderRules(actions).flatMap(({ apiGroups: [group], resources: [resource], verbs }) =>
    verbs.map((verb) => `${verb} ${group}/${resource}`),
  );
const acting = (...actions: ResponseActionName[]): RbacActions => ({ acting: new Set(actions), dryRun: new Set() });
const policy = (action: ResponseActionName, more: object = {}) =>
  responsePolicy.parse({ dryRun: false, match: {}, steps: [{ action }], ...more });

describe('responder RBAC', () => {
  it('no rules without actions', () => {
    expect(responderRules(acting())).toEqual([]);
    expect(responderRules(actionsOf([policy('delete', { enabled: false })]))).toEqual([]);
  });

  it.each(RESPONSE_ACTIONS)('%s in dry-run only reads', (action) => {
    const found = rights(actionsOf([policy(action, { dryRun: true })]));
    expect(found).toContain('get /pods');
    expect(found.filter((right) => !right.startsWith('get '))).toEqual([]);
  });

  it('the built-in policies are dry runs, which only read', () => {
    const found = rights(actionsOf(Object.values(BUILT_IN_RESPONSE_POLICIES)));
    expect(found.filter((right) => !right.startsWith('get '))).toEqual([]);
  });

  it.each([
    ['observe', ['create /events', 'delete /pods']],
    ['label', ['patch /pods', 'delete /pods']],
    ['quarantine', ['create networking.k8s.io/networkpolicies', 'delete /pods']],
    // A pod on the network of its node is deleted if a disruption budget refuses its eviction.
    ['evict', ['create /pods/eviction', 'patch /nodes']],
    // A delete storm leads to quarantine.
    ['delete', ['create networking.k8s.io/networkpolicies', 'create /pods/eviction']],
    ['cordon', ['patch /nodes', 'patch /pods']],
  ] as const)('%s may do its own and not what others do', (action, [own, others]) => {
    const found = rights(acting(action));
    expect(found).toContain(own);
    expect(found).not.toContain(others);
  });

  it('an action that is a dry run in one policy only has its rules', () => {
    const { acting, dryRun } = actionsOf([
      policy('label', { dryRun: true }),
      policy('label'),
      policy('evict', { dryRun: true }),
    ]);
    expect([[...acting], [...dryRun]]).toEqual([['label'], ['evict']]);
  });

  it('all actions - the union of the rules, each resource once, every verb with a reason', () => {
    const all = responderRules(EVERY_ACTION);
    expect(new Set(rights(EVERY_ACTION))).toEqual(
      new Set(RESPONSE_ACTIONS.flatMap((action) => rights(acting(action)))),
    );
    const resources = all.map(({ apiGroups: [group], resources: [resource] }) => `${group}/${resource}`);
    expect(new Set(resources).size).toBe(resources.length);
    for (const { why } of all) expect(why.length).toBeGreaterThan(0);
  });
});
