import { FORMER_CONFIG_MICROS, MAX_REVISION, parseSigners, responsePolicy, SignedConfig } from '@bailiff/policy';
import { newSigner, signedBy, signerLine } from '@bailiff/policy/testing';
import { describe, expect, it } from 'vitest';
import { MAX_POLICY_KEYS, MAX_POLICY_SETS, PolicyHistory } from './policy-history.ts';

let sequence = 0;
const entry = (timestampMicros: number, value: unknown, key = 'response.cluster._.mine') => ({
  sequence: ++sequence,
  timestampMicros,
  key,
  json: value === null ? null : typeof value === 'string' ? value : JSON.stringify(value),
});
const steps = (action: string) => [{ action }];
const actionsAt = (history: PolicyHistory, at: number) =>
  history
    .at(at)
    .byName.get('mine')
    ?.steps.map(({ action }) => action);

describe('policy history', () => {
  it('at - the version in force at that time', () => {
    const history = new PolicyHistory();
    history.apply(entry(100, { steps: steps('label') }));
    history.apply(entry(200, { steps: steps('delete') }));
    history.apply(entry(300, null));
    expect(actionsAt(history, 99)).toBeUndefined();
    expect(actionsAt(history, 100)).toEqual(['label']);
    expect(actionsAt(history, 250)).toEqual(['delete']);
    expect(actionsAt(history, 300)).toBeUndefined();
    expect(history.at(250).revision).toBeGreaterThan(history.at(150).revision);
    expect(history.at(50).revision).toBe(0);
  });

  it('at - after a clock was ahead and is set back, a change is in force from its own time, whatever was stored meanwhile', () => {
    const history = new PolicyHistory();
    const [second, day] = [1_000_000, 86_400_000_000];
    history.apply(entry(100 * second, { steps: steps('label') }));
    history.apply(entry(100 * second + day, { until: '2026-01-01T00:00:00Z' }, 'disarm.cluster._.all'));
    history.apply(entry(120 * second, { steps: steps('delete') }));
    expect([actionsAt(history, 119 * second), actionsAt(history, 120 * second)]).toEqual([['label'], ['delete']]);
    // Control: the clock of another leader, some seconds behind.
    history.apply(entry(115 * second, { steps: steps('observe') }));
    expect([actionsAt(history, 119 * second), actionsAt(history, 120 * second)]).toEqual([['label'], ['observe']]);
  });

  it('at - a default is in force until overridden, and again after the override is deleted', () => {
    const history = new PolicyHistory();
    const key = 'response.cluster._.answer-high';
    expect(history.latest(Number.MAX_SAFE_INTEGER).byName.get('answer-high')?.dryRun).toBe(true);
    history.apply(entry(100, { enabled: false, steps: steps('observe') }, key));
    expect(history.latest(Number.MAX_SAFE_INTEGER).byName.has('answer-high')).toBe(false);
    history.apply(entry(200, null, key));
    expect(history.latest(Number.MAX_SAFE_INTEGER).byName.get('answer-high')?.steps).toHaveLength(3);
  });

  it('apply - the order of the log decides, not the revision in a value', () => {
    const history = new PolicyHistory();
    history.apply(entry(100, { revision: MAX_REVISION, steps: steps('label') }));
    history.apply(entry(200, { revision: 1, steps: steps('delete') }));
    expect([history.refused(), actionsAt(history, 1000)]).toEqual([[], ['delete']]);
  });

  it.each([
    ['no JSON', '{'],
    ['an unknown key', { steps: steps('label'), dry: true }],
    ['a wrong unit', { steps: [{ action: 'label', expires: '10 minutes' }] }],
    ['an action twice', { steps: [{ action: 'label' }, { action: 'label' }] }],
    ['an expiry of an action without undo', { steps: [{ action: 'delete', expires: '1h' }] }],
    ['an impossible revision', { revision: 2 ** 53 - 1, steps: steps('delete') }],
  ])('apply - %s is reported and the last good one stays', (_name, bad) => {
    const history = new PolicyHistory();
    history.apply(entry(100, { revision: 5, steps: steps('label') }));
    history.apply(entry(200, bad));
    expect(actionsAt(history, 1000)).toEqual(['label']);
    expect(history.refused()).toHaveLength(1);
    expect(history.refused()[0]?.message).toContain('response.cluster._.mine');
    history.apply(entry(300, { revision: 6, steps: steps('delete') }));
    expect(history.refused()).toEqual([]);
    expect(actionsAt(history, 1000)).toEqual(['delete']);
  });

  it('apply - ignores other kinds', () => {
    const history = new PolicyHistory();
    history.apply(entry(100, 'anything', 'spoof.cluster._.default'));
    history.apply(entry(100, 'anything', 'future.kind._.x'));
    expect(history.refused()).toEqual([]);
    expect(history.latest(Number.MAX_SAFE_INTEGER).byName.size).toBe(1);
  });

  it('apply - a repeated entry and a clock step back change nothing', () => {
    const history = new PolicyHistory();
    const first = entry(500, { steps: steps('label') });
    history.apply(first);
    history.apply(entry(400, { steps: steps('delete') }));
    history.apply(first);
    expect(actionsAt(history, 450)).toBeUndefined();
    expect(actionsAt(history, 500)).toEqual(['delete']);
  });

  it('apply - keeps a bounded number of sets; the oldest one covers earlier times', () => {
    const history = new PolicyHistory();
    for (let index = 1; index <= MAX_POLICY_SETS + 5; index++) history.apply(entry(index, { steps: steps('label') }));
    const [oldest, next] = [history.at(6).revision, history.at(7).revision];
    expect([history.at(0).revision, next]).toEqual([oldest, oldest + 1]);
    expect(actionsAt(history, 0)).toEqual(['label']);
  });

  it('disarmedFor - cluster, node and namespace, while it lasts', () => {
    const history = new PolicyHistory();
    const until = new Date(10_000).toISOString();
    const value = { until, duration: '30m', by: 'anna' };
    const where = { node: 'node-a', namespace: 'shop' };
    history.apply(entry(1, value, 'disarm.node._.node-b'));
    expect(history.disarmedFor(5_000, where)).toBeNull();
    history.apply(entry(2, value, 'disarm.namespace.shop.all'));
    expect(history.disarmedFor(5_000, where)).toContain('namespace shop is disarmed');
    expect(history.disarmedFor(5_000, { node: 'node-a', namespace: null })).toBeNull();
    expect(history.disarmedFor(5_000, { node: 'node-b', namespace: null })).toContain('by anna');
    expect(history.disarmedFor(10_000, where)).toBeNull();
    history.apply(entry(3, value, 'disarm.cluster._.all'));
    expect(history.disarmedFor(5_000, { node: 'node-c', namespace: null })).toContain('the cluster');
    expect(history.disarms(5_000)).toEqual({ cluster: 1, node: 1, namespace: 1 });
    expect(history.disarms(10_000)).toEqual({ cluster: 0, node: 0, namespace: 0 });
  });

  it('streamRecreated - policies and a disarming stay until the new log changes them, at any revision', () => {
    const history = new PolicyHistory();
    const until = new Date(10_000).toISOString();
    const disarm = (more: object) => ({ until, duration: '30m', by: 'anna', ...more });
    const where = { node: 'node-a', namespace: 'shop' };
    const key = 'disarm.cluster._.all';
    history.apply(entry(100, { revision: 9, steps: steps('label') }));
    history.apply(entry(200, disarm({ revision: 9 }), key));
    history.streamRecreated();
    expect(actionsAt(history, 1_000)).toEqual(['label']);
    expect(history.latest(1_000).byName.has('mine')).toBe(true);
    const first = { ...entry(5_000, { revision: 1, steps: steps('delete') }), sequence: 1 };
    history.apply(first);
    expect([actionsAt(history, 99), actionsAt(history, 4_999), actionsAt(history, 5_000)]).toEqual([
      undefined,
      ['label'],
      ['delete'],
    ]);
    expect(history.disarmedFor(5_000, where)).toContain('by anna');
    history.apply({ ...entry(5_001, disarm({ revision: 1, by: 'berta' }), key), sequence: 2 });
    expect(history.disarmedFor(5_000, where)).toContain('by berta');
    history.apply({ ...entry(5_002, null, key), sequence: 3 });
    expect(history.disarmedFor(5_000, where)).toBeNull();
    expect(history.refused()).toEqual([]);
  });

  it('streamRecreated - a policy stays until its key is written again, at most a minute after the first change', () => {
    const history = new PolicyHistory();
    history.apply(entry(100, { steps: steps('label') }));
    history.apply(entry(100, { steps: steps('delete') }, 'response.cluster._.gone'));
    history.apply(entry(100, { steps: steps('observe'), enabled: false }, 'response.cluster._.answer-high'));
    const log = [
      { ...entry(5_000, 'of another kind', 'spoof.cluster._.default'), sequence: 1 },
      { ...entry(7_000, { steps: steps('evict') }), sequence: 2 },
      { ...entry(8_000, null, 'response.cluster._.answer-high'), sequence: 3 },
    ];
    const names = (times: number[], of = history) => times.map((at) => [...of.at(at).byName.keys()].sort().join());
    history.streamRecreated();
    for (const one of log) history.apply(one);
    const end = 5_000 + FORMER_CONFIG_MICROS;
    expect([6_999, 7_000].map((at) => actionsAt(history, at))).toEqual([['label'], ['evict']]);
    expect(history.latest(end - 1).byName.has('gone')).toBe(true);
    expect(names([4_999, 6_000, 7_999, end - 1, end])).toEqual([
      'gone,mine',
      'gone,mine',
      'gone,mine',
      'answer-high,gone,mine',
      'answer-high,mine',
    ]);
    expect(history.latest(end).byName.has('gone')).toBe(false);
    // Control: a process that did not know the deleted log.
    const fresh = new PolicyHistory();
    for (const one of log) fresh.apply(one);
    expect(names([6_000], fresh)).toEqual(['answer-high']);
  });

  it('signed - unsigned policies and disarms are refused, and a recreated log ends no policy; control: without signers', () => {
    const anna = newSigner('anna');
    const histories = [new PolicyHistory(new SignedConfig(parseSigners(signerLine(anna)))), new PolicyHistory()];
    const key = 'response.cluster._.mine';
    const signed = (at: number, value: unknown, of = key) => {
      const change = entry(at, value, of);
      return { ...change, ...signedBy(anna, of, change.json, at) };
    };
    const disarm = { until: new Date(10_000).toISOString(), duration: '30m', by: 'mallory' };
    const first = signed(100, { steps: steps('delete') });
    const changes = [
      first,
      entry(200, { steps: steps('observe') }),
      entry(300, null),
      entry(400, disarm, 'disarm.cluster._.all'),
    ];
    for (const history of histories) for (const change of changes) history.apply(change);
    expect(histories.map((history) => actionsAt(history, 400))).toEqual([['delete'], undefined]);
    expect(histories.map((history) => history.disarms(5_000).cluster)).toEqual([0, 1]);
    const [history] = histories as [PolicyHistory];
    expect(history.refused().map(({ key: refused }) => refused)).toEqual([key, 'disarm.cluster._.all']);
    const late = 500 + FORMER_CONFIG_MICROS;
    for (const at of [500, late]) {
      history.streamRecreated();
      history.apply({ ...signed(at, { steps: steps('label') }, 'response.cluster._.other'), sequence: 1 });
    }
    expect([...history.at(2 * late).byName.keys()].sort()).toEqual(['answer-high', 'mine', 'other']);
    expect(history.formerUntilMicros(2 * late)).toBe(2 * late);
    history.apply({ ...first, sequence: 2, timestampMicros: 2 * late });
    expect([actionsAt(history, 2 * late), history.formerUntilMicros(2 * late)]).toEqual([
      ['delete'],
      2 * late + FORMER_CONFIG_MICROS,
    ]);
  });

  it('bounds - deleted policies and ended disarmings make room; without any, a further key is refused', () => {
    const history = new PolicyHistory();
    const disarm = (untilMs: number) => ({ until: new Date(untilMs).toISOString(), duration: '30m', by: 'anna' });
    const nodeKey = (n: number) => `disarm.node._.node-${n}`;
    for (let n = 0; n < MAX_POLICY_KEYS; n += 1) {
      history.apply(entry(1, { steps: steps('label') }, `response.cluster._.p${n}`));
      history.apply(entry(1, disarm(n === 7 ? 5_000 : 9_000), nodeKey(n)));
    }
    const isArmed = (node: string) => history.disarmedFor(1_000, { node, namespace: null }) === null;
    history.apply(entry(2, { steps: steps('label') }, 'response.cluster._.more'));
    history.apply(entry(2, disarm(9_000), 'disarm.node._.more'));
    expect(history.refused().map(({ key }) => key)).toEqual(['response.cluster._.more', 'disarm.node._.more']);
    expect(isArmed('more')).toBe(true);

    history.apply(entry(3, null, 'response.cluster._.p5'));
    history.apply(entry(4, { steps: steps('label') }, 'response.cluster._.more'));
    // Microseconds: the disarming of node-7 has ended.
    history.apply(entry(5_000_000, disarm(9_000), 'disarm.node._.more'));
    expect(history.refused()).toEqual([]);
    expect([isArmed('more'), isArmed('node-8'), isArmed('node-7')]).toEqual([false, false, true]);
    expect(history.latest(Number.MAX_SAFE_INTEGER).byName.has('more')).toBe(true);
    history.apply(entry(5_000_001, null, nodeKey(8)));
    history.apply(entry(5_000_002, disarm(9_000), 'disarm.node._.next'));
    expect([isArmed('next'), isArmed('node-8')]).toEqual([false, true]);
  });

  it('a policy with all fields is valid', () => {
    expect(responsePolicy.parse({ steps: steps('label') }).dryRun).toBe(true);
  });
});
