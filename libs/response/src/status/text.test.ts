import { lastQuoted, quoted, shortList } from '@bailiff/response';
import { describe, expect, it } from 'vitest';

describe('named', () => {
  it.each([
    { list: [], most: 2, text: '' },
    { list: ['a'], most: 2, text: 'a' },
    { list: ['a', 'b'], most: 2, text: 'a, b' },
    { list: ['a', 'b', 'c'], most: 2, text: 'a, b and 1 more' },
    { list: ['a', 'b'], most: 2, total: 9, text: 'a, b and 7 more' },
    { list: ['a'], most: 2, total: 9, text: 'a and 8 more' },
  ])('$most of $list.length, of which there are $total - $text', ({ list, most, total, text }) => {
    expect(shortList(list, most, total)).toBe(text);
  });
});

describe('words of a node', () => {
  it.each([
    ['no room', '"no room"'],
    ['', ''],
    ['x" → run y', `"x' → run y"`],
    ['x"\n    Status:  True', `"x'     Status:  True"`],
    ['\u001b[8m\u202ex\u009b2J', '"\\u001b[8m\\u202ex\\u009b2J"'],
  ])('%j - are one printable line between quotation marks', (words, text) => {
    expect(quoted(words)).toBe(text);
  });

  it('of several lines, the last one has the cause', () => {
    expect(lastQuoted('policy a\nno \u001b[8mroom')).toBe('"no \\u001b[8mroom"');
  });
});
