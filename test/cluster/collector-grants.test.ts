// From annotation and configuration to the packet: a granted MAC and a granted prefix are valid only
// with both keys, and never those of the gateway or of another pod.
import { linkLocalOfMac } from '@bailiff/bpf';
import { arp, ETHERTYPE, ethernet, icmpv6, ipv6, macOption, ndBody, PROTOCOL } from '@bailiff/lab/frames';
import { spoofCluster } from '@bailiff/policy';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  MAC_ANNOTATION,
  NEIGHBOUR_ANNOTATION,
  PREFIX_ANNOTATION,
  permitsOf,
} from '../../apps/ipam-sync/src/pods/grants.ts';
import { podRecord } from '../../apps/ipam-sync/src/pods/records.ts';
import { ClusterState } from '../../apps/ipam-sync/src/snapshots/cluster-state.ts';
import { EndedPods } from '../../apps/ipam-sync/src/snapshots/ended-pods.ts';
import { planNode } from '../../apps/ipam-sync/src/snapshots/plan.ts';
import { GATEWAY_MAC, TestNode, type TestPod } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';

const GUEST = '52:54:00:12:34:56';
const BEHIND = '10.50.0.9';
const GATEWAY = '10.244.0.1';
const PERMITTED = {
  allowedPrefixes: [{ namespace: 'shop', serviceAccount: 'gateway', prefixes: ['10.50.0.0/16'] }],
  allowedMacs: [{ namespace: 'shop', serviceAccount: 'gateway', macs: ['52:54:00', '0a:58:0a', GATEWAY_MAC] }],
};

