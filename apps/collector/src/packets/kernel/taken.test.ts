import { expect, it } from 'vitest';
import type { Identity } from '../../identity/identity.ts';
import { grantsOf, MAX_GRANTS } from './grants.ts';
import { Taken } from './taken.ts';

const identity: Identity = {
  state: 'programmed',
  mac: '',
  addresses: ['10.0.0.1'],
  allowedPrefixes: ['10.8.0.0/16'],
  allowedMacs: [],
  allowedTunnels: [],
  allowedNeighbours: ['10.0.0.0/24', '10.1.0.1/32', 'fd00::/64'],
};

it('taken MACs - of links, and of other pods; not those of the own interfaces, unless another pod has one too', () => {
  const owners = [
    { generation: 1, podUid: 'a', mac: 'own', addresses: [] },
    { generation: 2, podUid: 'a', mac: 'own', addresses: [] },
    { generation: 3, podUid: 'b', mac: 'both', addresses: [] },
    { generation: 4, podUid: 'c', mac: 'both', addresses: [] },
  ];
  const taken = new Taken({ owners: () => owners, linkMacs: () => ['link'], linkAddresses: () => [] });
  const of = (podUid: string) => ['own', 'both', 'link', 'free'].filter((mac) => taken.hasMac(mac, podUid));
  expect([of('a'), of('b'), of('d')]).toEqual([
    ['both', 'link'],
    ['own', 'both', 'link'],
    ['own', 'both', 'link'],
  ]);
});

it.each([0, 1, 7, 60, 200, 2_000])('taken addresses - %i of others give the grants that all of them give', (count) => {
  // Some are outside of the prefixes, and some are the own one or belong to several.
  const owners = Array.from({ length: count }, (_, n) => ({
    generation: n % 9,
    podUid: '',
    mac: '',
    addresses: [`10.${n % 3}.0.${n & 255}`, `fd00::${(n >> 1).toString(16)}`],
  }));
  const linkAddresses = ['10.0.0.250', '192.0.2.1'];
  const taken = new Taken({ owners: () => owners, linkMacs: () => [], linkAddresses: () => linkAddresses });
  for (const generation of [0, 4, 100]) {
    const others = owners.flatMap((one) => (one.generation === generation ? [] : one.addresses));
    const all = new Set([...linkAddresses, ...others]);
    const { addresses, more } = taken.within(identity.allowedNeighbours, generation);
    expect(addresses.length).toBeLessThanOrEqual(MAX_GRANTS);
    const [some, whole] = [grantsOf(identity, addresses, more), grantsOf(identity, [...all])];
    expect(some.omitted).toBe(whole.omitted);
    expect(some.grants).toHaveLength(whole.grants.length);
    if (whole.omitted === 0) expect(new Set(some.grants)).toEqual(new Set(whole.grants));
    // Exceptions come first, so that no prefix is in force without them.
    else expect([...some.grants, ...whole.grants].filter(({ neighbour }) => neighbour)).toEqual([]);
    expect(taken.hasAddress('10.1.0.1', generation)).toBe(all.has('10.1.0.1'));
  }
});

it('taken addresses - read once for all interfaces, and not for a pod without neighbour prefixes', () => {
  let reads = 0;
  const owners = () => {
    reads += 1;
    return [{ generation: 1, podUid: '', mac: '', addresses: ['10.0.0.1'] }];
  };
  const taken = new Taken({ owners, linkMacs: () => [], linkAddresses: () => [] });
  expect(taken.within([], 2)).toEqual({ addresses: [], more: 0 });
  expect(reads).toBe(0);
  for (let generation = 1; generation <= 100; generation += 1) taken.within(identity.allowedNeighbours, generation);
  expect(reads).toBe(1);
});
