import { expect, test } from 'vitest';
import { Lanes, MAX_WAITING } from './fair-queue.ts';

/** Work that ends when it is told to. */
function rig(slots: number) {
  const ends = new Map<string, () => void>();
  const lanes = new Lanes<string>(slots, (name) => new Promise((resolve) => ends.set(name, resolve)));
  const end = async (name: string) => {
    ends.get(name)?.();
    ends.delete(name);
    await new Promise(setImmediate);
  };
  return { lanes, end, running: () => [...ends.keys()] };
}

test('lanes - strangers hold half of the slots, however many they are, and who is proven takes the rest and goes first', async () => {
  const { lanes, end, running } = rig(4);
  for (let n = 0; n < 100; n += 1) expect(lanes.add(`stranger-${n}`, false)).toBe(true);
  expect(running()).toEqual(['stranger-0', 'stranger-1']);
  for (let n = 0; n < 3; n += 1) lanes.add(`proven-${n}`, true);
  expect(running()).toEqual(['stranger-0', 'stranger-1', 'proven-0', 'proven-1']);
  expect([lanes.running, lanes.waiting]).toEqual([4, 99]);
  await end('stranger-0');
  expect(running()).toEqual(['stranger-1', 'proven-0', 'proven-1', 'proven-2']);
  await end('proven-0');
  expect(running()).toEqual(['stranger-1', 'proven-1', 'proven-2', 'stranger-2']);
});

test('lanes - the proven take all slots when nobody else wants one', () => {
  const { lanes, running } = rig(4);
  for (let n = 0; n < 5; n += 1) lanes.add(`proven-${n}`, true);
  expect([running().length, lanes.waiting]).toEqual([4, 1]);
});

test('lanes - a full lane takes no more, and is not the other one’s matter', () => {
  const { lanes } = rig(2);
  for (let n = 0; n <= MAX_WAITING; n += 1) expect(lanes.add(`stranger-${n}`, false)).toBe(true);
  expect([lanes.add('one more', false), lanes.add('proven', true)]).toEqual([false, true]);
  expect(lanes.clear()).toHaveLength(MAX_WAITING);
  expect(lanes.waiting).toBe(0);
});
