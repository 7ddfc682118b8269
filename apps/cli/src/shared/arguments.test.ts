import { matchesPod, subjectParts } from '@bailiff/insight';
import { podName } from '@bailiff/response';
import { describe, expect, it } from 'vitest';
import { oneOf, parseIdPrefix, parseName, parsePod, wholeNumber } from './arguments.ts';

const UID = '0f0e0d0c-1111-4222-8333-444455556666';
const POD = { namespace: 'shop', name: 'web-0', uid: UID };

describe('selectors', () => {
  it.each([
    ['web-0', {}, true],
    ['shop/web-0', {}, true],
    [UID, {}, true],
    ['web-0', { namespace: 'shop' }, true],
    [UID, { namespace: 'shop' }, true],
    ['web-0', { namespace: 'other' }, false],
    ['web-1', {}, false],
    ['other/web-0', {}, false],
    [UID.replace('0f', '1f'), {}, false],
    [UID, { namespace: 'other' }, false],
  ])('pod - %s with %o: %s', (text, { namespace }: { namespace?: string }, meant) => {
    expect(matchesPod(parsePod(text, '--pod', namespace), POD)).toBe(meant);
  });

  it.each(['', 'a/b/c', 'Web', 'shop/', '/web', 'a b', '*'])('pod - "%s" is refused', (text) => {
    expect(() => parsePod(text, '--pod')).toThrow(expect.objectContaining({ code: 'CLI_USAGE' }));
  });

  it('pod - two namespaces that differ exclude each other, and an empty name is no pod', () => {
    expect(() => parsePod('shop/web', '--pod', 'other')).toThrow(/exclude/);
    expect(parsePod('shop/web', '--pod', 'shop').namespace).toBe('shop');
    expect(matchesPod(parsePod('web', '--pod'), null)).toBe(false);
  });

  it('subject - only what a filter can hold', () => {
    expect(subjectParts(parsePod('shop/web-0', '--pod'))).toEqual({ namespace: 'shop', pod: 'web-0' });
    expect(subjectParts(parsePod(UID, '--pod'), 'shop')).toEqual({ namespace: 'shop' });
    expect(subjectParts(null)).toEqual({});
  });

  it('others - names, ids, numbers and words are checked', () => {
    expect(parseName('node-1.example', '--node')).toBe('node-1.example');
    expect(() => parseName('a'.repeat(254), '--node')).toThrow(/not a Kubernetes name/);
    expect(parseIdPrefix('3f2a', 'id')).toBe('3f2a');
    for (const text of ['3f2', 'xyz1', '3f2a'.repeat(9)]) expect(() => parseIdPrefix(text, 'id')).toThrow(/not an id/);
    expect(wholeNumber('5', '--limit', 1, 9)).toBe(5);
    for (const text of ['0', '10', '1.5', '-1', ''])
      expect(() => wholeNumber(text, '--limit', 1, 9)).toThrow(/from 1 to 9/);
    expect(oneOf('a', ['a', 'b'], '--x')).toBe('a');
    expect(() => oneOf('c', ['a', 'b'], '--x')).toThrow('--x: "c" is not one of a, b');
    expect([podName(POD), podName(null), podName({ namespace: 'x', name: '' })]).toEqual(['shop/web-0', '-', '-']);
  });
});
