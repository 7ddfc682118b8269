import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { SeenViolation } from '../data.ts';
import { STEP_MS, STEPS, ViolationWindow } from './window.ts';

const NOW_MS = 1_000 * STEP_MS;
const seen = (part: Partial<SeenViolation> = {}): SeenViolation => ({
  storedMs: NOW_MS,
  node: 'node-a',
  vector: 'ipv4-source',
  action: 'drop',
  pod: { namespace: 'shop', name: 'shop/web-0', uid: 'u1' },
  count: 1,
  ...part,
});

it('rates - by vector and minute, most first', () => {
  const window = new ViolationWindow();
  window.add(seen({ count: 3, storedMs: NOW_MS - STEP_MS }));
  window.add(seen({ count: 2 }));
  window.add(seen({ count: 9, vector: 'tunnel', action: 'audit', pod: null }));
  const { series, total, otherTotal } = window.rates(NOW_MS);
  expect(series.map(({ name, action, total: sum }) => [name, action, sum])).toEqual([
    ['tunnel', 'audit', 9],
    ['ipv4-source', 'drop', 5],
  ]);
  expect(series[1]?.counts.slice(-2)).toEqual([3, 2]);
  expect([total, otherTotal]).toEqual([14, 0]);
  expect(window.rates(NOW_MS).passed, 'only audited').toBe(9);
  expect(window.attackers(NOW_MS).unknownPod, 'of no pod').toBe(9);
});

it('rates - a minute leaves the window after an hour', () => {
  const window = new ViolationWindow();
  window.add(seen({ count: 3, storedMs: NOW_MS - (STEPS - 1) * STEP_MS }));
  expect(window.rates(NOW_MS).total).toBe(3);
  expect(window.rates(NOW_MS + STEP_MS).total).toBe(0);
  window.add(seen({ storedMs: NOW_MS + STEP_MS }));
  expect(window.rates(NOW_MS + STEP_MS).total).toBe(1);
});

it('pods - one that violates in several minutes is one row', () => {
  const window = new ViolationWindow();
  window.add(seen({ storedMs: NOW_MS - STEP_MS }));
  window.add(seen({ vector: 'arp-sender' }));
  window.add(seen({ pod: { namespace: 'shop', name: 'shop/cart-1', uid: 'u2' }, count: 7 }));
  expect(window.attackers(NOW_MS).attackers.map(({ pod, count, vectors }) => [pod, count, vectors])).toEqual([
    ['shop/cart-1', 7, ['ipv4-source drop']],
    ['shop/web-0', 2, ['arp-sender drop', 'ipv4-source drop']],
  ]);
});

it('pods - what was only audited got through, until it leaves the window', () => {
  const window = new ViolationWindow();
  window.add(seen({ count: 5, action: 'audit', storedMs: NOW_MS - STEP_MS }));
  window.add(seen({ count: 2, action: 'audit' }));
  window.add(seen({ count: 3 }));
  const passed = (nowMs: number) => window.attackers(nowMs).attackers.map((one) => [one.count, one.passed]);
  expect(passed(NOW_MS)).toEqual([[10, 7]]);
  expect(passed(NOW_MS + (STEPS - 1) * STEP_MS)).toEqual([[5, 2]]);
  expect(window.rates(NOW_MS + (STEPS - 1) * STEP_MS).passed).toBe(2);
});

