import { describe, expect, it } from 'vitest';
import { DOUBTFUL_AT_ONCE, DOUBTFUL_LETTERS, indexesIn, PriorRefusals } from './prior-refusals.ts';

const add = (
  refusals: PriorRefusals,
  sequence: number,
  reason: string,
  detail: string,
  writtenMicros = sequence,
): void => refusals.add({ node: 'node-a', sequence, reason, detail, writtenMicros });
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
    add(refusals, 5, 'foreign-pod', '[1,2] foreign');
    add(refusals, 5, 'unproven-pod', '[3] unproven');
    add(refusals, 6, 'foreign-pod', 'by an older version');
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

  it.each([
    ['at once', 0, DOUBTFUL_AT_ONCE],
    ['eight a second', 125_000, DOUBTFUL_AT_ONCE],
    ['one in five seconds, for half a day', 5_000_000, DOUBTFUL_LETTERS],
  ])(
    'missing letters - a node with many may have been beyond its share; its neighbours were not: %s',
    (_, every, most) => {
      const refusals = new PriorRefusals(100);
      const letters = (count: number, from: number): void => {
        for (let n = from; n < from + count; n++) add(refusals, n, 'foreign-pod', '[] x', n * every);
      };
      letters(most, 1);
      expect(refusals.reasonOf(place(0, 0)), 'control').toBeUndefined();
      letters(4 * most, most + 1);
      expect(refusals.reasonOf(place(0, 0))).toBe('unproven-pod');
      expect(refusals.reasonOf(place(0, 0, 'node-b'))).toBeUndefined();
    },
  );

  it('an honest node with a letter in five seconds for two hours - later reports on pods that left count', () => {
    const refusals = new PriorRefusals(100);
    for (let n = 1; n <= 1_440; n++) add(refusals, n, 'unproven-pod', '[0] no list names pod x', n * 5_000_000);
    expect(refusals.reasonOf(place(0, 0))).toBeUndefined();
  });
});
