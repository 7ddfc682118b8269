import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalAddress, canonicalCidr, covers } from './addresses.ts';

describe('addresses', () => {
  test.each([
    ['10.0.0.1', '10.0.0.1'],
    ['FD00:0:0:0::1', 'fd00::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['::', '::'],
    ['::1', '::1'],
    ['fe80::', 'fe80::'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::ffff:0a00:0001', '10.0.0.1'],
    ['64:ff9b::10.0.0.1', '64:ff9b::a00:1'],
  ])('addresses - %s is written %s', (text, expected) => {
    expect(canonicalAddress(text)).toBe(expected);
  });
  test.each(['', '10.0.0', '10.0.0.256', '10.0.0.01', 'fe80::1%eth0', '1.2.3.4/32', ' 10.0.0.1', ':::', 'pod'])(
    'addresses - %j is invalid',
    (text) => {
      expect(canonicalAddress(text)).toBeNull();
    },
  );
  test('addresses - every spelling of an IPv6 address becomes the one of URL', () => {
    const words = fc.array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(words, (parts) => {
        const full = parts.map((part) => part.toString(16).padStart(4, '0').toUpperCase()).join(':');
        const mapped = parts.slice(0, 5).every((part) => part === 0) && parts[5] === 0xffff;
        const expected = mapped
          ? [parts[6], parts[7]].flatMap((w = 0) => [w >> 8, w & 255]).join('.')
          : new URL(`http://[${full}]`).hostname.slice(1, -1);
        expect(canonicalAddress(full)).toBe(expected);
        expect(isIP(expected)).not.toBe(0);
        expect(canonicalAddress(expected)).toBe(expected);
      }),
    );
  });
});

describe('CIDRs', () => {
  test.each([
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['10.1.2.3/32', '10.1.2.3/32'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['fd00::ff/120', 'fd00::/120'],
    ['FD00::1/128', 'fd00::1/128'],
    ['::ffff:10.1.0.0/112', '10.1.0.0/16'],
  ])('CIDRs - %s is written %s', (text, expected) => {
    expect(canonicalCidr(text)).toBe(expected);
  });
  test.each([
    '10.0.0.0',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/08',
    'fd00::/129',
    '10.0.0.0/8/8',
    '/8',
    '::ffff:1.2.3.4/64',
  ])('CIDRs - %j is invalid', (text) => {
    expect(canonicalCidr(text)).toBeNull();
  });
  test.each([
    ['10.0.0.0/8', '10.2.0.0/16', true],
    ['10.0.0.0/8', '10.0.0.0/8', true],
    ['10.0.0.0/16', '10.0.0.0/8', false],
    ['10.0.0.0/8', '11.0.0.0/16', false],
    ['0.0.0.0/0', '10.0.0.0/8', true],
    ['0.0.0.0/0', 'fd00::/8', false],
    ['fd00::/8', 'fd12::/64', true],
    ['fd00::/9', 'fd80::/64', false],
    ['nonsense', '10.0.0.0/8', false],
    ['10.0.0.0/8', 'nonsense', false],
  ])('CIDRs - %s covers %s: %s', (outer, inner, expected) => {
    expect(covers(outer, inner)).toBe(expected);
  });
  test('CIDRs - covers() agrees with the bits, without canonical spelling', () => {
    const bits = (n: number) => n.toString(2).padStart(32, '0');
    const text = (n: number, length: number) => `${[24, 16, 8, 0].map((s) => (n >>> s) & 255).join('.')}/${length}`;
    const number = fc.oneof(fc.constantFrom(0, 0x0a000000, 0x0a0a0000, 0xffffffff), fc.nat(0xffffffff));
    fc.assert(
      fc.property(number, fc.nat(32), number, fc.nat(32), (a, aLength, b, bLength) => {
        const expected = aLength <= bLength && bits(a).slice(0, aLength) === bits(b).slice(0, aLength);
        expect(covers(text(a, aLength), text(b, bLength))).toBe(expected);
      }),
    );
  });
});
