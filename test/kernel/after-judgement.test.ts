// Frames that change after the decision about them, and legal frames that impersonate another pod.
// Each row shows the effect unguarded. A frame that is not stopped is shown to change no checked
// field.
import {
  destinationOptions,
  dhcp,
  ETHERTYPE,
  ethernet,
  geneve,
  ipv4,
  ipv4Bytes,
  ipv6,
  ipv6Bytes,
  PROTOCOL,
  TCP_FLAGS,
  tcp,
  udp,
  vxlan,
} from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { BROADCAST_MAC, FORGED, frame, innerFrame, own, packet } from './harness/ipv4.ts';
import { ATTACKER, allModes, GSO, NODE, RECEIVER } from './harness/node.ts';
import { leftToKernel, turned } from './harness/offload.ts';
import { commandIn, xdpHelper } from './harness/processes.ts';
import { judgeRow, type Row } from './harness/rows.ts';
import { useNode } from './harness/use-node.ts';

const TIMES = 3;
const [L4, SOURCE] = [34, 28];
const own6 = { source: ATTACKER.ipv6, destination: RECEIVER.ipv6 };
const frame6 = (bytes: Buffer): Buffer =>
  ethernet({ source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv6 }, bytes);
const withOptions = (...options: Buffer[]): Buffer =>
  frame6(
    ipv6(
      { ...own6, next: PROTOCOL.destinationOptions },
      Buffer.concat([destinationOptions(PROTOCOL.udp, options), udp(4000, 9, undefined, own6)]),
    ),
  );
const home = (address: string): Buffer => Buffer.concat([Buffer.from([201, 16]), ipv6Bytes(address)]);
const plain6 = frame6(ipv6({ ...own6, next: PROTOCOL.udp }, udp(4000, 9, undefined, own6)));

const rows: Row[] = [
  {
    name: 'a Home Address option: a receiver that implements it uses another source address',
    vector: 'source-route',
    attack: withOptions(home('fd77::99')),
    allow: withOptions(Buffer.from([4, 1, 0])),
  },
  {
    name: 'a Home Address option behind others',
    vector: 'source-route',
    attack: withOptions(Buffer.from([0]), Buffer.from([194, 3, 1, 2, 3]), home('fd77::99')),
    allow: plain6,
  },
  { name: 'more options than are read', vector: 'malformed', attack: withOptions(Buffer.alloc(17)), allow: plain6 },
  {
    name: 'a frame in IP, as segment routing sends it (protocol 143)',
    vector: 'tunnel-other',
    attack: packet({ protocol: 143 }, innerFrame),
    allow: packet({ protocol: 253 }, innerFrame),
  },
];

