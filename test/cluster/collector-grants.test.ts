// From annotation and configuration to the packet: a granted MAC and a granted prefix are valid only
// with both keys, and never those of the gateway or of another pod.
import { spoofCluster } from '@bailiff/policy';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MAC_ANNOTATION, PREFIX_ANNOTATION, permitsOf } from '../../apps/ipam-sync/src/pods/grants.ts';
import { podRecord } from '../../apps/ipam-sync/src/pods/records.ts';
import { ClusterState } from '../../apps/ipam-sync/src/snapshots/cluster-state.ts';
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
    const planned = planNode('n', { state, permits, ownersOf: () => [], selectedBy: new Set() });
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
