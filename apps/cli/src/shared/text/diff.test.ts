import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { comparable, diffLines, diffValues, hunks } from './diff.ts';

const signs = (before: string[], after: string[]) => diffLines(before, after).map(({ sign, text }) => sign + text);

describe('diff', () => {
  it('lines - kept, taken out, put in', () => {
    expect(signs(['a', 'b', 'c'], ['a', 'x', 'c'])).toEqual([' a', '-b', '+x', ' c']);
    expect(signs([], ['a'])).toEqual(['+a']);
    expect(signs(['a'], [])).toEqual(['-a']);
    expect(signs(['a', 'b'], ['b', 'a'])).toHaveLength(3);
  });

  it('property - both sides can be read back from it, and equal texts have no change', () => {
    const lines = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 30 });
    fc.assert(
      fc.property(lines, lines, (before, after) => {
        const diff = diffLines(before, after);
        expect(diff.filter(({ sign }) => sign !== '+').map(({ text }) => text)).toEqual(before);
        expect(diff.filter(({ sign }) => sign !== '-').map(({ text }) => text)).toEqual(after);
        expect(diffLines(before, before).every(({ sign }) => sign === ' ')).toBe(true);
      }),
    );
  });

  it('bound - a change too large to compare is shown whole', () => {
    const many = (prefix: string) => Array.from({ length: 2_100 }, (_, index) => prefix + index);
    const diff = diffLines(many('a'), many('b'));
    expect(diff).toHaveLength(4_200);
  });

  it('values - order of keys and the revision are no change', () => {
    expect(diffValues({ revision: 1, a: 1, b: 2 }, { b: 2, a: 1, revision: 9 })).toEqual([]);
    expect(diffValues(undefined, { a: 1 }).map((line) => line?.sign)).toEqual(['+', '+', '+']);
    expect(comparable({ b: { revision: 3 } })).toContain('    "revision": 3');
  });

  it('hunks - three lines around, and a mark where some are left out', () => {
    const before = Array.from({ length: 20 }, (_, index) => String(index));
    const after = before.with(10, 'x');
    expect(hunks(diffLines(before, after)).map((line) => line && line.sign + line.text)).toEqual([
      null,
      ' 7',
      ' 8',
      ' 9',
      '-10',
      '+x',
      ' 11',
      ' 12',
      ' 13',
      null,
    ]);
    expect(hunks(diffLines(before, before))).toEqual([]);
  });
});
