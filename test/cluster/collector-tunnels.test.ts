// Tunnels from a pod, received by real VXLAN devices: of its own node, of another node, of another pod
// and of a peer outside. The underlay has global addresses, so that nothing but knowledge makes an
// address one of the cluster.
import { openBucket } from '@bailiff/bus';
import { ETHERTYPE, ethernet, ipv4, ipv6, PROTOCOL, udp, vxlan } from '@bailiff/lab/frames';
import { createNetns, deleteNetns, exec, netnsPath } from '@bailiff/lab/node';
import { encodeSnapshotValue } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serviceRecord, sliceRecord } from '../../apps/ipam-sync/src/services/records.ts';
import { TunnelServices } from '../../apps/ipam-sync/src/services/tunnel-services.ts';
import { GATEWAY_MAC, TestNode, type TestPod } from '../support/node.ts';

const TIMES = 20;
const PORT = 4789;
/** Of node B. Its bridge and overlay have the first addresses of its pod network. */
const OTHER = { ipv4: '20.0.0.2', podCidrs: ['10.244.1.0/24', 'fd00:10:244:1::/64'] };
const OUTSIDE = '20.9.9.9';

/** A frame that a pod must not be able to send, in VXLAN to this destination. */
function tunnelFrame(pod: TestPod, destination: string, port = PORT): Buffer {
  const link = { source: pod.mac, destination: GATEWAY_MAC };
  const forged = { source: '10.99.0.66', destination: '10.99.0.1', protocol: PROTOCOL.udp };
  const inner = ethernet(
    { source: '02:00:00:00:66:66', destination: 'ff:ff:ff:ff:ff:ff', type: ETHERTYPE.ipv4 },
    ipv4(forged, udp(1, 9)),
  );
  const source = destination.includes(':') ? pod.ipv6 : pod.ipv4;
  const datagram = udp(40_000, port, vxlan(inner), { source, destination });
  return destination.includes(':')
    ? ethernet({ ...link, type: ETHERTYPE.ipv6 }, ipv6({ source, destination, next: PROTOCOL.udp }, datagram))
    : ethernet({ ...link, type: ETHERTYPE.ipv4 }, ipv4({ source, destination, protocol: PROTOCOL.udp }, datagram));
}

