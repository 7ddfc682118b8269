// Packets with an address that another interface of the pod has. The pod answers from it by itself, where a
// neighbour asks for it, so they are dropped without being held against the pod.
import type { AddressGrant, IfaceRecord, Vector } from '@bailiff/bpf';
import {
  type ArpFields,
  arp,
  ETHERTYPE,
  ethernet,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  PROTOCOL,
  TCP_FLAGS,
  tcp,
  udp,
} from '@bailiff/lab/frames';
import { describe, expect, it } from 'vitest';
import { inner4 } from './harness/ipv4.ts';
import { ATTACKER, allModes, RECEIVER } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';
import { judgeRow, type Row } from './harness/rows.ts';
import { useNode } from './harness/use-node.ts';

const OTHER = { ipv4: '10.99.0.5', ipv6: 'fd99::5' };
const FORGED_MAC = '02:00:00:00:77:99';
const TIMES = 3;

const other = (cidr: string, more: Partial<AddressGrant> = {}): AddressGrant => ({
  cidr,
  neighbour: false,
  source: false,
  other: true,
  ...more,
});
const grants = [other(OTHER.ipv4), other(OTHER.ipv6)];

const ends4 = { source: OTHER.ipv4, destination: RECEIVER.ipv4 };
const ends6 = { source: OTHER.ipv6, destination: RECEIVER.ipv6 };
const frame = (type: number, packet: Buffer, source: string = ATTACKER.mac): Buffer =>
  ethernet({ source, destination: RECEIVER.mac, type }, packet);
const packet4 = (protocol: number, payload: Buffer, source = OTHER.ipv4): Buffer =>
  frame(ETHERTYPE.ipv4, ipv4({ ...ends4, source, protocol }, payload));
const packet6 = (next: number, payload: Buffer, source = OTHER.ipv6): Buffer =>
  frame(ETHERTYPE.ipv6, ipv6({ ...ends6, source, next }, payload));
const arpFrame = (fields: Partial<ArpFields>): Buffer =>
  ethernet(
    { source: ATTACKER.mac, destination: 'ff:ff:ff:ff:ff:ff', type: ETHERTYPE.arp },
    arp({ senderMac: ATTACKER.mac, sender: OTHER.ipv4, target: RECEIVER.ipv4, ...fields }),
  );

const synAck = { source: 80, destination: 4000, flags: TCP_FLAGS.syn | TCP_FLAGS.ack };
/** An error about a packet to the address. */
const rest = Buffer.alloc(4);
const error4 = (to: string, source = OTHER.ipv4): Buffer => {
  const quote = ipv4({ source: RECEIVER.ipv4, destination: to, protocol: PROTOCOL.udp }, udp(4000, 9));
  return packet4(PROTOCOL.icmp, icmp(3, 3, Buffer.concat([rest, quote])), source);
};
const error6 = (to: string, source = OTHER.ipv6): Buffer => {
  const quote = ipv6({ source: RECEIVER.ipv6, destination: to, next: PROTOCOL.udp }, udp(4000, 9));
  const ends = { ...ends6, source };
  return packet6(PROTOCOL.icmpv6, icmpv6(1, Buffer.concat([rest, quote]), ends, 4), source);
};

const own4 = packet4(PROTOCOL.udp, udp(4000, 4001), ATTACKER.ipv4);
const own6 = packet6(PROTOCOL.udp, udp(4000, 4001), ATTACKER.ipv6);

interface Caused {
  readonly name: string;
  readonly frame: Buffer;
  readonly allow: Buffer;
  /** Where no interface of the pod has the address. */
  readonly without: Vector;
}

