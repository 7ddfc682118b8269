// A responder whose machine has a wrong clock, for a moment or all the time: what it may do, and for how
// long, depends on the time of the bus.
import { encodeToken, openBucket } from '@bailiff/bus';
import { quarantineList } from '@bailiff/schemas';
import { type Clock, systemClock } from '@bailiff/service';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { acting, NODE, Rig } from './responder/rig.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const DONE = ['succeeded', 'refused', 'failed'] as const;

class WrongClock implements Clock {
  aheadMs: number;
  readonly monotonicMs = systemClock.monotonicMs;
  readonly setTimer = systemClock.setTimer;
  readonly setRepeating = systemClock.setRepeating;
  readonly sleep = systemClock.sleep;

  constructor(aheadMs: number) {
    this.aheadMs = aheadMs;
  }
  nowMs(): number {
    return Date.now() + this.aheadMs;
  }
  nowMicros(): number {
    return this.nowMs() * 1000;
  }
}

const one = {
  window: '10m',
  maxPods: 1,
  maxPodsPerNamespace: 1,
  maxQuarantines: 100_000,
  maxPercent: 100,
  maxNodes: 1,
};

async function untilOf(rig: Rig, uid: string): Promise<number> {
  const entry = await openBucket(rig.bus, 'bailiff_quarantine').get(encodeToken(NODE));
  const { entries } = quarantineList.parse(JSON.parse(entry?.value.toString() ?? ''));
  return Date.parse(entries.find(({ podUid }) => podUid === uid)?.until ?? '');
}

it.each([
  ['right', 0],
  ['an hour ahead', HOUR_MS],
  ['an hour behind', -HOUR_MS],
  ['two days ahead', 2 * DAY_MS],
])('a clock that is %s - the budget holds, and a quarantine has its length', async (_, aheadMs) => {
  await using rig = await Rig.start();
  await rig.policies({
    few: acting('few', [{ action: 'delete' }], { budget: one }),
    isolate: acting('isolate', [{ action: 'quarantine', expires: '10m' }]),
  });
  await rig.start({}, {}, new WrongClock(aheadMs));
  const codes: string[] = [];
  for (let pod = 0; pod < 3; pod++) {
    const verdict = await rig.verdict(rig.pod(), { rule: 'few' });
    const end = await rig.until(verdict, 'delete', [...DONE]);
    codes.push(end.reasonCode || end.phase);
  }
  const pod = rig.pod();
  const quarantined = await rig.until(await rig.verdict(pod, { rule: 'isolate' }), 'quarantine', [...DONE]);
  const leftMs = quarantined.phase === 'succeeded' ? (await untilOf(rig, pod.uid)) - Date.now() : Number.NaN;
  expect({ codes, phase: quarantined.phase, isFor10Min: Math.abs(leftMs - 600_000) < 300_000 }).toEqual({
    codes: ['succeeded', 'budget-exhausted', 'budget-exhausted'],
    phase: 'succeeded',
    isFor10Min: true,
  });
});

it.each([
  ['an hour', HOUR_MS],
  ['two days', 2 * DAY_MS],
  ['a year', 365 * DAY_MS],
])('a clock that is %s ahead for a moment - quarantines stay, and the budget is as before', async (_, aheadMs) => {
  await using rig = await Rig.start();
  await rig.policies({
    few: acting('few', [{ action: 'delete' }], { budget: one }),
    mark: acting('mark', [{ action: 'label' }]),
    isolate: acting('isolate', [{ action: 'quarantine', expires: '10m' }]),
  });
  const clock = new WrongClock(0);
  const responder = await rig.start({}, {}, clock);
  const pod = rig.pod();
  await rig.until(await rig.verdict(pod, { rule: 'isolate' }), 'quarantine', 'succeeded');
  const first = await rig.until(await rig.verdict(rig.pod(), { rule: 'few' }), 'delete', [...DONE]);
  clock.aheadMs = aheadMs;
  const during = await rig.until(await rig.verdict(rig.pod(), { rule: 'mark' }), 'label', [...DONE]);
  const scans = await responder.metric('scans_total');
  await waitFor(async () => (await responder.metric('scans_total')) > scans + 1, { what: 'two scans' });
  clock.aheadMs = 0;
  const later = await rig.until(await rig.verdict(rig.pod(), { rule: 'few' }), 'delete', [...DONE]);
  const mark = await rig.until(await rig.verdict(rig.pod(), { rule: 'mark' }), 'label', [...DONE]);
  const found = [first, during, later, mark].map(({ phase, reasonCode }) => `${phase} ${reasonCode}`.trim());
  expect([...found, (await rig.quarantined()).includes(pod.uid)]).toEqual([
    'succeeded',
    'succeeded',
    'refused budget-exhausted',
    'succeeded',
    true,
  ]);
});
