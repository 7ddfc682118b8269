import type { NodeAddress } from '@bailiff/bpf';
import { expect, it } from 'vitest';
import { DesiredState } from '../desired/desired-state.ts';
import { NodeWide, type NodeWideParts } from './node-maps.ts';

/** Maps that remember what was written last, and how often. */
function makeNodeWide(options: { areNew: boolean; held?: NodeAddress[]; own?: string[] }) {
  let own = options.own ?? [];
  let held = options.held ?? [];
  const writes: string[] = [];
  const unwritten: string[] = [];
  const broken = new Set<string>();
  const note = (map: string) => {
    if (broken.has(map)) throw new Error(`${map} is full`);
    writes.push(map);
    return 1;
  };
  const replaceable = (map: string) => ({ replace: () => note(map), entries: () => [] });
  const maps: NodeWideParts['maps'] = {
    nodeAddresses: {
      replace: (items) => {
        const changed = note('node addresses');
        held = [...items];
        return changed;
      },
      entries: () => held,
    },
    setSettings: () => note('settings'),
    tunnelPorts: replaceable('tunnel ports'),
    allowedCidrs: replaceable('quarantine allow'),
  };
  const desired = new DesiredState('node-a');
  const nodeWide = new NodeWide({
    ...{ maps, desired, areNew: options.areNew },
    ownAddresses: () => own,
    onUnwritten: ({ map, error }) => unwritten.push(`${map}: ${error.message}`),
  });
  const nodes = [
    { name: 'node-a', addresses: ['192.0.2.1'], podCidrs: [] },
    { name: 'node-b', addresses: ['192.0.2.2', '10.244.0.1'], podCidrs: [] },
  ];
  return {
    ...{ nodeWide, desired, writes, unwritten, broken },
    held: () => Object.fromEntries(held.map(({ address, thisNode }) => [address, thisNode ? 'this' : 'other'])),
    setOwn: (addresses: string[]) => {
      own = addresses;
    },
    tellCluster: () => desired.takeCluster(JSON.stringify({ revision: 1, nodes })),
  };
}

it('the addresses of the node’s interfaces are its own, whatever the cluster says of them', () => {
  const made = makeNodeWide({ areNew: true, own: ['10.244.0.1', '192.0.2.1'] });
  expect(made.tellCluster()).toEqual({ changed: true, dropped: [] });
  made.nodeWide.apply();
  expect(made.held()).toEqual({ '192.0.2.1': 'this', '192.0.2.2': 'other', '10.244.0.1': 'this' });
  expect(made.writes).toEqual(['node addresses', 'settings', 'tunnel ports', 'quarantine allow']);
});

it('in maps of an earlier process: its own are added, the rest stays until the bus has spoken', () => {
  const held = [
    { address: '192.0.2.1', thisNode: true },
    { address: '192.0.2.9', thisNode: false },
  ];
  const made = makeNodeWide({ areNew: false, held, own: ['10.244.0.1'] });
  made.nodeWide.apply();
  expect(made.held()).toEqual({ '192.0.2.1': 'this', '192.0.2.9': 'other', '10.244.0.1': 'this' });
  expect(made.writes).toEqual(['node addresses']);
  made.tellCluster();
  made.nodeWide.apply();
  expect(made.held()).toEqual({ '192.0.2.1': 'this', '192.0.2.2': 'other', '10.244.0.1': 'this' });
});

it('own addresses that come and go are written when they change, and only then', () => {
  const made = makeNodeWide({ areNew: true, own: ['10.244.0.1'] });
  made.nodeWide.apply();
  made.writes.length = 0;
  made.nodeWide.applyOwnAddresses();
  expect(made.writes).toEqual([]);
  made.setOwn(['10.244.0.1', 'fd00:10:244::1']);
  made.nodeWide.applyOwnAddresses();
  expect(made.held()).toEqual({ '10.244.0.1': 'this', 'fd00:10:244::1': 'this' });
  made.setOwn([]);
  made.nodeWide.applyOwnAddresses();
  expect(made.held()).toEqual({});
  expect(made.writes).toEqual(['node addresses', 'node addresses']);
});

it('a map that cannot be written costs itself, and is told', () => {
  const made = makeNodeWide({ areNew: true, own: ['10.244.0.1'] });
  made.broken.add('node addresses');
  made.broken.add('tunnel ports');
  made.nodeWide.apply();
  expect(made.unwritten).toEqual(['node addresses: node addresses is full', 'tunnel ports: tunnel ports is full']);
  expect(made.writes).toEqual(['settings', 'quarantine allow']);
});
