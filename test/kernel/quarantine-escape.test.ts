// Attempts of a quarantined pod and an accomplice: data in the padding of ARP and ND, detours behind an
// allowed address, and frames to all pods of a bridge in the name of one.
import { FOREVER_NS, type IfaceRecord } from '@bailiff/bpf';
import {
  arp,
  ETHERTYPE,
  ethernet,
  extension,
  fragmentHeader,
  icmpv6,
  ipv4,
  ipv6,
  macOption,
  ndBody,
  PROTOCOL,
  routingHeader,
  solicitedNode,
  udp,
} from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { BRIDGE, type Layout } from './harness/layouts.ts';
import { ATTACKER, allModes, NODE, RECEIVER, TestNode } from './harness/node.ts';
import { command, commandIn } from './harness/processes.ts';
import { useNode } from './harness/use-node.ts';

/** Not on this link, not allowed. */
const FAR = '2001:db8::7';
const ALLOWED = 'fd99::9';
const ALLOWED4 = '10.99.0.9';
const THIS_NODE = 'fd88::1';

type Nd = { type?: number; to?: string; target?: string; options?: Buffer; far?: boolean };
const frame = (type: number, packet: Buffer, destination: string = RECEIVER.mac): Buffer =>
  ethernet({ source: ATTACKER.mac, destination, type }, packet);
function nd({ type = 135, to = solicitedNode(FAR), target = FAR, options }: Nd, headers = false): Buffer {
  const ends = { source: ATTACKER.ipv6, destination: to };
  const mac = macOption(type === 135 ? 1 : 2, ATTACKER.mac);
  const message = icmpv6(type, ndBody(target, options ?? mac), ends);
  const payload = headers ? Buffer.concat([extension(PROTOCOL.icmpv6), message]) : message;
  const next = headers ? PROTOCOL.destinationOptions : PROTOCOL.icmpv6;
  return frame(ETHERTYPE.ipv6, ipv6({ ...ends, next, hopLimit: 255 }, payload));
}
const arpFor = (target: string, trailer: number): Buffer =>
  frame(
    ETHERTYPE.arp,
    Buffer.concat([arp({ senderMac: ATTACKER.mac, sender: ATTACKER.ipv4, target }), Buffer.alloc(trailer, 7)]),
  );
const nonce = Buffer.from([14, 1, 1, 2, 3, 4, 5, 6]);
const options = (...list: Buffer[]): Buffer => Buffer.concat(list);
const mac = (type: 1 | 2) => macOption(type, ATTACKER.mac);
const trailing = (one: Buffer): Buffer => Buffer.concat([one, Buffer.from('not in the packet')]);
function routed(source: string, destination: string, type: number): Buffer {
  const payload = Buffer.concat([routingHeader(PROTOCOL.udp, type, FAR), udp(4000, 53)]);
  return frame(ETHERTYPE.ipv6, ipv6({ source, destination, next: PROTOCOL.routing }, payload));
}
const direct = (source: string, destination: string, to?: string): Buffer =>
  frame(ETHERTYPE.ipv6, ipv6({ source, destination, next: PROTOCOL.udp }, udp(4000, 53)), to);

const direct4 = (source: string, destination: string): Buffer =>
  frame(ETHERTYPE.ipv4, ipv4({ source, destination, protocol: PROTOCOL.udp }, udp(4000, 53)));

interface Case {
  readonly name: string;
  readonly pass: Buffer;
  readonly cut: Buffer;
}

