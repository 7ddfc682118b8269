import type { InstanceStatus, TaintStatus } from '@bailiff/schemas';
import { expect, it } from 'vitest';
import { taintProblems, taintsLine } from './taints.ts';

const NOW = Date.parse('2026-11-25T12:00:00Z');
const taints = (part: Partial<TaintStatus> = {}): TaintStatus => ({
  tainted: [],
  taintedCount: 0,
  withheld: [],
  withheldCount: 0,
  problem: '',
  remedy: '',
  ...part,
});
const instance = (part: Partial<InstanceStatus> = {}): InstanceStatus => ({
  service: 'ipam-sync',
  instance: 'a',
  version: '0.1.0',
  startedAt: '2026-11-25T11:00:00Z',
  updatedAt: '2026-11-25T11:59:55Z',
  configRevision: 0,
  configRefused: [],
  ...part,
});
const TAINTED = taints({ tainted: ['node-a'], taintedCount: 1 });

it('a tainted node has a line, which is no failure', () => {
  expect(taintProblems([instance(), instance({ taints: TAINTED })], NOW)).toEqual([
    {
      severity: 'warn',
      area: 'unguarded nodes',
      node: 'node-a',
      text: 'is tainted bailiff.dev/unguarded: no new pod is scheduled there until its collector runs again',
      remedy: '',
      exitCode: 0,
    },
  ]);
  expect(taintsLine(TAINTED)).toBe('1 node is tainted: node-a');
});

it('a fault of ipam-sync is a failure, with the nodes and the remedy', () => {
  const more = { withheld: ['b', 'c', 'd'], withheldCount: 3, problem: '3 are too many', remedy: 'look' };
  expect(taintProblems([instance({ taints: taints(more) })], NOW)).toEqual([
    {
      severity: 'shout',
      area: 'unguarded nodes',
      node: 'ipam-sync',
      text: '3 are too many (not tainted: b, c and 1 more)',
      remedy: 'look',
      exitCode: 6,
    },
  ]);
});

it('the newest word holds while the lease changes hands, and none of an instance that is silent', () => {
  const old = instance({ instance: 'b', updatedAt: '2026-11-25T11:59:30Z', taints: TAINTED });
  expect(taintProblems([old, instance({ taints: taints() })], NOW)).toEqual([]);
  expect(taintProblems([instance({ updatedAt: '2026-11-25T11:58:00Z', taints: TAINTED })], NOW)).toEqual([]);
});
