// The state of the page Now: what it says about what it did not read, or not yet.
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { scopeOf } from '../access/scope.ts';
import type { ConsoleData, LiveEvents } from '../data.ts';
import { Live } from './live.ts';

let live: Live;
let events: LiveEvents;

beforeEach(async () => {
  const untilEnd = (signal: AbortSignal): Promise<never> =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  let isBegun = false;
  const data = {
    columns: { verdicts: [], responses: [] },
    connected: () => true,
    status: (_, signal) => untilEnd(signal),
    waiting: (_, signal) => untilEnd(signal),
    follow: (stream, _, to, signal) => {
      if (stream === 'VIOLATIONS') [events, isBegun] = [to, true];
      return untilEnd(signal);
    },
    describe: () => ({ status: 500, error: 'it failed', remedy: '' }),
  } as Partial<ConsoleData> as ConsoleData;
  live = new Live({ data, nowMs: () => Date.now(), scope: scopeOf(['shop']) });
  await waitFor(() => isBegun);
});
afterEach(() => live.close());

it('progress - a view says how much of the stored violations it counts', () => {
  for (const left of [900, 899, 898]) events.onProgress('VIOLATIONS', left);
  events.onProgress('VERDICTS', 5);
  expect(live.view().live).toMatchObject({ complete: false, read: 3, left: 898 });
});

it('skipped - a view says how many messages it does not count; one that skipped nothing does not', () => {
  events.onSkipped('VIOLATIONS', 0);
  expect(live.view().live.notes).toEqual([]);
  events.onSkipped('VIOLATIONS', 40);
  events.onSkipped('VIOLATIONS', 2);
  expect(live.view().live.notes).toEqual([expect.stringMatching(/^42 messages were skipped/)]);
});