const CAUSED: readonly Caused[] = [
  {
    name: 'the answer to a TCP connection',
    without: 'ipv4-source',
    frame: packet4(PROTOCOL.tcp, tcp(synAck, undefined, ends4)),
    allow: packet4(PROTOCOL.tcp, tcp(synAck), ATTACKER.ipv4),
  },
  {
    name: 'one over IPv6',
    without: 'ipv6-source',
    frame: packet6(PROTOCOL.tcp, tcp(synAck, undefined, ends6)),
    allow: packet6(PROTOCOL.tcp, tcp(synAck), ATTACKER.ipv6),
  },
  {
    name: 'a request for the gateway, before it',
    without: 'arp-sender',
    frame: arpFrame({}),
    allow: arpFrame({ sender: ATTACKER.ipv4 }),
  },
  {
    name: 'the answer to a request for the address',
    without: 'arp-sender',
    frame: arpFrame({ operation: 2 }),
    allow: arpFrame({ operation: 2, sender: ATTACKER.ipv4 }),
  },
  {
    name: 'a probe for the address',
    without: 'arp-sender',
    frame: arpFrame({ sender: '0.0.0.0', target: OTHER.ipv4 }),
    allow: arpFrame({ sender: '0.0.0.0', target: ATTACKER.ipv4 }),
  },
  { name: 'an error about a closed port', without: 'ipv4-source', frame: error4(OTHER.ipv4), allow: own4 },
  { name: 'one over IPv6', without: 'ipv6-source', frame: error6(OTHER.ipv6), allow: own6 },
  {
    name: 'one from the own address',
    without: 'redirect',
    frame: error4(OTHER.ipv4, ATTACKER.ipv4),
    allow: error4(ATTACKER.ipv4, ATTACKER.ipv4),
  },
  {
    name: 'one from the own address over IPv6',
    without: 'redirect',
    frame: error6(OTHER.ipv6, ATTACKER.ipv6),
    allow: error6(ATTACKER.ipv6, ATTACKER.ipv6),
  },
  {
    name: "an answer to a DHCP client's port",
    without: 'ipv4-source',
    frame: packet4(PROTOCOL.udp, udp(4000, 68)),
    allow: own4,
  },
  { name: 'an answer by a tunnel', without: 'ipv4-source', frame: packet4(PROTOCOL.ipip, inner4), allow: own4 },
];

const COUNTS_FOR_ITSELF: readonly (Row & { name: string })[] = [
  {
    name: 'another address',
    vector: 'ipv4-source',
    attack: packet4(PROTOCOL.udp, udp(1, 2), '10.99.0.6'),
    allow: own4,
  },
  {
    name: 'another address of IPv6',
    vector: 'ipv6-source',
    attack: packet6(PROTOCOL.udp, udp(1, 2), 'fd99::6'),
    allow: own6,
  },
  {
    name: 'another MAC',
    vector: 'source-mac',
    attack: frame(ETHERTYPE.ipv4, ipv4({ ...ends4, protocol: PROTOCOL.udp }, udp(1, 2)), FORGED_MAC),
    allow: own4,
  },
  {
    name: 'ARP with another MAC',
    vector: 'arp-sender',
    attack: arpFrame({ senderMac: FORGED_MAC }),
    allow: arpFrame({ sender: ATTACKER.ipv4 }),
  },
  {
    name: 'ARP for the address of a granted prefix alone',
    vector: 'arp-sender',
    attack: arpFrame({ sender: '10.99.0.7' }),
    allow: packet4(PROTOCOL.udp, udp(1, 2), '10.99.0.7'),
    grants: [...grants, { cidr: '10.99.0.0/24', neighbour: false }],
  },
  {
    name: 'an error about a packet to another pod',
    vector: 'redirect',
    attack: error4('198.51.100.7', ATTACKER.ipv4),
    allow: own4,
  },
  {
    name: 'an address that no entry can grant',
    vector: 'ipv4-source',
    attack: packet4(PROTOCOL.udp, udp(1, 2), '240.0.0.1'),
    allow: own4,
    grants: [other('240.0.0.1')],
  },
].map((row) => ({ grants, ...row }) as Row);

