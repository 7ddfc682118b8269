import { cniStatus, type NodeStatus } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { cniLines, cniProblems } from './cni.ts';

const INSTALLED = {
  state: 'installed',
  failurePolicy: 'closed',
  problem: '',
  problemAt: null,
  passed: 0,
  lastPassed: '',
} as const;

const node = (cni?: Partial<NonNullable<NodeStatus['cni']>>): NodeStatus =>
  ({ nodeName: 'n', ...(cni ? { cni: cniStatus.parse({ ...INSTALLED, ...cni }) } : {}) }) as NodeStatus;
const textOf = (status: NodeStatus) => cniProblems('n', status).map(({ text, exitCode }) => [exitCode, text]);

describe('CNI plugin of a node', () => {
  it('installed, off, and a version without it - no problem', () => {
    expect([node({}), node({ state: 'off' }), node()].flatMap(textOf)).toEqual([]);
    expect(cniLines(node({}))).toEqual(['installed, failure policy closed, 0 pods started without a guard']);
    expect(cniLines(node({ state: 'off' }))).toEqual(['off']);
    expect(cniLines(node())).toEqual(['not reported by this version']);
  });

  it('not installed, not served, left behind - a warning with the reason', () => {
    expect(textOf(node({ state: 'not-installed', problem: 'EROFS' }))).toEqual([
      [0, 'the CNI plugin is not installed: "EROFS"'],
    ]);
    expect(textOf(node({ state: 'not-served' }))).toEqual([[0, 'the CNI plugin is installed, but not served']]);
    expect(textOf(node({ state: 'off', problem: 'still installed' }))).toEqual([[0, '"still installed"']]);
  });

  it('pods without a guard are counted, with the last one and the last problem', () => {
    const status = node({
      passed: 2,
      lastPassed: 'shop/web: away',
      problem: 'away',
      problemAt: '2026-11-24T12:00:00Z',
    });
    expect(textOf(status)).toEqual([[0, '2 pods started without a guard since its boot, last "shop/web: away"']]);
    expect(cniLines(status)).toEqual([
      'installed, failure policy closed, 2 pods started without a guard',
      'last pod without a guard: "shop/web: away"',
      'last problem: "away" (2026-11-24T12:00:00Z)',
    ]);
  });

  it('pods without a guard - the warning ends an hour after the last one, the details keep the number', () => {
    const at = (minutes: number) => ({
      ...node({ passed: 2, lastPassed: 'shop/web: away', passedAt: '2026-11-24T12:00:00.000Z' }),
      updatedAt: new Date(Date.parse('2026-11-24T12:00:00Z') + minutes * 60_000).toISOString(),
    });
    expect([at(0), at(59), at(60)].map((status) => textOf(status).length)).toEqual([1, 1, 0]);
    expect(cniLines(at(60))[1]).toBe('last pod without a guard: "shop/web: away" (2026-11-24T12:00:00.000Z)');
  });
});