describe('tunnels', () => {
  let node: TestNode;
  let other: string;
  let pod: TestPod;
  let peer: TestPod;
  let revision = 0;
  let linkLocal: string;

  const run = (netns: string, lines: readonly string[]) =>
    exec('nsenter', [`--net=${netnsPath(netns)}`, 'sh', '-ec', lines.join('\n')]);
  const decapsulate = (netns: string) =>
    run(netns, [
      `ip link add vx4 up type vxlan id 1 dstport ${PORT} local 127.0.0.1`,
      `ip link add vx6 up type vxlan id 1 dstport ${PORT} local ::1`,
    ]);
  beforeAll(async () => {
    node = await TestNode.start();
    [pod, peer] = [await node.addPod(), await node.addPod()];
    other = `${node.netns}-b`;
    await createNetns(other);
    await run(node.netns, [
      'sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0',
      'sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1',
      `ip link add up0 type veth peer name up0 netns ${other}`,
      'ip link set up0 up',
      'ip addr add 20.0.0.1/24 dev up0',
      `ip route add ${OUTSIDE} via ${OTHER.ipv4}`,
      ...OTHER.podCidrs.slice(0, 1).map((cidr) => `ip route add ${cidr} via ${OTHER.ipv4}`),
      `ip addr add 2600:77::1/64 dev up0 nodad`,
      `ip -6 route add ${OTHER.podCidrs[1]} via 2600:77::2`,
      `ip addr add 10.244.0.1/24 dev ${pod.hostInterface}`,
      `ip addr add fd00:10:244::1/64 dev ${pod.hostInterface} nodad`,
      ...[pod, peer].map(({ ipv4: to, hostInterface }) => `ip route add ${to} dev ${hostInterface}`),
      `ip neigh add ${peer.ipv4} lladdr ${peer.mac} dev ${peer.hostInterface}`,
    ]);
    await run(other, [
      'sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0',
      'ip link set up0 up',
      `ip addr add ${OTHER.ipv4}/24 dev up0`,
      'ip addr add 2600:77::2/64 dev up0 nodad',
      'ip link add cni0 type bridge',
      'ip link set cni0 up',
      'ip addr add 10.244.1.1/24 dev cni0',
      'ip addr add 10.244.1.0/32 dev cni0',
      'ip addr add fd00:10:244:1::1/64 dev cni0 nodad',
      `ip addr add ${OUTSIDE}/32 dev lo`,
      'ip link set lo up',
    ]);
    for (const netns of [node.netns, other, peer.netns]) await decapsulate(netns);
    linkLocal = /fe80::[0-9a-f:]+/.exec(await run(node.netns, [`ip -6 addr show dev ${pod.hostInterface}`]))![0];
    await node.startCollector({ args: ['--status-interval-ms', '250'] });
    await putCluster();
    await putPods();
  });
  afterAll(async () => {
    await node?.[Symbol.asyncDispose]();
    if (other) await deleteNetns(other);
  });

  const nodes = [
    { name: 'node-a', addresses: ['20.0.0.1'], podCidrs: ['10.244.0.0/24', 'fd00:10:244::/64'] },
    { name: 'node-b', addresses: [OTHER.ipv4], podCidrs: OTHER.podCidrs },
  ];
  let clusters = 0;
  async function putCluster(tunnelServices: { address: string; port: number }[] = []): Promise<void> {
    clusters += 1;
    const value = encodeSnapshotValue(JSON.stringify({ revision: clusters, nodes, tunnelServices }));
    await openBucket(node.admin, 'bailiff_pods').put('_cluster', value);
  }
  async function putPods(allowedTunnels: string[] = []): Promise<void> {
    revision += 1;
    await node.putPods(revision, ([first]) => Object.assign(first!, { allowedTunnels }));
    await waitFor(async () => (await node.nodeStatus())?.snapshotRevision === revision, { what: 'the pod list' });
    await node.waitForState(pod, 'programmed');
  }
  let policies = 0;
  async function putPolicy(policy: object): Promise<void> {
    policies += 1;
    const bucket = openBucket(node.admin, 'bailiff_config');
    const written = await bucket.put('spoof.cluster._.default', JSON.stringify({ revision: policies, ...policy }));
    await waitFor(async () => (await node.nodeStatus())?.spoofRevision === written, {
      what: 'the policy',
      state: () => node.nodeStatus(),
    });
  }

  /** Inner frames that VXLAN devices of these namespaces received. */
  async function decapsulated(within = [node.netns, other, peer.netns]): Promise<number> {
    const read = within.map((netns) => `nsenter --net=${netnsPath(netns)} cat /proc/net/dev`);
    const text = await exec('sh', ['-ec', read.join('\n')]);
    const received = [...text.matchAll(/ vx[46]: *\d+ +(\d+)/g)].map(([, packets]) => Number(packets));
    return received.reduce((sum, packets) => sum + packets, 0);
  }
  const row = async () => {
    const { interfaces } = await node.offlineStatus();
    return interfaces.find((i) => i.interfaceName === pod.hostInterface)!;
  };
  /** Of one tunnelled frame: [dropped, audited]. */
  async function judged(destination: string, port: number): Promise<[number, number]> {
    const before = await row();
    await node.send(pod, [tunnelFrame(pod, destination, port)], 1);
    const after = await row();
    return [after.droppedPackets - before.droppedPackets, after.auditedPackets - before.auditedPackets];
  }
  /** Of TIMES tunnelled frames: [landed, dropped, audited]. */
  async function attempt(destination: string, port?: number): Promise<[number, number, number]> {
    const [before, landed] = [await row(), await decapsulated()];
    await node.send(pod, [tunnelFrame(pod, destination, port)], TIMES);
    const after = await row();
    const dropped = after.droppedPackets - before.droppedPackets;
    const audited = after.auditedPackets - before.auditedPackets;
    if (dropped < TIMES)
      await waitFor(async () => (await decapsulated()) - landed, {
        what: 'the tunnel’s end',
        until: (n) => n >= TIMES,
      });
    return [(await decapsulated()) - landed, dropped, audited];
  }

  const INSIDE = [
    ['this node’s gateway', () => '10.244.0.1'],
    ['this node’s gateway, IPv6', () => 'fd00:10:244::1'],
    ['this node’s registered address', () => '20.0.0.1'],
    ['this node’s other address', () => '2600:77::1'],
    ['this node’s link-local address', () => linkLocal],
    ['the broadcast address of the pods’ subnet', () => '10.244.0.255'],
    ['the broadcast address of another link', () => '20.0.0.255'],
    ['255.255.255.255', () => '255.255.255.255'],
    ['224.0.0.1', () => '224.0.0.1'],
    ['ff02::1', () => 'ff02::1'],
    ['another node’s registered address', () => OTHER.ipv4],
    ['another node’s unregistered address on this node’s link', () => '2600:77::2'],
    ['another node’s bridge', () => '10.244.1.1'],
    ['another node’s end of the overlay', () => '10.244.1.0'],
    ['another node’s bridge, IPv6', () => 'fd00:10:244:1::1'],
    ['another pod', () => peer.ipv4],
  ] as const;

  it('control - in audit, tunnels to each of these land', async () => {
    await putPolicy({ modes: { tunnel: 'audit' } });
    const landed: Record<string, unknown> = {};
    for (const [name, destination] of INSIDE) landed[name] = await attempt(destination());
    expect(landed).toEqual(Object.fromEntries(INSIDE.map(([name]) => [name, [TIMES, 0, TIMES]])));
    await putPolicy({});
  });

  it.each(INSIDE)('%s - every tunnel is dropped', async (_name, destination) => {
    expect(await attempt(destination())).toEqual([0, TIMES, 0]);
  });

  it('an address that the node gets later, on an interface or by a local route - dropped', async () => {
    const later = '20.8.8.8';
    await run(node.netns, [`ip route add local ${later} dev lo`]);
    await waitFor(async () => (await attempt(later))[1] === TIMES, { what: 'the local route to be known' });
    await run(node.netns, [`ip route del local ${later} dev lo`]);
  });

  it('a VPN to a peer outside the cluster - passes, and is counted', async () => {
    expect(await attempt(OUTSIDE)).toEqual([TIMES, 0, TIMES]);
  });

  it('a private network that an administrator names as outside - passes; the cluster’s networks in it do not', async () => {
    await run(other, ['ip addr add 10.5.0.7/32 dev lo']);
    await run(node.netns, [`ip route add 10.5.0.7 via ${OTHER.ipv4}`]);
    expect(await attempt('10.5.0.7')).toEqual([0, TIMES, 0]);
    await putPolicy({ tunnelNetworks: { outside: ['10.0.0.0/8', '20.0.0.0/8'] } });
    expect(await attempt('10.5.0.7')).toEqual([TIMES, 0, TIMES]);
    for (const inside of ['10.244.1.1', '10.244.0.1', OTHER.ipv4, '20.0.0.255', peer.ipv4])
      expect([inside, await attempt(inside)]).toEqual([inside, [0, TIMES, 0]]);
    await putPolicy({ tunnelNetworks: { inside: [`${OUTSIDE}/32`] } });
    expect(await attempt(OUTSIDE)).toEqual([0, TIMES, 0]);
    await putPolicy({});
  });

  it('a granted tunnel to another pod - passes uncounted; the same grant covers no node', async () => {
    await putPods(['10.244.0.0/16']);
    expect(await attempt(peer.ipv4)).toEqual([TIMES, 0, 0]);
    for (const inside of ['10.244.1.1', '10.244.1.0', '10.244.0.1', '10.244.0.255'])
      expect([inside, await attempt(inside)]).toEqual([inside, [0, TIMES, 0]]);
    await putPods();
    expect(await attempt(peer.ipv4)).toEqual([0, TIMES, 0]);
  });

  describe('Services', () => {
    /** A public DNS server, which a tenant claims for a Service of its own pod. */
    const CLAIMED = '8.8.8.8';
    const LEADS = [
      ['a cluster address', '10.96.0.9', 53],
      ['an external address', '34.1.1.1', 53],
      ['a node port of this node', '20.0.0.1', 30_053],
      ['a node port of another node’s bridge', '10.244.1.1', 30_053],
    ] as const;
    interface Led {
      spec: {
        clusterIPs: string[];
        externalIPs: string[];
        ports: { protocol: string; port: number; nodePort?: number }[];
      };
      endpoints: string[];
      /** Of the endpoints; absent: they are no pods. */
      targetRef?: { kind: string };
    }
    const TO_NODE: Led = {
      spec: {
        clusterIPs: ['10.96.0.9'],
        externalIPs: ['34.1.1.1'],
        ports: [{ protocol: 'UDP', port: 53, nodePort: 30_053 }],
      },
      endpoints: [OTHER.ipv4],
    };
    /** What ipam-sync makes of Services whose endpoints have the port of the VXLAN device. */
    function listOf(...services: Led[]): { address: string; port: number }[] {
      const pairs = new TunnelServices();
      pairs.setTunnelPorts(new Set([PORT]));
      pairs.setNodes(nodes);
      services.forEach(({ spec, endpoints, targetRef }, index) => {
        const metadata = { name: `s${index}`, namespace: 'shop', uid: `${index}`, resourceVersion: '1' };
        const labels = { 'kubernetes.io/service-name': metadata.name };
        pairs.put(metadata.uid, serviceRecord({ metadata, spec })!);
        const [addresses, ports] = [
          endpoints.map((address) => ({ addresses: [address], targetRef })),
          [{ protocol: 'UDP', port: PORT }],
        ];
        pairs.putSlice(metadata.uid, sliceRecord({ metadata: { ...metadata, labels }, endpoints: addresses, ports })!);
      });
      return pairs.list(0);
    }
    /** As kube-proxy does. The node and the other one translate to the port of the VXLAN device. */
    const proxy = (local: string) => `nft -f - <<'EOF'
      table ip services {
        chain prerouting {
          type nat hook prerouting priority dstnat
          ip daddr { 10.96.0.9, 34.1.1.1 } udp dport 53 dnat to ${OTHER.ipv4}:${PORT}
          ip daddr ${CLAIMED} udp dport 53 dnat to ${peer.ipv4}:${PORT}
          ip daddr 10.96.0.66 udp dport 53 dnat to ${peer.ipv4}:${PORT}
          fib daddr type local udp dport 30053 ${local}
        }
      }
EOF`;
    beforeAll(async () => {
      await run(node.netns, [proxy(`dnat to ${OTHER.ipv4}:${PORT}`), `ip route add default via ${OTHER.ipv4}`]);
      await run(other, [proxy(`redirect to :${PORT}`)]);
    });

    /** Waits until each is judged, or is not: the kernel map gets one key after the other. */
    async function known(pairs: readonly (readonly [address: string, port: number])[], judgments = 1): Promise<void> {
      for (const [address, port] of pairs)
        await waitFor(async () => (await judged(address, port))[0] === judgments, {
          what: `${address}:${port} to be judged ${judgments} times`,
        });
    }

    it('control - while no list names them, tunnels through each of these land', async () => {
      const landed: Record<string, unknown> = {};
      for (const [name, address, port] of LEADS) landed[name] = await attempt(address, port);
      expect(landed).toEqual(Object.fromEntries(LEADS.map(([name]) => [name, [TIMES, 0, 0]])));
    });

    it('listed - every packet to them is dropped; the same ports of other addresses stay open', async () => {
      await putCluster(listOf(TO_NODE));
      await known(LEADS.map(([, address, port]) => [address, port]));
      for (const [name, address, port] of LEADS)
        expect([name, await attempt(address, port)]).toEqual([name, [0, TIMES, 0]]);
      for (const [address, port] of [
        ['10.96.0.10', 53],
        [peer.ipv4, 53],
        [OUTSIDE, 53],
        ['10.96.0.9', 54],
        [peer.ipv4, 30_053],
      ] as const)
        expect([address, port, await judged(address, port)]).toEqual([address, port, [0, 0]]);
      expect(await attempt(OTHER.ipv4), 'tunnel ports are judged as before').toEqual([0, TIMES, 0]);
      await putCluster();
      await waitFor(async () => (await judged('10.96.0.9', 53))[0] === 0, { what: 'the list to be empty again' });
    });

    it('an address that a tenant claims for its own pod - UDP to it is no violation, and nothing lands on a node', async () => {
      const thief = { spec: { clusterIPs: ['10.96.0.66'], externalIPs: [CLAIMED], ports: TO_NODE.spec.ports } };
      await putCluster(listOf({ ...thief, endpoints: [OTHER.ipv4] }));
      await waitFor(async () => (await judged(CLAIMED, 53))[0] === 1, { what: 'the claim to be known' });
      expect(await attempt(CLAIMED, 53), 'control: judged if an endpoint is a node').toEqual([0, TIMES, 0]);

      await putCluster(listOf({ ...thief, endpoints: [peer.ipv4] }, TO_NODE));
      await waitFor(async () => (await judged(CLAIMED, 53))[0] === 0, { what: 'the claim not to count any more' });
      const nodes = await decapsulated([node.netns, other]);
      expect(await attempt(CLAIMED, 53), 'lands in the pod of the Service').toEqual([TIMES, 0, 0]);
      expect(await decapsulated([node.netns, other])).toBe(nodes);
      for (const [name, address, port] of LEADS)
        expect([name, await attempt(address, port)]).toEqual([name, [0, TIMES, 0]]);
    });

    it('a Service that a tenant leads to its own pod - neither its clients nor responses to its node port violate a rule', async () => {
      const ports = [{ protocol: 'UDP', port: 53, nodePort: 30_066 }];
      const own = { spec: { clusterIPs: ['10.96.0.66'], externalIPs: [], ports }, endpoints: [peer.ipv4] };
      const reached = [
        ['10.96.0.66', 53],
        ['20.0.0.1', 30_066],
      ] as const;
      await putCluster(listOf(own));
      await known(reached);

      await putCluster(listOf({ ...own, targetRef: { kind: 'Pod' } }, TO_NODE));
      await known(reached, 0);
      for (const [address, port] of reached) expect([address, await judged(address, port)]).toEqual([address, [0, 0]]);
      expect(await attempt(OTHER.ipv4), 'tunnel ports are judged as before').toEqual([0, TIMES, 0]);
      for (const [name, address, port] of LEADS)
        expect([name, await attempt(address, port)]).toEqual([name, [0, TIMES, 0]]);
    });
  });
});
