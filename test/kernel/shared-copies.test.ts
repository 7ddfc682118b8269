// Frames whose memory another frame shares. The kernel of a pod rewrites the other one in place: SNPT of
// ip6tables does not copy first. What was checked at a pod's interface is what lands, and what the node
// sends to several pods reaches each of them. Unguarded it lands rewritten.
import { ETHERTYPE, ethernet, ipv6, PROTOCOL, udp } from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ATTACKER, FrameSender, type Guarded, NODE, RECEIVER, TestNode } from './harness/node.ts';
import { command, commandIn, frameHelper, LineProcess } from './harness/processes.ts';
import { useNode } from './harness/use-node.ts';

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
    const total = node.landedWith(marker);
    return { [OWN]: node.landed(sent), [FOREIGN]: total - node.landed(sent) };
  }

  it.each(Object.entries(FRAMES))('%s', async (_path, sent) => {
    expect((await landed(sent))[FOREIGN], 'control: they land rewritten unguarded').toBeGreaterThan(0);
    await using guarded: Guarded = await node.guard(node.pods.attacker);
    expect(await landed(sent)).toEqual({ [OWN]: TIMES, [FOREIGN]: 0 });
    expect(await guarded.counts()).toEqual({});
  });
});

describe('flooded frames', () => {
  const sent = ethernet(
    { destination: '33:33:00:00:00:01', source: NODE.mac, type: ETHERTYPE.ipv6 },
    ipv6({ source: NODE.ipv6, destination: 'ff02::1', next: PROTOCOL.udp }, datagram),
  );
  let node: TestNode;
  let lacks = '';
  let sniffer: LineProcess;
  const landed = new Map<string, number>();
  beforeAll(async () => {
    node = await TestNode.start();
    await node.open();
    const { attacker, receiver } = node.pods;
    // The bridge sends to its newest port first, and that pod rewrites what it received.
    const rewrite = [
      'sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0',
      'ip6tables-legacy -t mangle -A INPUT -i eth0 -j SNPT --src-pfx fd77::/64 --dst-pfx fdbb:1:2:3::/64',
    ];
    await commandIn(receiver.netns, 'sh', '-ec', rewrite.join('\n')).catch((error: Error) => {
      lacks = error.message;
    });
    const args = [`--net=/run/netns/${attacker.netns}`, frameHelper(), 'sniff', 'eth0'];
    await new Promise<void>((resolve) => {
      sniffer = new LineProcess('nsenter', args, (line) => {
        if (line === 'ready') resolve();
        else landed.set(line, (landed.get(line) ?? 0) + 1);
      });
    });
  });
  beforeEach((context) => {
    if (lacks !== '') context.skip(`optional: this kernel lacks SNPT: ${lacks}`);
  });
  afterAll(async () => {
    await sniffer?.close();
    await node?.[Symbol.asyncDispose]();
  });

  /** Sends from the node to all pods, and returns how often the older pod got the frame, and rewritten. */
  async function flood(): Promise<Record<string, number>> {
    landed.clear();
    await using sender = new FrameSender(node.netns, ['send', 'br0']);
    for (let i = 0; i < TIMES; i += 1) await sender.send(sent);
    const total = () =>
      [...landed].reduce((sum, [hex, n]) => (hex.endsWith(marker.toString('hex')) ? sum + n : sum), 0);
    await waitFor(total, { what: 'all frames', until: (count) => count === TIMES });
    const own = landed.get(sent.toString('hex')) ?? 0;
    return { 'as sent': own, rewritten: TIMES - own };
  }

  it('the kernel of one pod does not rewrite what another pod receives', async () => {
    expect((await flood())['rewritten'], 'control: unguarded').toBeGreaterThan(0);
    await using _guarded = await node.guard(node.pods.receiver);
    expect(await flood()).toEqual({ 'as sent': TIMES, rewritten: 0 });
  });
});

describe('frames that their sender holds', () => {
  const COUNT = 5;
  const node = useNode();
  let lacks = '';
  const inPod = (...lines: string[]) => commandIn(node.pods.attacker.netns, 'sh', '-ec', lines.join('\n'));
  beforeAll(async () => {
    const duplicate = [
      'ip link add d0 type dummy',
      'ip link set d0 up',
      'tc qdisc add dev d0 root netem delay 5s',
      'tc qdisc add dev eth0 clsact',
      'tc filter add dev eth0 egress protocol all u32 match u32 0 0 action mirred egress mirror dev d0',
    ];
    await command('modprobe', 'pktgen')
      .then(() => inPod(...duplicate))
      .catch((error: Error) => {
        lacks = error.message;
      });
    // Once: pktgen removes a device only some time after the command.
    if (lacks === '') await inPod('echo add_device eth0 > /proc/net/pktgen/kpktgend_0');
  });
  beforeEach((context) => {
    if (lacks !== '') context.skip(`optional: this kernel lacks what it needs: ${lacks}`);
  });

  // There is no control: the kernel ends where the memory of such a frame is replaced.
  it.each([
    ['duplicated', 'queue_xmit', 'malformed drop'],
    ['not duplicated', 'start_xmit', 'ipv4-source drop'],
  ])('%s - %s', async (_name, mode, counted) => {
    await using guarded = await node.guard(node.pods.attacker);
    const settings = [
      ...[`count ${COUNT}`, 'pkt_size 300', `dst ${RECEIVER.ipv4}`, 'src_min 10.77.0.99', 'src_max 10.77.0.99'],
      ...[`src_mac ${ATTACKER.mac}`, `dst_mac ${RECEIVER.mac}`, `xmit_mode ${mode}`],
    ];
    await inPod('cd /proc/net/pktgen', ...settings.map((setting) => `echo "${setting}" > eth0`), 'echo start > pgctrl');
    await guarded.counted({ [counted]: COUNT });
  });
});
