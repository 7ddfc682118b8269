import {
  BUILT_IN_RULES,
  type CorrelationRule,
  correlationRule,
  type Selection,
  selection,
  VALUE_FIELDS,
} from '@bailiff/policy';
import {
  GROUP_BY,
  IFACE_STATES,
  LEVELS,
  OPERATIONS,
  PACKET_ACTIONS,
  RULE_TYPES,
  VIOLATION_KINDS,
} from '@bailiff/vocabulary';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Facts, selects } from '../engine/rules.ts';
import { parseCondition } from './condition.ts';
import { PACKET_VECTORS } from './fields.ts';
import { fromSigma } from './from-sigma.ts';
import { detectionOf, toSigma } from './to-sigma.ts';

const back = (name: string, rule: CorrelationRule) => {
  const { documents, problems } = toSigma(name, rule);
  expect(problems).toEqual([]);
  return fromSigma(documents);
};

/** A Sigma engine of these detections, to compare with: whether an event matches. */
function matches(detection: Record<string, unknown>, event: Readonly<Record<string, string>>): boolean {
  const asList = (value: unknown) => (Array.isArray(value) ? value : [value]);
  const mapHolds = (map: Record<string, unknown>) =>
    Object.entries(map).every(([key, values]) => {
      const [field = '', modifier] = key.split('|');
      const text = event[field] ?? '';
      return asList(values).some((value) =>
        modifier === 'startswith'
          ? text.startsWith(value)
          : modifier === 'endswith'
            ? text.endsWith(value)
            : text === value,
      );
    });
  const holds = (name: string) => asList(detection[name]).some((map) => mapHolds(map));
  const isFiltered = Object.keys(detection).some((name) => name.startsWith('filter_') && holds(name));
  return holds('selection') && (detection['condition'] === 'selection' || !isFiltered);
}

const some = <T extends string>(list: readonly T[]) =>
  fc.uniqueArray(fc.constantFrom(...list), { minLength: 1, maxLength: 4 });
const NAMES = ['guard', 'no-shell', 'raw'];
const NAMESPACES = ['shop', 'payments'];
const anySelection = fc
  .record(
    {
      kinds: some(VIOLATION_KINDS),
      vectors: some(PACKET_VECTORS),
      actions: some(PACKET_ACTIONS),
      states: some(IFACE_STATES),
      policies: some(NAMES),
      rules: some(NAMES),
      operations: some(OPERATIONS),
      severities: some(LEVELS),
      namespaces: some(NAMESPACES),
      excludeNamespaces: some(NAMESPACES),
    },
    { requiredKeys: [] },
  )
  .map((value) => selection.parse(value));
const anyFacts = fc
  .record({
    isPacket: fc.boolean(),
    packet: fc.constantFrom(...PACKET_VECTORS),
    policy: fc.constantFrom(...NAMES),
    rule: fc.constantFrom(...NAMES),
    action: fc.constantFrom(...PACKET_ACTIONS),
    state: fc.constantFrom(...IFACE_STATES),
    severity: fc.constantFrom(...LEVELS),
    operation: fc.constantFrom('', ...OPERATIONS),
    namespace: fc.constantFrom('', ...NAMESPACES, 'other'),
  })
  .map(({ isPacket, packet, policy, rule, namespace, severity, operation, ...rest }) => ({
    ...rest,
    kind: isPacket ? ('spoof' as const) : ('lsm' as const),
    vector: isPacket ? packet : `${policy}/${rule}`,
    severity: isPacket ? '' : severity,
    operation: isPacket ? '' : operation,
    pod: namespace === '' ? null : ({ namespace } as NonNullable<Facts['pod']>),
  })) as fc.Arbitrary<Facts>;
const eventOf = ({ pod, operation, ...fields }: Facts) => ({
  ...(fields as Record<string, string>),
  'operation.operation': operation,
  'pod.namespace': pod?.namespace ?? '',
});

