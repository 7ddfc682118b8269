import { BUILT_IN_RULES, correlationRule } from '@bailiff/policy';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MINUTE, T0 } from '../testing.ts';
import { compareVerdicts, inOrder, type TrialVerdict, trialRuleHistory } from './backtest.ts';

const rule = (gte: number) =>
  correlationRule.parse({ type: 'event_count', level: 'high', timespan: '60s', condition: { gte } });
const trial = (verdictId: string, minute: number, more: Partial<TrialVerdict> = {}): TrialVerdict => ({
  verdictId,
  rule: 'r',
  level: 'high',
  groupBy: 'pod',
  groupKey: 'uid-1',
  triggeredAt: T0 + minute * MINUTE,
  observed: 10,
  threshold: 10,
  nodeName: 'node-a',
  pod: null,
  vectors: [],
  audited: false,
  triggerSequence: 1,
  ...more,
});

describe('backtest - rules on trial', () => {
  const change = (sequence: number, name: string, gte: number) => ({
    sequence,
    timestampMicros: T0 + sequence * MINUTE,
    key: `correlation.cluster._.${name}`,
    json: JSON.stringify(rule(gte)),
  });
  const thresholds = (history: ReturnType<typeof trialRuleHistory>, at: number) =>
    Object.fromEntries(history.at(at).rules.map(({ name, threshold }) => [name, threshold]));

  it('a rule on trial is in force throughout, the others follow the log', () => {
    const changes = [change(1, 'mine', 3), change(2, 'other', 5), change(3, 'mine', 9), change(4, 'other', 6)];
    const live = trialRuleHistory(changes, {});
    const history = trialRuleHistory(changes, { mine: rule(77) });
    expect(thresholds(live, T0 + 3 * MINUTE)).toMatchObject({ mine: 9, other: 5 });
    expect(thresholds(history, T0)).toMatchObject({ mine: 77, 'repeated-spoofing': 10 });
    expect(thresholds(history, T0)).not.toHaveProperty('other');
    expect(thresholds(history, T0 + 3 * MINUTE)).toMatchObject({ mine: 77, other: 5 });
    expect(thresholds(history, T0 + 9 * MINUTE)).toMatchObject({ mine: 77, other: 6 });
  });

  it('a built-in rule on trial replaces the default; a disabled one is absent; only: no other rules', () => {
    expect(thresholds(trialRuleHistory([], { 'repeated-spoofing': rule(2) }), T0)).toMatchObject({
      'repeated-spoofing': 2,
      'many-identities': 16,
    });
    const off = { ...(BUILT_IN_RULES['repeated-spoofing'] as ReturnType<typeof rule>), enabled: false };
    expect(thresholds(trialRuleHistory([], { 'repeated-spoofing': off }), T0)).not.toHaveProperty('repeated-spoofing');
    expect(thresholds(trialRuleHistory([change(1, 'other', 5)], { mine: rule(2) }, true), T0 + 9 * MINUTE)).toEqual({
      mine: 2,
    });
  });
});

describe('backtest - comparison', () => {
  it('same, earlier, another level, appeared, vanished', () => {
    const before = [trial('a', 1), trial('b', 2), trial('c', 3), trial('gone', 4, { groupKey: 'uid-9' })];
    const after = [
      trial('a', 1),
      trial('b', 1.5),
      trial('c', 3, { level: 'critical' }),
      trial('new', 5, { groupKey: 'uid-2' }),
    ];
    const { same, moved, appeared, vanished } = compareVerdicts(before, after, 10 * MINUTE);
    expect(same.map((pair) => pair.after.verdictId)).toEqual(['a']);
    expect(moved.map((pair) => pair.after.verdictId)).toEqual(['b', 'c']);
    expect(appeared.map(({ verdictId }) => verdictId)).toEqual(['new']);
    expect(vanished.map(({ verdictId }) => verdictId)).toEqual(['gone']);
  });

  it('other ids after a cooldown change - paired when near, separate when far', () => {
    const near = compareVerdicts([trial('x', 1)], [trial('y', 3)], 10 * MINUTE);
    expect(near.moved).toMatchObject([{ before: { verdictId: 'x' }, after: { verdictId: 'y' } }]);
    const far = compareVerdicts([trial('x', 1)], [trial('y', 30)], 10 * MINUTE);
    expect([far.moved, far.appeared.length, far.vanished.length]).toEqual([[], 1, 1]);
    const otherRule = compareVerdicts([trial('x', 1)], [trial('y', 1, { rule: 's' })], 10 * MINUTE);
    expect([otherRule.appeared.length, otherRule.vanished.length]).toEqual([1, 1]);
  });

  it('property - each verdict appears once, in any order of the lists', () => {
    const list = fc
      .uniqueArray(fc.tuple(fc.nat(40), fc.nat(3), fc.nat(60)), { selector: ([id]) => id })
      .map((rows) => rows.map(([id, group, minute]) => trial(`id-${id}`, minute, { groupKey: `g${group}` })));
    fc.assert(
      fc.property(list, list, (before, after) => {
        const result = compareVerdicts(before, after, 5 * MINUTE);
        const pairs = [...result.same, ...result.moved];
        const ids = (verdicts: TrialVerdict[]) => verdicts.map(({ verdictId }) => verdictId).sort();
        expect(ids([...pairs.map((pair) => pair.before), ...result.vanished])).toEqual(ids([...before]));
        expect(ids([...pairs.map((pair) => pair.after), ...result.appeared])).toEqual(ids([...after]));
        expect(compareVerdicts([...before].reverse(), [...after].sort(inOrder), 5 * MINUTE)).toEqual(result);
        expect(compareVerdicts(before, before, 0).same).toHaveLength(before.length);
      }),
    );
  });
});
