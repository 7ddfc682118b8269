import {
  BUILT_IN_RULES,
  correlationRule,
  FORMER_CONFIG_MICROS,
  MAX_REVISION,
  parseSigners,
  SignedConfig,
} from '@bailiff/policy';
import { newSigner, signedBy, signerLine } from '@bailiff/policy/testing';
import { describe, expect, it } from 'vitest';
import { SECOND, T0 } from '../testing.ts';
import { MAX_RULE_SETS, MAX_RULES, RuleHistory } from './rule-history.ts';
import { compileRule, selects } from './rules.ts';

const key = 'correlation.cluster._.repeated-spoofing';
const rule = (more: object = {}) =>
  JSON.stringify({ type: 'event_count', level: 'high', timespan: '60s', condition: { gte: 3 }, ...more });
const threshold = (history: RuleHistory, at: number) =>
  history.at(at).rules.find(({ name }) => name === 'repeated-spoofing')?.threshold;

describe('rule history - rules in force at a time', () => {
  it('defaults - in force until overridden', () => {
    const set = new RuleHistory().at(T0);
    expect(set.revision).toBe(0);
    expect(set.rules.map(({ name }) => name)).toEqual(Object.keys(BUILT_IN_RULES).sort());
  });

  it('override - in force from its server time; a deletion restores the default', () => {
    const history = new RuleHistory();
    history.apply({ sequence: 4, timestampMicros: T0, key, json: rule() });
    history.apply({ sequence: 9, timestampMicros: T0 + 10 * SECOND, key, json: null });
    expect([T0 - 1, T0, T0 + 10 * SECOND].map((at) => [history.at(at).revision, threshold(history, at)])).toEqual([
      [0, 10],
      [4, 3],
      [9, 10],
    ]);
    // Decreasing times give the same sets.
    expect(threshold(history, T0 + 1)).toBe(3);
  });

  it('a clock that was ahead and is set back - the next change is in force from its own time, with what it was ahead for', () => {
    const history = new RuleHistory();
    const day = 86_400 * SECOND;
    const other = 'correlation.cluster._.many-identities';
    history.apply({ sequence: 1, timestampMicros: T0, key, json: rule({ condition: { gte: 4 } }) });
    history.apply({ sequence: 2, timestampMicros: T0 + day, key: other, json: rule({ enabled: false }) });
    history.at(T0 + day);
    history.apply({ sequence: 3, timestampMicros: T0 + 20 * SECOND, key, json: rule({ condition: { gte: 5 } }) });
    const at = (time: number) => [
      threshold(history, time),
      history.at(time).rules.some(({ name }) => other.endsWith(name)),
    ];
    expect([at(T0 + 10 * SECOND), at(T0 + 20 * SECOND), at(T0 + day)]).toEqual([
      [4, true],
      [5, false],
      [5, false],
    ]);
    // Control: the clock of another leader, some seconds behind.
    history.apply({ sequence: 4, timestampMicros: T0 + 15 * SECOND, key, json: rule({ condition: { gte: 6 } }) });
    expect([at(T0 + 19 * SECOND), at(T0 + 20 * SECOND)]).toEqual([
      [4, true],
      [6, false],
    ]);
  });

  it('disabled - a default rule can be', () => {
    const history = new RuleHistory();
    history.apply({ sequence: 1, timestampMicros: T0, key, json: rule({ enabled: false }) });
    expect(threshold(history, T0)).toBeUndefined();
  });

  it('bounds - the oldest sets are dropped, the last kept one covers their time; a further rule is refused', () => {
    const history = new RuleHistory();
    let sequence = 0;
    const apply = (name: string, json: string | null) => {
      sequence += 1;
      return history.apply({ sequence, timestampMicros: T0 + sequence, key: `correlation.cluster._.${name}`, json });
    };
    history.at(T0);
    for (let n = 0; n < MAX_RULES; n += 1) apply(`rule-${n}`, rule());
    expect(history.latest().problems).toEqual([]);
    expect(apply('more', rule())?.problems).toMatchObject([{ code: 'CONFIG_KEY', inForce: 'nothing' }]);
    expect(apply('rule-1', rule({ condition: { gte: 4 } }))?.problems).toHaveLength(1);
    apply('rule-0', null);
    expect(apply('more', rule())?.problems).toEqual([]);
    // The set of the defaults and those of the first changes are gone.
    expect(history.at(T0).revision).toBe(sequence - MAX_RULE_SETS + 1);
    expect(history.at(T0 + sequence).revision).toBe(sequence);
  });

  it('other kinds - ignored', () => {
    const history = new RuleHistory();
    expect(history.apply({ sequence: 1, timestampMicros: T0, key: 'spoof.cluster._.default', json: '{' })).toBeNull();
  });

  it('order - the log decides, not the revision in a value: the highest one freezes no rule', () => {
    const history = new RuleHistory();
    history.apply({ sequence: 1, timestampMicros: T0, key, json: rule({ revision: MAX_REVISION }) });
    const set = history.apply({ sequence: 2, timestampMicros: T0 + 1, key, json: rule({ revision: 4, level: 'low' }) });
    expect(set?.problems).toEqual([]);
    expect(set?.rules.find(({ name }) => key.endsWith(name))?.level).toBe('low');
  });

  const bad: [string, string, string, string[], string][] = [
    ['not JSON', key, '{', [], 'CONFIG_JSON'],
    ['unknown key', key, rule({ treshold: 3 }), ['treshold'], 'CONFIG_SCHEMA'],
    ['wrong unit', key, rule({ timespan: '60' }), ['timespan'], 'CONFIG_SCHEMA'],
    ['impossible revision', key, rule({ revision: 2 ** 53 - 1 }), ['revision'], 'CONFIG_SCHEMA'],
    ['wrong scope', 'correlation.namespace.shop.x', rule(), [], 'CONFIG_KEY'],
  ];
  it.each(bad)('refused - %s: the last valid one stays, and the field is named', (_, badKey, json, fields, code) => {
    const history = new RuleHistory();
    history.apply({ sequence: 1, timestampMicros: T0, key, json: rule({ revision: 5 }) });
    const set = history.apply({ sequence: 2, timestampMicros: T0 + 1, key: badKey, json });
    expect(set?.problems).toMatchObject([{ key: badKey, sequence: 2, code, fields }]);
    expect(threshold(history, T0 + 1)).toBe(3);
    // A valid revision clears the problem.
    const fixed = history.apply({ sequence: 3, timestampMicros: T0 + 2, key, json: rule({ revision: 5 }) });
    expect(fixed?.problems.filter((problem) => problem.key === key)).toEqual([]);
  });

  it('refused - an invalid first revision leaves the default in force, or nothing', () => {
    const history = new RuleHistory();
    history.apply({ sequence: 1, timestampMicros: T0, key, json: '{' });
    const set = history.apply({ sequence: 2, timestampMicros: T0, key: 'correlation.cluster._.mine', json: '[]' });
    expect(set?.problems.map(({ inForce }) => inForce)).toEqual(['default', 'nothing']);
    expect(threshold(history, T0)).toBe(10);
  });

  it('streamRecreated - a rule stays until its key is written again, at most a minute after the first change', () => {
    const history = new RuleHistory({ quiet: correlationRule.parse(JSON.parse(rule())) });
    const change = (sequence: number, at: number, name: string, json: string | null) => ({
      sequence,
      timestampMicros: T0 + at * SECOND,
      json,
      key: `correlation.cluster._.${name}`,
    });
    history.apply(change(1, 0, 'quiet', rule({ enabled: false })));
    history.apply(change(2, 0, 'mine', rule()));
    history.apply(change(3, 0, 'gone', rule()));
    const log = [change(1, 100, 'other', rule()), change(2, 102, 'mine', rule({ condition: { gte: 9 } }))];
    const at = (second: number, of = history) =>
      of
        .at(T0 + second * SECOND)
        .rules.map(({ name, threshold }) => `${name} ${threshold}`)
        .join();
    history.streamRecreated();
    expect(at(99)).toBe('gone 3,mine 3');
    for (const one of log) history.apply(one);
    const end = 100 + FORMER_CONFIG_MICROS / SECOND;
    expect([at(99), at(101), at(103)]).toEqual(['gone 3,mine 3', 'gone 3,mine 3,other 3', 'gone 3,mine 9,other 3']);
    expect([at(end - 1), at(end)]).toEqual(['gone 3,mine 9,other 3', 'mine 9,other 3,quiet 3']);
    expect(at(103)).toBe('gone 3,mine 9,other 3');
    history.apply(change(3, end + 1, 'gone', rule({ condition: { gte: 7 } })));
    expect(at(end + 2)).toBe('gone 7,mine 9,other 3,quiet 3');
    // Control: a process that did not know the deleted log.
    const fresh = new RuleHistory({ quiet: correlationRule.parse(JSON.parse(rule())) });
    for (const one of log) fresh.apply(one);
    expect(at(101, fresh)).toBe('other 3,quiet 3');
  });

  it('coverEarlier - the set of a time replaces older ones, and later ones follow; a deleted log that is known stays', () => {
    const history = new RuleHistory();
    const apply = (sequence: number, at: number, gte: number) =>
      history.apply({ sequence, timestampMicros: T0 + at, key, json: rule({ condition: { gte } }) });
    const thresholds = () => [0, 1, 5, 9].map((at) => threshold(history, T0 + at));
    apply(1, 1, 3);
    apply(2, 5, 4);
    expect(thresholds(), 'control').toEqual([10, 3, 4, 4]);
    history.coverEarlier(T0 + 6);
    expect(thresholds()).toEqual([4, 4, 4, 4]);
    apply(3, 9, 7);
    expect(thresholds()).toEqual([4, 4, 4, 7]);
    history.streamRecreated();
    apply(1, 20, 8);
    history.coverEarlier(T0 + 30);
    expect(thresholds()).toEqual([4, 4, 4, 7]);
  });

  it('longest - covers the rules in force since a time', () => {
    const history = new RuleHistory({});
    history.apply({ sequence: 1, timestampMicros: T0, key, json: rule({ timespan: '2h', cooldown: '3h' }) });
    history.apply({ sequence: 2, timestampMicros: T0 + SECOND, key, json: rule({ cooldown: '20s' }) });
    expect(history.longestSince(T0)).toEqual({ timespanMicros: 7200 * SECOND, cooldownMicros: 10_800 * SECOND });
    expect(history.longestSince(T0 + 2 * SECOND)).toEqual({ timespanMicros: 60 * SECOND, cooldownMicros: 20 * SECOND });
  });
});

