// A pod whose interface outlives it: CNI finds no eth0 to remove, and another process still has a socket
// in its namespace. Its address belongs to the next pod that gets it.
import { rmSync } from 'node:fs';
import { exec, netnsPath } from '@bailiff/lab/node';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CniNode, own } from '../support/cni-node.ts';
import { TestNode, type TestPod } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';

const TIMES = 20;

describe('an address that another pod gets', () => {
  let node: TestNode;
  let former: TestPod;
  beforeEach(async () => {
    node = await TestNode.start();
    await node.startCollector();
    former = await node.addPod();
    await node.waitForState(former, 'provisional');
  });
  afterEach(async () => node?.[Symbol.asyncDispose]());

  /** Of TIMES packets from the address of the pod, those that reach the node. */
  const landed = async (pod: TestPod, source: string): Promise<number> => {
    const before = await node.ipReceived();
    await node.send(pod, [udpFrame({ sourceMac: pod.mac, source, destination: '10.244.0.1' })], TIMES);
    return (await node.ipReceived()) - before;
  };

  it('the newer interface has it at once, without the bus; the older one sends nothing from it', async () => {
    const { ipv4, ipv6 } = former;
    expect(await landed(former, ipv4), 'control: while no other pod has it').toBe(TIMES);
    const next = await node.addPod({ cni: false });
    Object.assign(next, { ipv4, ipv6 });
    await node.writeCni(next);
    await node.waitForState(next, 'provisional');
    expect([await landed(former, ipv4), await landed(next, ipv4)]).toEqual([0, TIMES]);
    const { interfaces } = await node.offlineStatus();
    const rows = interfaces.map(({ interfaceName, addresses }) => [interfaceName, addresses]);
    expect(Object.fromEntries(rows)).toEqual({ [former.hostInterface]: [], [next.hostInterface]: [ipv4, ipv6] });
    // Its own interface ends: no newer one has the address.
    await node.removePod(next);
    node.pods.pop();
  });
});

it.each([
  { what: 'although the record stays', isListed: true },
  { what: 'also while no list of pods is known', isListed: false },
])(
  'CNI fails to remove the interface after it freed the address - the next pod has it, $what',
  async ({ isListed }) => {
    await using cni = await CniNode.create();
    cni.writePrimary('ptp');
    await cni.start('closed');
    const former = await cni.add();
    if (isListed) await cni.node.putPods(1);
    // CNI cannot delete the loopback device.
    const commands = [
      'ip link set eth0 down',
      'ip link set eth0 name other0',
      'ip link set lo down',
      'ip link set lo name eth0',
    ];
    const inPod = [...commands, 'ip link set other0 up'].join('\n');
    await exec('nsenter', [`--net=${netnsPath(former.pod.netns)}`, 'sh', '-ec', inPod]);
    await expect(cni.detach(former)).rejects.toThrow();
    for (const family of [0, 1]) rmSync(cni.at('ipam', 'lab', `last_reserved_ip.${family}`), { force: true });
    const next = await cni.add();
    expect(next.pod.ipv4).toBe(former.pod.ipv4);
    if (isListed) await cni.node.putPods(2);
    const addresses = async () => {
      const { interfaces } = await cni.node.offlineStatus();
      return interfaces.find(({ interfaceName }) => interfaceName === former.pod.hostInterface)?.addresses.length;
    };
    await waitFor(addresses, { what: 'the record of the next pod to be read', until: (count) => count === 0 });
    const drops = (uid: string) => cni.node.ledger.packets({ podUid: uid, vector: 'ipv4-source', action: 'drop' });
    const { sent } = await cni.node.startSending(former.pod, [own(former.pod)], TIMES, 0, 'other0');
    expect(await sent).toBe(TIMES);
    await cni.node.send(next.pod, [own(next.pod)], TIMES);
    await waitFor(() => drops(former.pod.uid) === TIMES, {
      what: 'the packets of the former pod',
      state: () => cni.node.log.slice(-3_000),
    });
    expect(drops(next.pod.uid)).toBe(0);
  },
);
