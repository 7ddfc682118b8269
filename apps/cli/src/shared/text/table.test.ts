import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clean, safeJson, shorten, shortenWithin, widthOf, wrap } from './clean.ts';
import { coloured } from './paint.ts';
import { type Column, table } from './table.ts';
import { styleMark } from './terminal.ts';

const COLUMNS: readonly Column[] = [
  { title: 'A' },
  { title: 'NAME', min: 4 },
  { title: 'N', align: 'right' },
  { title: 'MORE', min: 4, spare: true },
  { title: 'LAST', spare: true },
];
const ROWS = [
  ['1', 'short', '7', 'something longer', 'x'],
  ['2', 'a-rather-long-name', '1234', '', ''],
];

describe('table', () => {
  it('without a terminal - everything is there, aligned, with no trailing blanks', () => {
    expect(table(COLUMNS, ROWS, { width: 0 })).toEqual([
      'A  NAME                   N  MORE              LAST',
      '1  short                  7  something longer  x',
      '2  a-rather-long-name  1234',
    ]);
  });

  it('narrow - spare columns are left out before any other is shortened', () => {
    expect(table(COLUMNS, ROWS, { width: 30 })).toEqual([
      'A  NAME                   N',
      '1  short                  7',
      '2  a-rather-long-name  1234',
    ]);
  });

  it('narrower - columns that may be shortened are', () => {
    expect(table(COLUMNS, ROWS, { width: 20 })).toEqual([
      'A  NAME            N',
      '1  short           7',
      '2  a-rather-l…  1234',
    ]);
  });

  it('room in between - a spare column is shown shortened', () => {
    expect(table(COLUMNS, ROWS, { width: 36 })[1]).toBe('1  short                  7  someth…');
  });

  it('property - no line is wider than the terminal once the columns that cannot give way fit', () => {
    const cell = fc.string({ maxLength: 30 });
    const rows = fc.array(fc.tuple(fc.constant('x'), cell, fc.constant('12'), cell, cell), { maxLength: 8 });
    fc.assert(
      fc.property(rows, fc.integer({ min: 14, max: 120 }), (cells, width) => {
        for (const line of table(COLUMNS, cells, { width })) expect(widthOf(line)).toBeLessThanOrEqual(width);
      }),
    );
  });

  it('colour - it is put around the text and never counted as its width', () => {
    const rows = [
      [{ text: 'ab', style: 'red' as const }, 'x'],
      ['abcd', 'y'],
    ];
    const lines = table([{ title: 'T' }, { title: 'U' }], rows, { width: 0, paint: coloured, heading: false });
    expect(lines).toEqual([`${styleMark('31')}ab${styleMark('0')}    x`, 'abcd  y']);
  });

  it('foreign text - control characters cannot reach the terminal', () => {
    const lines = table([{ title: 'T' }], [['a\u001b[2Jb\nc\u202ed']], { width: 0 });
    expect(lines[1]).toBe('a\\u001b[2Jb c\\u202ed');
  });
});

describe('clean', () => {
  it('shorten - to the width, with a mark', () => {
    expect(shorten('abcdef', 6)).toBe('abcdef');
    expect(shorten('abcdef', 4)).toBe('abc…');
    expect(shorten('abcdef', 0)).toBe('');
    expect(clean('plain text – ok ✓')).toBe('plain text – ok ✓');
  });

  it('shorten within - the end, by which generated names differ, stays', () => {
    expect(shortenWithin('default/web-5d4f8c7b9-55lm8', 18)).toBe('defaul…8c7b9-55lm8');
    expect(shortenWithin('short', 18)).toBe('short');
    expect(shortenWithin('abcdef', 3)).toBe('ab…');
    const columns = [{ title: 'POD', min: 4, cut: 'within' as const }];
    expect(table(columns, [['shop/web-5d4f8c7b9-55lm8']], { width: 12 })[1]).toBe('shop…9-55lm8');
  });

  it('wrap - at spaces, long words within, nothing lost', () => {
    expect(wrap('one two three', 7)).toEqual(['one two', 'three']);
    expect(wrap('abcdefghij kl', 4)).toEqual(['abcd', 'efgh', 'ij', 'kl']);
    expect(wrap('', 10)).toEqual(['']);
    expect(wrap('no limit at all', 0)).toEqual(['no limit at all']);
    fc.assert(
      fc.property(
        fc.array(fc.stringMatching(/^[a-z]{1,12}$/), { minLength: 1 }),
        fc.integer({ min: 1, max: 30 }),
        (words, width) => {
          const lines = wrap(words.join(' '), width);
          for (const line of lines) expect(line.length).toBeLessThanOrEqual(width);
          expect(lines.join('').replaceAll(' ', '')).toBe(words.join(''));
        },
      ),
    );
  });
});

describe('safeJson', () => {
  it('the same value, and nothing in it that a terminal obeys', () => {
    const value = { text: 'a\u001b[2J\u007f\u009b31m\u202egnp\ufeff\n\t', list: [1, 'ok'] };
    for (const text of [safeJson(value), safeJson(value, 2)]) {
      expect(JSON.parse(text)).toEqual(value);
      expect([...text].filter((c) => (c < ' ' && c !== '\n') || /[\u007f-\u009f\u202e\ufeff]/.test(c))).toEqual([]);
    }
  });
});