describe('rules as Sigma, and back', () => {
  it.each(Object.entries(BUILT_IN_RULES))('built-in %s - equal', (name, rule) => {
    expect(back(name, rule)).toEqual({ rules: { [name]: rule }, problems: [], notes: [] });
  });

  it('any selection - the detection matches the same violations', () => {
    fc.assert(
      fc.property(anySelection, fc.array(anyFacts, { maxLength: 30 }), (chosen, all) => {
        const detection = detectionOf(chosen);
        for (const facts of all)
          expect([facts, matches(detection, eventOf(facts))]).toEqual([facts, selects(chosen, facts)]);
      }),
      { numRuns: 300 },
    );
  });

  it('any rule - counts the same when it comes back', () => {
    const common = {
      level: fc.constantFrom(...LEVELS),
      'group-by': fc.constantFrom(...GROUP_BY),
      timespan: fc.constantFrom('60s', '5m', '2h', '1d', '90000ms'),
      cooldown: fc.constantFrom('10m', '1h'),
      enabled: fc.boolean(),
      description: fc.constantFrom('', 'Words.'),
      tags: fc.constantFrom([], ['attack.t1557']),
    };
    const count = fc.record({ gte: fc.integer({ min: 1, max: 200 }) });
    const stage = (name: string) => anySelection.map((chosen) => ({ name, selection: chosen }));
    const anyRule = fc.constantFrom(...RULE_TYPES).chain((type) => {
      const rest =
        type === 'event_count'
          ? { selection: anySelection, condition: count }
          : type === 'value_count'
            ? { selection: anySelection, condition: count, field: fc.constantFrom(...VALUE_FIELDS) }
            : { rules: fc.tuple(stage('first'), stage('second')) };
      return fc.record({ type: fc.constant(type), ...common, ...rest } as unknown as Record<
        string,
        fc.Arbitrary<unknown>
      >);
    });
    fc.assert(
      fc.property(anyRule, fc.array(anyFacts, { maxLength: 20 }), (input, all) => {
        const rule = correlationRule.parse(input);
        const { rules, problems } = back('tried', rule);
        expect(problems).toEqual([]);
        const found = rules['tried'] as CorrelationRule;
        const stages = (one: CorrelationRule): Selection[] =>
          'rules' in one ? one.rules.map((part) => part.selection) : [one.selection];
        // A value that only operations have is counted of operations alone.
        const isCounted = (facts: Facts) => !('field' in rule && rule.field === 'policyRule') || facts.kind === 'lsm';
        for (const facts of all.filter(isCounted))
          expect(stages(found).map((one) => selects(one, facts))).toEqual(
            stages(rule).map((one) => selects(one, facts)),
          );
        const {
          selection: _a,
          rules: _b,
          field: _c,
          timespan: _d,
          ...mine
        } = rule as unknown as Record<string, unknown>;
        const {
          selection: _e,
          rules: _f,
          field: _g,
          timespan: _h,
          ...theirs
        } = found as unknown as Record<string, unknown>;
        expect(theirs).toEqual(mine);
      }),
      { numRuns: 300 },
    );
  });

  it('parts of a second - named, and no document', () => {
    const rule = correlationRule.parse({ ...BUILT_IN_RULES['repeated-spoofing'], timespan: '1500ms' });
    expect(toSigma('r', rule)).toEqual({
      documents: [],
      problems: [{ path: 'r: timespan', message: expect.stringContaining('1500ms') }],
    });
  });
});

const BASE = {
  title: 'Refused raw sockets',
  name: 'raw_sockets',
  logsource: { product: 'bailiff', service: 'violations' },
  detection: { selection: { kind: 'lsm', 'vector|endswith': ['/raw', '/packet'] }, condition: 'selection' },
};
const MANY = {
  title: 'Many refused raw sockets',
  correlation: {
    type: 'event_count',
    rules: ['raw_sockets'],
    'group-by': ['pod.namespace'],
    timespan: '15m',
    condition: { gt: 4 },
  },
  level: 'medium',
};
const detect = (detection: unknown) => fromSigma([{ ...BASE, detection }, MANY]);
const correlate = (part: Record<string, unknown>) =>
  fromSigma([BASE, { ...MANY, correlation: { ...MANY.correlation, ...part } }]);

