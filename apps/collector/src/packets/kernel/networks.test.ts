import { covers, parseCidr } from '@bailiff/bpf';
import { describe, expect, it } from 'vitest';
import { type NetworkSources, networksOf, singleAddresses } from './networks.ts';

const SOURCES: NetworkSources = {
  links: ['203.0.112.5/24', '2001:470::5/64'],
  local: ['127.0.0.0/8', '203.0.112.5/32', '203.0.112.255/32', '34.1.2.3/32'],
  podCidrs: ['11.244.1.0/24', '2600:1:2:3::/64', '11.244.9.7/32'],
  inside: ['30.0.0.0/8'],
  outside: ['10.5.0.0/16', '203.0.112.7/32', '11.244.1.0/24'],
};

/** What the kernel finds: the longest match. */
function placeOf(address: string, change: Partial<NetworkSources> = {}): string {
  const one = parseCidr(address);
  const matching = networksOf({ ...SOURCES, ...change })
    .map(({ cidr, place }) => ({ cidr: parseCidr(cidr), place }))
    .filter(({ cidr }) => covers(cidr, one));
  return matching.toSorted((a, b) => b.cidr.prefixLength - a.cidr.prefixLength)[0]?.place ?? 'outside';
}

describe('networks', () => {
  it.each([
    ['1.1.1.1', 'outside'],
    ['2606:4700::1', 'outside'],
    // Without global meaning, until an administrator names it.
    ['10.200.0.9', 'inside'],
    ['100.64.0.9', 'inside'],
    ['172.31.255.9', 'inside'],
    ['192.168.1.9', 'inside'],
    ['198.18.0.9', 'inside'],
    ['fd00::9', 'inside'],
    ['2001:db8::9', 'inside'],
    ['2002:a00:1::9', 'inside'],
    ['10.5.0.9', 'outside'],
    // The link of the node: neighbours are inside, unless named.
    ['203.0.112.9', 'inside'],
    ['203.0.112.7', 'outside'],
    ['203.0.112.5', 'node'],
    ['203.0.112.255', 'node'],
    ['2001:470::9', 'inside'],
    ['2001:470:1::9', 'outside'],
    // A local route to an address of no interface.
    ['34.1.2.3', 'node'],
    ['34.1.2.4', 'outside'],
    // Pod networks stay inside, and their first addresses are a node's.
    ['11.244.1.9', 'inside'],
    ['11.244.1.0', 'node'],
    ['11.244.1.1', 'node'],
    ['11.244.9.7', 'inside'],
    ['11.244.2.9', 'outside'],
    ['2600:1:2:3::', 'node'],
    ['2600:1:2:3::1', 'node'],
    ['2600:1:2:3::2', 'inside'],
    ['30.1.2.3', 'inside'],
  ])('%s is %s', (address, place) => {
    expect(placeOf(address)).toBe(place);
  });

  it('an IPv6 network covers no IPv4 address', () => {
    const [network] = networksOf({ ...SOURCES, inside: ['::/0'] }).filter(({ cidr }) => cidr === '0.0.0.0/0');
    expect(network).toEqual({ cidr: '0.0.0.0/0', place: 'outside' });
    expect(placeOf('2606:4700::1', { inside: ['::/0'] })).toBe('inside');
  });

  it('a name as outside is no match for what the node itself has', () => {
    expect(placeOf('34.1.2.3', { outside: ['34.1.2.3/32'] })).toBe('node');
  });

  it('single addresses - those of full length', () => {
    expect([...singleAddresses(['10.0.0.1/32', '10.0.0.0/24', 'FD00::1/128', 'fd00::/32'])]).toEqual([
      '10.0.0.1',
      'fd00::1',
    ]);
  });
});
