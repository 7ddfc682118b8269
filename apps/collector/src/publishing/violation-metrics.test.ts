import { expect, it } from 'vitest';
import { blankViolation } from './frame.ts';
import { MAX_VECTORS, ViolationTotals } from './violation-metrics.ts';

const sampled = { sample: {} as never, count: 1 };
const violation = (more: object) => ({ ...blankViolation(), cumulativePackets: 1, ...more });

it('violation totals - by vector and action, and those without sample', () => {
  const totals = new ViolationTotals();
  const counted = totals.countOf([
    violation({ count: 2, suppressed: 40 }),
    violation({ count: 1, action: 'audit' }),
    violation({ kind: 'lsm', vector: 'escape-guard/mount', count: 1, suppressed: 3 }),
    violation({ kind: 'lsm', vector: 'escape-guard/ptrace', count: 1 }),
  ]);
  // A frame that is not stored yet does not count.
  expect([...totals.all()].every(({ drop, audit }) => drop + audit === 0)).toBe(true);
  totals.add(counted);
  expect([...totals.all()].filter(({ drop, audit }) => drop + audit > 0)).toEqual([
    { kind: 'spoof', vector: 'ipv4-source', drop: 42, audit: 1 },
    { kind: 'lsm', vector: 'escape-guard', drop: 5, audit: 0 },
  ]);
  expect(totals.suppressed).toEqual({ spoof: 40, lsm: 3 });
});

it('violation totals - vectors above the limit count together', () => {
  const totals = new ViolationTotals();
  const room = MAX_VECTORS - [...totals.all()].length;
  const many = Array.from({ length: room + 10 }, (_, i) => violation({ kind: 'lsm', vector: `p-${i}/r`, count: 1 }));
  totals.add(totals.countOf(many));
  const all = [...totals.all()];
  expect(all).toHaveLength(MAX_VECTORS + 1);
  expect(all.at(-1)).toMatchObject({ vector: 'other', drop: 10 });
});

it.each([
  ['first of a cell, sampled', violation({ ...sampled, firstSeenAt: 7 }), 7],
  ['the first of an operation', violation({ operation: {}, count: 1, firstSeenAt: 7 }), 7],
  ['a later one', violation({ ...sampled, cumulativePackets: 5, firstSeenAt: 7 }), null],
  ['no sample: unknown time', violation({ suppressed: 1, firstSeenAt: 7 }), null],
  ['found by user space', violation({ count: 1, firstSeenAt: 7 }), null],
])('violation totals - time of the first violation of a cell: %s', (_name, one, began) => {
  expect(new ViolationTotals().countOf([one]).firstMicros).toBe(began);
});

it('violation totals - time of the first violation of a cell: the oldest of a frame', () => {
  const frame = [9, 7, 8].map((firstSeenAt) => violation({ ...sampled, firstSeenAt }));
  expect(new ViolationTotals().countOf(frame).firstMicros).toBe(7);
});
