import type { NodeStatus, RuntimeStatus } from '@bailiff/schemas';
import { expect, it } from 'vitest';
import { runtimeProblems } from './runtime.ts';

const key = (name: string) => `runtime.cluster._.${name}`;
const refused = (name: string, reason: string) => ({
  key: key(name),
  revision: 1,
  state: 'refused',
  reason,
  subjects: 0,
});
const node = (policies: unknown[], configRefused: NodeStatus['configRefused'] = []) => {
  const runtime = { state: 'available', missingHooks: [], losses: {}, policies } as unknown as RuntimeStatus;
  return { runtime, configRefused } as unknown as NodeStatus;
};

it.each([
  ['one', [refused('a', 'too many rules')], ['refuses runtime.cluster._.a: too many rules']],
  [
    'many with one reason are one problem, another reason is another',
    [...['a', 'b', 'c', 'd'].map((name) => refused(name, 'no LSM')), refused('e', 'too many rules')],
    [`refuses ${key('a')}, ${key('b')} and 2 more: no LSM`, `refuses ${key('e')}: too many rules`],
  ],
  ['in force: nothing to tell', [{ ...refused('a', ''), state: 'in-force' }], []],
])('policies that a node refuses - %s', (_, policies, expected) => {
  expect(runtimeProblems('n', node(policies)).map(({ text }) => text)).toEqual(expected);
});

it('policies that a node refuses - a value that no reader accepts is reported once, as configuration', () => {
  const configRefused = [{ key: key('a'), reason: 'x' }];
  expect(runtimeProblems('n', node([refused('a', 'x')], configRefused))).toEqual([]);
});
