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
