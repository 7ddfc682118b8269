// Vitest's setup of the tiers whose files share a process: a file that leaves something behind
// fails (left-behind.ts).
import { waitFor } from '@bailiff/service/testing';
import { afterAll, vi } from 'vitest';
import { leftBehind, look } from './left-behind.ts';

/** Limit of the wait for resources that are being closed. */
const END_MS = 10_000;

const before = look();

// Registered before all hooks of the file, so it runs after them.
afterAll(async () => {
  // vitest reverts stubs before each test, but not after the last one.
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
  const left = () => leftBehind(before, look());
  await waitFor(() => left().length === 0, {
    what: 'this file to leave nothing behind',
    timeoutMs: END_MS,
    state: left,
  });
}, 2 * END_MS);
