// A pod's pair that is deleted, and another kind of pair under its name, index and MAC, as a CNI plugin with names
// of its own makes it: the collector guards the new one by the hooks of its kind. Needs Linux 6.7:
// BAILIFF_VM_FILES=netkit-replaced.
import { ETHERTYPE, ethernet, ipv4, PROTOCOL, udp } from '@bailiff/lab/frames';
import { expect, it } from 'vitest';
import { Collector, START_MS } from './harness/collector.ts';
import { ATTACKER, FrameSender, noNetkit, RECEIVER, TestNode } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';

const TIMES = 20;
const ends = { source: '10.77.0.99', destination: RECEIVER.ipv4 };
const forged = ethernet(
  { source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv4 },
  ipv4({ ...ends, protocol: PROTOCOL.udp }, udp(4000, 9, Buffer.from('forged'), ends)),
);

it.for([
  ['veth', 'veth'],
  ['netkit mode l2', 'netkit mode l2'],
  ['veth', 'netkit mode l2'],
  ['netkit mode l2', 'veth'],
] as const)('%s, then %s - guarded again', { timeout: 4 * START_MS }, async ([first, second], context) => {
  if (noNetkit() !== '' && `${first} ${second}`.includes('netkit')) context.skip(noNetkit());
  await using node = await TestNode.start();
  const { netns, hostInterface, hostMac, ifindex } = node.pods.attacker;
  const replace = async (type: string) => {
    await commandIn(
      node.netns,
      'sh',
      '-ec',
      `ip link del ${hostInterface}
ip link add ${hostInterface} index ${ifindex} address ${hostMac} type ${type} peer name eth0 netns ${netns}
ip link set ${hostInterface} master br0 up`,
    );
    await commandIn(netns, 'sh', '-ec', `ip link set eth0 address ${ATTACKER.mac} up`);
  };
  const attack = async () => {
    await using sender = new FrameSender(netns, ['push', 'eth0', '0']);
    await sender.send(forged, TIMES);
  };
  await replace(first);
  await using collector = new Collector(node);
  const before = await collector.bind();
  await attack();
  await collector.dropped('ipv4-source', TIMES);
  await replace(second);
  const { generation } = await collector.bind(2);
  expect(generation).toBeGreaterThan(before.generation);
  await attack();
  await collector.dropped('ipv4-source', TIMES);
  expect([node.landed(forged), collector.stored().occurrences, collector.stored().packetsBeforeGuard]).toEqual([
    0,
    {},
    0,
  ]);
});
