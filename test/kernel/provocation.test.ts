// Packets to a pod that would make its own software violate a rule. A neighbour, or a client outside of
// the cluster, needs no right of the pod for that, and a response would be against the pod.
// On netkit it needs Linux 6.7: BAILIFF_VM_FILES=provocation.
import path from 'node:path';
import { type AddressGrant, type IfaceRecord, parseAddress, VECTORS, type Vector } from '@bailiff/bpf';
import {
  arp,
  destinationOptions,
  ETHERTYPE,
  ethernet,
  extension,
  type Ipv4Fields,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  macOption,
  ndBody,
  PROTOCOL,
  routingHeader,
  solicitedNode,
  TCP_FLAGS,
  tcp,
  udp,
} from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { RunningProcess } from '../support/process.ts';
import { BRIDGE, identityOn, type Layout, onNetkit, ROUTED } from './harness/layouts.ts';
import { ATTACKER, allModes, FrameSender, NODE, noNetkit, RECEIVER, TestNode } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';
import { ECHO_PORT, startServer } from './harness/world.ts';

const TIMES = 3;
/** Of another interface of the receiver. */
const OTHER = { ipv4: '172.17.0.1', ipv6: 'fd99::1' };
const TUNNEL_PORT = 4789;
const BROADCAST_MAC = 'ff:ff:ff:ff:ff:ff';
const GROUP_MAC = '01:00:5e:00:00:fb';
const GROUP_MAC6 = '33:33:00:00:00:fb';

function packet4(payload: Buffer | null, fields: Partial<Ipv4Fields> = {}, to: string = RECEIVER.mac): Buffer {
  const ends = { source: ATTACKER.ipv4, destination: RECEIVER.ipv4, protocol: PROTOCOL.udp, ...fields };
  const packet = ipv4(ends, payload ?? udp(40_000, ECHO_PORT, Buffer.from('ping'), ends));
  return ethernet({ source: ATTACKER.mac, destination: to, type: ETHERTYPE.ipv4 }, packet);
}
function packet6(
  next: number,
  payload: (ends: { source: string; destination: string }) => Buffer,
  to: string = RECEIVER.ipv6,
  mac: string = RECEIVER.mac,
) {
  const ends = { source: ATTACKER.ipv6, destination: to };
  const packet = ipv6({ ...ends, next }, payload(ends));
  return ethernet({ source: ATTACKER.mac, destination: mac, type: ETHERTYPE.ipv6 }, packet);
}
const from4 = (port: number, fields: Partial<Ipv4Fields> = {}, to?: string): Buffer => {
  const ends = { source: ATTACKER.ipv4, destination: RECEIVER.ipv4, ...fields };
  return packet4(udp(port, ECHO_PORT, Buffer.from('ping'), ends), fields, to);
};
const from6 = (port: number, to?: string): Buffer =>
  packet6(PROTOCOL.udp, (ends) => udp(port, ECHO_PORT, Buffer.from('ping'), ends), to);
const ping4 = (destination: string, to?: string) => packet4(icmp(8), { destination, protocol: PROTOCOL.icmp }, to);
const ping6 = (destination: string, to?: string) =>
  packet6(PROTOCOL.icmpv6, (ends) => icmpv6(128, Buffer.alloc(4), ends), destination, to);
const pingOfGroup = (source: string) => {
  const ends = { source, destination: 'ff02::1' };
  const packet = ipv6({ ...ends, next: PROTOCOL.icmpv6 }, icmpv6(128, Buffer.alloc(4), ends));
  return ethernet({ source: ATTACKER.mac, destination: '33:33:00:00:00:01', type: ETHERTYPE.ipv6 }, packet);
};
const request = (target: string) =>
  ethernet(
    { source: ATTACKER.mac, destination: BROADCAST_MAC, type: ETHERTYPE.arp },
    arp({ operation: 1, senderMac: ATTACKER.mac, sender: ATTACKER.ipv4, target }),
  );

/** To the groups of the address, or to the pod alone. */
const solicitation = (target: string, to: string = solicitedNode(target)) => {
  const ends = { source: ATTACKER.ipv6, destination: to };
  const message = icmpv6(135, ndBody(target, macOption(1, ATTACKER.mac)), ends);
  return ethernet(
    {
      source: ATTACKER.mac,
      destination: to === RECEIVER.ipv6 ? RECEIVER.mac : '33:33:ff:00:00:00',
      type: ETHERTYPE.ipv6,
    },
    ipv6({ ...ends, next: PROTOCOL.icmpv6, hopLimit: 255 }, message),
  );
};
/** The anycast address of the routers of the subnet. */
const ROUTERS = 'fd77::';

