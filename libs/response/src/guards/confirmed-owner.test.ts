// An owner reference counts only if the owner's object has that UID and selects the pod.
import { expect, test } from 'vitest';
import { membershipOf, ownerObjectOf } from './confirmed-owner.ts';
import { ownerPath } from './facts.ts';

const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', uid: 'rs-1' };
const child = { labels: { app: 'web', tier: 'front' }, owner };
const found = (selector: unknown, uid = 'rs-1') => ownerObjectOf({ metadata: { uid }, spec: { selector } });
const expression = (operator: string, key: string, values?: string[]) => ({
  matchExpressions: [{ key, operator, ...(values ? { values } : {}) }],
});

test.each<[string, unknown]>([
  ['labels', { matchLabels: { app: 'web' } }],
  ['labels and expressions', { matchLabels: { app: 'web' }, ...expression('In', 'tier', ['back', 'front']) }],
  ['NotIn', expression('NotIn', 'tier', ['back'])],
  ['NotIn of a label that is absent', expression('NotIn', 'zone', ['a'])],
  ['Exists', expression('Exists', 'app')],
  ['DoesNotExist', expression('DoesNotExist', 'zone')],
])('membershipOf - its selector matches: %s', (_, selector) => {
  expect(membershipOf(child, found(selector), 'rs-1')).toBe('confirmed');
});

test.each<[string, unknown]>([
  ['another value', { matchLabels: { app: 'db' } }],
  ['a label that is absent', { matchLabels: { app: 'web', zone: 'a' } }],
  ['a name of Object.prototype', { matchLabels: { constructor: undefined } }],
  ['In', expression('In', 'tier', ['back'])],
  ['In of a label that is absent', expression('In', 'zone', ['a'])],
  ['NotIn', expression('NotIn', 'tier', ['front'])],
  ['Exists', expression('Exists', 'toString')],
  ['DoesNotExist', expression('DoesNotExist', 'app')],
  ['an unknown operator', expression('Near', 'app', ['web'])],
  ['a selector of 20 KiB', expression('In', 'tier', ['front', 'x'.repeat(20_000)])],
  ['an empty selector', {}],
  ['no selector', undefined],
])('membershipOf - its selector does not match: %s', (_, selector) => {
  expect(membershipOf(child, found(selector), 'rs-1')).toBeNull();
});

test('membershipOf - another UID, no object, no reference, no UID at all', () => {
  const selector = { matchLabels: { app: 'web' } };
  expect(membershipOf(child, found(selector, 'rs-2'), 'rs-1')).toBeNull();
  expect(membershipOf(child, null, 'rs-1')).toBeNull();
  expect(membershipOf({ ...child, owner: null }, found(selector), 'rs-1')).toBeNull();
  expect(membershipOf({ ...child, owner: { ...owner, uid: '' } }, found(selector, ''), '')).toBeNull();
});

test('membershipOf - the top of the chain is the owner or its controller, as the verdict has it', () => {
  const selector = { matchLabels: { app: 'web' } };
  const above = [{ apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: 'deploy-1', controller: true }];
  const set = ownerObjectOf({ metadata: { uid: 'rs-1', ownerReferences: above }, spec: { selector } });
  expect(membershipOf(child, set, 'deploy-1')).toBe('confirmed');
  expect(membershipOf(child, set, 'rs-1')).toBe('confirmed');
  // The pod runs another program, so that ipam-sync gives it no owner; or it was of another workload.
  for (const topUid of ['', 'deploy-2']) expect(membershipOf(child, set, topUid)).toBe('claimed');
});

test('membershipOf - the plain selector of a ReplicationController', () => {
  const controller = { ...owner, apiVersion: 'v1', kind: 'ReplicationController' };
  expect(membershipOf({ ...child, owner: controller }, found({ app: 'web' }), 'rs-1')).toBe('confirmed');
  expect(membershipOf({ ...child, owner: controller }, found({ app: 'db' }), 'rs-1')).toBeNull();
});

test.each([
  ['ReplicaSet', '/apis/apps/v1/namespaces/shop/replicasets/web'],
  ['constructor', null],
  ['toString', null],
])('path of an owner - a kind that a tenant chose leads to no other object: %s', (kind, path) => {
  expect(ownerPath('shop', { apiVersion: 'apps/v1', kind, name: 'web', uid: 'u-1' })).toBe(path);
});
