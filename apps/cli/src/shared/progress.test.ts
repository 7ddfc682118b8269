import { expect, it } from 'vitest';
import { captureCli } from '../testing.ts';
import { named, Progress } from './progress.ts';

it('a line is never wider than the terminal, so that it can be cleared', () => {
  let nowMs = 0;
  const { io, stderr } = captureCli({ terminal: 20, nowMs: () => nowMs });
  const progress = new Progress(io, 'seconds');
  nowMs = 1_000;
  progress.often(1, 60, 'waiting for something with a long name');
  expect(stderr()).toContain('1 of 60 seconds · …');
});

it('named - prints nothing for a quick step, and returns its result or throws its error', async () => {
  const { io, stderr } = captureCli({ terminal: 80 });
  expect(await named(io, 'connecting', async () => 7)).toBe(7);
  await expect(named(io, 'connecting', () => Promise.reject(new Error('refused')))).rejects.toThrow('refused');
  expect(stderr()).toBe('');
});
