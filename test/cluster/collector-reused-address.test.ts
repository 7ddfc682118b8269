// A pod whose interface outlives it: CNI finds no eth0 to remove, and another process still has a socket
// in its namespace. Its address belongs to the next pod that gets it.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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