describe('grants', () => {
  let node: TestNode;
  let pod: TestPod;
  let neighbour: TestPod;
  let revision = 0;
  beforeAll(async () => {
    node = await TestNode.start();
    [pod, neighbour] = [await node.addPod(), await node.addPod()];
    await node.startCollector({ args: ['--status-interval-ms', '250'] });
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  /** Brings the node's list as ipam-sync makes it of the pod and the administrator's configuration. */
  async function list(annotations: Record<string, string>, config: object, serviceAccountName = 'gateway') {
    const state = new ClusterState();
    state.putNode({ name: 'n', addresses: [], podCidrs: [] });
    const { uid, namespace, name, ipv4, ipv6 } = pod;
    const metadata = { uid, namespace, name, resourceVersion: '1', annotations };
    const status = { podIPs: [{ ip: ipv4 }, { ip: ipv6 }] };
    const record = podRecord({ metadata, spec: { nodeName: 'n', serviceAccountName }, status });
    if (record === null) throw new Error('no record');
    state.putPod(record);
    const permits = permitsOf(spoofCluster.parse(config));
    const planned = planNode('n', {
      state,
      permits,
      ownersOf: () => [],
      selectedBy: new Set(),
      ended: new EndedPods(),
    });
    const [granted] = planned?.pods ?? [];
    if (granted === undefined) throw new Error('no pod');
    revision += 1;
    await node.putPods(revision, (pods) => pods.splice(0, 1, granted));
    await waitFor(async () => (await node.nodeStatus())?.snapshotRevision === revision, {
      what: `revision ${revision}`,
      state: () => [node.log.slice(-2_000)],
    });
    await node.waitForState(pod, 'programmed');
  }

  /** Number of packets of these MACs and sources that reach the node's own stack. */
  async function landed(frames: { mac?: string; source?: string }[]): Promise<number[]> {
    const counts: number[] = [];
    for (const { mac = pod.mac, source = pod.ipv4 } of frames) {
      const before = await node.ipReceived();
      await node.send(pod, [udpFrame({ sourceMac: mac, source, destination: GATEWAY })], 5);
      counts.push((await node.ipReceived()) - before);
    }
    return counts;
  }

  const BOTH = { [MAC_ANNOTATION]: GUEST, [PREFIX_ANNOTATION]: '10.50.0.0/24' };
  const attempts = [{ mac: GUEST }, { source: BEHIND }, { mac: GUEST, source: BEHIND }, {}];

  it.each([
    ['both keys', BOTH, PERMITTED, 'gateway', [5, 5, 5, 5]],
    ['the annotation alone', BOTH, {}, 'gateway', [0, 0, 0, 5]],
    ['the permit alone', {}, PERMITTED, 'gateway', [0, 0, 0, 5]],
    ['both, for another service account', BOTH, PERMITTED, 'default', [0, 0, 0, 5]],
    ['another MAC and prefix', { ...BOTH, [MAC_ANNOTATION]: '52:54:00:12:34:57' }, PERMITTED, 'gateway', [0, 5, 0, 5]],
  ])('%s', async (_name, annotations, config, account, expected) => {
    await list(annotations, config, account);
    expect(await landed(attempts)).toEqual(expected);
  });

  const VIRTUAL = ['10.60.0.5/32', 'fd60::5/128'];
  const NEIGHBOURS = { [NEIGHBOUR_ANNOTATION]: VIRTUAL.join() };
  const PERMITTED_NEIGHBOURS = {
    allowedNeighbours: [{ namespace: 'shop', serviceAccount: 'gateway', prefixes: ['10.60.0.0/24', 'fd60::/64'] }],
  };
  /** Of 20 gratuitous ARP requests and 20 unsolicited advertisements of the virtual addresses: dropped ones. */
  async function droppedAnnouncements(): Promise<[number, number]> {
    const [ipv4, target] = VIRTUAL.map((cidr) => cidr.replace(/\/.*/, '')) as [string, string];
    const link = { source: pod.mac, destination: 'ff:ff:ff:ff:ff:ff' };
    const announced = arp({ senderMac: pod.mac, sender: ipv4, target: ipv4 });
    const ends = { source: linkLocalOfMac(pod.mac), destination: 'ff02::1' };
    const advertised = icmpv6(136, ndBody(target, macOption(2, pod.mac), 0x20000000), ends);
    const frames = [
      ethernet({ ...link, type: ETHERTYPE.arp }, announced),
      ethernet({ ...link, type: ETHERTYPE.ipv6 }, ipv6({ ...ends, next: PROTOCOL.icmpv6, hopLimit: 255 }, advertised)),
    ];
    const dropped = async () => {
      const { interfaces } = await node.offlineStatus();
      return interfaces.find((i) => i.interfaceName === pod.hostInterface)?.droppedPackets ?? -1;
    };
    const counts: number[] = [await dropped()];
    for (const frame of frames) {
      await node.send(pod, [frame], 20);
      counts.push(await dropped());
    }
    return [counts[1]! - counts[0]!, counts[2]! - counts[1]!];
  }
  it.each([
    ['both keys', NEIGHBOURS, PERMITTED_NEIGHBOURS, [0, 0]],
    ['the annotation alone', NEIGHBOURS, {}, [20, 20]],
    ['the permit alone', {}, PERMITTED_NEIGHBOURS, [20, 20]],
    [
      'as a source only',
      { [PREFIX_ANNOTATION]: VIRTUAL.join() },
      {
        allowedPrefixes: [{ namespace: 'shop', prefixes: ['10.60.0.0/24', 'fd60::/64'] }],
      },
      [20, 20],
    ],
  ])(
    'a virtual address, announced in ARP and neighbour discovery: %s',
    async (_name, annotations, config, expected) => {
      await list(annotations as Record<string, string>, config);
      expect(await droppedAnnouncements()).toEqual(expected);
    },
  );

  it('the MAC of the gateway or of another pod is not granted, though both keys name it', async () => {
    await list({ [MAC_ANNOTATION]: `${GATEWAY_MAC},${neighbour.mac},${GUEST}` }, PERMITTED);
    expect(await landed([{ mac: GATEWAY_MAC }, { mac: neighbour.mac }, { mac: GUEST }])).toEqual([0, 0, 5]);
    const [row] = (await node.offlineStatus()).interfaces.filter((i) => i.interfaceName === pod.hostInterface);
    expect(row?.addresses).toEqual(expect.arrayContaining([GUEST]));
    expect(row?.addresses).not.toContain(neighbour.mac);
    const reason = `not granted, because another interface has it: ${GATEWAY_MAC}, ${neighbour.mac}`;
    await waitFor(async () => JSON.stringify(await node.nodeStatus()).includes(reason), {
      what: 'the reason in the status',
      state: () => node.nodeStatus(),
    });
  });
});