describe('packets that change after the decision', () => {
  const node = useNode();
  beforeAll(async () => {
    await node.fillChecksums(node.pods.receiver);
  });

  it.each(rows)('$name', (row) => judgeRow(node, row));

  it('af_xdp - a checksum left to the kernel by transmit metadata', async (context) => {
    const attack = turned(packet({}, udp(4000, 9)), SOURCE, 0x63);
    const legal = leftToKernel(packet({}, udp(4000, 9, undefined, own)), L4, 6);
    const trySend = ({ sent, checksum: { start, offset } }: typeof attack): Promise<string> => {
      const args = ['eth0', String(TIMES), String(start), String(offset), sent.toString('hex')];
      return commandIn(node.pods.attacker.netns, xdpHelper(), ...args).then(
        () => 'sent',
        (error: { code?: number; stderr?: string }) => {
          if (error.code === 3) return 'no metadata';
          // The queue is busy for some time after its last socket was closed.
          if (error.stderr?.includes('bind: Device or resource busy')) return 'busy';
          throw error;
        },
      );
    };
    const send = (one: typeof attack) =>
      waitFor(() => trySend(one), { what: 'the queue to be free', until: (outcome) => outcome !== 'busy' });
    node.forgetLanded();
    if ((await send(attack)) === 'no metadata')
      context.skip('optional: this kernel refuses XDP_UMEM_TX_METADATA_LEN for AF_XDP (6.11)');
    await node.fence();
    expect(node.landed(attack.landed), 'control: the forged source lands unguarded').toBe(TIMES);

    await using guarded = await node.guard(node.pods.attacker);
    node.forgetLanded();
    await send(attack);
    await send(legal);
    await node.fence();
    expect([node.landed(attack.landed), node.landed(legal.landed)]).toEqual([0, TIMES]);
    expect(await guarded.counts()).toEqual({ 'checksum-offload drop': TIMES });
  });

  it('gso - a DHCP request that is segmented: the second segment is not the checked one', async (context) => {
    const nowhere = { source: '0.0.0.0', destination: '255.255.255.255' };
    const [first, second] = [dhcp(ATTACKER.mac), dhcp(RECEIVER.mac)];
    const asked = (...parts: Buffer[]) =>
      frame(ipv4({ ...nowhere, protocol: PROTOCOL.udp }, udp(68, 67, Buffer.concat(parts))), BROADCAST_MAC);
    const gso = { size: first.length, type: GSO.udp, head: 42 };
    const modes = allModes('enforce', { 'dhcp-client': 'audit' });
    node.forgetLanded();
    const isRefused = await node.send(asked(first, second), 1, { gso }).then(
      () => false,
      (error: Error) => error.message.includes('error 22'),
    );
    if (isRefused) context.skip('optional: packet sockets of this kernel segment no UDP (6.2)');
    await node.fence();
    // By the hardware address and the bytes after it, because the first four bytes after the length
    // are equal.
    const requests = ({ mac }: typeof ATTACKER | typeof RECEIVER) =>
      node.allLanded().filter((hex) => hex.slice(84).includes(mac.replaceAll(':', ''))).length;
    expect([requests(ATTACKER), requests(RECEIVER)], 'control: two requests land, of two hardware addresses').toEqual([
      1, 1,
    ]);

    await using guarded = await node.guard(node.pods.attacker, { modes });
    node.forgetLanded();
    await node.send(asked(first, second), 1, { gso });
    await node.send(asked(first));
    await node.fence();
    expect([requests(ATTACKER), requests(RECEIVER)], 'only the unsegmented request').toEqual([1, 0]);
    expect(await guarded.counts()).toEqual({ 'ipv4-source drop': 2, 'dhcp-client audit': 1 });
  });

  it.each([
    ['VXLAN', 4790, vxlan(innerFrame)],
    ['Geneve', 6082, geneve(innerFrame)],
    ['LISP', 4341, Buffer.concat([Buffer.alloc(8), innerFrame.subarray(14)])],
    ['GUE', 6080, Buffer.concat([Buffer.from([0, 4, 0, 0]), innerFrame.subarray(14)])],
  ])('tunnel - %s to an undeclared port passes, and to a declared one is dropped', async (_, port, payload) => {
    const attack = packet({}, udp(4000, port, payload));
    await using guarded = await node.guard(node.pods.attacker);
    node.forgetLanded();
    await node.send(attack, TIMES);
    await node.fence();
    expect(node.landed(attack)).toBe(TIMES);
    await node.agent.call('object.maps.tunnelPorts.replace', [{ port, kind: 'vxlan' }]);
    node.forgetLanded();
    await node.send(attack, TIMES);
    await node.fence();
    expect(node.landed(attack)).toBe(0);
    expect(await guarded.counts()).toEqual({ 'tunnel-other drop': TIMES });
  });
});

