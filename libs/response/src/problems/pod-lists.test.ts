import type { InstanceStatus } from '@bailiff/schemas';
import { expect, it } from 'vitest';
import { podListProblems } from './pod-lists.ts';

const NOW = Date.parse('2026-11-25T12:00:00Z');
const leader = (
  omittedPods?: InstanceStatus['omittedPods'],
  claimedMembers?: InstanceStatus['claimedMembers'],
): InstanceStatus => ({
  service: 'ipam-sync',
  instance: 'a',
  version: '0.1.0',
  startedAt: '2026-11-25T11:00:00Z',
  updatedAt: '2026-11-25T11:59:55Z',
  configRevision: 0,
  configRefused: [],
  ...(omittedPods ? { omittedPods } : {}),
  ...(claimedMembers ? { claimedMembers } : {}),
});
const texts = (instance: InstanceStatus) => podListProblems([instance], NOW).map(({ text }) => text);

it('omitted pods - number, nodes and the namespaces with most', () => {
  const namespaces = ['a', 'b', 'c', 'd'].map((namespace, i) => ({ namespace, pods: 9 - i }));
  expect(texts(leader({ total: 31, nodes: 2, namespaces }))).toEqual([
    'omits 31 pods from the lists of 2 nodes: 9 of namespace a, 8 of namespace b, 7 of namespace c and 1 more',
  ]);
  expect(texts(leader({ total: 1, nodes: 1, namespaces: [] }))).toEqual(['omits 1 pod from the lists of 1 node']);
});

it('pods that do not run the template of their controller - number and cause', () => {
  expect(texts(leader(undefined, { pods: 24, controllers: 1 }))).toEqual([
    expect.stringMatching(/^guards of 24 pods of 1 controller are weak, because these pods .* a webhook /),
  ]);
});

it('complete lists, and a leader that stopped - no problem', () => {
  expect(texts(leader())).toEqual([]);
  const stopped = { ...leader({ total: 1, nodes: 1, namespaces: [] }), stoppedAt: '2026-11-25T11:59:59Z' };
  expect(texts(stopped)).toEqual([]);
});
