import type { Network, NodeAddress, TunnelService } from '@bailiff/bpf';
import { expect, it } from 'vitest';
import { DesiredState } from '../../desired/desired-state.ts';
import { NodeMaps, type NodeMapsOptions } from './node-maps.ts';

/** Maps that record their writes. */
function makeNodeMaps(options: {
  areNew: boolean;
  held?: NodeAddress[];
  networks?: Network[];
  services?: TunnelService[];
  own?: string[];
}) {
  const ownOf = (addresses: string[]) => {
    const local = addresses.map((address) => `${address}/${address.includes(':') ? 128 : 32}`);
    return { addresses, links: [], local };
  };
  let own = ownOf(options.own ?? []);
  let podsCgroup = 0n;
  let networks = options.networks ?? [];
  let held = options.held ?? [];
  let services = options.services ?? [];
  const steps: string[] = [];
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
    networks: {
      replace: (items) => {
        const changed = note('networks');
        networks = [...items];
        return changed;
      },
      entries: () => networks,
    },
    setSettings: () => note('settings'),
    setPodsCgroup: (id) => note(`pods cgroup ${id}`),
    tunnelPorts: {
      replace: (items) => {
        const changed = note('tunnel ports');
        steps.push(items.map(({ port }) => port).join());
        return changed;
      },
      entries: () => [],
    },
    tunnelServices: {
      replace: (items) => {
        const unique = new Map(items.toReversed().map((one) => [`${one.address} ${one.port}`, one]));
        services = [...unique.values()];
        steps.push(
          services
            .map(({ address, port, kinds }) => `${address}:${port}=${kinds}`)
            .sort()
            .join(' '),
        );
        return 1;
      },
      entries: () => services,
    },
    allowedCidrs: replaceable('quarantine allow'),
  };
  const desired = new DesiredState('node-a');
  const nodeMaps = new NodeMaps({
    maps,
    desired,
    areNew: options.areNew,
    ownNetworks: () => own,
    cgroupRoot: '',
    findPodsCgroup: () => {
      if (podsCgroup < 0n) throw new Error('too many open files');
      return podsCgroup;
    },
    onProblem: (map, reason) => problems.push(`${map}: ${reason}`),
  });
  const nodes = [
    { name: 'node-a', addresses: ['192.0.2.1'], podCidrs: [] },
    { name: 'node-b', addresses: ['192.0.2.2', '10.244.0.1'], podCidrs: ['10.244.1.0/24'] },
  ];
  return {
    nodeMaps,
    desired,
    writes,
    problems,
    broken,
    steps,
    placeOf: (cidr: string) => networks.find((network) => network.cidr === cidr)?.place,
    held: () => Object.fromEntries(held.map(({ address, thisNode }) => [address, thisNode ? 'this' : 'other'])),
    setOwn: (addresses: string[]) => {
      own = ownOf(addresses);
    },
    setPodsCgroup: (id: bigint) => {
      podsCgroup = id;
    },
    receiveCluster: (revision = 1, tunnelServices: { address: string; port: number }[] = []) =>
      desired.receiveCluster(JSON.stringify({ revision, nodes, tunnelServices })),
  };
}

it('addresses of the node’s interfaces - its own, whatever the cluster lists', () => {
  const made = makeNodeMaps({ areNew: true, own: ['10.244.0.1', '192.0.2.1'] });
  expect(made.receiveCluster()).toEqual({ changed: true, dropped: [] });
  made.nodeMaps.apply();
  expect(made.held()).toEqual({ '192.0.2.1': 'this', '192.0.2.2': 'other', '10.244.0.1': 'this' });
  expect(made.writes).toEqual(['node addresses', 'networks', 'settings', 'tunnel ports', 'quarantine allow']);
});

it('maps of an earlier process - own addresses are added, the rest stays until the bus sends the list', () => {
  const held = [
    { address: '192.0.2.1', thisNode: true },
    { address: '192.0.2.9', thisNode: false },
  ];
  const made = makeNodeMaps({ areNew: false, held, own: ['10.244.0.1'] });
  made.nodeMaps.apply();
  expect(made.held()).toEqual({ '192.0.2.1': 'this', '192.0.2.9': 'other', '10.244.0.1': 'this' });
  expect(made.writes).toEqual(['node addresses', 'networks']);
  made.receiveCluster();
  made.nodeMaps.apply();
  expect(made.held()).toEqual({ '192.0.2.1': 'this', '192.0.2.2': 'other', '10.244.0.1': 'this' });
});

it('own addresses - written only when they change', () => {
  const made = makeNodeMaps({ areNew: true, own: ['10.244.0.1'] });
  made.nodeMaps.apply();
  made.writes.length = 0;
  made.nodeMaps.applyOwn();
  expect(made.writes).toEqual([]);
  made.setOwn(['10.244.0.1', 'fd00:10:244::1']);
  made.nodeMaps.applyOwn();
  expect(made.held()).toEqual({ '10.244.0.1': 'this', 'fd00:10:244::1': 'this' });
  made.setOwn([]);
  made.nodeMaps.applyOwn();
  expect(made.held()).toEqual({});
  expect(made.writes).toEqual(['node addresses', 'networks', 'node addresses', 'networks']);
});