// A node that routes: it segments GSO packets, and writes into the options of packets that it
// forwards.
describe('packets that change after the decision, on a node that routes', () => {
  const FAR = '10.99.0.9';
  const node = useNode({ stacks: true });
  beforeAll(async () => {
    const routes = [
      'sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.br0.rp_filter=0',
      'sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.br0.send_redirects=0',
      `ip route add ${FAR}/32 dev br0`,
      `ip neigh replace ${FAR} lladdr ${RECEIVER.mac} dev br0`,
      // Packets to the receiver are segmented.
      `ip link set ${node.pods.receiver.hostInterface} gso_max_segs 1`,
    ];
    await commandIn(node.netns, 'sh', '-ec', routes.join('\n'));
  });

  const ends = { source: ATTACKER.ipv4, destination: FAR };
  const toNode = (bytes: Buffer): Buffer =>
    ethernet({ source: ATTACKER.mac, destination: NODE.mac, type: ETHERTYPE.ipv4 }, bytes);
  const addressed = (source: string): string => Buffer.concat([source, FAR].map(ipv4Bytes)).toString('hex');
  const landed = (...parts: string[]) => node.allLanded().filter((hex) => parts.every((part) => hex.includes(part)));

  it.each([
    ['record route', Buffer.from([7, 7, 4, 0, 0, 0, 0, 0])],
    ['timestamp with addresses', Buffer.from([68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0])],
  ])('options - the node writes its own address into %s, and nothing else', async (name, options) => {
    const payload = udp(4000, 9, Buffer.from(name), ends);
    await using guarded = await node.guard(node.pods.attacker);
    node.forgetLanded();
    await node.send(toNode(ipv4({ ...ends, protocol: PROTOCOL.udp, options }, payload)));
    const written = ipv4Bytes(NODE.ipv4).toString('hex');
    await waitFor(() => landed(addressed(ATTACKER.ipv4), written, payload.toString('hex')), {
      what: 'the packet',
      until: (list) => list.length === 1,
    });
    expect(await guarded.counts()).toEqual({});
  });

  it('gso - every segment of a packet has the checked addresses and ports', async () => {
    const SEGMENTS = 20;
    const SIZE = 100;
    await using guarded = await node.guard(node.pods.attacker);
    const bulk = Buffer.alloc(SEGMENTS * SIZE, 7);
    const large = toNode(
      ipv4({ ...ends, protocol: PROTOCOL.tcp }, tcp({ source: 4000, destination: 9, flags: TCP_FLAGS.ack }, bulk)),
    );
    node.forgetLanded();
    await node.send(large, 1, { gso: { size: SIZE, type: GSO.tcpv4, head: 54 } });
    await waitFor(() => landed(`${addressed(ATTACKER.ipv4)}0fa00009`), {
      what: 'segments',
      until: (list) => list.length === SEGMENTS,
    });
    expect(landed(addressed(FORGED))).toEqual([]);
    expect(await guarded.counts()).toEqual({});
  });

  it.each([
    ['TCP, declared as UDP', GSO.udp, { start: L4, offset: 6 }],
    ['TCP, declared as fragments of UDP', GSO.ufo, undefined],
    ['TCP, declared as TCP over IPv6', GSO.tcpv6, undefined],
  ])('gso - %s, produces no segment', async (_, type, checksum) => {
    const bulk = Buffer.alloc(2000, 7);
    const large = toNode(
      ipv4({ ...ends, protocol: PROTOCOL.tcp }, tcp({ source: 4001, destination: 9, flags: TCP_FLAGS.ack }, bulk)),
    );
    const gso = { size: 100, type, head: 54 };
    node.forgetLanded();
    // A newer kernel rejects it at the socket or at the device: EINVAL, ENOMEM. An older one does
    // not segment it.
    await node.send(large, 1, { gso, ...(checksum && { checksum }) }).catch((error: Error) => {
      expect(error.message).toMatch(/error (22|12) /);
    });
    await node.fence();
    expect(landed(`${addressed(ATTACKER.ipv4)}0fa10009`)).toEqual([]);
  });

  it('fragments - a receiver does not reassemble overlapping ones', async () => {
    const { netns } = node.pods.receiver;
    const reassembled = async () => {
      const [names, values] = (await commandIn(netns, 'grep', '^Ip:', '/proc/net/snmp')).trim().split('\n');
      return Number(values?.split(' ')[names?.split(' ').indexOf('ReasmOKs') ?? -1]);
    };
    const whole = udp(4000, 9, Buffer.alloc(40, 7), own);
    const part = (id: number, from: number, to: number) =>
      packet({ id, offset: from, moreFragments: to < whole.length }, whole.subarray(from, to));
    await using guarded = await node.guard(node.pods.attacker);
    const before = await reassembled();
    for (const frames of [
      [part(1, 0, 24), part(1, 8, whole.length)],
      [part(2, 0, 24), part(2, 24, whole.length)],
    ])
      for (const one of frames) await node.send(one);
    await waitFor(reassembled, { what: 'the complete datagram', until: (count) => count === before + 1 });
    await node.fence();
    expect(await reassembled()).toBe(before + 1);
    expect(await guarded.counts()).toEqual({});
  });
});
