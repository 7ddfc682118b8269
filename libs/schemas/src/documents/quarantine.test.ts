import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { quarantineEndMs, quarantineEntry, quarantineList, readQuarantineList } from './quarantine.ts';

const entry = (podUid: unknown, until: unknown) => ({
  podUid,
  podNamespace: 'shop',
  podName: 'web',
  verdictId: 'v1',
  until,
  reason: 'because',
});
const json = (...entries: unknown[]) => JSON.stringify({ nodeName: 'node-a', revision: 7, entries });

describe('quarantine list', () => {
  it.each(['', '2026-01-02T03:04:05Z', '2026-01-02T03:04:05.678Z', '2026-01-02T03:04:05+01:00'])(
    'until - %j is a time or without an end',
    (until) => {
      expect(quarantineEntry.safeParse(entry('a', until)).success).toBe(true);
      expect(Number.isNaN(quarantineEndMs({ until }))).toBe(false);
    },
  );
  it.each(['soon', '2026-01-02', '2026-13-02T03:04:05Z', '2026-01-02T03:04:05', ' ', '1767322800000', 12, null])(
    'until - %j is refused by the schema, and by who enforces it kept for ever and reported',
    (until) => {
      const text = json(entry('a', until), entry('b', '2026-01-02T03:04:05Z'));
      expect(quarantineList.safeParse(JSON.parse(text)).success).toBe(false);
      const { entries, problems } = readQuarantineList(text);
      expect(entries).toEqual([entry('a', ''), entry('b', '2026-01-02T03:04:05Z')]);
      expect(quarantineEndMs(entries[0] as { until: string })).toBe(Number.POSITIVE_INFINITY);
      expect(problems).toEqual([
        expect.stringMatching(/^entries\.0\.until: (neither an ISO time nor ''|.*expected string)/),
      ]);
    },
  );
  it('read - a valid list is read unchanged', () => {
    const text = json(entry('a', ''), entry('b', '2026-01-02T03:04:05Z'));
    expect(readQuarantineList(text)).toEqual({ ...JSON.parse(text), problems: [] });
  });
  it('read - an entry without a pod is omitted; other missing fields are empty; the others stay', () => {
    const { entries, problems } = readQuarantineList(json(entry('', ''), null, { podUid: 'b' }, entry('c', '')));
    expect(entries).toEqual([
      { podUid: 'b', podNamespace: '', podName: '', verdictId: '', until: '', reason: '' },
      entry('c', ''),
    ]);
    expect(problems.map((problem) => problem.split(':')[0])).toEqual([
      'entries.0.podUid',
      'entries.1',
      ...['podNamespace', 'podName', 'verdictId', 'until', 'reason'].map((field) => `entries.2.${field}`),
    ]);
  });
  it('read - an arbitrary entry does not affect the other one', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (any, until) => {
        const { entries } = readQuarantineList(json(any, entry('a', until), entry('b', '')));
        expect(entries.slice(-2).map(({ podUid }) => podUid)).toEqual(['a', 'b']);
      }),
    );
  });
  it.each([
    ['{', 'not JSON'],
    ['[]', 'expected object'],
    ['{"nodeName":"a","revision":-1,"entries":[]}', 'revision'],
    ['{"nodeName":"a","revision":1}', 'entries'],
  ])('read - %s is no list', (text, why) => {
    expect(() => readQuarantineList(text)).toThrow(why);
  });
});
