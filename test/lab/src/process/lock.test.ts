import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { exec } from './exec.ts';
import { alone } from './lock.ts';

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'bailiff-lock-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

it('lock - whoever wants it at the same time waits for its end, also for one that fails', async () => {
  const file = path.join(directory, 'turns');
  const told: string[] = [];
  const turn = (name: string) =>
    alone(file, undefined, async () => {
      told.push(`${name} begins`);
      await exec('true', []);
      told.push(`${name} ends`);
      if (name === 'b') throw new Error('failed');
      return name;
    });
  const outcomes = await Promise.allSettled(['a', 'b', 'c'].map(turn));
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  const pairs = [told.slice(0, 2), told.slice(2, 4), told.slice(4)];
  expect(pairs.sort()).toEqual(['a', 'b', 'c'].map((name) => [`${name} begins`, `${name} ends`]));
});

it('lock - who waits for it can give up, and it is there for the next', async () => {
  const file = path.join(directory, 'given-up');
  const giveUp = new AbortController();
  await alone(file, undefined, async () => {
    const waits = alone(file, giveUp.signal, async () => 'had it');
    giveUp.abort();
    await expect(waits).rejects.toMatchObject({ code: 'LAB_INTERRUPTED' });
  });
  await expect(alone(file, undefined, async () => 'had it')).resolves.toBe('had it');
});