describe('Sigma as rules', () => {
  it('a correlation with its rule - the name from the title, what is not kept is noted', () => {
    const { rules, problems, notes } = fromSigma([
      { ...BASE, id: 'x', level: 'low' },
      { ...MANY, author: 'somebody', status: 'test' },
    ]);
    expect(problems).toEqual([]);
    expect(notes.map(({ path }) => path)).toEqual([
      'document 1: id',
      'document 1: level',
      'document 2: author',
      'document 2: status',
    ]);
    expect(rules).toMatchObject({
      'many-refused-raw-sockets': {
        type: 'event_count',
        level: 'medium',
        'group-by': 'namespace',
        timespan: '15m',
        condition: { gte: 5 },
        selection: { kinds: ['lsm'], rules: ['raw', 'packet'], actions: ['audit', 'drop'] },
      },
    });
  });

  it.each<[string, unknown, Partial<Selection>]>([
    [
      'a whole vector of a policy',
      { s: { vector: 'guard/raw' }, condition: 's' },
      { policies: ['guard'], rules: ['raw'] },
    ],
    ['a wildcard at the end', { s: { vector: 'guard/*' }, condition: 's' }, { policies: ['guard'] }],
    [
      'alternatives in one field',
      { a: { kind: 'lsm', severity: 'low' }, b: { kind: 'lsm', severity: 'high' }, condition: '1 of them' },
      { severities: ['low', 'high'] },
    ],
    [
      'a list of maps',
      { s: [{ vector: 'arp-sender' }, { vector: 'nd-target' }], condition: 's' },
      { vectors: ['arp-sender', 'nd-target'] },
    ],
    [
      'what must not match',
      { s: { kind: 'lsm' }, no: { 'pod.namespace': 'kube-system' }, condition: 's and not no' },
      { excludeNamespaces: ['kube-system'] },
    ],
    [
      'one of two kinds',
      { s: { action: ['drop'] }, no: { kind: 'spoof' }, condition: 's and not (no)' },
      { kinds: ['lsm'], actions: ['drop'] },
    ],
    [
      'audited ones',
      { s: { kind: 'lsm' }, no: { action: 'audit' }, condition: 'all of s* and not no' },
      { kinds: ['lsm'] },
    ],
    [
      'both of two',
      { a: { kind: 'lsm' }, b: { severity: ['low', 'high'] }, c: { severity: 'high' }, condition: 'a and b and c' },
      { kinds: ['lsm'], severities: ['high'] },
    ],
  ])('a detection - %s', (_name, detection, expected) => {
    const { rules, problems } = detect(detection);
    expect(problems).toEqual([]);
    const [rule] = Object.values(rules);
    expect(rule && 'selection' in rule ? rule.selection : null).toMatchObject(expected);
  });

  it('names that Kubernetes does not have - in lower case with hyphens, and noted', () => {
    const second = { ...BASE, name: 'Packet_Sockets' };
    const correlation = {
      type: 'temporal',
      rules: ['raw_sockets', 'Packet_Sockets'],
      'group-by': ['pod.uid'],
      timespan: '5m',
    };
    const { rules, problems, notes } = fromSigma([BASE, second, { ...MANY, name: 'Both_Sockets', correlation }]);
    expect([problems, notes.map(({ path }) => path)]).toEqual([[], ['document 3: name']]);
    expect(rules['both-sockets']).toMatchObject({ rules: [{ name: 'raw-sockets' }, { name: 'packet-sockets' }] });
  });

  it('vectors of packets that must not match, of operations - no operation has one', () => {
    const [rule] = Object.values(
      detect({ s: { kind: 'lsm' }, no: { vector: 'arp-sender' }, condition: 's and not no' }).rules,
    );
    expect(rule && 'selection' in rule ? rule.selection : null).toEqual({ kinds: ['lsm'], actions: ['audit', 'drop'] });
  });

  it('every kind of packet - the vectors that count only by name are listed', () => {
    const [rule] = Object.values(detect({ s: { kind: 'spoof' }, condition: 's' }).rules);
    expect(rule && 'selection' in rule ? rule.selection.vectors : []).toEqual(PACKET_VECTORS);
  });

  it.each<[string, unknown, string]>([
    ['another field', { s: { CommandLine: 'x' }, condition: 's' }, 'detection.s.CommandLine'],
    ['a modifier', { s: { 'vector|re': '.*' }, condition: 's' }, 'detection.s.vector|re'],
    ['a contained text', { s: { vector: '*raw*' }, condition: 's' }, 'detection.s.vector'],
    ['a wildcard elsewhere', { s: { severity: 'h*' }, condition: 's' }, 'detection.s.severity'],
    ['an unknown value', { s: { kind: ['lsm', 'dns'] }, condition: 's' }, 'detection.s.kind.1'],
    ['an unknown vector', { s: { vector: ['arp-sender', 'x'] }, condition: 's' }, 'detection.s.vector.1'],
    ['a number', { s: { vector: 7 }, condition: 's' }, 'detection.s.vector'],
    ['words', { s: ['evil'], condition: 's' }, 'detection.s.0'],
    ['no condition', { s: { kind: 'lsm' } }, 'detection.condition'],
    ['an unknown name', { s: { kind: 'lsm' }, condition: 's and t' }, 'detection.condition'],
    ['the old aggregations', { s: { kind: 'lsm' }, condition: 's | count() > 5' }, 'detection.condition'],
    [
      'alternatives in two fields',
      { a: { kind: 'lsm', action: 'drop' }, b: { kind: 'spoof', action: 'audit' }, condition: 'a or b' },
      'detection.condition',
    ],
    [
      'one or not the other',
      { a: { kind: 'lsm' }, b: { action: 'drop' }, condition: 'a or not b' },
      'detection.condition',
    ],
    [
      'a combination that must not match',
      { a: { kind: 'lsm' }, b: { severity: 'low', state: 'unknown' }, condition: 'a and not b' },
      'detection.condition',
    ],
    [
      'a rule of a policy that must not match',
      { s: { 'vector|startswith': 'guard/' }, no: { vector: 'guard/raw' }, condition: 's and not no' },
      'detection.condition',
    ],
    [
      'a rule that must not match, of all operations',
      { s: { kind: 'lsm' }, no: { vector: ['arp-sender', 'guard/raw'] }, condition: 's and not no' },
      'detection.condition',
    ],
    [
      'a policy that must not match, of rules of one name',
      { s: { 'vector|endswith': '/raw' }, no: { vector: 'guard/raw' }, condition: 's and not no' },
      'detection.condition',
    ],
    [
      'audited violations, but not audited ones',
      { s: { kind: 'lsm', action: 'audit' }, no: { action: 'audit' }, condition: 's and not no' },
      'detection.condition',
    ],
    ['any violation', { s: { action: 'drop' }, condition: 's' }, 'detection.condition'],
    ['nothing', { a: { kind: 'lsm' }, b: { kind: 'spoof' }, condition: 'a and b' }, 'detection.condition'],
  ])('what a detection cannot be - %s', (_name, detection, path) => {
    const { rules, problems } = detect(detection);
    expect([rules, problems.map((one) => one.path)]).toEqual([{}, expect.arrayContaining([`document 1: ${path}`])]);
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['fewer than', { condition: { lt: 3 } }, 'condition.lt'],
    ['a range', { condition: { gte: 3, lte: 9 } }, 'condition.lte'],
    ['an expression', { condition: 'raw_sockets' }, 'condition'],
    ['aliases', { aliases: { a: { raw_sockets: 'pod.uid' } } }, 'aliases'],
    ['two fields to group by', { 'group-by': ['pod.uid', 'nodeName'] }, 'group-by'],
    ['another field to group by', { 'group-by': ['User'] }, 'group-by'],
    ['no group', { 'group-by': undefined }, 'group-by'],
    ['months', { timespan: '1M' }, 'timespan'],
    ['another type', { type: 'value_sum' }, 'type'],
    ['a rule of another file', { rules: ['elsewhere'] }, 'rules.0'],
    ['a field that is not counted', { type: 'value_count', condition: { field: 'User', gte: 3 } }, 'condition.field'],
    ['a stage too few', { type: 'temporal', rules: ['raw_sockets'], condition: { gte: 2 } }, 'condition'],
  ])('what a correlation cannot be - %s', (_name, part, path) => {
    const { rules, problems } = correlate(part);
    expect([rules, problems.map((one) => one.path)]).toEqual([
      {},
      expect.arrayContaining([`document 2: correlation.${path}`]),
    ]);
  });

  it('limits of rules, other sources, chains, and rules alone - named with their place', () => {
    const paths = (...documents: unknown[]) => fromSigma(documents).problems.map(({ path }) => path);
    expect(paths(BASE, { ...MANY, correlation: { ...MANY.correlation, timespan: '2d' } })).toEqual([
      'document 2: timespan',
    ]);
    expect(paths({ ...BASE, logsource: { product: 'windows' } }, MANY)).toEqual(['document 1: logsource']);
    expect(
      paths(BASE, { ...MANY, name: 'chained' }, { ...MANY, correlation: { ...MANY.correlation, rules: ['chained'] } }),
    ).toEqual(['document 3: correlation.rules.0']);
    expect(paths(BASE)).toEqual(['document 1']);
    expect(paths(BASE, { ...MANY, level: undefined })).toEqual(['document 2: level']);
    expect(paths(BASE, { ...MANY, filter: {} })).toEqual(['document 2: filter']);
    expect(paths(BASE, { ...MANY, name: { a: 1 } })).toEqual(['document 2: name']);
    expect(paths(BASE, MANY, 'text', MANY)).toEqual(['document 3']);
    expect(paths(BASE, MANY, MANY)).toEqual(['document 3: name']);
  });

  it('conditions - any text ends in an expression or in words', () => {
    const word = fc.constantFrom('a', 'b', 'not', 'and', 'or', '(', ')', '1', 'all', 'of', 'them', 'a*', '|');
    fc.assert(
      fc.property(fc.array(word, { maxLength: 12 }), (words) => {
        const found = parseCondition(words.join(' '), ['a', 'b']);
        expect(typeof found === 'string' ? found.length : Object.keys(found).length).toBeGreaterThan(0);
      }),
    );
  });
});
