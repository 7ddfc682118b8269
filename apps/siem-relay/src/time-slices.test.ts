// Work that needs no socket leaves rounds of the event loop to work that does.
import { expect, it } from 'vitest';
import { TimeSlices } from './time-slices.ts';

/** Rounds of the event loop during 200 ms of work in many small parts. */
async function roundsDuring(turn: () => Promise<void> | undefined): Promise<number> {
  let rounds = 0;
  let isOver = false;
  const count = () => {
    rounds += 1;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const until = performance.now() + 200;
  while (performance.now() < until) await turn();
  isOver = true;
  return rounds;
}

it('a backlog - leaves rounds to others; the control leaves none', async () => {
  const slices = new TimeSlices();
  expect(await roundsDuring(() => undefined)).toBe(0);
  expect(await roundsDuring(() => slices.turn())).toBeGreaterThan(5);
});

it('several readers - have one slice a round together, and all go on', async () => {
  const slices = new TimeSlices();
  const done: string[] = [];
  await slices.turn();
  const until = performance.now() + 10;
  while (performance.now() < until);
  const waiting = ['a', 'b', 'c'].map(async (name) => {
    const turn = slices.turn();
    expect(turn).toBeDefined();
    await turn;
    done.push(name);
  });
  expect(done).toEqual([]);
  await Promise.all(waiting);
  expect(done).toEqual(['a', 'b', 'c']);
});
