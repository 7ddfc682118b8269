import type { Node } from '@bailiff/kube';
import { expect, it } from 'vitest';
import { hasLabels, isTainted, nodeObject, taintsWith, takesPods } from './node-object.ts';

const GPU = { key: 'example.org/gpu', value: 'yes', effect: 'NoSchedule' };
const OURS = { key: 'bailiff.dev/unguarded', effect: 'NoSchedule' };
const object = (spec: Node['spec'] = {}, labels?: Record<string, string>) =>
  nodeObject({ metadata: { name: 'a', uid: 'u', resourceVersion: '7', ...(labels && { labels }) }, spec });

it('taints - adds ours after the others and removes it, once', () => {
  expect(taintsWith(object({ taints: [GPU] }), 'NoSchedule')).toEqual([GPU, OURS]);
  expect(taintsWith(object({ taints: [OURS, GPU] }), 'NoSchedule')).toEqual([GPU, OURS]);
  expect(taintsWith(object({ taints: [OURS, GPU, { ...OURS, effect: 'NoExecute' }] }), null)).toEqual([GPU]);
  expect(taintsWith(object(), null)).toEqual([]);
  expect([isTainted(object({ taints: [GPU] })), isTainted(object({ taints: [GPU, OURS] }))]).toEqual([false, true]);
});

it.each<[string, Node['spec'], boolean]>([
  ['plain', {}, true],
  ['with our taint and a foreign one', { taints: [OURS, GPU] }, true],
  ['cordoned', { unschedulable: true }, false],
  ['not ready', { taints: [{ key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' }] }, false],
  ['unreachable', { taints: [{ key: 'node.kubernetes.io/unreachable', effect: 'NoExecute' }] }, false],
])('takes pods - %s', (_, spec, expected) => {
  expect(takesPods(object(spec))).toBe(expected);
});

it('labels - all must have their value', () => {
  const one = object({}, { 'kubernetes.io/os': 'linux', zone: 'a' });
  expect(hasLabels(one, {})).toBe(true);
  expect(hasLabels(one, { 'kubernetes.io/os': 'linux', zone: 'a' })).toBe(true);
  expect(hasLabels(one, { 'kubernetes.io/os': 'windows' })).toBe(false);
  expect(hasLabels(object(), { 'kubernetes.io/os': 'linux' })).toBe(false);
});