it('any violations in any order - the counts of the pods are that of the window, whatever left it', () => {
  const violation = fc.record({
    pod: fc.integer({ min: 0, max: 8 }),
    ageSteps: fc.integer({ min: 0, max: 2 * STEPS }),
    count: fc.integer({ min: 0, max: 9 }),
  });
  fc.assert(
    fc.property(fc.array(violation, { maxLength: 40 }), fc.nat({ max: STEPS }), (all, laterSteps) => {
      const window = new ViolationWindow();
      for (const { pod, ageSteps, count } of all)
        window.add(
          seen({
            count,
            storedMs: NOW_MS - ageSteps * STEP_MS,
            pod: { namespace: 'a', name: `a/${pod}`, uid: `u${pod}` },
          }),
        );
      const nowMs = NOW_MS + laterSteps * STEP_MS;
      const expected = new Map<string, number>();
      for (const { pod, ageSteps, count } of all)
        if (ageSteps + laterSteps < STEPS && count > 0)
          expected.set(`a/${pod}`, (expected.get(`a/${pod}`) ?? 0) + count);
      const { attackers } = window.attackers(nowMs);
      expect(new Map(attackers.map(({ pod, count }) => [pod, count]))).toEqual(expected);
      expect(window.rates(nowMs).total).toBe([...expected.values()].reduce((sum, count) => sum + count, 0));
    }),
  );
});

it('bounds - 3,000 pods fit into a small view, and every packet is counted', () => {
  const window = new ViolationWindow();
  for (let n = 0; n < 3_000; n += 1) {
    window.add(
      seen({
        node: `node-${n % 100}`,
        pod: { namespace: 'shop', name: `ns/pod-${n}`, uid: `u${n}` },
        vector: `p/rule-${n}`,
      }),
    );
  }
  const { attackers, omitted, withoutPod } = window.attackers(NOW_MS);
  expect([attackers.length + omitted, withoutPod]).toEqual([3_000, 0]);
  expect(attackers).toHaveLength(20);
  const rates = window.rates(NOW_MS);
  expect(rates.series.reduce((sum, { total }) => sum + total, rates.otherTotal)).toBe(3_000);
  expect(JSON.stringify({ attackers, rates }).length).toBeLessThan(10_000);
});

it('bounds - a node that invents pods takes no place of another node', () => {
  const window = new ViolationWindow({ pods: 10, vectors: 10 });
  for (let n = 0; n < 100; n += 1)
    window.add(seen({ node: 'bad', pod: { namespace: 'shop', name: `x/${n}`, uid: `x${n}` } }));
  window.add(seen({ node: 'good', pod: { namespace: 'shop', name: 'shop/web-0', uid: 'u1' }, count: 500 }));
  const { attackers, withoutPod } = window.attackers(NOW_MS);
  expect(attackers[0]?.pod).toBe('shop/web-0');
  // The control: the other node lost rows to its own share.
  expect(withoutPod).toBeGreaterThan(80);
  // An hour later, all of them are free again.
  const later = NOW_MS + STEPS * STEP_MS;
  for (let n = 0; n < 6; n += 1)
    window.add(seen({ storedMs: later, pod: { namespace: 'shop', name: `y/${n}`, uid: `y${n}` } }));
  expect(window.attackers(later)).toMatchObject({ omitted: 0, withoutPod: 1 });
});

it('bounds - pods that violate for an hour keep no new one out of the list, and have no entry a minute', () => {
  const window = new ViolationWindow({ pods: 40 });
  for (let minute = STEPS - 1; minute >= 1; minute -= 1)
    for (let n = 0; n < 20; n += 1)
      window.add(
        seen({
          node: `node-${n}`,
          storedMs: NOW_MS - minute * STEP_MS,
          pod: { namespace: 'shop', name: `x/${n}`, uid: `x${n}` },
          vector: minute > 30 ? 'tunnel' : 'arp-sender',
        }),
      );
  window.add(seen({ node: 'node-1', pod: { namespace: 'shop', name: 'shop/new-0', uid: 'new' }, count: 500 }));
  const { attackers, omitted, withoutPod } = window.attackers(NOW_MS);
  expect(attackers[0]).toMatchObject({ pod: 'shop/new-0', count: 500 });
  expect(attackers[1]).toMatchObject({ count: STEPS - 1, vectors: ['arp-sender drop', 'tunnel drop'] });
  expect([attackers.length + omitted, withoutPod]).toEqual([21, 0]);
  // Half an hour later, the first vector is no longer one of the last hour.
  const later = window.attackers(NOW_MS + 31 * STEP_MS).attackers;
  expect(later[1]).toMatchObject({ count: 28, vectors: ['arp-sender drop'] });
});