const outgoing: Case[] = [
  { name: 'data behind ARP', pass: arpFor(RECEIVER.ipv4, 22), cut: arpFor(RECEIVER.ipv4, 23) },
  { name: 'data behind NS', pass: nd({}), cut: trailing(nd({})) },
  {
    name: 'data in the options of NS',
    pass: nd({ options: options(mac(1), nonce) }),
    cut: nd({ options: options(mac(1), nonce, nonce) }),
  },
  {
    name: 'data in destination options before NA',
    pass: nd({ type: 136, to: THIS_NODE, target: ATTACKER.ipv6 }),
    cut: nd({ type: 136, to: THIS_NODE, target: ATTACKER.ipv6 }, true),
  },
  { name: 'NS to a far host', pass: nd({ to: THIS_NODE, target: THIS_NODE }), cut: nd({ to: FAR }) },
  {
    name: 'NA to a far host',
    pass: nd({ type: 136, to: RECEIVER.linkLocal, target: ATTACKER.ipv6 }),
    cut: nd({ type: 136, to: FAR, target: ATTACKER.ipv6 }),
  },
  ...['33:33:00:00:00:01', 'ff:ff:ff:ff:ff:ff'].map((mac) => ({
    name: `a frame to all pods (${mac}), for an allowed address`,
    pass: direct(ATTACKER.ipv6, ALLOWED),
    cut: direct(ATTACKER.ipv6, ALLOWED, mac),
  })),
  ...[2, 3, 4].map((type) => ({
    name: `a detour by routing header ${type} through an allowed address`,
    pass: direct(ATTACKER.ipv6, ALLOWED),
    cut: routed(ATTACKER.ipv6, ALLOWED, type),
  })),
];

const forReceiver: Nd = { to: RECEIVER.ipv6, target: RECEIVER.ipv6 };
const incoming: Case[] = [
  { name: 'data behind ARP', pass: arpFor(RECEIVER.ipv4, 22), cut: arpFor(RECEIVER.ipv4, 23) },
  { name: 'data behind NS', pass: nd(forReceiver), cut: trailing(nd(forReceiver)) },
  {
    name: 'data in the options of NA',
    pass: nd({ type: 136, to: 'ff02::1', options: options(mac(2), nonce) }),
    cut: nd({ type: 136, to: 'ff02::1', options: options(mac(2), nonce, nonce) }),
  },
  { name: 'data in destination options before NS', pass: nd(forReceiver), cut: nd(forReceiver, true) },
  {
    name: 'a detour by routing header 4',
    pass: direct(ALLOWED, RECEIVER.ipv6),
    cut: routed(ALLOWED, RECEIVER.ipv6, 4),
  },
];

describe('escapes from quarantine', () => {
  const node = useNode();
  beforeAll(async () => {
    await node.agent.call('object.maps.nodeAddresses.replace', [{ address: THIS_NODE, thisNode: true }]);
    await node.agent.call('object.maps.allowedCidrs.replace', ['fd99::/16']);
  });

  // This vector drops routing headers also without quarantine.
  const modes = allModes('enforce', { 'source-route': 'off' });

  /** Both land without quarantine; under quarantine only the legal one does. */
  async function judge(side: 'attacker' | 'receiver', vector: string, { pass, cut }: Case): Promise<void> {
    for (const quarantineUntilNs of [0n, FOREVER_NS]) {
      await using guarded = await node.guard(node.pods[side], { quarantineUntilNs, modes });
      node.forgetLanded();
      await node.send(cut);
      await node.send(pass);
      const isCut = quarantineUntilNs !== 0n;
      await guarded.counted(isCut ? { [`${vector} drop`]: 1 } : {});
      const lands = (name: string, one: Buffer) =>
        waitFor(() => node.landed(one), { what: `${name} to land`, until: (count) => count === 1 });
      await lands('the passing frame', pass);
      if (isCut) expect(node.landed(cut)).toBe(0);
      else await lands('the frame that quarantine drops', cut);
    }
  }

  it.each(outgoing)('from the pod - $name', (one) => judge('attacker', 'quarantine-ingress', one));
  it.each(incoming)('to the pod - $name', (one) => judge('receiver', 'quarantine-egress', one));
});

