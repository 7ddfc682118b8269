// Frames of a pod on a netkit pair that a program of the node redirects to another pod, as CNI plugins do. Such a
// frame has no index of the interface that it came from, but the tc_index that the pod's kernel wrote: it blames
// no other pod. Needs Linux 6.7: BAILIFF_VM_FILES=netkit-sender.
import { FOREVER_NS } from '@bailiff/bpf';
import { ETHERTYPE, ethernet, ipv6, PROTOCOL, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { ATTACKER, noNetkit, RECEIVER, TestNode } from './harness/node.ts';
import { command, commandIn, foreignObject } from './harness/processes.ts';

const TIMES = 3;
const ends = { source: ATTACKER.ipv6, destination: RECEIVER.ipv6 };
const plain = ethernet(
  { source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv6 },
  ipv6({ ...ends, next: PROTOCOL.udp }, udp(4000, 4001, Buffer.from('plain'), ends)),
);

it('a plain frame with the index of another interface in tc_index - not counted for that one', async (context) => {
  if (noNetkit() !== '') context.skip(noNetkit());
  await using node = await TestNode.start({ stacks: true });
  await node.open();
  await node.useNetkit('l2');
  const { attacker, receiver } = node.pods;
  await commandIn(node.netns, 'ip', 'link', 'add', 'v7', 'type', 'veth', 'peer', 'name', 'v8');
  const [{ ifindex }] = JSON.parse(await command('ip', '-n', node.netns, '-j', 'link', 'show', 'v7'));
  const write = [
    // Its kernel sends nothing by itself.
    'sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1',
    'tc qdisc add dev eth0 clsact',
    `tc filter add dev eth0 egress protocol all u32 match u32 0 0 flowid :${ifindex.toString(16)}`,
  ];
  await commandIn(attacker.netns, 'sh', '-ec', write.join('\n'));
  const words = [foreignObject(), attacker.ifindex, 'netkit-peer', 'tail', 'redirect_egress', receiver.ifindex];
  await node.agent.call('own.attachForeign', ...words);

  const quarantine = { quarantineUntilNs: FOREVER_NS };
  await using to = await node.guard(receiver, quarantine);
  await using silent = await node.guard({ ...attacker, ifindex, slot: 2 }, quarantine);
  const blamed = async () => (await silent.counts())['quarantine-ingress drop'] ?? 0;
  const dropped = async () => (await to.counts())['quarantine-egress drop'] ?? 0;
  await node.send(plain, TIMES);
  await waitFor(blamed, { what: 'control: an unguarded pod blames it', until: (count) => count === TIMES });
  const before = await dropped();

  await using sender = await node.guard(attacker);
  await node.send(plain, TIMES);
  await waitFor(dropped, { what: 'frames to the receiver', until: (count) => count >= before + TIMES });
  expect([await blamed(), await sender.counts()]).toEqual([TIMES, {}]);
  await node.agent.call('own.detachForeign');
});
