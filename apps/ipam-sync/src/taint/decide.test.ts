import { unguardedNodes } from '@bailiff/policy';
import type { InterfaceStatus } from '@bailiff/schemas';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AssessedNode, guardsPods, planTaints } from './decide.ts';

const MINUTE = 60_000;
const setting = unguardedNodes.parse({ taint: 'NoSchedule', after: '2m', maxPercent: 25 });
const node = (name: string, part: Partial<AssessedNode> = {}): AssessedNode => ({
  name,
  tainted: false,
  selected: true,
  takesPods: true,
  silentMs: 0,
  guards: false,
  ...part,
});
const silent = (name: string, part: Partial<AssessedNode> = {}) => node(name, { silentMs: 3 * MINUTE, ...part });
const tainted = (name: string, part: Partial<AssessedNode> = {}) => silent(name, { tainted: true, ...part });
const reporting = (count: number) => Array.from({ length: count }, (_, index) => node(`ok-${index}`));
const NOTHING = { put: [], remove: [], withheld: [] };

describe('taints of unguarded nodes', () => {
  it.each<[string, AssessedNode[], object]>([
    ['all report', reporting(4), NOTHING],
    ['one without heartbeats', [...reporting(3), silent('a')], { put: ['a'] }],
    ['exactly at the limit', [...reporting(3), node('a', { silentMs: 2 * MINUTE })], NOTHING],
    ['tainted without heartbeats', [...reporting(3), tainted('a')], NOTHING],
    ['reports again and guards', [...reporting(3), tainted('a', { silentMs: 0, guards: true })], { remove: ['a'] }],
    ['reports again and guards nothing', [...reporting(3), tainted('a', { silentMs: 0 })], NOTHING],
    ['reported again and stopped', [...reporting(3), tainted('a', { guards: true })], NOTHING],
    // 25 % of 4 nodes is one.
    ['more than the limit', [...reporting(2), silent('a'), silent('b')], { withheld: ['a', 'b'] }],
    ['the limit is reached', [...reporting(2), tainted('a'), silent('b')], { withheld: ['b'] }],
    [
      'one recovers above the limit',
      [...reporting(1), tainted('a', { silentMs: 0, guards: true }), silent('b'), silent('c')],
      { remove: ['a'], withheld: ['b', 'c'] },
    ],
    [
      'one recovers and another fails',
      [...reporting(2), tainted('a', { silentMs: 0, guards: true }), silent('b')],
      { remove: ['a'], put: ['b'] },
    ],
    ['the only node', [silent('a')], { withheld: ['a'] }],
    ['one of two', [node('ok'), silent('a')], { put: ['a'] }],
    [
      'cordoned nodes neither count nor are tainted',
      [...reporting(3), silent('a'), silent('b', { takesPods: false })],
      { put: ['a'] },
    ],
    ['the last one that accepts pods', [silent('a'), node('b', { takesPods: false })], { withheld: ['a'] }],
    ['a node without the selected labels', [...reporting(3), silent('a', { selected: false })], NOTHING],
    ['it lost the selected labels', [...reporting(3), tainted('a', { selected: false })], { remove: ['a'] }],
    [
      'a tainted one that was cordoned',
      [...reporting(3), tainted('a', { takesPods: false }), silent('b')],
      { put: ['b'] },
    ],
  ])('%s', (_, nodes, expected) => {
    expect(planTaints(nodes, setting)).toMatchObject({ ...NOTHING, ...expected });
  });

  it('off - removes every taint of Bailiff and adds none', () => {
    const off = unguardedNodes.parse({});
    const nodes = [tainted('a'), tainted('b', { takesPods: false }), tainted('c', { selected: false }), silent('d')];
    expect(planTaints(nodes, off)).toMatchObject({ ...NOTHING, remove: ['a', 'b', 'c'] });
  });

  it('no plan taints more than the limit or the last node', () => {
    const any = fc.record({
      tainted: fc.boolean(),
      selected: fc.boolean(),
      takesPods: fc.boolean(),
      silentMs: fc.constantFrom(0, 3 * MINUTE),
      guards: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(any, { maxLength: 40 }), fc.integer({ min: 1, max: 50 }), (parts, maxPercent) => {
        const nodes = parts.map((part, index) => node(`n${index}`, part));
        const plan = planTaints(nodes, { ...setting, maxPercent });
        const assessed = nodes.filter(({ selected, takesPods }) => selected && takesPods);
        expect(plan.bound).toBeLessThanOrEqual(Math.ceil((assessed.length * maxPercent) / 100));
        if (plan.put.length > 0) {
          const after = assessed.filter(
            ({ name, tainted }) => plan.put.includes(name) || (tainted && !plan.remove.includes(name)),
          );
          expect(after.length).toBeLessThanOrEqual(plan.bound);
          expect(after.length).toBeLessThan(assessed.length);
        }
      }),
    );
  });
});

describe('guarding by status', () => {
  const ifaces = (...coverages: InterfaceStatus['coverage'][]) => coverages.map((coverage) => ({ coverage }));
  it.each<[string, Parameters<typeof guardsPods>[0], boolean]>([
    ['no pod yet', { hook: 'tcx', interfaces: [] }, true],
    ['all guarded', { hook: 'clsact', interfaces: ifaces('guarded', 'not-applicable') }, true],
    ['one that cannot be guarded', { hook: 'tcx', interfaces: ifaces('partial', 'not-covered') }, true],
    ['detached by an operator', { hook: 'tcx', interfaces: ifaces('not-covered', 'not-applicable') }, false],
    [
      'guarded ones behind others',
      { hook: 'tcx', interfaces: ifaces('not-covered'), interfacesOmitted: { guarded: 1 } },
      true,
    ],
    [
      'none behind others',
      { hook: 'tcx', interfaces: ifaces('not-covered'), interfacesOmitted: { guarded: 0 } },
      false,
    ],
    ['observe only', { hook: 'none', interfaces: ifaces('guarded') }, false],
  ])('%s', (_, status, expected) => {
    expect(guardsPods(status)).toBe(expected);
  });
});