describe('rules - selections', () => {
  const facts = {
    kind: 'spoof' as const,
    vector: 'ipv4-source',
    action: 'drop' as const,
    state: 'programmed' as const,
    pod: null,
    severity: '',
    operation: '',
  };
  it.each([
    [{}, true],
    [{ operations: ['socket' as const] }, false],
    [{ policies: ['ipv4-source'] }, false],
    [{ vectors: ['ipv4-source' as const] }, true],
    [{ vectors: ['arp-sender' as const] }, false],
    [{ actions: ['audit' as const] }, false],
    [{ states: ['programmed' as const], kinds: ['spoof' as const] }, true],
    [{ namespaces: ['shop'] }, false],
    [{ excludeNamespaces: ['shop'] }, true],
  ])('%j selects: %s', (selection, expected) => {
    expect(selects(selection, facts)).toBe(expected);
  });

  it('shape - unchanged by threshold, level and cooldown; changed by the counted value', () => {
    const base = BUILT_IN_RULES['repeated-spoofing'];
    if (base?.type !== 'event_count') throw new Error('the default changed its type');
    const shape = (more: object) => compileRule('r', { ...base, ...more }).shape;
    expect(shape({ condition: { gte: 99 }, level: 'low', cooldown: '1h' })).toBe(shape({}));
    expect(shape({ selection: { actions: ['drop'], kinds: ['spoof'] } })).toBe(shape({}));
    expect(shape({ timespan: '61s' })).not.toBe(shape({}));
    expect(shape({ 'group-by': 'node' })).not.toBe(shape({}));
  });
});