describe('addresses of other interfaces', () => {
  const node = useNode();

  it.each(CAUSED)('$name - is dropped as other-interface, and as $without without the entry', async (row) => {
    const judged = { name: row.name, attack: row.frame, allow: row.allow };
    await judgeRow(node, { ...judged, vector: row.without });
    await judgeRow(node, { ...judged, vector: 'other-interface', grants });
  });

  it.each(COUNTS_FOR_ITSELF)('$vector - $name', (row) => judgeRow(node, row));

  const landed = async (sent: Buffer) => {
    node.forgetLanded();
    await node.send(sent, TIMES);
    await node.fence();
    return node.landed(sent);
  };

  it.each([
    ['an address', [other(OTHER.ipv4, { source: true })]],
    ['a prefix of other addresses, beside them', [...grants, { cidr: '198.51.100.0/24', neighbour: false }]],
  ])('grants - %s that may be a source passes, and is no claim', async (_, given) => {
    const isGranted = given.length === 1;
    await using guarded = await node.guard(node.pods.attacker, { hasMore: true });
    await node.agent.call('object.maps.addresses.replace', guarded.key, given);
    const from = packet4(PROTOCOL.udp, udp(1, 2), isGranted ? OTHER.ipv4 : '198.51.100.7');
    expect(await landed(from)).toBe(TIMES);
    expect(await landed(arpFrame({}))).toBe(0);
    expect(await guarded.counts()).toEqual({ 'other-interface drop': TIMES });
  });

  it('modes - off and audit pass it; what it violates besides is judged all the same', async () => {
    await using guarded = await node.guard(node.pods.attacker, { hasMore: true });
    await node.agent.call('object.maps.addresses.replace', guarded.key, grants);
    const plain = packet4(PROTOCOL.udp, udp(1, 2));
    const toClient = packet4(PROTOCOL.udp, udp(4000, 68));
    const inMode = async (mode: 'off' | 'audit', sent: Buffer) => {
      await guarded.update({ hasMore: true, modes: allModes('enforce', { 'other-interface': mode }) });
      return landed(sent);
    };
    expect([await inMode('off', plain), await guarded.counts()]).toEqual([TIMES, {}]);
    expect(await inMode('audit', plain)).toBe(TIMES);
    expect(await guarded.counts()).toEqual({ 'other-interface audit': TIMES });
    expect(await inMode('audit', toClient)).toBe(0);
    const counts = { 'other-interface audit': 2 * TIMES, 'dhcp-server drop': TIMES };
    expect(await guarded.counts()).toEqual(counts);
    expect(await inMode('off', toClient)).toBe(0);
    expect(await guarded.counts()).toEqual({ ...counts, 'dhcp-server drop': 2 * TIMES });
  });

  it('quarantine - the entry makes no ARP and no packet pass', async () => {
    const quarantined: Partial<IfaceRecord> = { hasMore: true, quarantineUntilNs: 2n ** 64n - 1n };
    await using guarded = await node.guard(node.pods.attacker, quarantined);
    await node.agent.call('object.maps.addresses.replace', guarded.key, grants);
    // A quarantined pod sends no fence.
    node.forgetLanded();
    const sent = [arpFrame({}), packet4(PROTOCOL.udp, udp(1, 2))];
    for (const one of sent) await node.send(one, TIMES);
    await guarded.counted({ 'other-interface drop': 2 * TIMES });
    expect(sent.map((one) => node.landed(one))).toEqual([0, 0]);
  });

  it('samples - a flood of them leaves half of the tokens to what the pod does itself', async () => {
    const sampling = { burst: 8, perSecond: 1 };
    await using guarded = await node.guard(node.pods.attacker, { hasMore: true, sampling });
    await node.agent.call('object.maps.addresses.replace', guarded.key, grants);
    await node.send(packet4(PROTOCOL.udp, udp(1, 2)), 500);
    await node.send(packet4(PROTOCOL.udp, udp(1, 2), '10.99.0.6'), TIMES);
    await guarded.counted({ 'other-interface drop': 500, 'ipv4-source drop': TIMES });
    const vectors = (await guarded.samples()).map(({ vector }) => vector);
    expect(vectors.filter((vector) => vector === 'ipv4-source')).toHaveLength(TIMES);
  });
});

describe('a pod with two interfaces, with its own stack', () => {
  const node = useNode({ stacks: true });
  const ask = (target: string) =>
    ethernet(
      { source: ATTACKER.mac, destination: 'ff:ff:ff:ff:ff:ff', type: ETHERTYPE.arp },
      arp({ operation: 1, senderMac: ATTACKER.mac, sender: ATTACKER.ipv4, target }),
    );
  const ping = (destination: string) =>
    frame(ETHERTYPE.ipv4, ipv4({ source: ATTACKER.ipv4, destination, protocol: PROTOCOL.icmp }, icmp(8)));

  it('requests and packets of a neighbour - are answered by other-interface, and by no rule that counts', async () => {
    const setup = [
      'ip link add other0 type bridge',
      'ip link set other0 up',
      `ip addr add ${OTHER.ipv4}/24 dev other0`,
    ].join('\n');
    await commandIn(node.pods.receiver.netns, 'sh', '-ec', setup);
    {
      await using without = await node.guard(node.pods.receiver);
      await node.send(ask(OTHER.ipv4), TIMES);
      await without.counted({ 'arp-sender drop': TIMES });
    }
    await using guarded = await node.guard(node.pods.receiver, { hasMore: true });
    await node.agent.call('object.maps.addresses.replace', guarded.key, grants);
    await node.send(ask(OTHER.ipv4), TIMES);
    await guarded.counted({ 'other-interface drop': TIMES });
    // What is sent to the interface for another one would be answered from there.
    await node.send(ping(OTHER.ipv4), TIMES);
    await guarded.counted({ 'other-interface drop': TIMES, 'provocation drop': TIMES });
    // That follows the mode of the vector, not of the one that counts.
    const update = (vector: Vector) =>
      guarded.update({ hasMore: true, modes: allModes('enforce', { [vector]: 'audit' }) });
    await update('ipv4-source');
    await node.send(ping(OTHER.ipv4), TIMES);
    await guarded.counted({ 'other-interface drop': TIMES, 'provocation drop': 2 * TIMES });
    await update('other-interface');
    await node.send(ping(OTHER.ipv4), TIMES);
    const counts = { 'other-interface drop': TIMES, 'provocation drop': 2 * TIMES, 'other-interface audit': TIMES };
    await guarded.counted(counts);
  });
});
