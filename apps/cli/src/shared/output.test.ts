import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { formatOf } from './output.ts';
import { TAB } from './text/terminal.ts';

const LIST = {
  items: [
    { verdictId: 'aa', rule: 'r1', pod: { name: 'web-0' }, observed: 3 },
    { verdictId: 'bb', rule: 'r2', pod: null, observed: 30 },
  ],
};
const print = (format: string, document: unknown = LIST) => formatOf(format).print?.(document);

describe('output', () => {
  it.each<[string, string]>([
    ['json', `${JSON.stringify(LIST, null, 2)}\n`],
    ['name', 'verdict/aa\nverdict/bb\n'],
    ['jsonpath={.items[*].rule}', 'r1 r2'],
    ['jsonpath=.items[0].rule', 'r1'],
    ['jsonpath={.items[0].pod}', '{"name":"web-0"}'],
    ['jsonpath={.nothing}', ''],
    ['jsonpath={.items[?(@.observed>10)].rule}', 'r2'],
    ['jsonpath={range .items[*]}{.rule}{"\\t"}{.observed}{"\\n"}{end}', `r1${TAB}3\nr2${TAB}30\n`],
    ['jsonpath=rules: {.items[*].rule}', 'rules: r1 r2'],
  ])('%s', (format, text) => {
    expect(print(format)).toBe(text);
  });

  it('yaml - reads back as the same object, and does not print what JSON drops', () => {
    expect(parse(print('yaml', { ...LIST, none: undefined }) ?? '')).toEqual(LIST);
  });

  it('names - use the field that identifies an object', () => {
    const pod = { podUid: 'u', podNamespace: 'shop', podName: 'cart-1', verdictId: 'aa' };
    expect(print('name', [{ responseId: 'cc', verdictId: 'aa', podUid: 'u' }, pod])).toBe(
      'response/cc\npod/shop/cart-1\n',
    );
    expect(print('name', { nodes: [{ node: 'n1' }], exitCode: 0 })).toBe('node/n1\n');
    expect(print('name', {})).toBe('-\n');
  });

  it("foreign text - cannot begin a line, also in a user's template", () => {
    const evil = { items: [{ key: 'a\nverdict/b', rule: 'a\n\u001b[31mb' }] };
    expect(print('name', evil)).toBe('config/a verdict/b\n');
    expect(print('jsonpath={.items[0].rule}', evil)).toBe('a \\u001b[31mb');
  });

  it.each(['xml', 'jsonpath={end}', 'jsonpath={range .a}', 'jsonpath={oops}', 'jsonpath={.a', 'jsonpath'])(
    '"%s" is refused, or is only text',
    (format) => {
      if (format === 'jsonpath={.a') expect(print(format, { a: 1 })).toBe('{.a');
      else expect(() => formatOf(format)).toThrow(expect.objectContaining({ code: 'CLI_USAGE' }));
    },
  );

  it('jsonpath - a filter runs no code', () => {
    expect(() => print('jsonpath={.items[?(process.exit(1))]}')).toThrow(
      expect.objectContaining({ code: 'CLI_USAGE' }),
    );
  });
});
