// The state of the page Now: what it says about what it did not read, or not yet.
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { EVERYTHING, type Scope, scopeOf } from '../access/scope.ts';
import type { ConsoleData, LiveEvents } from '../data.ts';
import { Live } from './live.ts';

let live: Live;
let events: LiveEvents;

beforeEach(() => open(EVERYTHING));
afterEach(() => live.close());

async function open(scope: Scope): Promise<void> {
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
  live = new Live({ data, nowMs: () => Date.now(), scope });
  await waitFor(() => isBegun);
}

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

it('a visitor of one namespace - gets no count of messages, which are of all namespaces', async () => {
  await live.close();
  await open(scopeOf(['shop']));
  events.onProgress('VIOLATIONS', 898);
  events.onSkipped('VIOLATIONS', 42);
  expect(live.view().live).toMatchObject({
    complete: false,
    read: 0,
    left: 0,
    notes: [expect.stringMatching(/^Some messages were skipped/)],
  });
});