it('a change of pods - neither reads nor writes the maps of the node; control: the cluster list does', () => {
  const made = makeNodeMaps({ areNew: true, own: ['10.244.0.1'] });
  made.receiveCluster();
  made.nodeMaps.apply();
  for (const known of [made.writes, made.steps]) known.length = 0;
  made.desired.receivePods(JSON.stringify({ nodeName: 'node-a', revision: 1, pods: [] }), []);
  made.nodeMaps.apply();
  expect([made.writes, made.steps]).toEqual([[], []]);
  made.receiveCluster(2, [{ address: '10.96.0.1', port: 53 }]);
  made.nodeMaps.apply();
  expect(made.writes, 'control').toEqual(['node addresses', 'networks', 'tunnel ports']);
});

it('networks - written when a source changes, and those of an earlier process stay until all are known', () => {
  const networks: Network[] = [{ cidr: '10.9.0.0/16', place: 'outside' }];
  const made = makeNodeMaps({ areNew: false, networks, own: ['10.244.0.1'] });
  made.nodeMaps.apply();
  expect(made.placeOf('10.9.0.0/16')).toBe('outside');
  expect([made.placeOf('10.244.0.1/32'), made.placeOf('10.244.1.0/24')]).toEqual(['node', undefined]);
  made.receiveCluster();
  made.nodeMaps.apply();
  expect([made.placeOf('10.9.0.0/16'), made.placeOf('10.244.1.1/32')]).toEqual(['outside', 'node']);
  const outside = ['10.7.0.0/16', '192.0.2.2/32'];
  const policy = JSON.stringify({ revision: 1, tunnelNetworks: { outside } });
  made.desired.receiveConfig('spoof.cluster._.default', policy);
  made.desired.markSynced('spoof');
  made.nodeMaps.apply();
  expect([made.placeOf('10.9.0.0/16'), made.placeOf('10.7.0.0/16')]).toEqual([undefined, 'outside']);
  // No node's word makes an address its own that an administrator names as outside.
  expect(made.held()).toEqual({ '192.0.2.1': 'this', '10.244.0.1': 'this' });
  made.writes.length = 0;
  made.nodeMaps.apply();
  expect(made.writes).not.toContain('networks');
});

it('Services - their entries are there while a port has its bit; those of an earlier process stay until the list is known', () => {
  const services: TunnelService[] = [
    { address: '10.96.0.9', port: 53, kinds: ['translated'] },
    { address: null, port: 53, kinds: ['only'] },
  ];
  const made = makeNodeMaps({ areNew: false, services });
  made.desired.markSynced('spoof');
  made.nodeMaps.apply();
  expect(made.steps.splice(0)).toEqual([
    '10.96.0.9:53=translated null:53=only',
    '4789,8472,53,6081',
    '10.96.0.9:53=translated null:53=only',
  ]);
  made.receiveCluster(1, [
    { address: '10.96.0.7', port: 500 },
    { address: '', port: 30_500 },
    { address: '10.96.0.7', port: 4789 },
    { address: 'nonsense', port: 1 },
  ]);
  made.nodeMaps.apply();
  const wanted = [
    ...['10.96.0.7:4789=translated', '10.96.0.7:500=translated'],
    ...['null:30500=only,node-port', 'null:500=only'],
  ];
  expect(made.steps.splice(0)).toEqual([
    [
      '10.96.0.7:4789=translated',
      '10.96.0.7:500=translated',
      '10.96.0.9:53=translated',
      ...wanted.slice(2),
      'null:53=only',
    ].join(' '),
    '4789,8472,500,4789,30500,6081',
    wanted.join(' '),
  ]);
  made.receiveCluster(2);
  made.nodeMaps.apply();
  expect(made.steps).toEqual([wanted.join(' '), '4789,8472,6081', '']);
});

it('failed write - reported; the other maps are written', () => {
  const made = makeNodeMaps({ areNew: true, own: ['10.244.0.1'] });
  made.broken.add('node addresses');
  made.broken.add('tunnel ports');
  made.nodeMaps.apply();
  expect(made.problems).toEqual(['node addresses: node addresses is full', 'tunnel ports: tunnel ports is full']);
  expect(made.writes).toEqual(['networks', 'settings', 'quarantine allow']);
});

it('cgroup of pods - written when it is found or changes, and kept while none is found', () => {
  const made = makeNodeMaps({ areNew: false });
  const written = () => made.writes.filter((write) => write.startsWith('pods cgroup'));
  for (const id of [0n, 7n, 7n, 0n, -1n, 8n]) {
    made.setPodsCgroup(id);
    made.nodeMaps.applyOwn();
  }
  expect(written()).toEqual(['pods cgroup 7', 'pods cgroup 8']);
  expect(made.problems).toEqual(['pods cgroup: too many open files']);
});
