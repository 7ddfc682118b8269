import { expect, it } from 'vitest';
import { completeSinceMicros, isTrimmed } from './retention.ts';

const HOUR_MS = 3_600_000;
const NOW_MS = Date.parse('2026-11-30T12:00:00Z');
const text = (agoMs: number) => new Date(NOW_MS - agoMs).toISOString();

/** Contents of VERDICTS: 250,000 messages, 512 MiB and nine days by default. */
function contents(state: object, config: object = {}) {
  return {
    config: {
      name: 'VERDICTS',
      max_bytes: 512 * 1024 ** 2,
      max_msgs: 250_000,
      max_age: 216 * HOUR_MS * 1e6,
      ...config,
    },
    state: { first_seq: 101, messages: 1_000, bytes: 1e6, first_ts: text(5 * HOUR_MS), ...state },
    ts: text(0),
  } as unknown as Parameters<typeof isTrimmed>[0];
}
const FULL = { messages: 249_000 };
const RAISED = { max_msgs: 1_000_000 };

it.each<[string, ReturnType<typeof contents>, boolean, number | null]>([
  ['new', contents({ first_seq: 1 }), false, null],
  ['new and full', contents({ ...FULL, first_seq: 1 }), false, null],
  ['full by number', contents(FULL), true, 5],
  ['full by bytes', contents({ bytes: 500 * 1024 ** 2 }), true, 5],
  ['full, and its limit was raised since', contents(FULL, RAISED), true, 5],
  ['full under a lower limit', contents({ messages: 19 }, { max_msgs: 20 }), true, 5],
  ['quiet: its oldest went by age', contents({}), false, 216],
  ['quiet, without an age limit', contents({}, { max_age: 0 }), false, null],
  ['without a limit', contents({ messages: 200_000 }, { max_msgs: -1 }), false, 216],
])('a stream that is %s', (_name, info, trimmed, hours) => {
  expect(isTrimmed(info)).toBe(trimmed);
  expect(completeSinceMicros(info)).toBe(hours === null ? 0 : (NOW_MS - hours * HOUR_MS) * 1000);
});