describe('rule history - signed rules', () => {
  const anna = newSigner('anna');
  const history = () => new RuleHistory(BUILT_IN_RULES, new SignedConfig(parseSigners(signerLine(anna))));
  const signed = (sequence: number, json: string | null, atMs = sequence) => ({
    ...signedBy(anna, key, json, atMs),
    sequence,
    timestampMicros: T0 + sequence * SECOND,
  });
  const weak = rule({ condition: { gte: 9000 } });

  it('unsigned or old changes and deletions - refused, the last signed rule stays; control: obeyed without signers', () => {
    const signedRules = history();
    const control = new RuleHistory();
    const unsigned = (sequence: number, json: string | null) => ({ ...signed(sequence, json), signature: '' });
    const changes = [signed(1, weak), signed(2, rule()), unsigned(3, weak), unsigned(4, null), signed(5, weak, 1)];
    for (const change of changes) {
      signedRules.apply(change);
      control.apply(change);
    }
    const times = [1, 2, 3, 4, 5].map((second) => T0 + second * SECOND);
    expect(times.map((at) => threshold(signedRules, at))).toEqual([9000, 3, 3, 3, 3]);
    expect(times.map((at) => threshold(control, at))).toEqual([9000, 3, 9000, 10, 9000]);
    expect(signedRules.latest().problems).toMatchObject([{ code: 'CONFIG_SIGNATURE', inForce: 'last-good' }]);
    signedRules.apply(signed(6, null));
    expect([threshold(signedRules, T0 + 6 * SECOND), signedRules.latest().problems]).toEqual([10, []]);
  });

  it('log recreated - a rule stays for as long as the new log has no signed change of it', () => {
    const signedRules = history();
    signedRules.apply(signed(1, rule()));
    signedRules.streamRecreated();
    const later = T0 + 10 * FORMER_CONFIG_MICROS;
    signedRules.apply({ sequence: 1, timestampMicros: T0, key: 'correlation.cluster._.other', json: rule() });
    signedRules.apply({ ...signed(2, weak, 0), timestampMicros: later });
    expect([threshold(signedRules, T0 + SECOND), threshold(signedRules, later)]).toEqual([3, 3]);
    signedRules.apply({ ...signed(3, null), timestampMicros: later });
    expect(threshold(signedRules, later)).toBe(10);
  });
});