// A bridge sends what it floods to all pods of the node: ARP, neighbour solicitations, and a MAC that no
// port has. Only the pod itself and the node need those.
describe('a quarantined pod and another pod of its node', () => {
  const node = useNode();

  const NOBODY = '02:00:00:00:00:99';
  const frames = {
    'data behind ARP to all pods': arpFor('192.0.2.7', 22).fill(255, 0, 6),
    'data behind ARP for the other pod': arpFor(RECEIVER.ipv4, 22),
    'data in the target of NS': nd({ options: options(mac(1), nonce) }),
    'a NA to the other pod': nd({ type: 136, to: RECEIVER.linkLocal, target: ATTACKER.ipv6 }),
  };
  const outgoingFrames = {
    ...frames,
    'an allowed address at a MAC that no port has': direct(ATTACKER.ipv6, ALLOWED, NOBODY),
  };
  const incomingFrames = {
    'data behind ARP for the pod': arpFor(RECEIVER.ipv4, 22),
    'data in the options of NS': nd({
      to: solicitedNode(RECEIVER.ipv6),
      target: RECEIVER.ipv6,
      options: options(mac(1), nonce),
    }),
  };
  const TIMES = 3;

  /** How often it landed, and what both pods then count. */
  async function sent(
    one: Buffer,
    quarantined: 'attacker' | 'receiver' | null,
    allowed: readonly string[],
    change: Partial<IfaceRecord> = {},
  ) {
    await node.agent.call('object.maps.allowedCidrs.replace', [...allowed, 'fd99::/16']);
    const untilOf = (side: 'attacker' | 'receiver') => ({ quarantineUntilNs: quarantined === side ? FOREVER_NS : 0n });
    await using sender = await node.guard(node.pods.attacker, untilOf('attacker'));
    await using other = await node.guard(node.pods.receiver, { ...untilOf('receiver'), ...change });
    if (change.hasMore)
      await node.agent.call('object.maps.addresses.replace', other.key, [{ cidr: ALLOWED, neighbour: true }]);
    node.forgetLanded();
    await node.send(one, TIMES);
    const decided = async () => {
      const counts = [await sender.counts(), await other.counts()];
      const dropped = counts.flatMap((of) => Object.values(of)).reduce((sum, count) => sum + count, 0);
      return { landed: node.landed(one), dropped, counts };
    };
    const { landed, counts } = await waitFor(decided, {
      what: 'all frames to be decided',
      until: (now) => now.landed + now.dropped >= TIMES,
    });
    return { landed, sender: counts[0], other: counts[1] };
  }
  const passed = { landed: TIMES, sender: {}, other: {} };

  it.each(Object.entries(outgoingFrames))('from it - %s', async (_, one) => {
    expect(await sent(one, null, []), 'control: without quarantine').toEqual(passed);
    const dropped = { landed: 0, sender: { 'quarantine-ingress drop': TIMES }, other: {} };
    expect(await sent(one, 'attacker', [])).toEqual(dropped);
    expect(await sent(one, 'attacker', [`${RECEIVER.ipv4}/32`]), 'to an allowed pod').toEqual(passed);
    expect(await sent(one, 'attacker', [`${RECEIVER.ipv6}/128`]), 'to an allowed pod').toEqual(passed);
  });

  // A pod that forwards what others send, such as a NAT gateway, has `provocation` off.
  const modes = allModes('enforce', { provocation: 'off' });
  it.each([
    ['IPv4', direct4(ATTACKER.ipv4, ALLOWED4)],
    ['IPv6', direct(ATTACKER.ipv6, ALLOWED)],
  ])('from it - an allowed address of %s at the MAC of the other pod', async (_, one) => {
    expect(await sent(one, null, [], { modes }), 'control: without quarantine').toEqual(passed);
    const dropped = { landed: 0, sender: { 'quarantine-ingress drop': TIMES }, other: {} };
    expect(await sent(one, 'attacker', [`${ALLOWED4}/32`], { modes })).toEqual(dropped);
  });

  it('from it - an allowed address that is a further one of the other pod passes', async () => {
    const one = direct(ATTACKER.ipv6, ALLOWED);
    expect(await sent(one, 'attacker', [], { modes, hasMore: true })).toEqual(passed);
  });

  it('from it - a packet to an allowed group passes', async () => {
    const one = direct(ATTACKER.ipv6, 'ff15::7', '33:33:00:00:00:07');
    expect((await sent(one, 'attacker', [])).landed).toBe(0);
    expect(await sent(one, 'attacker', ['ff15::/16'])).toEqual(passed);
  });

  it.each(Object.entries(incomingFrames))('to it - %s', async (_, one) => {
    expect(await sent(one, null, []), 'control: without quarantine').toEqual(passed);
    const dropped = { landed: 0, sender: {}, other: { 'quarantine-egress drop': TIMES } };
    expect(await sent(one, 'receiver', [])).toEqual(dropped);
    expect(await sent(one, 'receiver', [`${ATTACKER.ipv4}/32`]), 'of an allowed pod').toEqual(passed);
  });
});

