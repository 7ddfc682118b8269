import { describe, expect, it } from 'vitest';
import { formatOf } from './output.ts';
import { TAB } from './text/terminal.ts';

const LIST = {
  items: [
    { verdictId: 'aa', rule: 'r1', pod: { name: 'web-0' }, observed: 3 },
    { verdictId: 'bb', rule: 'r2', pod: null, observed: 30 },
  ],
};
const print = async (format: string, document: unknown = LIST) => (await formatOf(format)).print?.(document);

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
  ])('%s', async (format, text) => {
    expect(await print(format)).toBe(text);
  });

  it('yaml - reads back as the same object, and does not print what JSON drops', async () => {
    const { parse } = await import('yaml');
    expect(parse((await print('yaml', { ...LIST, none: undefined })) ?? '')).toEqual(LIST);
  });

  it('names - use the field that identifies an object', async () => {
    const pod = { podUid: 'u', podNamespace: 'shop', podName: 'cart-1', verdictId: 'aa' };
    expect(await print('name', [{ responseId: 'cc', verdictId: 'aa', podUid: 'u' }, pod])).toBe(
      'response/cc\npod/shop/cart-1\n',
    );
    expect(await print('name', { nodes: [{ node: 'n1' }], exitCode: 0 })).toBe('node/n1\n');
    expect(await print('name', {})).toBe('-\n');
  });

  it("foreign text - cannot begin a line, also in a user's template", async () => {
    const evil = { items: [{ key: 'a\nverdict/b', rule: 'a\n\u001b[31mb' }] };
    expect(await print('name', evil)).toBe('config/a verdict/b\n');
    expect(await print('jsonpath={.items[0].rule}', evil)).toBe('a \\u001b[31mb');
  });

  it.each(['xml', 'jsonpath={end}', 'jsonpath={range .a}', 'jsonpath={oops}', 'jsonpath={.a', 'jsonpath'])(
    '"%s" is refused, or is only text',
    async (format) => {
      if (format === 'jsonpath={.a') expect(await print(format, { a: 1 })).toBe('{.a');
      else await expect(formatOf(format)).rejects.toMatchObject({ code: 'CLI_USAGE' });
    },
  );

  it('jsonpath - a filter runs no code', async () => {
    await expect(
      print('jsonpath={.items[?(process.exit(1))]}').then(
        (text) => text,
        (error: Error) => {
          throw error;
        },
      ),
    ).rejects.toMatchObject({ code: 'CLI_USAGE' });
  });
});
