import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  deadLetterSubject,
  decodeToken,
  encodeToken,
  filters,
  fnv1a32,
  isUnder,
  PARTITIONS,
  parseSubject,
  partitionOf,
  pushSubject,
  responseSubject,
  siemSubject,
  verdictSubject,
  violationSubject,
} from './subjects.ts';

const kubeName = fc.stringMatching(/^[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?$/);
const verdict = { verdictId: '0a1b', level: 'high', pod: { namespace: 'default', name: 'web-0' } };
const response = { responseId: '2c3d', action: 'delete', podNamespace: 'default', podName: 'web-0' };

test('subjects - a name is encoded as a token and decoded', () => {
  fc.assert(
    fc.property(kubeName, (name) => {
      const token = encodeToken(name);
      expect(token).toMatch(/^[a-z0-9_-]+$/);
      expect(decodeToken(token)).toBe(name);
    }),
  );
  expect(decodeToken(encodeToken(''))).toBe('');
});

test.each(['Node', 'a_b', 'a b', '*', '>', 'a.*', '.a', 'a.', '_', 'a$b'])('subjects - "%s" is not a name', (name) => {
  expect(() => encodeToken(name)).toThrow('is not a Kubernetes name');
});

// http://www.isthe.com/chongo/tech/comp/fnv/ (test vectors of the reference code)
test.each([
  ['', 0x811c9dc5],
  ['a', 0xe40c292c],
  ['b', 0xe70c2de5],
  ['foobar', 0xbf9cf968],
])('subjects - FNV-1a-32 of "%s"', (text, hash) => {
  expect(fnv1a32(text)).toBe(hash);
});

test('subjects - nodes spread over the partitions', () => {
  const used = new Set(Array.from({ length: 400 }, (_, index) => partitionOf(`node-${index}.example`)));
  expect(used.size).toBe(PARTITIONS);
});

test('subjects - each is parsed as it was built', () => {
  fc.assert(
    fc.property(kubeName, fc.constantFrom('spoof' as const, 'lsm' as const), (node, kind) => {
      const parsed = parseSubject(violationSubject(node, kind));
      expect(parsed).toEqual({ what: 'violations', partition: partitionOf(node), node, kind });
    }),
  );
  expect(parseSubject(verdictSubject(verdict))).toEqual({
    what: 'verdicts',
    level: 'high',
    namespace: 'default',
    pod: 'web-0',
    verdictId: '0a1b',
  });
  expect(parseSubject(responseSubject(response))).toEqual({
    what: 'responses',
    action: 'delete',
    namespace: 'default',
    pod: 'web-0',
    responseId: '2c3d',
  });
  expect(parseSubject(deadLetterSubject('VIOLATIONS', 'foreign-pod', 12))).toEqual({
    what: 'deadletters',
    stream: 'VIOLATIONS',
    reason: 'foreign-pod',
    sequence: 12,
  });
  expect(parseSubject(pushSubject('bailiff_config', 'spoof.cluster._.default'))).toEqual({
    what: 'push',
    bucket: 'bailiff_config',
    key: 'spoof.cluster._.default',
  });
});

test('subjects - a verdict about a node has no pod', () => {
  expect(verdictSubject({ ...verdict, pod: null })).toBe('bailiff.v1.verdicts.high._._.0a1b');
  expect(parseSubject('bailiff.v1.verdicts.high._._.0a1b')).toMatchObject({ namespace: '', pod: '' });
});

test.each([
  'bailiff.v2.verdicts.high.a.b.c',
  'bailiff.v1.verdicts.high.a.b',
  'bailiff.v1.violations.99.node-a.spoof',
  `bailiff.v1.violations.${partitionOf('node-a')}.node-a.other`,
  `bailiff.v1.violations.${(partitionOf('node-a') + 1) % PARTITIONS}.node-a.spoof`,
  'bailiff.v1.violations..node-a.spoof',
  'bailiff.v1.deadletters.violations.foreign-pod.x',
  'other.v1.verdicts.high.a.b.c',
  '',
])('subjects - "%s" is none of ours', (subject) => {
  expect(parseSubject(subject)).toBeNull();
});

test.each([
  ['>', 'a', true],
  ['a.>', 'a.b.c', true],
  ['a.>', 'a', false],
  ['a.*.c', 'a.b.c', true],
  ['a.*', 'a.b.c', false],
  ['a.b', 'a.c', false],
])('subjects - filter %s, subject %s', (filter, subject, expected) => {
  expect(isUnder(filter, subject)).toBe(expected);
});

test.each([
  ['any violation', filters.violations(), true],
  ['the node', filters.violations({ node: 'n.a' }), true],
  ['the node and kind', filters.violations({ node: 'n.a', kind: 'spoof' }), true],
  ['another kind', filters.violations({ kind: 'lsm' }), false],
  ['another node', filters.violations({ node: 'n.b' }), false],
])('subjects - filter for %s', (_name, filter, expected) => {
  expect(isUnder(filter, violationSubject('n.a', 'spoof'))).toBe(expected);
});

test.each([
  ['any verdict', filters.verdicts(), true],
  ['its namespace', filters.verdicts({ namespace: 'default' }), true],
  ['its level and pod', filters.verdicts({ level: 'high', pod: 'web-0' }), true],
  ['no namespace', filters.verdicts({ namespace: '' }), false],
])('subjects - verdict filter for %s', (_name, filter, expected) => {
  expect(isUnder(filter, verdictSubject(verdict))).toBe(expected);
});

test.each(['A B', 'a_b', '../x', '-', '*', '>', 'x\u001b[31m'])(
  'subjects - a filter for %j, which is no name, matches nothing',
  (text) => {
    const verdict = { verdictId: 'v', level: 'high', pod: null };
    const all = [violationSubject('n', 'spoof'), verdictSubject(verdict), responseSubject(response)];
    const any = [filters.violations(), filters.verdicts(), filters.responses()];
    const of = [
      filters.violations({ node: text }),
      filters.verdicts({ pod: text }),
      filters.responses({ namespace: text }),
    ];
    const matched = (by: readonly string[]) => all.map((subject, index) => isUnder(by[index] as string, subject));
    expect([matched(any), matched(of)]).toEqual([Array(3).fill(true), Array(3).fill(false)]);
    expect(of.every((filter) => /^[a-z0-9.*_-]+$/.test(filter) && filter.split('.').length > 5)).toBe(true);
  },
);

test('subjects - filters for responses and dead letters', () => {
  expect(isUnder(filters.responses({ action: 'delete', namespace: 'default' }), responseSubject(response))).toBe(true);
  expect(isUnder(filters.responses({ action: 'evict' }), responseSubject(response))).toBe(false);
  const subject = deadLetterSubject('VIOLATIONS', 'foreign-pod', 1);
  expect(isUnder(filters.deadLetters({ stream: 'VIOLATIONS' }), subject)).toBe(true);
  expect(isUnder(filters.deadLetters({ reason: 'max-deliveries' }), subject)).toBe(false);
});

test('subjects - an event for a SIEM: format, class, namespace; an invalid name becomes `_`', () => {
  const subject = siemSubject({ format: 'ocsf', className: 'network-activity', namespace: 'shop' });
  expect(subject).toBe('bailiff.v1.siem.ocsf.network-activity.shop');
  expect(parseSubject(subject)).toEqual({
    what: 'siem',
    format: 'ocsf',
    className: 'network-activity',
    namespace: 'shop',
  });
  for (const namespace of ['', 'a b', '*', '>', 'A', 'a.*']) {
    expect(siemSubject({ format: 'cef', className: 'detection-finding', namespace })).toBe(
      'bailiff.v1.siem.cef.detection-finding._',
    );
  }
  expect(filters.siem({ format: 'ecs' })).toBe('bailiff.v1.siem.ecs.*.*');
  expect(parseSubject('bailiff.v1.siem.ocsf.network-activity')).toBeNull();
});
