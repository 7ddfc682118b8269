import { age, span } from '@bailiff/response';
import { describe, expect, it } from 'vitest';
import { parseSpan, parseWhen } from '../../../apps/cli/src/shared/arguments.ts';
import { clockTime, isoMicros } from './text.ts';

const NOW = Date.parse('2026-11-24T12:00:00.000Z');

describe('time', () => {
  it.each([
    ['10m', NOW - 600_000],
    ['90s', NOW - 90_000],
    ['7d', NOW - 7 * 86_400_000],
    ['all', 0],
    ['2026-11-24T11:00:00Z', NOW - 3_600_000],
    ['2026-11-24T13:00:00+02:00', NOW - 3_600_000],
    ['2026-11-24T11:00', NOW - 3_600_000],
    ['2026-11-24', NOW - 12 * 3_600_000],
  ])('since - %s', (text, ms) => {
    expect(parseWhen(text, '--since')(NOW)).toBe(ms);
  });

  it.each(['', '10', '10 m', 'yesterday', '-5m', '2026-13-01', '2026-11-24T25:00:00Z', '11:00'])(
    'since - "%s" is refused and the flag is named',
    (text) => {
      expect(() => parseWhen(text, '--since')(NOW)).toThrow(
        expect.objectContaining({ code: 'CLI_USAGE', exitCode: 2 }),
      );
      expect(() => parseWhen(text, '--since')(NOW)).toThrow(/^--since: /);
    },
  );

  it('span - bounds are shown', () => {
    expect(parseSpan('30m', '--for', 3_600_000)).toBe(1_800_000);
    for (const text of ['0s', '2h', '5', 'x']) {
      expect(() => parseSpan(text, '--for', 3_600_000)).toThrow(expect.objectContaining({ code: 'CLI_USAGE' }));
    }
    expect(() => parseSpan('2h', '--for', 3_600_000)).toThrow(
      expect.objectContaining({ remedy: expect.stringContaining('at most 1h') }),
    );
  });

  it.each([
    [0, '0 ms'],
    [0.25, '250 µs'],
    [5.04, '5 ms'],
    [12.4, '12 ms'],
    [1_240, '1.24 s'],
    [200_000, '3m 20s'],
    [7_500_000, '2h 5m'],
    [86_400_000, '1d'],
    [-12, '-12 ms'],
  ])('span - %d ms is %s', (ms, text) => {
    expect(span(ms)).toBe(text);
  });

  it('age - one unit', () => {
    expect([0, 3_000, 119_000, 600_000, 10_800_000, 5 * 86_400_000].map(age)).toEqual([
      '0s',
      '3s',
      '119s',
      '10m',
      '3h',
      '5d',
    ]);
  });

  it('clock - as much as is needed to tell the day', () => {
    const micros = (iso: string) => Date.parse(iso) * 1000;
    expect(clockTime(micros('2026-11-24T03:04:05.678Z'), NOW)).toBe('03:04:05.678');
    expect(clockTime(micros('2026-11-23T03:04:05.678Z'), NOW)).toBe('11-23 03:04:05');
    expect(clockTime(micros('2025-11-24T03:04:05.678Z'), NOW)).toBe('2025-11-24 03:04');
    for (const nothing of [0, -1, Number.NaN, Number.MAX_VALUE]) expect(clockTime(nothing, NOW)).toBe('-');
  });

  it('iso - microseconds are kept', () => {
    expect(isoMicros(1_790_000_000_123_456)).toBe('2026-09-21T14:13:20.123456Z');
    expect(isoMicros(Number.POSITIVE_INFINITY)).toBe('');
  });
});

it('span of time - a limit is shown in the unit that help names', () => {
  const refused = () => parseSpan('25h', '--for', 24 * 3_600_000);
  expect(refused).toThrow(expect.objectContaining({ remedy: expect.stringMatching(/at most 24h$/) }));
});
