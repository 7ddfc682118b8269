import type { NodeAddress } from '@bailiff/bpf';
import { expect, it } from 'vitest';
import { DesiredState } from '../desired/desired-state.ts';
import { NodeMaps, type NodeMapsOptions } from './node-maps.ts';

/** Maps that record their writes. */
function makeNodeMaps(options: { areNew: boolean; held?: NodeAddress[]; own?: string[] }) {
  let own = options.own ?? [];
  let held = options.held ?? [];
  const writes: string[] = [];
  const problems: string[] = [];
  const broken = new Set<string>();
  const note = (map: string) => {
    if (broken.has(map)) throw new Error(`${map} is full`);
    writes.push(map);
    return 1;
  };
  const replaceable = (map: string) => ({ replace: () => note(map), entries: () => [] });
  const maps: NodeMapsOptions['maps'] = {
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
  const nodeMaps = new NodeMaps({
    ...{ maps, desired, areNew: options.areNew },
    ownAddresses: () => own,
    onProblem: ({ map, error }) => problems.push(`${map}: ${error.message}`),
  });
  const nodes = [
    { name: 'node-a', addresses: ['192.0.2.1'], podCidrs: [] },
    { name: 'node-b', addresses: ['192.0.2.2', '10.244.0.1'], podCidrs: [] },
  ];
  return {
    ...{ nodeMaps, desired, writes, problems, broken },
    held: () => Object.fromEntries(held.map(({ address, thisNode }) => [address, thisNode ? 'this' : 'other'])),
    setOwn: (addresses: string[]) => {
      own = addresses;
    },
    receiveCluster: () => desired.receiveCluster(JSON.stringify({ revision: 1, nodes })),
  };
}

it('addresses of the node’s interfaces - its own, whatever the cluster lists', () => {
  const made = makeNodeMaps({ areNew: true, own: ['10.244.0.1', '192.0.2.1'] });
  expect(made.receiveCluster()).toEqual({ changed: true, dropped: [] });
  made.nodeMaps.apply();
  expect(made.held()).toEqual({ '192.0.2.1': 'this', '192.0.2.2': 'other', '10.244.0.1': 'this' });
  expect(made.writes).toEqual(['node addresses', 'settings', 'tunnel ports', 'quarantine allow']);
});

it('maps of an earlier process - own addresses are added, the rest stays until the bus sends the list', () => {
  const held = [
    { address: '192.0.2.1', thisNode: true },
    { address: '192.0.2.9', thisNode: false },
  ];
  const made = makeNodeMaps({ areNew: false, held, own: ['10.244.0.1'] });
  made.nodeMaps.apply();
  expect(made.held()).toEqual({ '192.0.2.1': 'this', '192.0.2.9': 'other', '10.244.0.1': 'this' });
  expect(made.writes).toEqual(['node addresses']);
  made.receiveCluster();
  made.nodeMaps.apply();
  expect(made.held()).toEqual({ '192.0.2.1': 'this', '192.0.2.2': 'other', '10.244.0.1': 'this' });
});

it('own addresses - written only when they change', () => {
  const made = makeNodeMaps({ areNew: true, own: ['10.244.0.1'] });
  made.nodeMaps.apply();
  made.writes.length = 0;
  made.nodeMaps.applyOwnAddresses();
  expect(made.writes).toEqual([]);
  made.setOwn(['10.244.0.1', 'fd00:10:244::1']);
  made.nodeMaps.applyOwnAddresses();
  expect(made.held()).toEqual({ '10.244.0.1': 'this', 'fd00:10:244::1': 'this' });
  made.setOwn([]);
  made.nodeMaps.applyOwnAddresses();
  expect(made.held()).toEqual({});
  expect(made.writes).toEqual(['node addresses', 'node addresses']);
});

it('failed write - reported; the other maps are written', () => {
  const made = makeNodeMaps({ areNew: true, own: ['10.244.0.1'] });
  made.broken.add('node addresses');
  made.broken.add('tunnel ports');
  made.nodeMaps.apply();
  expect(made.problems).toEqual(['node addresses: node addresses is full', 'tunnel ports: tunnel ports is full']);
  expect(made.writes).toEqual(['settings', 'quarantine allow']);
});
