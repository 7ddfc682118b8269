// Frames whose memory another frame of the pod shares. The pod's own kernel rewrites the other one in
// place after the first was checked: SNPT of ip6tables does not copy first. What was checked is what
// lands. Unguarded they land rewritten.
import { ETHERTYPE, ethernet, ipv6, PROTOCOL, udp } from '@bailiff/lab/frames';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ATTACKER, FrameSender, type Guarded, RECEIVER, TestNode } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';

const TIMES = 20;
const OWN = '/64 of the pod';
const FOREIGN = 'another /64';
const DESTINATION_OPTIONS = 60;
const padding = (next: number): Buffer => Buffer.from([next, 0, 1, 4, 0, 0, 0, 0]);

const marker = Buffer.from('rewritten in place');
const datagram = udp(4000, 9, marker);
const frame = (next: number, payload: Buffer): Buffer =>
  ethernet(
    { destination: RECEIVER.mac, source: ATTACKER.mac, type: ETHERTYPE.ipv6 },
    ipv6({ source: ATTACKER.ipv6, destination: RECEIVER.ipv6, next }, payload),
  );

const FRAMES: Record<string, Buffer> = {
  'fast path': frame(PROTOCOL.udp, datagram),
  'slow path': frame(DESTINATION_OPTIONS, Buffer.concat([padding(PROTOCOL.udp), datagram])),
};

/** A frame to v0 is duplicated to eth0, and received at v1, where the kernel rewrites its source. */
const SETUP = [
  'sysctl -qw net.ipv6.conf.all.disable_ipv6=0',
  'ip link add v0 type veth peer name v1',
  `ip link set v1 address ${RECEIVER.mac}`,
  'sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1 net.ipv6.conf.v0.disable_ipv6=1',
  'sysctl -qw net.ipv6.conf.v1.disable_ipv6=0 net.ipv6.conf.v1.accept_dad=0',
  'ip link set v0 up',
  'ip link set v1 up',
  `ip addr add ${RECEIVER.ipv6}/64 dev v1 nodad`,
  'tc qdisc add dev v0 clsact',
  'tc filter add dev v0 egress protocol ipv6 u32 match u32 0 0 action mirred egress mirror dev eth0',
  'ip6tables-legacy -t mangle -A INPUT -i v1 -j SNPT --src-pfx fd77::/64 --dst-pfx fdbb:1:2:3::/64',
];

describe('shared copies', () => {
  let node: TestNode;
  let sender: FrameSender | null = null;
  /** What this kernel lacks. */
  let lacks = '';
  beforeAll(async () => {
    node = await TestNode.start();
    await node.open();
    const { netns } = node.pods.attacker;
    await commandIn(netns, 'sh', '-ec', SETUP.join('\n')).catch((error: Error) => {
      lacks = error.message;
    });
    sender = new FrameSender(netns, ['send', 'v0']);
  });
  beforeEach((context) => {
    if (lacks !== '') context.skip(`optional: this kernel lacks SNPT or mirred: ${lacks}`);
  });
  afterAll(async () => {
    await sender?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
  });

  /** Sends, and returns how many frames landed from which source. */
  async function landed(sent: Buffer): Promise<Record<string, number>> {
    node.forgetLanded();
    for (let i = 0; i < TIMES; i += 1) await sender!.send(sent);
    await node.fence();
    const total = node.landedEnding(marker);
    return { [OWN]: node.landed(sent), [FOREIGN]: total - node.landed(sent) };
  }

  it.each(Object.entries(FRAMES))('%s', async (_path, sent) => {
    expect((await landed(sent))[FOREIGN], 'control: they land rewritten unguarded').toBeGreaterThan(0);
    await using guarded: Guarded = await node.guard(node.pods.attacker);
    expect(await landed(sent)).toEqual({ [OWN]: TIMES, [FOREIGN]: 0 });
    expect(await guarded.counts()).toEqual({});
  });
});