// The frames that bridge netfilter cuts from a joined packet have no index of the interface that it came from.
describe('fragments on a bridge with bridge netfilter', () => {
  const NOBODY = '02:00:00:00:00:99';
  const ends = { source: ATTACKER.ipv6, destination: ALLOWED };
  const datagram = udp(4000, 53, Buffer.alloc(2000, 7), ends);
  const part = (from: number, to?: number) => {
    const payload = Buffer.concat([fragmentHeader(PROTOCOL.udp, from, to !== undefined), datagram.subarray(from, to)]);
    return frame(ETHERTYPE.ipv6, ipv6({ ...ends, next: PROTOCOL.fragment }, payload), NOBODY);
  };
  const fragments = [part(0, 1400), part(1400)];
  // The bridge copies the packet for its newer ports, and cuts a copy another way.
  const older = ['ip link add d1 type veth peer name d2', 'ip link set d1 master br0 up', 'ip link set d2 up'];
  const joins = [
    'sysctl -qw net.bridge.bridge-nf-call-ip6tables=1 net.ipv6.conf.all.disable_ipv6=0',
    'nft add table ip6 t',
    'nft add chain ip6 t c "{ type filter hook forward priority 0; }"',
    'nft add rule ip6 t c ct state new accept',
  ];

  /** Makes the pair of the attacker again: a node counts its interfaces up, also beyond 16 bits. */
  const withIndex = (index: number) => (device: string) => [
    'n=$(ip netns identify $$)',
    `ip link del ${device}`,
    `ip link add ${device} index ${index} type veth peer name eth0 netns \${n}${device.slice(1)}`,
    ...BRIDGE.host(device, ATTACKER),
  ];

  it.for<[string, Layout['host']]>([
    ['do not reach another pod either', BRIDGE.host],
    [
      'do not, from an interface with an index of more than 16 bits',
      (device, identity) => (device === 'ha' ? withIndex(70_000)(device) : BRIDGE.host(device, identity)),
    ],
  ])('%s', async ([, host], context) => {
    await using node = await TestNode.start({ layout: { ...BRIDGE, host, node: [...BRIDGE.node, ...older] } });
    await node.open();
    await node.agent.call('object.maps.allowedCidrs.replace', ['fd99::/16']);
    const lacks = await commandIn(node.netns, 'sh', '-ec', joins.join('\n')).then(
      () => '',
      (error: Error) => error.message,
    );
    if (lacks !== '') context.skip(`optional: this kernel lacks bridge netfilter: ${lacks}`);
    await using _other = await node.guard(node.pods.receiver);
    const landed = () => node.allLanded().filter((hex) => hex.startsWith(NOBODY.replaceAll(':', ''))).length;
    {
      await using _open = await node.guard(node.pods.attacker);
      for (const one of fragments) await node.send(one);
      await waitFor(landed, { what: 'control: they land without quarantine', until: (count) => count === 2 });
      const cut = await commandIn(node.netns, 'grep', 'Ip6FragCreates', '/proc/net/snmp6');
      expect(Number(cut.trim().split(/\s+/)[1]), 'the bridge has cut them again').toBeGreaterThan(0);
    }
    node.forgetLanded();
    await using quarantined = await node.guard(node.pods.attacker, { quarantineUntilNs: FOREVER_NS });
    // A whole packet to the allowed address is not dropped.
    const whole = direct(ATTACKER.ipv6, ALLOWED, NODE.mac);
    for (const one of [whole, ...fragments]) await node.send(one);
    const drops = async () => (await quarantined.counts())['quarantine-ingress drop'];
    await waitFor(drops, { what: 'both to be dropped', until: (count) => count === 2 });
    expect(landed()).toBe(0);
  });
});

