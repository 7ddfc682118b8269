/** Legal frames that become attacks when one byte of them changes, for pages.ts. Pure. */
import { FOREVER_NS, type IfaceRecord, type Vector } from '@bailiff/bpf';
import { arp, ETHERTYPE, ethernet, icmp, icmpv6, ipv4, ipv6, PROTOCOL, udp } from '@bailiff/lab/frames';
import { packet } from './ipv4.ts';
import { advertise } from './nd.ts';
import { ATTACKER, RECEIVER } from './node.ts';
import { type Change, change } from './pages.ts';

/** A legal frame that becomes an attack. */
export interface Kind {
  readonly name: string;
  readonly vector: Vector;
  readonly change: Change;
  readonly record?: Partial<IfaceRecord>;
  /** What the pod sends so that the frame leaves. */
  readonly wrap?: (frame: Buffer) => Buffer;
}

const own6 = { source: ATTACKER.ipv6, destination: RECEIVER.ipv6 };
const frame6 = (next: number, payload: Buffer): Buffer =>
  ethernet({ source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv6 }, ipv6({ ...own6, next }, payload));
const answer = ethernet(
  { source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.arp },
  arp({ operation: 2, senderMac: ATTACKER.mac, sender: ATTACKER.ipv4, target: RECEIVER.ipv4 }),
);
/** An error about a packet that was sent to the pod. */
const quote = ipv4(
  { source: RECEIVER.ipv4, destination: ATTACKER.ipv4, protocol: PROTOCOL.udp },
  udp(4000, 4001, Buffer.alloc(0)),
);
const [IPV4, IPV6, L4, L4_IPV6] = [14, 14, 34, 54];
const quarantined = { quarantineUntilNs: FOREVER_NS };
export const ALLOWED = '10.77.9.9';
const asGateway = change(answer, 14 + 17, 1);

export const KINDS: readonly Kind[] = [
  { name: 'ARP of the pod, then of the gateway', vector: 'arp-sender', change: asGateway },
  {
    name: 'a neighbour advertisement of the pod, then of another pod',
    vector: 'nd-target',
    change: change(advertise(ATTACKER.ipv6), L4_IPV6 + 23, 0x11),
  },
  {
    name: 'a neighbour advertisement, then a router advertisement',
    vector: 'router-advert',
    change: change(advertise(ATTACKER.ipv6), L4_IPV6, 134),
  },
  {
    name: 'a datagram, then one to a tunnel port',
    vector: 'tunnel-other',
    change: change(packet({}, udp(4000, 4788)), L4 + 3, 4789 & 255),
  },
  { name: 'an IPv4 source', vector: 'ipv4-source', change: change(packet(), IPV4 + 15, 11) },
  {
    name: 'an IPv6 source',
    vector: 'ipv6-source',
    change: change(frame6(PROTOCOL.udp, udp(4000, 9)), IPV6 + 23, 0x99),
  },
  {
    name: 'an IPv4 option, then a source route',
    vector: 'source-route',
    change: change(packet({ options: Buffer.from([7, 7, 4, 10, 77, 0, 1, 0]) }), IPV4 + 20, 131),
  },
  {
    name: 'the port of a first fragment, then the one of a DHCP server',
    vector: 'dhcp-server',
    change: change(packet({ moreFragments: true }, udp(0x143, 9, Buffer.alloc(64))), L4, 0),
  },
  {
    name: 'what an ICMP error quotes',
    vector: 'redirect',
    change: change(
      packet({ protocol: PROTOCOL.icmp }, icmp(3, 1, Buffer.concat([Buffer.alloc(4), quote]))),
      L4 + 8 + 19,
      11,
    ),
  },
  {
    name: 'what an ICMPv6 error quotes',
    vector: 'redirect',
    change: change(
      frame6(
        PROTOCOL.icmpv6,
        icmpv6(
          1,
          Buffer.concat([Buffer.alloc(4), ipv6({ source: RECEIVER.ipv6, destination: ATTACKER.ipv6, next: 59 })]),
        ),
      ),
      L4_IPV6 + 8 + 39,
      0x11,
    ),
  },
  {
    name: 'the destination of a quarantined pod',
    vector: 'quarantine-ingress',
    change: change(packet({ destination: ALLOWED }), IPV4 + 18, 8),
    record: quarantined,
  },
  { name: 'ARP of a quarantined pod', vector: 'arp-sender', change: asGateway, record: quarantined },
];
