import type { OperationSample } from '@bailiff/schemas';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_SHOWN, type OperationSamples, partsOf, withSample } from './sample-dedup.ts';

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
    (all, subject, at) => withSample(all, sample(subject, at + 1)),
    undefined,
  );
const shownIn = (samples: OperationSamples | undefined, enqueued: number, cumulative: number, most = 100) =>
  partsOf(samples, { enqueued, cumulative }, most).map((p) => [
    p.last?.subject ?? '',
    p.enqueued,
    p.cumulative,
    p.count,
  ]);

describe('shown operations', () => {
  it.each([
    { name: 'none was sampled', of: [], grown: [4, 9], parts: [['', 4, 9, 0]] },
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
      name: 'the newest last, with how many showed it',
      of: ['a', 'b', 'a'],
      grown: [10, 13],
      parts: [
        ['b', 10, 11, 1],
        ['a', 11, 13, 2],
      ],
    },
    {
      name: 'what was not sampled is the last one’s',
      of: ['a', 'b'],
      grown: [0, 1000],
      parts: [
        ['a', 0, 1, 1],
        ['b', 1, 1000, 1],
      ],
    },
    { name: 'a sample whose count is not read yet', of: ['a', 'b'], grown: [7, 8], parts: [['b', 7, 8, 1]] },
    { name: 'a last word without growth', of: ['a', 'b'], grown: [8, 8], parts: [['b', 8, 8, 0]] },
  ])('$name', ({ of, grown: [enqueued, cumulative], parts }) => {
    expect(shownIn(samplesOf(...of), enqueued as number, cumulative as number)).toEqual(parts);
  });

  it('room for one - the newest is told, and all are counted with it', () => {
    expect(shownIn(samplesOf('a', 'b', 'c'), 0, 3, 1)).toEqual([['c', 0, 3, 3]]);
  });

  it('more than are kept - the newest takes the place of the one before it', () => {
    const subjects = Array.from({ length: MAX_SHOWN + 3 }, (_, i) => `s${i}`);
    const parts = shownIn(samplesOf(...subjects), 0, subjects.length);
    expect(parts).toHaveLength(MAX_SHOWN);
    expect(parts.at(-1)).toEqual([`s${MAX_SHOWN + 2}`, MAX_SHOWN - 1, MAX_SHOWN + 3, 4]);
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
      name: 'of the operation that is shown, not of what is counted with it',
      of: ['a', 'b', 'b'],
      most: 1,
      times: [[2, 3]],
    },
  ])('first and last time of a cell - those $name', ({ of, most, times }) => {
    const parts = partsOf(samplesOf(...of), { enqueued: 0, cumulative: of.length }, most);
    expect(parts.map(({ first, last }) => [first?.observedAt, last?.observedAt])).toEqual(times);
  });

  it('more than are kept - the newest has its own first time', () => {
    const subjects = Array.from({ length: MAX_SHOWN + 1 }, (_, i) => `s${i}`);
    const parts = partsOf(samplesOf(...subjects), { enqueued: 0, cumulative: subjects.length }, 100);
    expect(parts.at(-1)).toMatchObject({ first: { observedAt: MAX_SHOWN + 1 }, last: { observedAt: MAX_SHOWN + 1 } });
  });

  it('property - parts follow each other without gap or overlap up to the cumulative value, whatever was sampled', () => {
    const subjects = fc.array(fc.constantFrom(...'abcdefghijklmnop'), { maxLength: 40 });
    fc.assert(
      fc.property(subjects, fc.nat(1000), fc.nat(60), fc.integer({ min: 1, max: 20 }), (of, enqueued, grown, most) => {
        const samples = samplesOf(...of);
        const parts = partsOf(samples, { enqueued, cumulative: enqueued + grown }, most);
        expect(parts.length).toBeLessThanOrEqual(Math.min(most, MAX_SHOWN));
        let at = enqueued;
        for (const part of parts) {
          expect(part.enqueued).toBe(at);
          expect(part.count).toBeLessThanOrEqual(part.cumulative - part.enqueued);
          at = part.cumulative;
        }
        expect(at).toBe(enqueued + grown);
        expect(parts.reduce((sum, { count }) => sum + count, 0)).toBe(Math.min(of.length, grown));
      }),
    );
  });
});
