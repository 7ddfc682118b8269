import { expect, it } from 'vitest';
import { Turns } from './turns.ts';

const workFor = (ms: number) => {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs);
};

it('a long work - others are due between its steps; a short one goes on', async () => {
  const turns = new Turns();
  expect(turns.due()).toBeUndefined();
  let isSeen = false;
  setImmediate(() => {
    isSeen = true;
  });
  workFor(30);
  const due = turns.due();
  expect([due, isSeen]).toEqual([expect.any(Promise), false]);
  await due;
  expect(isSeen).toBe(true);
  expect(turns.due()).toBeUndefined();
});

/** Rounds of the event loop during 50 steps of work, each longer than a turn. */
async function roundsDuring(due: () => Promise<void> | undefined): Promise<number> {
  let rounds = 0;
  let isOver = false;
  const count = () => {
    rounds += 1;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  for (let step = 0; step < 50; step += 1) {
    workFor(6);
    await due();
  }
  isOver = true;
  return rounds;
}

it('a work in many steps - leaves rounds to others; the control leaves none', async () => {
  const turns = new Turns(5);
  expect(await roundsDuring(() => undefined)).toBe(0);
  expect(await roundsDuring(() => turns.due())).toBeGreaterThan(5);
});

it('several works - have one turn a round together, and all go on', async () => {
  const turns = new Turns(5);
  const done: string[] = [];
  await turns.due();
  workFor(10);
  const waiting = ['a', 'b', 'c'].map(async (name) => {
    const due = turns.due();
    expect(due).toBeDefined();
    await due;
    done.push(name);
  });
  expect(done).toEqual([]);
  await Promise.all(waiting);
  expect(done).toEqual(['a', 'b', 'c']);
});
