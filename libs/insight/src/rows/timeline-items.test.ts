import type { GuardGap } from '@bailiff/schemas';
import { expect, it } from 'vitest';
import { guardedItem } from './timeline-items.ts';

const gap: GuardGap = {
  interfaceName: 'veth1',
  ifindex: 7,
  generation: 1,
  packetsBeforeGuard: 3,
  appearedToGuardedMicros: 12_000,
};

it.each([
  [{}, '12 ms after it appeared; 3 packets before'],
  [{ packetsBeforeGuard: 0 }, '12 ms after it appeared; no packets before'],
  [{ appearedToGuardedMicros: -1 }, 'existed before the collector; 3 packets before'],
])('guarded - %o', (part, detail) => {
  expect(guardedItem({ ...gap, ...part }, 0, 1).detail).toBe(detail);
});
