import { describe, expect, it } from 'vitest';
import { indexesIn, PriorRefusals } from './prior-refusals.ts';

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
    refusals.add(5, 'foreign-pod', '[1,2] foreign');
    refusals.add(5, 'unproven-pod', '[3] unproven');
    refusals.add(6, 'foreign-pod', 'by an older version');
    expect([0, 1, 2, 3].map((index) => refusals.reasonOf(5, index))).toEqual([
      undefined,
      'foreign-pod',
      'foreign-pod',
      'unproven-pod',
    ]);
    expect([refusals.reasonOf(6, 9), refusals.reasonOf(7, 0)]).toEqual(['foreign-pod', undefined]);
    expect([refusals.has(5, 'foreign-pod'), refusals.has(6, 'unproven-pod')]).toEqual([true, false]);
  });
});
