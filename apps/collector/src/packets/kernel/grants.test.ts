import { type AddressGrant, covers, parseCidr } from '@bailiff/bpf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Identity } from '../../identity/identity.ts';
import { grantsOf, MAX_GRANTS } from './grants.ts';

const NOTHING: Identity = {
  state: 'programmed',
  mac: '0a:00:00:00:00:01',
  addresses: ['10.0.0.2'],
  allowedPrefixes: [],
  allowedMacs: [],
  allowedTunnels: [],
  allowedNeighbours: [],
};

/** What the kernel finds: the longest match of the family. */
function rightsOf(grants: readonly AddressGrant[], address: string): string[] {
  const one = parseCidr(address);
  const matching = grants
    .map((grant) => ({ ...grant, cidr: parseCidr(grant.cidr) }))
    .filter(({ cidr }) => covers(cidr, one))
    .sort((a, b) => b.cidr.prefixLength - a.cidr.prefixLength);
  const [longest] = matching;
  if (longest === undefined) return [];
  const { source = true, neighbour, tunnel = false } = longest;
  return [...(source ? ['source'] : []), ...(neighbour ? ['neighbour'] : []), ...(tunnel ? ['tunnel'] : [])];
}

describe('grants', () => {
  it('nested grants of different kinds - an address has the rights of all that contain it', () => {
    const identity = {
      ...NOTHING,
      addresses: ['10.0.0.2', '10.0.0.3'],
      allowedPrefixes: ['10.1.0.0/16', 'fd00::/64'],
      allowedTunnels: ['10.1.2.0/24', '10.2.0.0/16', 'fd00::7/128'],
      allowedNeighbours: ['10.1.2.3/32', '10.2.9.0/24'],
    };
    const { grants, omitted } = grantsOf(identity, []);
    const all = (...addresses: string[]) => addresses.map((address) => rightsOf(grants, address).join(' '));
    expect(all('10.0.0.3', '10.1.9.9', '10.1.2.9')).toEqual(['source neighbour', 'source', 'source tunnel']);
    expect(all('10.1.2.3', '10.2.0.9', '10.2.9.9')).toEqual([
      ...['source neighbour tunnel', 'tunnel', 'source neighbour tunnel'],
    ]);
    expect(all('fd00::7', 'fd00::8', '10.3.0.1')).toEqual(['source tunnel', 'source', '']);
    expect(omitted).toBe(0);
  });

  it('an address that another interface has - never announced; a source only by a granted source prefix', () => {
    const identity = { ...NOTHING, allowedNeighbours: ['10.0.0.0/24'], allowedTunnels: ['10.0.0.0/16'] };
    const taken = ['10.0.0.7', '10.9.0.7'];
    expect(rightsOf(grantsOf(identity, taken).grants, '10.0.0.7')).toEqual(['tunnel']);
    expect(rightsOf(grantsOf(identity, taken).grants, '10.0.0.8')).toEqual(['source', 'neighbour', 'tunnel']);
    const both = { ...identity, allowedPrefixes: ['10.0.0.0/8'] };
    expect(rightsOf(grantsOf(both, taken).grants, '10.0.0.7')).toEqual(['source', 'tunnel']);
    expect(grantsOf(identity, taken).grants.map(({ cidr }) => cidr)).not.toContain('10.9.0.7/32');
  });

  it('above the limit - no prefix stays without its exceptions', () => {
    const taken = Array.from({ length: MAX_GRANTS + 6 }, (_, i) => `10.0.0.${i + 10}`);
    const allowedNeighbours = ['10.0.0.0/24', '10.9.0.0/24'];
    const { grants, omitted } = grantsOf({ ...NOTHING, allowedNeighbours }, taken);
    expect(grants).toHaveLength(MAX_GRANTS);
    expect(omitted).toBe(8);
    for (const address of taken) expect(rightsOf(grants, address)).toEqual([]);
  });

  it('addresses of other interfaces of the pod - none gives or takes a right, and grants have their room', () => {
    const identity = {
      ...NOTHING,
      allowedPrefixes: ['10.1.0.0/16', '10.2.0.2/32'],
      allowedTunnels: ['10.3.0.0/16'],
      allowedNeighbours: ['10.4.0.0/24'],
    };
    const elsewhere = ['10.1.0.2', '10.2.0.2', '10.3.0.2', '10.4.0.2', '10.4.0.3', '10.5.0.2', 'fd00::2'];
    const { grants, omitted } = grantsOf(identity, ['10.4.0.3'], 0, elsewhere);
    const without = grantsOf(identity, ['10.4.0.3']).grants;
    for (const address of elsewhere) expect(rightsOf(grants, address)).toEqual(rightsOf(without, address));
    expect(omitted).toBe(0);
    const hosts = grants.flatMap(({ cidr, other }) => (other ? [cidr] : [])).sort();
    // 10.4.0.2 may be announced: nothing that it sends from there is a violation.
    const others = elsewhere.filter((address) => address !== '10.4.0.2');
    expect(hosts).toEqual(others.map((address) => `${address}/${address.includes(':') ? 128 : 32}`).sort());

    const prefixes = Array.from({ length: MAX_GRANTS - 1 }, (_, i) => `10.${i}.0.0/16`);
    const full = grantsOf({ ...NOTHING, allowedPrefixes: prefixes }, [], 0, ['11.0.0.1', '11.0.0.2']);
    expect(full.grants.map(({ cidr }) => cidr)).toEqual([...prefixes, '11.0.0.1/32']);
    expect(full.omitted, 'grants beyond the limit').toBe(0);
  });

  it('any identity - a right is given exactly by a grant of it, or by an own address', () => {
    const prefix = fc.constantFrom('10.0.0.0/8', '10.1.0.0/16', '10.1.1.0/24', '10.1.1.1/32', '::/0', 'fd00::/8');
    const list = fc.uniqueArray(prefix, { maxLength: 3 });
    const address = fc.constantFrom('10.1.1.1', '10.1.1.2', '10.1.2.1', '10.2.0.1', '11.0.0.1', 'fd00::1');
    const given = fc.record({ allowedPrefixes: list, allowedTunnels: list, allowedNeighbours: list });
    fc.assert(
      fc.property(
        given,
        fc.uniqueArray(address),
        fc.uniqueArray(address),
        address,
        (lists, taken, elsewhere, asked) => {
          const { grants } = grantsOf({ ...NOTHING, ...lists }, taken, 0, elsewhere);
          const isIn = (cidrs: string[]) => cidrs.some((cidr) => covers(parseCidr(cidr), parseCidr(asked)));
          const isNeighbour = isIn(lists.allowedNeighbours) && !taken.includes(asked);
          expect(rightsOf(grants, asked)).toEqual([
            ...(isNeighbour || isIn(lists.allowedPrefixes) ? ['source'] : []),
            ...(isNeighbour ? ['neighbour'] : []),
            ...(isIn(lists.allowedTunnels) ? ['tunnel'] : []),
          ]);
        },
      ),
    );
  });
});
