import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeAll, expect, it } from 'vitest';
import { exec } from './exec.ts';
import { alone } from './lock.ts';

let directory = '';
beforeAll(() => {
  directory = temporaryDirectory();
});

it('lock - concurrent holders wait for each other, also for one that fails', async () => {
  const file = path.join(directory, 'turns');
  const events: string[] = [];
  const turn = (name: string) =>
    alone(file, undefined, async () => {
      events.push(`${name} begins`);
      await exec('true', []);
      events.push(`${name} ends`);
      if (name === 'b') throw new Error('failed');
      return name;
    });
  const outcomes = await Promise.allSettled(['a', 'b', 'c'].map(turn));
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  const pairs = [events.slice(0, 2), events.slice(2, 4), events.slice(4)];
  expect(pairs.sort()).toEqual(['a', 'b', 'c'].map((name) => [`${name} begins`, `${name} ends`]));
});

it('lock - a waiter can abort, and the next one gets it', async () => {
  const file = path.join(directory, 'given-up');
  const giveUp = new AbortController();
  await alone(file, undefined, async () => {
    const waits = alone(file, giveUp.signal, async () => 'had it');
    giveUp.abort();
    await expect(waits).rejects.toMatchObject({ code: 'LAB_INTERRUPTED' });
  });
  await expect(alone(file, undefined, async () => 'had it')).resolves.toBe('had it');
});
