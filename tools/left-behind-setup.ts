// Vitest's set-up of the tiers whose files share a process: a file that leaves something behind fails (left-behind.ts).
import { waitFor } from '@bailiff/service/testing';
import { afterAll, vi } from 'vitest';
import { leftBehind, look } from './left-behind.ts';

/** For what was told to end and has not yet. */
const END_MS = 10_000;

const before = look();

// Registered before all of the file's own, so it runs after them.
afterAll(async () => {
  // What is stubbed, vitest puts back before each test: after the last one, nobody has yet.
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
  const left = () => leftBehind(before, look());
  await waitFor(() => left().length === 0, {
    what: 'this file to leave nothing behind',
    timeoutMs: END_MS,
    state: left,
  });
}, 2 * END_MS);
