import { expect, test } from 'vitest';
import { FairQueue, MAX_PER_ADDRESS, MAX_PER_POD, MAX_WAITING } from './fair-queue.ts';

/** Work that ends on request. */
function rig(slots: number) {
  const ends = new Map<string, () => void>();
  const queue = new FairQueue<string>(slots, (name) => new Promise((resolve) => ends.set(name, resolve)));
  const end = async (name: string) => {
    ends.get(name)?.();
    ends.delete(name);
    await new Promise(setImmediate);
  };
  return { queue, end, running: () => [...ends.keys()] };
}

test('fair queue - unproven logins hold half of the slots, and proven ones take the rest and run first', async () => {
  const { queue, end, running } = rig(4);
  for (let n = 0; n < 100; n += 1) expect(queue.add(`unproven-${n}`, `10.0.0.${n}`, false)).toBe(true);
  expect(running()).toEqual(['unproven-0', 'unproven-1']);
  for (let n = 0; n < 3; n += 1) queue.add(`proven-${n}`, `pod-${n}`, true);
  expect(running()).toEqual(['unproven-0', 'unproven-1', 'proven-0', 'proven-1']);
  expect([queue.running, queue.waiting]).toEqual([4, 99]);
  await end('unproven-0');
  expect(running()).toEqual(['unproven-1', 'proven-0', 'proven-1', 'proven-2']);
  await end('proven-0');
  expect(running()).toEqual(['unproven-1', 'proven-1', 'proven-2', 'unproven-2']);
});

test('fair queue - proven logins take all slots if no other waits', () => {
  const { queue, running } = rig(4);
  for (let n = 0; n < 5; n += 1) queue.add(`proven-${n}`, `pod-${n}`, true);
  expect([running().length, queue.waiting]).toEqual([4, 1]);
});

test('fair queue - a full class takes no more, and the other one is not affected', () => {
  const { queue } = rig(2);
  for (let n = 0; n <= MAX_WAITING; n += 1) expect(queue.add(`unproven-${n}`, `10.0.0.${n}`, false)).toBe(true);
  expect([queue.add('one more', '10.1.0.1', false), queue.add('proven', 'pod', true)]).toEqual([false, true]);
  expect(queue.clear()).toHaveLength(MAX_WAITING);
  expect(queue.waiting).toBe(0);
});

test('fair queue - a pod has a share of the room, running or waiting, and gets it back', async () => {
  const { queue, end, running } = rig(2);
  for (let n = 0; n < MAX_PER_POD; n += 1) expect(queue.add(`a-${n}`, 'pod-a', true)).toBe(true);
  expect([queue.add('a-more', 'pod-a', true), queue.add('b-0', 'pod-b', true)]).toEqual([false, true]);
  expect(running()).toEqual(['a-0', 'a-1']);
  await end('a-0');
  expect(queue.add('a-more', 'pod-a', true)).toBe(true);
  expect(queue.clear()).toEqual(['a-3', 'b-0', 'a-more']);
  for (let n = 0; n < 2; n += 1) expect(queue.add(`a-again-${n}`, 'pod-a', true)).toBe(true);
});

test('fair queue - an address without a proven token leaves room to others; as many addresses leave none', () => {
  const flood = (addressOf: (n: number) => string) => {
    const { queue } = rig(2);
    let added = 0;
    for (let n = 0; n < 2 * MAX_WAITING; n += 1) if (queue.add(`flood-${n}`, addressOf(n), false)) added += 1;
    return [added, queue.add('new token', '10.1.0.1', false), queue.add('proven', '10.0.0.1', true)];
  };
  expect(flood(() => '10.0.0.1')).toEqual([MAX_PER_ADDRESS, true, true]);
  expect(flood((n) => `10.0.${n >> 8}.${n & 255}`)).toEqual([MAX_WAITING + 1, false, true]);
});
