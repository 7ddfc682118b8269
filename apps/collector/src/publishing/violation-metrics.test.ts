import { expect, it } from 'vitest';
import { BreachTally, MAX_VECTORS } from './violation-metrics.ts';
import { blankViolation } from './violations.ts';

const sampled = { sample: {} as never, count: 1 };
const violation = (more: object) => ({ ...blankViolation(), cumulativePackets: 1, ...more });

it('tally - packets and operations by vector and action, and what no sample tells of', () => {
  const tally = new BreachTally();
  tally.take([
    violation({ count: 2, suppressed: 40 }),
    violation({ count: 1, action: 'audit' }),
    violation({ kind: 'lsm', vector: 'escape-guard/mount', count: 1, suppressed: 3 }),
    violation({ kind: 'lsm', vector: 'escape-guard/ptrace', count: 1 }),
  ]);
  expect([...tally.all()].filter(({ drop, audit }) => drop + audit > 0)).toEqual([
    { kind: 'spoof', vector: 'ipv4-source', drop: 42, audit: 1 },
    { kind: 'lsm', vector: 'escape-guard', drop: 5, audit: 0 },
  ]);
  expect(tally.suppressed).toEqual({ spoof: 40, lsm: 3 });
});

it('tally - vectors above the bound are told together', () => {
  const tally = new BreachTally();
  const room = MAX_VECTORS - [...tally.all()].length;
  const many = Array.from({ length: room + 10 }, (_, i) => violation({ kind: 'lsm', vector: `p-${i}/r`, count: 1 }));
  tally.take(many);
  const told = [...tally.all()];
  expect(told).toHaveLength(MAX_VECTORS + 1);
  expect(told.at(-1)).toMatchObject({ vector: 'other', drop: 10 });
});

it.each([
  ['the first of a cell, sampled', violation({ ...sampled, firstSeenAt: 7 }), 7],
  ['the first of an operation', violation({ operation: {}, count: 1, firstSeenAt: 7 }), 7],
  ['a later one', violation({ ...sampled, cumulativePackets: 5, firstSeenAt: 7 }), null],
  ['no sample: nobody knows when', violation({ suppressed: 1, firstSeenAt: 7 }), null],
  ['found by user space', violation({ count: 1, firstSeenAt: 7 }), null],
])('tally - when it began: %s', (_name, one, began) => {
  expect(new BreachTally().take([one])).toBe(began);
});

it('tally - when it began: the oldest of a frame', () => {
  const frame = [9, 7, 8].map((firstSeenAt) => violation({ ...sampled, firstSeenAt }));
  expect(new BreachTally().take(frame)).toBe(7);
});
