import type { OperationSample } from '@bailiff/schemas';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { OperationSamples } from '../counting/account.ts';
import { addSample, MAX_DISTINCT, splitIncrement } from './sample-dedup.ts';

const sample = (subject: string, observedAt = 1) =>
  ({
    operation: 'file_open',
    outcome: 'audit',
    subject,
    address: '',
    port: 0,
    protocol: 0,
    executable: '/bin/x',
    comm: 'x',
    observedAt,
  }) as unknown as OperationSample;
const samplesOf = (...subjects: string[]) =>
  subjects.reduce<OperationSamples | undefined>(
    (all, subject, at) => addSample(all, sample(subject, at + 1)),
    undefined,
  );
const partsOf = (samples: OperationSamples | undefined, enqueued: number, cumulative: number, most = 100) =>
  splitIncrement(samples, { enqueued, cumulative }, most).map((p) => [
    p.last?.subject ?? '',
    p.enqueued,
    p.cumulative,
    p.count,
  ]);

describe('sample deduplication', () => {
  it.each([
    { name: 'no sample', of: [], grown: [4, 9], parts: [['', 4, 9, 0]] },
    { name: 'one, once', of: ['a'], grown: [0, 1], parts: [['a', 0, 1, 1]] },
    { name: 'one, more often than sampled', of: ['a', 'a'], grown: [0, 50], parts: [['a', 0, 50, 2]] },
    {
      name: 'three distinct ones',
      of: ['a', 'b', 'c'],
      grown: [0, 3],
      parts: [
        ['a', 0, 1, 1],
        ['b', 1, 2, 1],
        ['c', 2, 3, 1],
      ],
    },
    {
      name: 'the newest last, with its number of samples',
      of: ['a', 'b', 'a'],
      grown: [10, 13],
      parts: [
        ['b', 10, 11, 1],
        ['a', 11, 13, 2],
      ],
    },
    {
      name: 'unsampled operations count for the last one',
      of: ['a', 'b'],
      grown: [0, 1000],
      parts: [
        ['a', 0, 1, 1],
        ['b', 1, 1000, 1],
      ],
    },
    { name: 'a sample whose count is not read yet', of: ['a', 'b'], grown: [7, 8], parts: [['b', 7, 8, 1]] },
    { name: 'a final count without growth', of: ['a', 'b'], grown: [8, 8], parts: [['b', 8, 8, 0]] },
  ])('$name', ({ of, grown: [enqueued, cumulative], parts }) => {
    expect(partsOf(samplesOf(...of), enqueued as number, cumulative as number)).toEqual(parts);
  });

  it('limit of one part - the newest, with its own count', () => {
    expect(partsOf(samplesOf('a', 'b', 'c'), 0, 3, 1)).toEqual([['c', 0, 3, 1]]);
  });

  it('above the limit - the newest replaces the one before it', () => {
    const subjects = Array.from({ length: MAX_DISTINCT + 3 }, (_, i) => `s${i}`);
    const parts = partsOf(samplesOf(...subjects), 0, subjects.length);
    expect(parts).toHaveLength(MAX_DISTINCT);
    expect(parts.at(-1)).toEqual([`s${MAX_DISTINCT + 2}`, MAX_DISTINCT - 1, MAX_DISTINCT + 3, 1]);
  });

  it.each([
    { name: 'of its only violation', of: ['a', 'a', 'a'], most: 9, times: [[1, 3]] },
    {
      name: 'of each operation of it',
      of: ['a', 'b', 'a', 'b'],
      most: 9,
      times: [
        [1, 3],
        [2, 4],
      ],
    },
    {
      name: 'of the published operation, not of those counted with it',
      of: ['a', 'b', 'b'],
      most: 1,
      times: [[2, 3]],
    },
  ])('first and last time - $name', ({ of, most, times }) => {
    const parts = splitIncrement(samplesOf(...of), { enqueued: 0, cumulative: of.length }, most);
    expect(parts.map(({ first, last }) => [first?.observedAt, last?.observedAt])).toEqual(times);
  });

  it('above the limit - the newest has its own first time', () => {
    const subjects = Array.from({ length: MAX_DISTINCT + 1 }, (_, i) => `s${i}`);
    const parts = splitIncrement(samplesOf(...subjects), { enqueued: 0, cumulative: subjects.length }, 100);
    expect(parts.at(-1)).toMatchObject({
      first: { observedAt: MAX_DISTINCT + 1 },
      last: { observedAt: MAX_DISTINCT + 1 },
    });
  });

  it('property - parts are adjacent up to the cumulative value, whatever was sampled', () => {
    const subjects = fc.array(fc.constantFrom(...'abcdefghijklmnop'), { maxLength: 40 });
    fc.assert(
      fc.property(subjects, fc.nat(1000), fc.nat(60), fc.integer({ min: 1, max: 20 }), (of, enqueued, grown, most) => {
        const samples = samplesOf(...of);
        const parts = splitIncrement(samples, { enqueued, cumulative: enqueued + grown }, most);
        expect(parts.length).toBeLessThanOrEqual(Math.min(most, MAX_DISTINCT));
        let at = enqueued;
        for (const part of parts) {
          expect(part.enqueued).toBe(at);
          expect(part.count).toBeLessThanOrEqual(part.cumulative - part.enqueued);
          at = part.cumulative;
        }
        expect(at).toBe(enqueued + grown);
        for (const { last, count } of parts)
          expect(count).toBeLessThanOrEqual(of.filter((subject) => subject === last?.subject).length);
      }),
    );
  });
});
