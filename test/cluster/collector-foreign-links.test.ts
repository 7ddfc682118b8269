// A pod that makes links with a part in the node's network namespace, with CAP_NET_ADMIN and no user
// namespace: what it sends there passes no guard. Nothing but BPF-LSM prevents it, so a collector reports it.
import { rmSync } from 'node:fs';
import path from 'node:path';
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, udp, vxlan } from '@bailiff/lab/frames';
import { exec } from '@bailiff/lab/node';
import type { InterfaceStatus } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cacheFileName, writeCacheRecord } from '../lab/src/cni/cache.ts';
import { netnsPath } from '../lab/src/names.ts';
import { CniNode, type Sandbox } from '../support/cni-node.ts';
import type { TestPod } from '../support/node.ts';

const TIMES = 5;
const PORT = 4789;
const FORGED = ethernet(
  { source: '02:00:00:00:66:66', destination: 'ff:ff:ff:ff:ff:ff', type: ETHERTYPE.ipv4 },
  ipv4({ source: '10.99.0.66', destination: '10.99.0.1', protocol: PROTOCOL.udp }, udp(1, 9)),
);

describe('links of pods with a part in the network of the node', () => {
  let cni: CniNode;
  let attacker: Sandbox;
  let victim: TestPod;
  const ip = ({ netns }: { netns: string }, ...words: string[]) => exec('ip', ['-n', netns, ...words]);
  beforeAll(async () => {
    cni = await CniNode.create();
    cni.writePrimary('bridge');
    await cni.start('closed', ['--status-interval-ms', '250']);
    attacker = await cni.add();
    ({ pod: victim } = await cni.add());
    const receiver = ['id', '7', 'dstport', `${PORT}`, 'local', victim.ipv4];
    await ip(victim, 'link', 'add', 'vx0', 'up', 'type', 'vxlan', ...receiver);
  });
  afterAll(() => cni?.[Symbol.asyncDispose]());

  /** The id that the node has in the namespace of the pod, which reading the pair assigns. */
  const nodeId = async (pod: TestPod) => {
    await ip(pod, 'link', 'show', 'eth0');
    return /nsid (\d+)/.exec(await ip(pod, 'netns', 'list-id'))?.[1] ?? '';
  };
  const makeForeign = async (pod: TestPod, name: string, words: string[]) =>
    ip(pod, 'link', 'add', name, 'link-netnsid', await nodeId(pod), ...words);
  const rowOf = async ({ hostInterface }: TestPod): Promise<InterfaceStatus | undefined> =>
    (await cni.node.nodeStatus())?.interfaces.find(({ interfaceName }) => interfaceName === hostInterface);
  const reported = (pod: TestPod, wanted: string[]) =>
    waitFor(async () => (await rowOf(pod))?.foreignLinks ?? [], {
      what: `the report ${wanted.join(', ')}`,
      until: (links) => links.join() === wanted.join(),
      state: () => [rowOf(pod), cni.node.log.slice(-3_000)],
    });
  /** Tunnelled frames that the victim accepted. */
  const landed = async () => {
    const text = await exec('nsenter', [`--net=${netnsPath(victim.netns)}`, 'cat', '/proc/net/dev']);
    return Number(/ vx0: *\d+ +(\d+)/.exec(text)?.[1]);
  };
  const send = async (frame: Buffer, device: string) =>
    (await cni.node.startSending(attacker.pod, [frame], TIMES, 0, device)).sent;

  it('from a VXLAN device with the node’s socket - tunnels land, and nothing counts them', async () => {
    const { pod } = attacker;
    const { mac: source, ipv4: address } = pod;
    const outer = { source: address, destination: victim.ipv4, protocol: PROTOCOL.udp };
    const direct = ipv4(outer, udp(40_000, PORT, vxlan(FORGED)));
    await send(ethernet({ source, destination: victim.mac, type: ETHERTYPE.ipv4 }, direct), 'eth0');
    const counted = () => cni.node.ledger.packets({});
    await waitFor(counted, { what: 'the control: its own tunnel is a violation', until: (n) => n === TIMES });
    expect(await landed()).toBe(0);

    await makeForeign(pod, 'own0', ['type', 'vxlan', 'id', '7', 'dstport', `${PORT}`, 'remote', victim.ipv4]);
    await ip(pod, 'link', 'set', 'own0', 'up');
    await send(FORGED, 'own0');
    await waitFor(landed, { what: 'tunnelled frames', until: (n) => n >= TIMES });
    expect(counted()).toBe(TIMES);
  });

  it('are named until they are gone; those that the runtime made (Multus) and a pod’s own network are not', async () => {
    const { pod, attachment } = await cni.add();
    const conf = { ...attachment.conf, name: 'macvlan-net', plugins: [{ type: 'macvlan' }] };
    const net1 = { ...attachment, conf, ifName: 'net1' };
    const interfaces = [{ name: 'net1', mac: '02:00:00:00:00:11', sandbox: netnsPath(pod.netns) }];
    await writeCacheRecord(cni.node.cniDir, net1, { cniVersion: '1.0.0', interfaces, ips: [] });
    await ip(cni.node, 'link', 'add', 'net1', 'netns', pod.netns, 'type', 'vxlan', 'id', '8', 'dstport', '4790');
    await ip(pod, 'link', 'add', 'br0', 'type', 'bridge');
    await ip(pod, 'link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1');
    await ip(pod, 'link', 'add', 'vx0', 'type', 'vxlan', 'id', '9', 'dstport', '4791');
    await makeForeign(pod, 'own0', ['type', 'vxlan', 'id', '10', 'dstport', '4792']);
    const bridge = /: (\w+): /.exec(await ip(cni.node, '-o', 'link', 'show', 'type', 'bridge'))?.[1] ?? '';
    const macvlan = await makeForeign(attacker.pod, 'own1', ['link', bridge, 'type', 'macvlan', 'mode', 'bridge'])
      .then(() => [`own1 (macvlan on ${bridge})`])
      .catch((error: Error) => {
        if (error.message.includes('Unknown device type')) return [];
        throw error;
      });

    await reported(attacker.pod, ['own0 (vxlan)', ...macvlan]);
    await reported(pod, ['own0 (vxlan)']);
    const reason = expect.stringContaining('own0 (vxlan)');
    expect(await rowOf(attacker.pod)).toMatchObject({ coverage: 'partial', reason });
    expect(await cni.node.metric('bailiff_collector_foreign_links')).toBe(2);
    expect(cni.node.log).toContain('which no guard judges: own0 (vxlan)');
    expect(await rowOf(victim)).toMatchObject({ coverage: 'guarded' });

    await ip(attacker.pod, 'link', 'del', 'own0');
    if (macvlan.length > 0) await ip(attacker.pod, 'link', 'del', 'own1');
    await ip(pod, 'link', 'del', 'own0');
    rmSync(path.join(cni.node.cniDir, cacheFileName(net1)));
    await reported(attacker.pod, []);
    expect(await rowOf(attacker.pod)).toMatchObject({ coverage: 'guarded' });
    await reported(pod, ['net1 (vxlan)']);
  });
});
