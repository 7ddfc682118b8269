import type { StoredConfig } from '@bailiff/bus';
import type { Place } from '@bailiff/response';
import { describe, expect, test } from 'vitest';
import type { Decision } from './decide.ts';
import type { MirroredResource, ResourceStatus } from './resource.ts';
import { type Standing, statusOf, statusPatch } from './status.ts';

const NOW_MS = Date.parse('2026-11-25T12:00:00.400Z');
const KEY = 'runtime.cluster._.a';
const resource = (status: ResourceStatus = {}): MirroredResource => ({
  ...{ kind: 'RuntimePolicy', name: 'a', uid: 'u', generation: 5, resourceVersion: '1', createdAt: '', spec: {} },
  status,
});
const stored = { key: KEY, revision: 7, owner: { generation: 4 } } as StoredConfig;
const place = (node: string, state: Place['state'], reason = ''): Place => ({
  ...{ node, state, reason, revision: null, subjects: 0, remedy: '' },
});
const standing = (places: Place[] | null, enabled = true): Standing => ({ stored, enabled, places });
const STANDS: Decision = { state: 'stands', key: KEY };
const INVALID: Decision = { state: 'refused', key: KEY, reason: 'Invalid', message: 'spec.mode: no' };

/** `True Everywhere 1/1` */
function forceOf(decision: Decision, what: Standing | null): string {
  const { conditions, inForce = '' } = statusOf(resource(), decision, what, NOW_MS);
  const force = conditions?.find(({ type }) => type === 'InForce');
  return [force?.status, force?.reason, inForce].join(' ').trim();
}

describe('in force', () => {
  test.each<[string, Standing | null, string]>([
    ['everywhere', standing([place('a', 'in-force'), place('b', 'in-force')]), 'True Everywhere 2/2'],
    ['not taken yet', standing([place('a', 'in-force'), place('b', 'pending')]), 'False Pending 1/2'],
    ['refused somewhere', standing([place('a', 'refused', 'x'), place('b', 'pending')]), 'False NotEverywhere 0/2'],
    ['no node', standing([]), 'Unknown NoNodes 0/0'],
    ['not asked yet', standing(null), 'Unknown NotAsked'],
    ['disabled', standing([place('a', 'in-force')], false), 'False Disabled'],
    ['nothing stands', null, 'False NotAccepted'],
  ])('%s', (_, what, wanted) => {
    expect(forceOf(STANDS, what)).toBe(wanted);
  });

  test('while a change is refused, that of the last good one, and the message says which', () => {
    const told = statusOf(resource(), INVALID, standing([place('a', 'in-force')]), NOW_MS);
    expect(told).toMatchObject({ observedGeneration: 5, configRevision: 7, inForce: '1/1' });
    expect(told.conditions?.map(({ status, message }) => [status, message])).toEqual([
      ['False', 'spec.mode: no; generation 4, revision 7, stays in force'],
      ['True', 'in force on 1/1'],
    ]);
  });

  test('three places are named', () => {
    const places = ['a', 'b', 'c', 'd', 'e'].map((node) => place(node, 'silent', 'x'));
    const told = statusOf(resource(), STANDS, standing(places), NOW_MS);
    expect(told.conditions?.[1]?.message).toBe('a: x; b: x; c: x; and 2 more');
  });
});

describe('what is written', () => {
  const before = statusOf(resource(), STANDS, standing([place('a', 'in-force')]), NOW_MS);
  const later = (places: Place[], decision: Decision = STANDS) =>
    statusOf(resource(before), decision, standing(places), NOW_MS + 60_000);

  test('nothing when nothing changes, as a server gives it back', () => {
    const given = JSON.parse(JSON.stringify(before)) as ResourceStatus;
    given.conditions = given.conditions?.map((one) => Object.fromEntries(Object.entries(one).reverse()) as never) ?? [];
    expect(statusPatch(given, later([place('a', 'in-force')]))).toBeNull();
  });

  test('times are those of a change of status', () => {
    const times = (status: ResourceStatus) => status.conditions?.map((one) => one.lastTransitionTime);
    expect(times(before)).toEqual(['2026-11-25T12:00:00Z', '2026-11-25T12:00:00Z']);
    expect(times(later([place('a', 'pending')]))).toEqual(['2026-11-25T12:00:00Z', '2026-11-25T12:01:00Z']);
  });

  test('what is no longer said is taken out, and conditions of others stay', () => {
    const foreign = { type: 'Reviewed', status: 'True', reason: 'Yes', message: '', lastTransitionTime: 'x' } as const;
    const known = { ...before, conditions: [...(before.conditions ?? []), foreign] };
    const patch = statusPatch(known, statusOf(resource(known), INVALID, null, NOW_MS));
    expect(patch).toMatchObject({ inForce: null, configRevision: null });
    const conditions = patch?.['conditions'];
    expect(conditions).toMatchObject([{ type: 'Accepted' }, { type: 'InForce' }, { type: 'Reviewed' }]);
  });
});
