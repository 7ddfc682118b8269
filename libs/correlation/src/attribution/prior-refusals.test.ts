import { describe, expect, it } from 'vitest';
import { indexesIn, PrecedentBook } from './prior-refusals.ts';

describe('precedents - dead letters', () => {
  it.each([
    ['[0,13] pod x is on y', [0, 13]],
    ['[7] no list names pod x', [7]],
    ['[] the frame says it is of "z"', []],
    ['TRUNCATED: the message ends', null],
    ['[1,] odd', null],
    ['', null],
  ])('"%s" is about %j', (detail, indexes) => {
    expect(indexesIn(detail)).toEqual(indexes);
  });

  it('a letter speaks of its violations only; one that does not say, of all', () => {
    const book = new PrecedentBook(100);
    book.add(5, 'foreign-pod', '[1,2] a lie');
    book.add(5, 'unproven-pod', '[3] not shown');
    book.add(6, 'foreign-pod', 'by an older version');
    expect([0, 1, 2, 3].map((index) => book.reasonOf(5, index))).toEqual([
      undefined,
      'foreign-pod',
      'foreign-pod',
      'unproven-pod',
    ]);
    expect([book.reasonOf(6, 9), book.reasonOf(7, 0)]).toEqual(['foreign-pod', undefined]);
    expect([book.has(5, 'foreign-pod'), book.has(6, 'unproven-pod')]).toEqual([true, false]);
  });
});
