import { BUILT_IN_RULES } from '@bailiff/policy';
import { describe, expect, it } from 'vitest';
import { SECOND, T0 } from '../testing.ts';
import { RuleBook } from './rule-history.ts';
import { compileRule, selects } from './rules.ts';

const key = 'correlation.cluster._.repeated-spoofing';
const rule = (more: object = {}) =>
  JSON.stringify({ type: 'event_count', level: 'high', timespan: '60s', condition: { gte: 3 }, ...more });
const threshold = (book: RuleBook, at: number) =>
  book.at(at).rules.find(({ name }) => name === 'repeated-spoofing')?.threshold;

describe('rule book - what is in force when', () => {
  it('defaults - are in force until somebody writes', () => {
    const set = new RuleBook().at(T0);
    expect(set.revision).toBe(0);
    expect(set.rules.map(({ name }) => name)).toEqual(Object.keys(BUILT_IN_RULES).sort());
  });

  it('override - applies from its server time on, and a deletion brings the default back', () => {
    const book = new RuleBook();
    book.apply({ sequence: 4, timestampMicros: T0, key, json: rule() });
    book.apply({ sequence: 9, timestampMicros: T0 + 10 * SECOND, key, json: null });
    expect([T0 - 1, T0, T0 + 10 * SECOND].map((at) => [book.at(at).revision, threshold(book, at)])).toEqual([
      [0, 10],
      [4, 3],
      [9, 10],
    ]);
    // Asked backwards it says the same.
    expect(threshold(book, T0 + 1)).toBe(3);
  });

  it('switched off - a default can be', () => {
    const book = new RuleBook();
    book.apply({ sequence: 1, timestampMicros: T0, key, json: rule({ enabled: false }) });
    expect(threshold(book, T0)).toBeUndefined();
  });

  it('other kinds - are none of its business', () => {
    const book = new RuleBook();
    expect(book.apply({ sequence: 1, timestampMicros: T0, key: 'spoof.cluster._.default', json: '{' })).toBeNull();
  });

  const bad: [string, string, string, string[], string][] = [
    ['not JSON', key, '{', [], 'CONFIG_JSON'],
    ['unknown key', key, rule({ treshold: 3 }), ['treshold'], 'CONFIG_SCHEMA'],
    ['wrong unit', key, rule({ timespan: '60' }), ['timespan'], 'CONFIG_SCHEMA'],
    ['older revision', key, rule({ revision: 4, condition: { gte: 99 } }), ['revision'], 'CONFIG_REVISION'],
    ['wrong scope', 'correlation.namespace.shop.x', rule(), [], 'CONFIG_KEY'],
  ];
  it.each(bad)('refused - %s: the last good one stays, and the field is named', (_, badKey, json, fields, code) => {
    const book = new RuleBook();
    book.apply({ sequence: 1, timestampMicros: T0, key, json: rule({ revision: 5 }) });
    const set = book.apply({ sequence: 2, timestampMicros: T0 + 1, key: badKey, json });
    expect(set?.problems).toMatchObject([{ key: badKey, sequence: 2, code, fields }]);
    expect(threshold(book, T0 + 1)).toBe(3);
    // A good one clears the problem.
    const fixed = book.apply({ sequence: 3, timestampMicros: T0 + 2, key, json: rule({ revision: 5 }) });
    expect(fixed?.problems.filter((problem) => problem.key === key)).toEqual([]);
  });

  it('refused - a first revision that is bad leaves the default in force, or nothing', () => {
    const book = new RuleBook();
    book.apply({ sequence: 1, timestampMicros: T0, key, json: '{' });
    const set = book.apply({ sequence: 2, timestampMicros: T0, key: 'correlation.cluster._.mine', json: '[]' });
    expect(set?.problems.map(({ inForce }) => inForce)).toEqual(['default', 'nothing']);
    expect(threshold(book, T0)).toBe(10);
  });

  it('longest - looks at what was in force since a time', () => {
    const book = new RuleBook({});
    book.apply({ sequence: 1, timestampMicros: T0, key, json: rule({ timespan: '2h', cooldown: '3h' }) });
    book.apply({ sequence: 2, timestampMicros: T0 + SECOND, key, json: rule({ cooldown: '20s' }) });
    expect(book.longestSince(T0)).toEqual({ timespanMicros: 7200 * SECOND, cooldownMicros: 10_800 * SECOND });
    expect(book.longestSince(T0 + 2 * SECOND)).toEqual({ timespanMicros: 60 * SECOND, cooldownMicros: 20 * SECOND });
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

  it('shape - thresholds, level and cooldown keep it; what is counted changes it', () => {
    const base = BUILT_IN_RULES['repeated-spoofing'];
    if (base?.type !== 'event_count') throw new Error('the default changed its type');
    const shape = (more: object) => compileRule('r', { ...base, ...more }).shape;
    expect(shape({ condition: { gte: 99 }, level: 'low', cooldown: '1h' })).toBe(shape({}));
    expect(shape({ selection: { actions: ['drop'], kinds: ['spoof'] } })).toBe(shape({}));
    expect(shape({ timespan: '61s' })).not.toBe(shape({}));
    expect(shape({ 'group-by': 'node' })).not.toBe(shape({}));
  });
});
