// A checksum that the kernel fills in after a frame was judged: only the one of the frame's own transport header, or one
// that lies behind the outer header of an encapsulation. The kernel fills in when a frame leaves by a device without
// checksum offload, and when it cuts a packet into fragments.
import { FOREVER_NS } from '@bailiff/bpf';
import {
  arp,
  dhcp,
  ETHERTYPE,
  ethernet,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  macOption,
  ndBody,
  PROTOCOL,
  tcp,
  udp,
  vxlan,
} from '@bailiff/lab/frames';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FORGED, frame, inner4, innerFrame, own, packet, plain } from './harness/ipv4.ts';
import { ATTACKER, allModes, GSO, RECEIVER, TestNode } from './harness/node.ts';
import { leftToKernel, type Turned, turned } from './harness/offload.ts';
import { commandIn } from './harness/processes.ts';

const TIMES = 3;
const own6 = { source: ATTACKER.ipv6, destination: RECEIVER.ipv6 };
const frame6 = (bytes: Buffer): Buffer =>
  ethernet({ source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv6 }, bytes);
const packet6 = (next: number, payload: Buffer, fields = {}): Buffer =>
  frame6(ipv6({ ...own6, next, hopLimit: 255, ...fields }, payload));
const datagram = (destination = 9, payload = Buffer.alloc(16)): Buffer => udp(4000, destination, payload);
const hex = (text: string): number => Number.parseInt(text.replace(/\W/g, ''), 16);
const tagged = (type: number, payload: Buffer): Buffer =>
  ethernet({ source: ATTACKER.mac, destination: RECEIVER.mac, type, tags: [{ tci: 5 }] }, payload);

const [IP, L4, L4_6] = [14, 34, 54];
/** Where the low half of an address is. */
const SOURCE = IP + 14;
const DESTINATION = IP + 18;
const SOURCE_6 = IP + 22;
const FORGED_LOW = hex('00:63');

interface Attack {
  readonly name: string;
  readonly turned: Turned;
  /** What else the guard counts for it, instead of the new vector. */
  readonly vector?: string;
  readonly modes?: Parameters<typeof allModes>[1];
}

const attacks: Attack[] = [
  { name: 'IPv4 source, UDP', turned: turned(packet({}, datagram()), SOURCE, FORGED_LOW) },
  {
    name: 'IPv4 source, TCP',
    turned: turned(packet({ protocol: PROTOCOL.tcp }, tcp({ source: 1, destination: 2 })), SOURCE, FORGED_LOW, {
      start: 20,
    }),
  },
  { name: 'IPv4 source, echo', turned: turned(packet({ protocol: PROTOCOL.icmp }, icmp(8)), SOURCE, FORGED_LOW) },
  { name: 'IPv4 source, a protocol not looked into', turned: turned(packet({ protocol: 253 }), SOURCE, FORGED_LOW) },
  {
    name: 'IPv4 source, of a packet with options',
    turned: turned(packet({ options: Buffer.from([148, 4, 0, 0]) }), SOURCE, FORGED_LOW),
  },
  { name: 'IPv4 source, of a later fragment', turned: turned(packet({ offset: 64 }), SOURCE, FORGED_LOW) },
  {
    name: 'IPv4 source, of a first fragment',
    turned: turned(packet({ moreFragments: true }, datagram()), SOURCE, FORGED_LOW),
  },
  { name: 'IPv4 destination', turned: turned(packet({}, datagram()), DESTINATION, FORGED_LOW) },
  { name: 'protocol 253 to IPIP', turned: turned(packet({ protocol: 253 }, inner4), IP + 8, hex('40:04')) },
  { name: 'UDP port 9 to 4789', turned: turned(packet({}, datagram(9, vxlan(innerFrame))), L4 + 2, 4789) },
  { name: 'UDP port 68 to 67', turned: turned(packet({}, udp(4000, 4000)), L4, 67) },
  {
    name: 'an echo reply to a redirect',
    turned: turned(packet({ protocol: PROTOCOL.icmp }, icmp(0)), L4, hex('05:01')),
  },
  {
    name: 'the TCP flags',
    turned: turned(packet({ protocol: PROTOCOL.tcp }, tcp({ source: 1, destination: 2 })), L4 + 12, hex('50:12')),
  },
  { name: 'IPv6 source, UDP', turned: turned(packet6(PROTOCOL.udp, datagram()), SOURCE_6, 0x99) },
  { name: 'IPv6 source, echo', turned: turned(packet6(PROTOCOL.icmpv6, icmpv6(128)), SOURCE_6, 0x99) },
  {
    name: 'the target of a neighbour advertisement',
    turned: turned(
      packet6(PROTOCOL.icmpv6, icmpv6(136, ndBody(ATTACKER.ipv6, macOption(2, ATTACKER.mac), 0x20000000))),
      L4_6 + 22,
      0x99,
    ),
  },
  {
    name: 'the type of an ICMPv6 message',
    turned: turned(packet6(PROTOCOL.icmpv6, icmpv6(129, Buffer.alloc(16))), L4_6, hex('86:00')),
  },
  {
    name: 'the sender of ARP',
    turned: turned(
      ethernet(
        { source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.arp },
        arp({ senderMac: ATTACKER.mac, sender: ATTACKER.ipv4, target: RECEIVER.ipv4, operation: 2 }),
      ),
      IP + 16,
      FORGED_LOW,
    ),
  },
  {
    name: 'the hardware address in a DHCP request',
    turned: turned(
      frame(
        ipv4(
          { source: '0.0.0.0', destination: '255.255.255.255', protocol: PROTOCOL.udp },
          udp(68, 67, dhcp(ATTACKER.mac)),
        ),
      ),
      L4 + 8 + 32,
      hex('77:99'),
    ),
    modes: { 'dhcp-client': 'off' },
  },
  {
    name: 'IPv4 source behind a tag',
    turned: turned(
      tagged(ETHERTYPE.ipv4, ipv4({ ...own, protocol: PROTOCOL.udp }, datagram())),
      SOURCE + 4,
      FORGED_LOW,
    ),
    modes: { 'vlan-tag': 'off' },
  },
  {
    name: 'IPv4 source, and a transport header that is too short',
    turned: turned(packet({ protocol: PROTOCOL.tcp }, Buffer.alloc(8)), SOURCE, FORGED_LOW),
    modes: { malformed: 'off' },
  },
];

describe('checksum offload', () => {
  let node: TestNode;
  beforeAll(async () => {
    node = await TestNode.start();
    await node.open();
    await node.fillChecksums(node.pods.receiver);
    await node.agent.call('object.maps.tunnelPorts.replace', [{ port: 4789, kind: 'vxlan' }]);
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  const send = ({ sent, checksum }: Turned, count = TIMES) => node.send(sent, count, { checksum });

  it.each(attacks)('attack - $name', async ({ turned: attack, modes }) => {
    node.forgetLanded();
    await send(attack);
    await node.fence();
    expect(node.landed(attack.landed), 'control: what lands unguarded is another frame').toBe(TIMES);

    await using guarded = await node.guard(node.pods.attacker, { modes: allModes('enforce', modes) });
    node.forgetLanded();
    await send(attack);
    await node.fence();
    expect(node.landed(attack.landed), 'guarded: it does not').toBe(0);
    expect(node.landed(attack.sent), 'nor as it was sent').toBe(0);
    expect(await guarded.counts()).toEqual({ 'checksum-offload drop': TIMES });
    const [sample] = await guarded.samples();
    expect(sample).toMatchObject({ vector: 'checksum-offload', action: 'drop', first: true });
  });
});
