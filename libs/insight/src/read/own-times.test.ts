import { expect, it } from 'vitest';
import { atBusTime } from './own-times.ts';

const BUS = Date.parse('2026-11-25T12:00:00.000Z');
const at = (ms: number) => new Date(ms).toISOString();

it.each([3_600_000, -3_600_000, 0])(
  'a status whose writer has a clock that is %d ms ahead - has bus times',
  (ahead) => {
    const own = (fromNowMs: number) => at(BUS + ahead + fromNowMs);
    const status = {
      updatedAt: own(0),
      startedAt: own(-60_000),
      disarmedUntil: own(60_000),
      interfaces: [
        { quarantinedUntil: own(5_000), reason: own(0) },
        { quarantinedUntil: null, reason: '' },
      ],
      outputs: [{ deliveredAt: at(BUS - 1_000), failing: { since: own(-1_000) } }],
    };
    expect(atBusTime(status, BUS)).toEqual({
      updatedAt: at(BUS),
      startedAt: at(BUS - 60_000),
      disarmedUntil: at(BUS + 60_000),
      // Text that looks like a time stays.
      interfaces: [
        { quarantinedUntil: at(BUS + 5_000), reason: own(0) },
        { quarantinedUntil: null, reason: '' },
      ],
      // The bus stored it then.
      outputs: [{ deliveredAt: at(BUS - 1_000), failing: { since: at(BUS - 1_000) } }],
      clockAheadMs: ahead,
    });
  },
);

it.each([
  ['soon', 'yesterday', undefined],
  ['-271821-04-20T00:00:00.000Z', '+275760-09-13T00:00:00.000Z', expect.any(Number)],
])('a status of %s - keeps its other times, and is as old as the bus says', (updatedAt, startedAt, clockAheadMs) => {
  const expected = { updatedAt: at(BUS), startedAt, ...(clockAheadMs === undefined ? {} : { clockAheadMs }) };
  expect(atBusTime({ updatedAt, startedAt }, BUS)).toEqual(expected);
});