// The node joins the fragments that it routes, and cuts the packet again: the new frames have the tc_index that
// the pod's kernel wrote, and no index of the interface that they came from.
describe('fragments that the node routes', () => {
  const OPTION_BYTES = 248;
  const option = Buffer.alloc(OPTION_BYTES);
  option.set([PROTOCOL.fragment, OPTION_BYTES / 8 - 1, 1, OPTION_BYTES - 4]);
  const ends = { source: ATTACKER.ipv6, destination: RECEIVER.ipv6 };
  // The kernel cuts it as it was cut.
  const datagram = udp(4000, 53, Buffer.alloc(1192, 7), ends);
  const part = (gateway: string, from: number, to?: number) => {
    const payload = Buffer.concat([fragmentHeader(PROTOCOL.udp, from, to !== undefined), datagram.subarray(from, to)]);
    // Only the first one has the option, so the kernel finds no room in the second one, and cuts new frames.
    const packet =
      from === 0
        ? ipv6({ ...ends, next: PROTOCOL.destinationOptions }, Buffer.concat([option, payload]))
        : ipv6({ ...ends, next: PROTOCOL.fragment }, payload);
    return frame(ETHERTYPE.ipv6, packet, gateway);
  };
  const routes = [
    'ip link add v7 type veth peer name v8',
    'sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.all.forwarding=1',
    `ip -6 route add ${RECEIVER.ipv6} dev br0`,
    `ip -6 neigh replace ${RECEIVER.ipv6} lladdr ${RECEIVER.mac} dev br0 nud permanent`,
    'nft add table ip6 t',
    'nft add chain ip6 t c "{ type filter hook forward priority 0; }"',
    'nft add rule ip6 t c ct state new accept',
  ];

  it('blame no other pod by a tc_index that the pod wrote', async (context) => {
    await using node = await TestNode.start();
    await node.open();
    const { attacker, receiver } = node.pods;
    const lacks = await commandIn(node.netns, 'sh', '-ec', routes.join('\n')).then(
      () => '',
      (error: Error) => error.message,
    );
    if (lacks !== '') context.skip(`optional: this kernel lacks conntrack of IPv6: ${lacks}`);
    const [{ ifindex }] = JSON.parse(await command('ip', '-n', node.netns, '-j', 'link', 'show', 'v7'));
    const write = [
      'tc qdisc add dev eth0 clsact',
      `tc filter add dev eth0 egress protocol all u32 match u32 0 0 flowid :${ifindex.toString(16)}`,
    ];
    await commandIn(attacker.netns, 'sh', '-ec', write.join('\n'));
    const quarantine = { quarantineUntilNs: FOREVER_NS };
    await using _to = await node.guard(receiver, quarantine);
    await using silent = await node.guard({ ...attacker, ifindex, slot: 2 }, quarantine);
    const send = async () => {
      for (const one of [part(attacker.hostMac, 0, 600), part(attacker.hostMac, 600)]) await node.send(one);
    };
    await send();
    const blamed = () => silent.counts().then((counts) => counts['quarantine-ingress drop'] ?? 0);
    await waitFor(blamed, { what: 'control: an unguarded pod blames it', until: (count) => count === 2 });
    await using _sender = await node.guard(attacker);
    await send();
    // The kernel counts a frame after it has sent it.
    const cut = async () =>
      Number((await commandIn(node.netns, 'grep', 'Ip6FragCreates', '/proc/net/snmp6')).split(/\s+/)[1]);
    await waitFor(cut, { what: 'two more frames to the receiver', until: (count) => count === 4 });
    expect(await blamed()).toBe(2);
  });
});

describe('a quarantined pod and its allowed network, with real stacks', () => {
  it('it finds and reaches an allowed pod on the bridge, and no other', async () => {
    await using node = await TestNode.start({ stacks: true });
    await node.open();
    const { attacker, receiver } = node.pods;
    await using _quarantined = await node.guard(attacker, { quarantineUntilNs: FOREVER_NS });
    await using _other = await node.guard(receiver);
    const reaches = async (address: string) => {
      for (const { netns } of [attacker, receiver]) await commandIn(netns, 'ip', 'neigh', 'flush', 'dev', 'eth0');
      return commandIn(attacker.netns, 'ping', '-c', '1', '-W', '1', address).then(
        () => true,
        () => false,
      );
    };
    const both = async () => [await reaches(RECEIVER.ipv4), await reaches(RECEIVER.ipv6)];
    expect(await both()).toEqual([false, false]);
    await node.agent.call('object.maps.allowedCidrs.replace', [`${RECEIVER.ipv4}/32`, `${RECEIVER.ipv6}/128`]);
    expect(await both()).toEqual([true, true]);
  });
});
