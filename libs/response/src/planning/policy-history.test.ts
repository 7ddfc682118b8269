import { responsePolicy } from '@bailiff/policy';
import { describe, expect, it } from 'vitest';
import { MAX_VERSIONS_PER_KEY, PolicyHistory } from './policy-history.ts';

let sequence = 0;
const entry = (timestampMicros: number, value: unknown, key = 'response.cluster._.mine') => ({
  sequence: ++sequence,
  timestampMicros,
  key,
  json: value === null ? null : typeof value === 'string' ? value : JSON.stringify(value),
});
const steps = (action: string) => [{ action }];
const actionsAt = (book: PolicyHistory, at: number) =>
  book
    .at(at)
    .byName.get('mine')
    ?.steps.map(({ action }) => action);

describe('policies', () => {
  it('at - the version of that moment, whatever came later', () => {
    const book = new PolicyHistory();
    book.apply(entry(100, { steps: steps('label') }));
    book.apply(entry(200, { steps: steps('delete') }));
    book.apply(entry(300, null));
    expect(actionsAt(book, 99)).toBeUndefined();
    expect(actionsAt(book, 100)).toEqual(['label']);
    expect(actionsAt(book, 250)).toEqual(['delete']);
    expect(actionsAt(book, 300)).toBeUndefined();
    expect(book.at(250).revision).toBeGreaterThan(book.at(150).revision);
    expect(book.at(50).revision).toBe(0);
  });

  it('at - a default is in force until the operator writes one of its name, and again when that is deleted', () => {
    const book = new PolicyHistory();
    const key = 'response.cluster._.answer-high';
    expect(book.latest().byName.get('answer-high')?.dryRun).toBe(true);
    book.apply(entry(100, { enabled: false, steps: steps('observe') }, key));
    expect(book.latest().byName.has('answer-high')).toBe(false);
    book.apply(entry(200, null, key));
    expect(book.latest().byName.get('answer-high')?.steps).toHaveLength(3);
  });

  it.each([
    ['no JSON', '{'],
    ['an unknown key', { steps: steps('label'), dry: true }],
    ['a wrong unit', { steps: [{ action: 'label', expires: '10 minutes' }] }],
    ['an action twice', { steps: [{ action: 'label' }, { action: 'label' }] }],
    ['an end for what cannot end', { steps: [{ action: 'delete', expires: '1h' }] }],
    ['an older revision', { revision: 4, steps: steps('delete') }],
  ])('apply - %s is reported and the last good one stays', (_name, bad) => {
    const book = new PolicyHistory();
    book.apply(entry(100, { revision: 5, steps: steps('label') }));
    book.apply(entry(200, bad));
    expect(actionsAt(book, 1000)).toEqual(['label']);
    expect(book.refused()).toHaveLength(1);
    expect(book.refused()[0]?.reason).toContain('response.cluster._.mine');
    book.apply(entry(300, { revision: 6, steps: steps('delete') }));
    expect(book.refused()).toEqual([]);
    expect(actionsAt(book, 1000)).toEqual(['delete']);
  });

  it('apply - what is none of its business is passed over', () => {
    const book = new PolicyHistory();
    book.apply(entry(100, 'anything', 'spoof.cluster._.default'));
    book.apply(entry(100, 'anything', 'future.kind._.x'));
    expect(book.refused()).toEqual([]);
    expect(book.latest().byName.size).toBe(1);
  });

  it('apply - the same entry twice, and a clock that was set back, change nothing', () => {
    const book = new PolicyHistory();
    const first = entry(500, { steps: steps('label') });
    book.apply(first);
    book.apply(entry(400, { steps: steps('delete') }));
    book.apply(first);
    expect(actionsAt(book, 450)).toBeUndefined();
    expect(actionsAt(book, 500)).toEqual(['delete']);
  });

  it('apply - keeps a bounded number of versions', () => {
    const book = new PolicyHistory();
    for (let index = 1; index <= MAX_VERSIONS_PER_KEY + 5; index++) book.apply(entry(index, { steps: steps('label') }));
    expect(actionsAt(book, 5)).toBeUndefined();
    expect(actionsAt(book, 6)).toEqual(['label']);
  });

  it('disarmedFor - cluster, node and namespace, while it lasts', () => {
    const book = new PolicyHistory();
    const until = new Date(10_000).toISOString();
    const value = { until, duration: '30m', by: 'anna' };
    const where = { node: 'node-a', namespace: 'shop' };
    book.apply(entry(1, value, 'disarm.node._.node-b'));
    expect(book.disarmedFor(5_000, where)).toBeNull();
    book.apply(entry(2, value, 'disarm.namespace.shop.all'));
    expect(book.disarmedFor(5_000, where)).toContain('namespace shop is disarmed');
    expect(book.disarmedFor(5_000, { node: 'node-a', namespace: null })).toBeNull();
    expect(book.disarmedFor(5_000, { node: 'node-b', namespace: null })).toContain('by anna');
    expect(book.disarmedFor(10_000, where)).toBeNull();
    book.apply(entry(3, value, 'disarm.cluster._.all'));
    expect(book.disarmedFor(5_000, { node: 'node-c', namespace: null })).toContain('the cluster');
    expect(book.disarms(5_000)).toEqual({ cluster: 1, node: 1, namespace: 1 });
    expect(book.disarms(10_000)).toEqual({ cluster: 0, node: 0, namespace: 0 });
  });

  it('startOver - policies and a disarming stand until the new log says otherwise, whatever revision it begins with', () => {
    const book = new PolicyHistory();
    const until = new Date(10_000).toISOString();
    const disarm = (more: object) => ({ until, duration: '30m', by: 'anna', ...more });
    const where = { node: 'node-a', namespace: 'shop' };
    const key = 'disarm.cluster._.all';
    book.apply(entry(100, { revision: 9, steps: steps('label') }));
    book.apply(entry(200, disarm({ revision: 9 }), key));
    book.streamRecreated();
    expect(actionsAt(book, 1_000)).toEqual(['label']);
    expect(book.latest().byName.has('mine')).toBe(true);
    const first = { ...entry(5_000, { revision: 1, steps: steps('delete') }), sequence: 1 };
    book.apply(first);
    expect([actionsAt(book, 99), actionsAt(book, 4_999), actionsAt(book, 5_000)]).toEqual([
      undefined,
      ['label'],
      ['delete'],
    ]);
    expect(book.disarmedFor(5_000, where)).toContain('by anna');
    book.apply({ ...entry(5_001, disarm({ revision: 1, by: 'berta' }), key), sequence: 2 });
    expect(book.disarmedFor(5_000, where)).toContain('by berta');
    book.apply({ ...entry(5_002, null, key), sequence: 3 });
    expect(book.disarmedFor(5_000, where)).toBeNull();
    expect(book.refused()).toEqual([]);
  });

  it('a policy that names all its fields passes', () => {
    expect(responsePolicy.parse({ steps: steps('label') }).dryRun).toBe(true);
  });
});
