import { BusError } from '@bailiff/bus';
import { describe, expect, it } from 'vitest';
import { CHECK_MS, Lateness, RESUME } from './lateness.ts';

const START = Date.parse('2026-12-01T00:00:00Z');

/** Reads message 1 again and again while the stream is this far ahead. @returns from where to go on, by check */
async function checks(ends: readonly ({ behind: number; lateMs: number } | 'fails')[]): Promise<(number | null)[]> {
  let nowMs = 0;
  const left = [...ends];
  const end = () => {
    const next = left.shift() ?? 'fails';
    if (next === 'fails') return Promise.reject(new BusError('BUS_TIMEOUT', 'no response'));
    return Promise.resolve({ last_seq: 1 + next.behind, last_ts: new Date(START + next.lateMs).toISOString() });
  };
  const late = new Lateness(end, () => nowMs);
  const found: (number | null)[] = [];
  for (const _ of ends) {
    late.isTooLate({ sequence: 1, timestampMicros: START * 1000 });
    // The check ends after the message, which does not wait for it.
    await new Promise((resolve) => setImmediate(resolve));
    found.push(late.resumeAt);
    nowMs += CHECK_MS;
  }
  return found;
}

describe('lateness', () => {
  const late = { behind: 5_000, lateMs: 900 };
  it.each([
    ['late at two checks', [late, { behind: 6_000, lateMs: 950 }], [null, 6_001 - RESUME + 1]],
    ['late once, then not', [late, { behind: 10, lateMs: 5 }, late], [null, null, null]],
    ['behind in a fast stream, but in time', Array(3).fill({ behind: 5_000, lateMs: 200 }), [null, null, null]],
    ['late, with few messages to read', Array(3).fill({ behind: 400, lateMs: 60_000 }), [null, null, null]],
    ['a check that fails decides nothing', [late, 'fails', late], [null, null, 5_001 - RESUME + 1]],
  ] as const)('%s', async (_, ends, expected) => {
    expect(await checks(ends)).toEqual(expected);
  });

  it('checks - one at a time, and no sooner than CHECK_MS after the last', async () => {
    let nowMs = 0;
    let asked = 0;
    let release = () => {};
    const end = () => {
      asked += 1;
      return new Promise<{ last_seq: number; last_ts: string }>((resolve) => {
        release = () => resolve({ last_seq: 1, last_ts: new Date(START).toISOString() });
      });
    };
    const lateness = new Lateness(end, () => nowMs);
    const read = () => lateness.isTooLate({ sequence: 1, timestampMicros: START * 1000 });
    for (let n = 0; n < 3; n += 1) read();
    nowMs += CHECK_MS;
    read();
    expect(asked).toBe(1);
    release();
    await new Promise((resolve) => setImmediate(resolve));
    read();
    expect(asked).toBe(1);
    nowMs += CHECK_MS;
    read();
    expect(asked).toBe(2);
  });
});
