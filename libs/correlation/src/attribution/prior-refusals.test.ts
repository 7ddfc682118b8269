import { describe, expect, it } from 'vitest';
import { DOUBTFUL_LETTERS, indexesIn, PriorRefusals } from './prior-refusals.ts';

const place = (sequence: number, index: number, node = 'node-a') => ({
  node,
  sequence,
  index,
  timestampMicros: sequence,
});

describe('prior refusals - dead letters', () => {
  it.each([
    ['[0,13] pod x is on y', [0, 13]],
    ['[7] no list names pod x', [7]],
    ['[] the frame names node "z"', []],
    ['TRUNCATED: the message ends', null],
    ['[1,] odd', null],
    ['', null],
  ])('"%s" is about %j', (detail, indexes) => {
    expect(indexesIn(detail)).toEqual(indexes);
  });

  it('a dead letter covers the violations of its indexes; without indexes, the whole frame', () => {
    const refusals = new PriorRefusals(100);
    refusals.add('node-a', 5, 'foreign-pod', '[1,2] foreign');
    refusals.add('node-a', 5, 'unproven-pod', '[3] unproven');
    refusals.add('node-a', 6, 'foreign-pod', 'by an older version');
    expect([0, 1, 2, 3].map((index) => refusals.reasonOf(place(5, index)))).toEqual([
      undefined,
      'foreign-pod',
      'foreign-pod',
      'unproven-pod',
    ]);
    expect([refusals.reasonOf(place(6, 9)), refusals.reasonOf(place(7, 0))]).toEqual(['foreign-pod', undefined]);
    expect([refusals.has(5, 'foreign-pod'), refusals.has(6, 'unproven-pod')]).toEqual([true, false]);
  });

  it('missing letters - a report from before the oldest letter is refused, a later one is not', () => {
    const refusals = new PriorRefusals(100);
    expect(refusals.reasonOf(place(39, 0)), 'control: the stream holds all letters').toBeUndefined();
    refusals.completeSinceMicros = 40;
    expect([39, 40].map((sequence) => refusals.reasonOf(place(sequence, 0)))).toEqual(['unproven-pod', undefined]);
  });

  it('missing letters - a node with many may have been beyond its share; its neighbours were not', () => {
    const refusals = new PriorRefusals(100);
    for (let sequence = 1; sequence < DOUBTFUL_LETTERS; sequence++)
      refusals.add('node-a', sequence, 'foreign-pod', '[] x');
    expect(refusals.reasonOf(place(90, 0))).toBeUndefined();
    refusals.add('node-a', DOUBTFUL_LETTERS, 'foreign-pod', '[] x');
    expect(refusals.reasonOf(place(90, 0))).toBe('unproven-pod');
    expect(refusals.reasonOf(place(90, 0, 'node-b'))).toBeUndefined();
  });
});
