import type { StoredConfig } from '@bailiff/bus';
import type { Place } from '@bailiff/response';
import { describe, expect, test } from 'vitest';
import type { Decision } from './decide.ts';
import type { MirroredResource, ResourceStatus } from './resource.ts';
import { type Rollout, statusOf, statusPatch } from './status.ts';

const NOW_MS = Date.parse('2026-11-25T12:00:00.400Z');
const KEY = 'runtime.cluster._.a';
const resource = (status: ResourceStatus = {}): MirroredResource => ({
  kind: 'RuntimePolicy',
  name: 'a',
  uid: 'u',
  generation: 5,
  resourceVersion: '1',
  createdAt: '',
  change: null,
  spec: {},
  signature: '',
  status,
});
const stored = { key: KEY, revision: 7, owner: { generation: 4 } } as StoredConfig;
const place = (node: string, state: Place['state'], reason = ''): Place => ({
  node,
  state,
  reason,
  revision: null,
  subjects: 0,
  remedy: '',
});
const rollout = (places: Place[] | null, enabled = true): Rollout => ({ stored, enabled, places });
const STANDS: Decision = { state: 'unchanged', key: KEY };
const INVALID: Decision = { state: 'refused', key: KEY, reason: 'Invalid', message: 'spec.mode: no' };

/** `True Everywhere 1/1` */
function forceOf(decision: Decision, what: Rollout | null): string {
  const { conditions, inForce = '' } = statusOf(resource(), decision, what, NOW_MS);
  const force = conditions?.find(({ type }) => type === 'InForce');
  return [force?.status, force?.reason, inForce].join(' ').trim();
}

describe('in force', () => {
  test.each<[string, Rollout | null, string]>([
    ['everywhere', rollout([place('a', 'in-force'), place('b', 'in-force')]), 'True Everywhere 2/2'],
    ['not applied yet', rollout([place('a', 'in-force'), place('b', 'pending')]), 'False Pending 1/2'],
    ['refused somewhere', rollout([place('a', 'refused', 'x'), place('b', 'pending')]), 'False NotEverywhere 0/2'],
    ['no node', rollout([]), 'Unknown NoNodes 0/0'],
    ['not read yet', rollout(null), 'Unknown NotAsked'],
    ['disabled', rollout([place('a', 'in-force')], false), 'False Disabled'],
    ['nothing stands', null, 'False NotAccepted'],
  ])('%s', (_, what, wanted) => {
    expect(forceOf(STANDS, what)).toBe(wanted);
  });

  test('a refused change reports the last valid value and its revision', () => {
    const result = statusOf(resource(), INVALID, rollout([place('a', 'in-force')]), NOW_MS);
    expect(result).toMatchObject({ observedGeneration: 5, configRevision: 7, inForce: '1/1' });
    expect(result.conditions?.map(({ status, message }) => [status, message])).toEqual([
      ['False', 'spec.mode: no; generation 4, revision 7, stays in force'],
      ['True', 'in force on 1/1'],
    ]);
  });

  test('names three places', () => {
    const places = ['a', 'b', 'c', 'd', 'e'].map((node) => place(node, 'silent', 'x'));
    const result = statusOf(resource(), STANDS, rollout(places), NOW_MS);
    expect(result.conditions?.[1]?.message).toBe('a: x; b: x; c: x; and 2 more');
  });
});

test('a message is printable: kubectl prints it as it is', () => {
  const [a, b] = [place('a', 'refused', 'x\u001b[8m\u202e'), place('b', 'pending', 'y\u009b2J')];
  const refused = { ...INVALID, message: 'spec.mode: \u001b[8m\nsecond' } as Decision;
  const messages = statusOf(resource(), refused, rollout([a, b]), NOW_MS).conditions?.map(({ message }) => message);
  expect(messages).toEqual([
    expect.stringMatching(/^spec\.mode: \\u001b\[8m\nsecond; /),
    'a: x\\u001b[8m\\u202e; b: y\\u009b2J',
  ]);
});

describe('status patch', () => {
  const before = statusOf(resource(), STANDS, rollout([place('a', 'in-force')]), NOW_MS);
  const later = (places: Place[], decision: Decision = STANDS) =>
    statusOf(resource(before), decision, rollout(places), NOW_MS + 60_000);

  test('null if nothing changes, in any order of fields', () => {
    const given = JSON.parse(JSON.stringify(before)) as ResourceStatus;
    given.conditions = given.conditions?.map((one) => Object.fromEntries(Object.entries(one).reverse()) as never) ?? [];
    expect(statusPatch(given, later([place('a', 'in-force')]))).toBeNull();
  });

  test('lastTransitionTime changes with the status of a condition', () => {
    const times = (status: ResourceStatus) => status.conditions?.map((one) => one.lastTransitionTime);
    expect(times(before)).toEqual(['2026-11-25T12:00:00Z', '2026-11-25T12:00:00Z']);
    expect(times(later([place('a', 'pending')]))).toEqual(['2026-11-25T12:00:00Z', '2026-11-25T12:01:00Z']);
  });

  test('removes absent fields and keeps foreign conditions', () => {
    const foreign = { type: 'Reviewed', status: 'True', reason: 'Yes', message: '', lastTransitionTime: 'x' } as const;
    const known = { ...before, conditions: [...(before.conditions ?? []), foreign] };
    const patch = statusPatch(known, statusOf(resource(known), INVALID, null, NOW_MS));
    expect(patch).toMatchObject({ inForce: null, configRevision: null });
    const conditions = patch?.['conditions'];
    expect(conditions).toMatchObject([{ type: 'Accepted' }, { type: 'InForce' }, { type: 'Reviewed' }]);
  });
});