/** Of a router of the link, for all its hosts or the pod alone, after this many options that say nothing. */
const advertisement = (prefix: string, { flags = AUTONOMOUS, before = 0, to = 'ff02::1' } = {}): Buffer => {
  const ends = { source: ATTACKER.linkLocal, destination: to };
  const head = Buffer.from([64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
  const option = Buffer.concat([
    Buffer.from([3, 4, 64, flags, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0]),
    parseAddress(prefix),
  ]);
  const padding = Array.from({ length: before }, () => Buffer.from([200, 1, 0, 0, 0, 0, 0, 0]));
  const message = icmpv6(134, Buffer.concat([head, ...padding, option]), ends);
  const destination = to === RECEIVER.ipv6 ? RECEIVER.mac : '33:33:00:00:00:01';
  const packet = ipv6({ ...ends, next: PROTOCOL.icmpv6, hopLimit: 255 }, message);
  return ethernet({ source: ATTACKER.mac, destination, type: ETHERTYPE.ipv6 }, packet);
};
const AUTONOMOUS = 0x40;
const PREFIX = '2001:db8::';

/** Asks for an error in its first option, and has another header behind them. */
const optional = (bytes: number) =>
  packet6(PROTOCOL.destinationOptions, () => {
    const options = [Buffer.from([0x80, 0]), pad(bytes)];
    const last = extension(PROTOCOL.none);
    return Buffer.concat([destinationOptions(PROTOCOL.destinationOptions, options), last]);
  });
const pad = (bytes: number): Buffer =>
  bytes > 255
    ? Buffer.concat([pad(200), pad(bytes - 200)])
    : Buffer.from([0x1e, bytes - 2, ...Buffer.alloc(bytes - 2)]);
const sourceRouted = packet4(icmp(8), {
  protocol: PROTOCOL.icmp,
  options: Buffer.from([131, 7, 8, 10, 77, 0, 1, 0]),
});
/** Asks for an error too, which names the last segment. */
const segments = (last: string) =>
  packet6(PROTOCOL.destinationOptions, (ends) => {
    const options = destinationOptions(PROTOCOL.routing, [Buffer.from([0x80, 0])]);
    return Buffer.concat([options, routingHeader(PROTOCOL.udp, 4, last, 0), udp(4000, 9, undefined, ends)]);
  });
const manyHeaders = (count: number) =>
  packet6(PROTOCOL.destinationOptions, (ends) => {
    const headers = Array.from({ length: count }, (_, i) =>
      extension(i === count - 1 ? PROTOCOL.udp : PROTOCOL.destinationOptions),
    );
    return Buffer.concat([...headers, udp(4000, 9, undefined, ends)]);
  });

/** Of no connection, so the server resets it. */
const acknowledgement = (to: string) => {
  const fields = { source: 4000, destination: ECHO_PORT, flags: TCP_FLAGS.ack };
  return packet6(PROTOCOL.tcp, (ends) => tcp(fields, undefined, ends), to);
};
/** A socket of both families answers it over IPv4. */
const fromMapped = (port: number) => {
  const ends = { source: `::ffff:${ATTACKER.ipv4}`, destination: RECEIVER.ipv6 };
  const packet = ipv6({ ...ends, next: PROTOCOL.udp }, udp(port, ECHO_PORT, Buffer.from('ping'), ends));
  return ethernet({ source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv6 }, packet);
};

/** Behind so many tags without an id, which the kernel of the receiver removes. */
const tagged = (frame: Buffer, count: number): Buffer =>
  Buffer.concat([frame.subarray(0, 12), ...Array.from({ length: count }, () => NO_ID), frame.subarray(12)]);
const NO_ID = Buffer.from([ETHERTYPE.vlan >> 8, ETHERTYPE.vlan & 0xff, 0, 0]);
/** One in the metadata, and two in the frame. */
const READ_TAGS = 3;

/** Of the receiver, what it sends for an answer, and the nearest frame with an answer that passes. */
const PROVOKED: readonly (readonly [name: string, vector: Vector, frame: Buffer])[] = [
  ['UDP from a tunnel port', 'tunnel', from4(TUNNEL_PORT)],
  ['UDP from a tunnel port over IPv6', 'tunnel', from6(TUNNEL_PORT)],
  ["UDP from a DHCP client's port", 'dhcp-server', from4(68)],
  ["UDP from a DHCPv6 client's port", 'dhcp-server', from6(546)],
  ["UDP from a DHCP server's port", 'dhcp-server', from4(67)],
  ["UDP from a DHCPv6 server's port", 'dhcp-server', from6(547)],
  ['a packet that the pod would forward', 'ipv4-source', packet4(udp(4000, 53), { destination: '198.51.100.7' })],
  ['one that it would report as too old', 'redirect', packet4(udp(4000, 53), { destination: '198.51.100.7', ttl: 1 })],
  ['a ping of an address of another interface', 'ipv4-source', ping4(OTHER.ipv4)],
  ['a ping of an IPv6 address of another interface', 'ipv6-source', ping6(OTHER.ipv6)],
  ['ARP for loopback', 'arp-sender', request('127.0.0.1')],
  ['an NS for the routers of the subnet', 'nd-target', solicitation(ROUTERS)],
  ['one to the pod alone', 'nd-target', solicitation(ROUTERS, RECEIVER.ipv6)],
  ['a ping of loopback', 'ipv4-source', ping4('127.0.0.1')],
  ['a ping of loopback in a broadcast', 'ipv4-source', ping4('127.0.0.1', BROADCAST_MAC)],
  ['a ping of loopback to a group', 'ipv4-source', ping4('127.0.0.3', GROUP_MAC)],
  ['a ping of another interface in a broadcast', 'ipv4-source', ping4(OTHER.ipv4, BROADCAST_MAC)],
  ['a ping of an IPv6 address of another interface to a group', 'ipv6-source', ping6(OTHER.ipv6, GROUP_MAC6)],
  ['a ping of a group, from an address of another interface', 'ipv6-source', pingOfGroup(OTHER.ipv6)],
  ["UDP to a DHCP client's port of loopback", 'ipv4-source', packet4(udp(4000, 68), { destination: '127.0.0.1' })],
  [
    "UDP to a DHCP client's port of another interface",
    'ipv4-source',
    packet4(udp(4000, 68), { destination: OTHER.ipv4 }),
  ],
  [
    "a DHCP server's offer of another address, to a pod that has one",
    'ipv4-source',
    packet4(udp(67, 68, Buffer.alloc(240)), { destination: '198.51.100.7' }),
  ],
  ['TCP to a group, at the port of a server', 'ipv6-source', acknowledgement('ff02::1')],
  ['UDP from a mapped address', 'dhcp-server', fromMapped(68)],
  ['a source route', 'source-route', sourceRouted],
  ['a route that ends elsewhere', 'redirect', segments('fd77::99')],
  ['headers that end too late in an error about them', 'malformed', optional(440)],
  ['more headers than are read', 'malformed', manyHeaders(9)],
  ['a packet behind as many tags as are read', 'tunnel', tagged(from4(TUNNEL_PORT), READ_TAGS)],
  ['one behind more tags', 'tunnel', tagged(from4(TUNNEL_PORT), READ_TAGS + 1)],
  ['ARP for loopback behind more tags', 'arp-sender', tagged(request('127.0.0.1'), READ_TAGS + 1)],
];

const FEATURES = path.join(import.meta.dirname, 'harness/features.py');
const SEGMENTS = 5;
/** Datagrams of one call (UDP_SEGMENT), from this port. */
const SEND_SEGMENTS = `
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.setsockopt(socket.IPPROTO_UDP, 103, 64)
sender.bind(('${ATTACKER.ipv4}', int(sys.argv[1])))
sender.sendto(bytes(64 * ${SEGMENTS}), ('${RECEIVER.ipv4}', ${ECHO_PORT}))
`;

const LINKS = [BRIDGE, onNetkit(BRIDGE, 'l2'), onNetkit(ROUTED, 'l3')];
const whyNot = ({ netkit }: Layout) => (netkit === undefined ? '' : noNetkit());

/**
 * Sends frames to the receiver. In mode L3 of netkit there is no link between the pods, and the frames have its MAC:
 * the node sends them.
 */
class Neighbour implements AsyncDisposable {
  readonly #node: TestNode;
  readonly #sender: FrameSender | null;
  #fences = 0;

  constructor(node: TestNode) {
    const { hostInterface } = node.pods.receiver;
    this.#node = node;
    this.#sender = node.layout.netkit === 'l3' ? new FrameSender(node.netns, ['push', hostInterface, '0']) : null;
  }

  /** With the MAC of the receiver. */
  #onLink(frame: Buffer): Buffer {
    if (this.#sender === null || frame.subarray(0, 6).toString('hex') !== RECEIVER.mac.replaceAll(':', ''))
      return frame;
    return Buffer.concat([Buffer.alloc(6), frame.subarray(6)]);
  }

  send(frame: Buffer, count = 1): Promise<void> {
    return (this.#sender ?? this.#node).send(this.#onLink(frame), count);
  }

  landed(frame: Buffer): number {
    return this.#node.landed(this.#onLink(frame));
  }

  /** As that of the node. */
  async fence(): Promise<void> {
    const ends = { source: ATTACKER.ipv4, destination: RECEIVER.ipv4 };
    const frame = packet4(udp(40_000, 40_000, Buffer.from(`fence ${++this.#fences}`), ends));
    await this.send(frame);
    await waitFor(() => this.landed(frame), { what: `fence ${this.#fences}`, until: (count) => count === 1 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sender?.[Symbol.asyncDispose]();
  }
}

describe.each(LINKS)('provocation, with real stacks, $name', (layout) => {
  let node: TestNode;
  let neighbour: Neighbour;
  let server: RunningProcess;
  // The kernel answers neither ARP nor an NS for routers in mode L3.
  const rows = PROVOKED.filter(([, vector]) => layout.netkit !== 'l3' || !/^(arp-sender|nd-target)$/.test(vector));
  beforeEach((context) => {
    if (whyNot(layout) !== '') context.skip(whyNot(layout));
  });
  beforeAll(async () => {
    if (whyNot(layout) !== '') return;
    node = await TestNode.start({ stacks: true, layout });
    neighbour = new Neighbour(node);
    await node.open();
    await node.agent.call('object.maps.tunnelPorts.replace', [{ port: TUNNEL_PORT, kind: 'vxlan' }]);
    await node.agent.call('object.maps.networks.replace', [
      { cidr: '10.77.0.0/16', place: 'inside' },
      { cidr: 'fd77::/64', place: 'inside' },
    ]);
    const { netns } = node.pods.receiver;
    // A pod inherits these from its node.
    const setup = [
      'sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.all.accept_source_route=1',
      'sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0',
      // A pod that routes sets this itself.
      // It accepts routers nevertheless, as a pod does that does not route.
      'sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.eth0.accept_ra=2',
      'sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0',
      'ip link add other0 type bridge',
      'ip link set other0 up',
      `ip addr add ${OTHER.ipv4}/16 dev other0`,
      `ip addr add ${OTHER.ipv6}/64 dev other0 nodad`,
    ];
    await commandIn(netns, 'sh', '-ec', setup.join('\n'));
    server = await startServer(netns);
  });
  afterAll(async () => {
    await server?.kill();
    await neighbour?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
  });

  it.each(rows)('%s - is no violation %s of the pod any more', async (_, vector, frame) => {
    {
      await using open = await node.guard(node.pods.receiver, { modes: allModes('enforce', { provocation: 'off' }) });
      await neighbour.send(frame, TIMES);
      await open.counted({ [`${vector} drop`]: TIMES });
    }
    await using guarded = await node.guard(node.pods.receiver);
    await neighbour.send(frame, TIMES);
    await neighbour.send(from4(40_000));
    await neighbour.send(from6(40_000));
    await guarded.counted({ 'provocation drop': TIMES });
    await neighbour.fence();
    expect(await guarded.counts()).toEqual({ 'provocation drop': TIMES });
    const [sample] = await guarded.samples();
    expect(sample).toMatchObject({ vector: 'provocation', action: 'drop', egress: true, claimedMac: ATTACKER.mac });
  });

  it('datagrams from a tunnel port that a device of the node joined by list - are no violation any more', async (context) => {
    if (layout.netkit !== undefined) context.skip('optional: a netkit device joins nothing');
    const { attacker, receiver } = node.pods;
    const device = (...wanted: string[]) => ['python3', FEATURES, attacker.hostInterface, ...wanted] as const;
    // They leave one by one, and arrive together.
    await commandIn(attacker.netns, 'python3', FEATURES, 'eth0', 'tx-udp-segmentation=off');
    const send = (port: number) => commandIn(attacker.netns, 'python3', '-c', SEND_SEGMENTS, String(port));
    await commandIn(node.netns, ...device('rx-gro=on', 'rx-gro-list=on'));
    try {
      {
        await using open = await node.guard(receiver, { modes: allModes('enforce', { provocation: 'off' }) });
        await send(TUNNEL_PORT);
        await open.counted({ 'tunnel drop': SEGMENTS });
      }
      await using guarded = await node.guard(receiver);
      await send(TUNNEL_PORT);
      await guarded.counted({ 'provocation drop': SEGMENTS });
      await send(40_000);
      await neighbour.fence();
      expect(await guarded.counts()).toEqual({ 'provocation drop': SEGMENTS });
    } finally {
      await commandIn(node.netns, ...device('rx-gro=off', 'rx-gro-list=off'));
    }
  });

  it.each([
    ['all hosts', 'ff02::1', 1],
    ['the pod alone', RECEIVER.ipv6, 5],
  ])('router advertisements to %s - the pod asks for no address in their prefixes', async (_, to, first) => {
    // On netkit it takes the address without asking.
    const asks = layout.netkit === undefined;
    const frames = Array.from({ length: TIMES }, (_, at) => advertisement(`2001:db8:${first + at}::`, { to }));
    const addresses = () => commandIn(node.pods.receiver.netns, 'ip', '-6', 'addr', 'show', 'dev', 'eth0');
    {
      await using guarded = await node.guard(node.pods.receiver);
      for (const frame of frames) await neighbour.send(frame);
      await guarded.counted({ 'provocation drop': TIMES });
      await neighbour.fence();
      expect([await addresses(), await guarded.counts()]).toEqual([
        expect.not.stringContaining('2001:db8:'),
        { 'provocation drop': TIMES },
      ]);
    }
    await using open = await node.guard(node.pods.receiver, { modes: allModes('enforce', { provocation: 'off' }) });
    for (const frame of frames) await neighbour.send(frame);
    if (asks) await open.counted({ 'nd-target drop': TIMES });
    await waitFor(addresses, { what: 'control: addresses', until: (all) => all.split('2001:db8:').length > TIMES });
    await commandIn(node.pods.receiver.netns, 'ip', '-6', 'addr', 'flush', 'dev', 'eth0', 'to', '2001:db8::/32');
  });
});

/** A bridge sends it to all ports. */
const UNKNOWN_MAC = '02:00:00:00:77:99';
const ELSEWHERE: readonly AddressGrant[] = [
  { cidr: '198.51.100.0/24', neighbour: false },
  { cidr: '10.77.0.10', neighbour: false, source: false, tunnel: true },
];
interface Passing {
  readonly name: string;
  readonly frame: Buffer;
  readonly record?: Partial<IfaceRecord>;
  readonly grants?: readonly AddressGrant[];
}
const only = (modes: Partial<Record<Vector, 'audit'>>) => ({ modes: allModes('enforce', modes) });
const transit = packet4(udp(4000, 53), { destination: '198.51.100.7' });

/** Frames of which the answer passes, or which get none. @param mode of netkit */
const passing = (mode: Layout['netkit']): readonly Passing[] => [
  { name: 'UDP from another port', frame: from4(40_000) },
  {
    name: 'TCP from a tunnel port',
    frame: packet4(tcp({ source: TUNNEL_PORT, destination: 80 }), { protocol: PROTOCOL.tcp }),
  },
  { name: 'a later fragment, which has no ports', frame: packet4(udp(TUNNEL_PORT, 53), { offset: 8 }) },
  {
    name: 'UDP from a tunnel port whose answer is granted',
    frame: from4(TUNNEL_PORT),
    record: { hasMore: true },
    grants: ELSEWHERE,
  },
  {
    name: 'UDP from a tunnel port whose answer is audited',
    frame: from4(TUNNEL_PORT),
    record: only({ tunnel: 'audit' }),
  },
  {
    name: "a DHCP client's message to all servers",
    frame: packet4(udp(68, 67, Buffer.alloc(240)), { destination: '255.255.255.255' }, BROADCAST_MAC),
  },
  { name: "a server's message to a client", frame: packet4(udp(67, 68, Buffer.alloc(240))) },
  {
    name: "a server's message to a client over IPv6",
    frame: packet6(PROTOCOL.udp, (ends) => udp(547, 546, undefined, ends)),
  },
  {
    name: "UDP from a DHCP server's port, to a pod that may be one",
    frame: from4(67),
    record: only({ 'dhcp-server': 'audit' }),
  },
  { name: 'a datagram to a subnet', frame: from4(40_000, { destination: '10.77.0.255' }, BROADCAST_MAC) },
  { name: "the pod's own address in a broadcast", frame: from4(40_000, {}, BROADCAST_MAC) },
  { name: 'a route that ends at the pod', frame: segments(RECEIVER.ipv6) },
  {
    name: 'a route that ends elsewhere, to a pod that may route',
    frame: segments('fd77::99'),
    record: only({ 'source-route': 'audit' }),
  },
  {
    name: 'ARP for loopback, to a pod that may answer',
    frame: request('127.0.0.1'),
    record: only({ 'arp-sender': 'audit' }),
  },
  {
    name: "a server's offer of an address that is not yet the pod's, which has none",
    frame: packet4(udp(67, 68, Buffer.alloc(240)), { destination: '10.77.0.99' }),
    record: { ipv4: null, hasMore: true },
    // The fence reaches it.
    grants: [{ cidr: RECEIVER.ipv4, neighbour: false }],
  },
  { name: 'an address that the pod may send from', frame: transit, record: { hasMore: true }, grants: ELSEWHERE },
  { name: 'a pod that may send from any address', frame: transit, record: only({ 'ipv4-source': 'audit' }) },
  { name: "a copy of a neighbour's traffic", frame: packet4(null, { destination: NODE.ipv4 }, UNKNOWN_MAC) },
  { name: 'UDP to a group of IPv6', frame: from6(40_000, 'ff02::1') },
  { name: 'a ping of a group from the link', frame: pingOfGroup(ATTACKER.linkLocal) },
  { name: 'a ping of a group from the network of the pod', frame: pingOfGroup(ATTACKER.ipv6) },
  { name: 'TCP to the pod', frame: acknowledgement(RECEIVER.ipv6) },
  { name: 'a group', frame: packet4(null, { destination: '224.0.0.251' }, GROUP_MAC) },
  { name: 'a group, sent to the pod alone', frame: packet4(null, { destination: '224.0.0.251' }) },
  { name: 'headers of which all are read in an error about them', frame: optional(380) },
  { name: 'as many headers as are read', frame: manyHeaders(8) },
  { name: 'two tags', frame: tagged(from4(40_000), 2) },
  { name: 'the link-local address of the pod', frame: ping6(identityOn(RECEIVER, mode).linkLocal) },
  { name: 'a pod without identity', frame: transit, record: { state: 'unknown' } },
  { name: 'a pod that has ended', frame: transit, record: { orphaned: true } },
  { name: 'a request for another address', frame: request(OTHER.ipv4) },
  { name: 'an NS for another address', frame: solicitation(OTHER.ipv6) },
  { name: "an NS for the pod's address", frame: solicitation(RECEIVER.ipv6, RECEIVER.ipv6) },
  {
    name: 'an NS for an address that the pod may announce',
    frame: solicitation(ROUTERS),
    record: { hasMore: true },
    grants: [{ cidr: ROUTERS, neighbour: true }],
  },
  { name: 'a router that offers no prefix for addresses', frame: advertisement(PREFIX, { flags: 0x80 }) },
  { name: 'as many options of a router as are read', frame: advertisement(PREFIX, { flags: 0x80, before: 15 }) },
  {
    name: 'a prefix in which the pod may announce addresses',
    frame: advertisement(PREFIX, { before: 8 }),
    record: { hasMore: true },
    grants: [{ cidr: `${PREFIX}/64`, neighbour: true }],
  },
  {
    name: 'a prefix in which the pod has the address of its MAC',
    frame: advertisement(PREFIX, { to: RECEIVER.ipv6 }),
    record: { ipv6: mode === 'l3' ? '2001:db8::200:ff:fe00:0' : '2001:db8::ff:fe00:770b', hasMore: true },
    grants: [{ cidr: RECEIVER.ipv6, neighbour: true }],
  },
  {
    name: 'a prefix, to a pod that may have any address',
    frame: advertisement(PREFIX),
    record: only({ 'nd-target': 'audit', 'ipv6-source': 'audit' }),
  },
];

describe.each(LINKS)('provocation, $name', (layout) => {
  let node: TestNode;
  let neighbour: Neighbour;
  beforeEach((context) => {
    if (whyNot(layout) !== '') context.skip(whyNot(layout));
  });
  beforeAll(async () => {
    if (whyNot(layout) !== '') return;
    node = await TestNode.start({ layout });
    neighbour = new Neighbour(node);
    await node.open();
    await node.agent.call('object.maps.tunnelPorts.replace', [{ port: TUNNEL_PORT, kind: 'vxlan' }]);
    await node.agent.call('object.maps.networks.replace', [{ cidr: '10.77.0.0/16', place: 'inside' }]);
  });
  afterEach(() => node?.forgetLanded());
  afterAll(async () => {
    await neighbour?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
  });

  it.each(passing(layout.netkit))('$name - passes', async ({ frame, record, grants }) => {
    await using guarded = await node.guard(node.pods.receiver, record);
    if (grants !== undefined) await node.agent.call('object.maps.addresses.replace', guarded.key, grants);
    await neighbour.send(frame, TIMES);
    await neighbour.fence();
    expect([neighbour.landed(frame), await guarded.counts()]).toEqual([TIMES, {}]);
  });

  const frames = [from4(TUNNEL_PORT), from4(TUNNEL_PORT, { moreFragments: true }), transit, ping6('fe80::99')];
  frames.push(advertisement(PREFIX, { before: 15 }), advertisement(PREFIX, { flags: 0, before: 16 }));
  frames.push(advertisement(PREFIX, { to: RECEIVER.ipv6 }), packet4(null, { destination: '240.0.0.1' }));
  it.each(frames)(
    'frame %# - is dropped, audited or passed as its mode says, and quarantine comes first',
    async (frame) => {
      await using guarded = await node.guard(node.pods.receiver);
      const send = async (change: Partial<IfaceRecord>): Promise<number> => {
        node.forgetLanded();
        await guarded.update(change);
        await neighbour.send(frame, TIMES);
        await guarded.update({});
        await neighbour.fence();
        return neighbour.landed(frame);
      };
      expect(await send({})).toBe(0);
      expect(await guarded.counts()).toEqual({ 'provocation drop': TIMES });
      expect(await send({ modes: allModes('enforce', { provocation: 'off' }) })).toBe(TIMES);
      expect(await guarded.counts()).toEqual({ 'provocation drop': TIMES });
      expect(await send({ modes: allModes('enforce', { provocation: 'audit' }) })).toBe(TIMES);
      expect(await send({ auditUntilNs: 2n ** 63n })).toBe(TIMES);
      expect(await guarded.counts()).toEqual({ 'provocation drop': TIMES, 'provocation audit': 2 * TIMES });
      expect(await send({ quarantineUntilNs: 2n ** 64n - 1n })).toBe(0);
      expect(await guarded.counts()).toMatchObject({ 'provocation drop': TIMES, 'quarantine-egress drop': TIMES });
    },
  );

  it('samples - a flood of them leaves half of the tokens to what the pod sends', async () => {
    const sampling = { burst: 8, perSecond: 1 };
    await using guarded = await node.guard(node.pods.receiver, { sampling });
    await neighbour.send(from4(TUNNEL_PORT), 500);
    await neighbour.fence();
    const { identity, netns } = node.pods.receiver;
    await using sender = new FrameSender(netns, ['push', 'eth0', '0']);
    const own = { destination: ATTACKER.mac, source: identity.mac, type: ETHERTYPE.ipv4 };
    const forged = ethernet(
      own,
      ipv4({ source: NODE.ipv4, destination: ATTACKER.ipv4, protocol: PROTOCOL.udp }, udp(1, 9)),
    );
    await sender.send(forged, TIMES);
    await guarded.counted({ 'provocation drop': 500, 'ipv4-source drop': TIMES });
    const vectors = (await guarded.samples()).map(({ vector }) => vector);
    expect(vectors.filter((vector) => vector === 'ipv4-source')).toHaveLength(TIMES);
    expect(vectors.length).toBeGreaterThan(2 * TIMES);
  });

  it('a pod is judged by what it sends only: nothing of it is a provocation', async (context) => {
    if (layout.netkit === 'l3') context.skip('optional: the node routes between the pods');
    expect(VECTORS).toContain('provocation');
    await using guarded = await node.guard(node.pods.attacker);
    await node.send(from4(TUNNEL_PORT), TIMES);
    await node.fence();
    expect([node.landed(from4(TUNNEL_PORT)), await guarded.counts()]).toEqual([TIMES, {}]);
  });
});
