// Pure decisions of the delivery engine: batches, waits, and what is permanent.
import { describe, expect, it } from 'vitest';
import { Batch } from './batch.ts';
import { DeliveryError, type OutputEvent } from './output.ts';
import {
  BACKOFF,
  codeOfStatus,
  MAX_REFUSALS_IN_A_ROW,
  MAX_RETRY_AFTER_MS,
  nextStep,
  retryAfterOf,
  retryDelayMs,
} from './retry.ts';

const LIMITS = { maxEvents: 4, maxBytes: 100, lingerMs: 1_000 };
function held(sequence: number, bytes = 10) {
  const event: OutputEvent = {
    sequence,
    subject: '',
    uid: `uid-${sequence}`,
    className: '',
    node: '',
    severity: 0,
    timeMicros: 0,
    storedMicros: sequence,
    data: new Uint8Array(bytes),
  };
  return { event, created: 'now' };
}
const filled = (count: number, bytes = 10) => {
  const batch = new Batch(LIMITS);
  for (let n = 1; n <= count; n += 1) batch.add(held(n, bytes), '', 0);
  return batch;
};
const sequences = (batch: Batch) => batch.next().map(({ event }) => event.sequence);

describe('batch', () => {
  it.each([
    ['empty', filled(0), 9_999, false],
    ['young and small', filled(3), 999, false],
    ['full of events', filled(4), 0, true],
    ['full of bytes', filled(2, 50), 0, true],
    ['old', filled(1), 1_000, true],
  ])('%s - due only at a limit', (_, batch, nowMs, isDue) => {
    expect(batch.isDue(nowMs)).toBe(isDue);
  });

  it('a refusal - halves the next attempt until the refused event is alone, then all follow', () => {
    const batch = filled(4);
    const refused = 3;
    const attempts: number[][] = [];
    const lettered: number[] = [];
    while (batch.size > 0) {
      const attempt = sequences(batch);
      attempts.push(attempt);
      if (!attempt.includes(refused)) batch.remove(attempt.length);
      else if (attempt.length > 1) batch.split(attempt.length);
      else {
        lettered.push(...attempt);
        batch.remove(1);
      }
    }
    expect(attempts).toEqual([[1, 2, 3, 4], [1, 2], [3, 4], [3], [4]]);
    expect(lettered).toEqual([3]);
  });

  it('turns - follow each other, and each keeps its order', () => {
    const batch = new Batch({ ...LIMITS, maxEvents: 1 });
    const add = (turn: string, ...all: number[]) => {
      for (const sequence of all) batch.add(held(sequence), turn, 0);
    };
    add('flood', 1, 2, 3, 4);
    add('quiet', 5, 6);
    const left: (number | undefined)[][] = [];
    while (batch.size > 0) {
      const [next] = sequences(batch);
      // A new turn during a delivery does not move what is under way.
      if (next === 3) add('late', 7);
      batch.remove(1);
      left.push([next, batch.oldest?.sequence]);
    }
    expect(left).toEqual([
      [1, 2],
      [5, 2],
      [2, 3],
      [6, 3],
      [3, 4],
      [7, 4],
      [4, undefined],
    ]);
  });

  it('what the receiver does not take - waits behind the next turn', () => {
    const batch = new Batch({ ...LIMITS, maxEvents: 1 });
    batch.add(held(1), 'poison', 0);
    batch.add(held(2), 'other', 0);
    batch.postpone();
    expect([sequences(batch), batch.oldest?.sequence]).toEqual([[2], 1]);
  });

  it('the oldest event of a life of the stream - is found behind those of the life before', () => {
    const batch = filled(2);
    batch.add({ ...held(1), created: 'after' }, '', 0);
    expect([batch.oldest?.sequence, batch.oldestOf('after')?.sequence, batch.oldestOf('other')]).toEqual([1, 1, null]);
  });

  it('removed events - free their bytes', () => {
    const batch = filled(2, 50);
    batch.remove(1);
    expect([batch.size, batch.oldest?.sequence, batch.isDue(0)]).toEqual([1, 2, false]);
  });
});

describe('retry', () => {
  it('the wait - is a random part of an exponential one, up to a limit', () => {
    expect([1, 2, 3].map((failures) => retryDelayMs(failures, 1))).toEqual([200, 400, 800]);
    expect(retryDelayMs(1_000, 1)).toBe(BACKOFF.maxMs);
    expect(retryDelayMs(5, 0)).toBe(0);
  });

  it('the wait - is never shorter than the receiver asks for, up to a limit', () => {
    expect(retryDelayMs(1, 0, 30_000)).toBe(30_000);
    expect(retryDelayMs(1, 0, 1e12)).toBe(MAX_RETRY_AFTER_MS);
  });

  it.each([
    [200, null],
    [202, null],
    [302, 'OUTPUT_MISCONFIGURED'],
    [400, 'OUTPUT_REFUSED'],
    [401, 'OUTPUT_MISCONFIGURED'],
    [404, 'OUTPUT_MISCONFIGURED'],
    [413, 'OUTPUT_REFUSED'],
    [422, 'OUTPUT_REFUSED'],
    [429, 'OUTPUT_BUSY'],
    [500, 'OUTPUT_FAILED'],
    [503, 'OUTPUT_BUSY'],
  ])('status %i - %s', (status, code) => {
    expect(codeOfStatus(status)).toBe(code);
  });

  it.each([
    [undefined, null],
    ['120', 120_000],
    ['Thu, 01 Jan 1970 00:01:00 GMT', 60_000],
    ['Thu, 01 Jan 1960 00:01:00 GMT', 0],
    ['soon', null],
  ])('Retry-After %s - %s ms', (header, ms) => {
    expect(retryAfterOf(header, 0)).toBe(ms);
  });

  const refused = new DeliveryError('OUTPUT_REFUSED', 'responds with 400');
  it.each([
    ['a failure', new DeliveryError('OUTPUT_FAILED', ''), 5, 0, 'retry', true],
    ['an unknown error', new Error('?'), 1, 0, 'retry', true],
    ['a refused batch', refused, 5, 0, 'split', false],
    ['a refused event', refused, 1, 0, 'dead-letter', false],
    ['one of many refused events', refused, 1, MAX_REFUSALS_IN_A_ROW, 'dead-letter', true],
  ])('%s - the next step', (_, error, events, refusals, step, waits) => {
    expect(nextStep(error, events, refusals)).toEqual({ step, waits });
  });
});
