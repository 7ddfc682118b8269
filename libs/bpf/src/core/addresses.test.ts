import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  AddressError,
  familyOf,
  formatAddress,
  formatCidr,
  formatMac,
  linkLocalOfMac,
  mapPrefixLength,
  parseAddress,
  parseCidr,
  parseMac,
} from './addresses.ts';

describe('addresses', () => {
  const canonical: [text: string, out: string][] = [
    ['10.0.0.1', '10.0.0.1'],
    ['0.0.0.0', '0.0.0.0'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::', '::'],
    ['::1', '::1'],
    ['fe80::', 'fe80::'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['0:0:0:0:0:0:1:0', '::1:0'],
  ];
  it.each(canonical)('addresses - %s is written %s', (text, out) => {
    expect(formatAddress(parseAddress(text))).toBe(out);
  });

  it.each(['', '10.0.0', '10.0.0.256', '::1::', 'fe80::1%eth0', ' ::1', '10.0.0.1/8'])(
    'addresses - %j is refused',
    (text) => {
      expect(() => parseAddress(text)).toThrow(AddressError);
    },
  );

  it('addresses - any 16 bytes survive the way through text', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        expect([...parseAddress(formatAddress(bytes))]).toEqual([...bytes]);
      }),
    );
  });

  it('addresses - the family follows the form', () => {
    expect(familyOf(parseAddress('192.0.2.1'))).toBe(4);
    expect(familyOf(parseAddress('2001:db8::1'))).toBe(6);
  });

  const cidrs: [text: string, out: string, bits: number][] = [
    ['10.1.2.3/8', '10.0.0.0/8', 104],
    ['10.1.2.3', '10.1.2.3/32', 128],
    ['0.0.0.0/0', '0.0.0.0/0', 96],
    ['::/0', '::/0', 0],
    ['2001:db8:ffff::/33', '2001:db8:8000::/33', 33],
    ['2001:db8::1', '2001:db8::1/128', 128],
  ];
  it.each(cidrs)('addresses - CIDR %s is %s, %i bits in the maps', (text, out, bits) => {
    const cidr = parseCidr(text);
    expect(formatCidr(cidr)).toBe(out);
    expect(mapPrefixLength(cidr)).toBe(bits);
  });

  it.each(['10.0.0.0/33', '::/129', '10.0.0.0/', '10.0.0.0/-1', '10.0.0.0/08', '10.0.0.0/8/8', 'x/8'])(
    'addresses - CIDR %j is refused',
    (text) => {
      expect(() => parseCidr(text)).toThrow(AddressError);
    },
  );

  it('addresses - MACs: six hex pairs and nothing else', () => {
    expect(formatMac(parseMac('0A:58:0a:f4:00:05'))).toBe('0a:58:0a:f4:00:05');
    expect(formatMac(Buffer.from('ffff0a580af40005ee', 'hex'), 2)).toBe('0a:58:0a:f4:00:05');
    for (const text of ['', '0a:58:0a:f4:00', '0a-58-0a-f4-00-05', '0a:58:0a:f4:00:05:06', 'zz:58:0a:f4:00:05'])
      expect(() => parseMac(text)).toThrow(AddressError);
  });

  it("addresses - link-local by EUI-64, RFC 4291's example", () => {
    expect(linkLocalOfMac('34:56:78:9a:bc:de')).toBe('fe80::3656:78ff:fe9a:bcde');
  });
});
