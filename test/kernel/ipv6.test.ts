// IPv6: sources, link-local, extension headers, fragments, DHCPv6, tunnels.

import {
  ETHERTYPE,
  ethernet,
  extension,
  fragmentHeader,
  geneve,
  gre,
  type Ipv6Fields,
  icmpv6,
  ipv4,
  ipv6,
  PROTOCOL,
  routerAlert,
  routingHeader,
  tcp,
  udp,
  vxlan,
} from '@bailiff/lab/frames';
import { beforeAll, describe, expect, it } from 'vitest';
import { ATTACKER, allModes, NODE, RECEIVER } from './harness/node.ts';
import { judgeRow, type Row } from './harness/rows.ts';
import { useNode } from './harness/use-node.ts';

const FORGED = 'fd77::99';
const FOREIGN_LINK_LOCAL = 'fe80::99';
const own = { source: ATTACKER.ipv6, destination: RECEIVER.ipv6 };
const { hopByHop, routing, fragment, ah, destinationOptions, none } = PROTOCOL;

const frame = (payload: Buffer): Buffer =>
  ethernet({ source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv6 }, payload);
const datagram = udp(4000, 4001, undefined, own);
const packet = (fields: Partial<Ipv6Fields> = {}, payload: Buffer = datagram): Buffer =>
  frame(ipv6({ ...own, next: PROTOCOL.udp, ...fields }, payload));
const behind = (first: number, ...parts: Buffer[]): Buffer => packet({ next: first }, Buffer.concat(parts));
const plain = packet();
const plainTcp = packet({ next: PROTOCOL.tcp }, tcp({ source: 4000, destination: 80 }, undefined, own));
const ping = packet({ next: PROTOCOL.icmpv6 }, icmpv6(128, undefined, own));

const inner4 = ipv4({ source: '10.77.0.99', destination: RECEIVER.ipv4, protocol: PROTOCOL.udp }, udp(1, 2));
const inner6 = ipv6({ source: FORGED, destination: RECEIVER.ipv6, next: PROTOCOL.udp }, udp(1, 2));
const innerFrame = ethernet({ source: NODE.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv6 }, inner6);

const source: Row[] = [
  { name: 'UDP from an unassigned address', vector: 'ipv6-source', attack: packet({ source: FORGED }), allow: plain },
  {
    name: "UDP from the other pod's address",
    vector: 'ipv6-source',
    attack: packet({ source: RECEIVER.ipv6 }),
    allow: plain,
  },
  {
    name: 'TCP SYN',
    vector: 'ipv6-source',
    attack: packet({ source: FORGED, next: PROTOCOL.tcp }, tcp({ source: 1, destination: 80 })),
    allow: plainTcp,
  },
  {
    name: 'ICMPv6 echo',
    vector: 'ipv6-source',
    attack: packet({ source: FORGED, next: PROTOCOL.icmpv6 }, icmpv6(128)),
    allow: ping,
  },
  {
    name: 'no next header',
    vector: 'ipv6-source',
    attack: packet({ source: FORGED, next: none }, Buffer.alloc(0)),
    allow: packet({ next: none }, Buffer.alloc(0)),
  },
  { name: ':: outside ND, MLD and DHCP', vector: 'ipv6-source', attack: packet({ source: '::' }), allow: plain },
  { name: '::1', vector: 'ipv6-source', attack: packet({ source: '::1' }), allow: plain },
  { name: 'multicast as source', vector: 'ipv6-source', attack: packet({ source: 'ff02::1' }), allow: plain },
  {
    name: "the pod's IPv4 address in mapped form",
    vector: 'ipv6-source',
    attack: packet({ source: `::ffff:${ATTACKER.ipv4}` }),
    allow: plain,
    grants: [{ cidr: ATTACKER.ipv4, neighbour: true }],
  },
  {
    name: 'outside the allowed prefix',
    vector: 'ipv6-source',
    attack: packet({ source: 'fd79::1' }),
    allow: packet({ source: 'fd78:0:0:ffff::1' }),
    grants: [{ cidr: 'fd78::/32', neighbour: false }],
  },
  {
    name: 'multicast, though everything is allowed',
    vector: 'ipv6-source',
    attack: packet({ source: 'ff0e::1' }),
    allow: packet({ source: '2001:db8::9' }),
    grants: [{ cidr: '::/0', neighbour: false }],
  },
  {
    name: 'IPv6, though all of IPv4 is allowed',
    vector: 'ipv6-source',
    attack: packet({ source: FORGED }),
    allow: plain,
    grants: [{ cidr: '0.0.0.0/0', neighbour: false }],
  },
  {
    name: 'the record has no IPv6 address',
    vector: 'ipv6-source',
    attack: plain,
    allow: packet({ source: ATTACKER.linkLocal }),
    record: { ipv6: null },
  },
  {
    name: 'link-local of another',
    vector: 'link-local',
    attack: packet({ source: FOREIGN_LINK_LOCAL }),
    allow: packet({ source: ATTACKER.linkLocal }),
  },
  {
    name: 'link-local of the other pod',
    vector: 'link-local',
    attack: packet({ source: RECEIVER.linkLocal }),
    allow: packet({ source: ATTACKER.linkLocal }),
  },
  {
    name: 'the right interface id under another prefix of fe80::/10',
    vector: 'link-local',
    attack: packet({ source: 'fe80:1::ff:fe00:770a' }),
    allow: packet({ source: ATTACKER.linkLocal }),
  },
  {
    name: 'link-local, though everything is allowed as a source',
    vector: 'link-local',
    attack: packet({ source: FOREIGN_LINK_LOCAL }),
    allow: packet({ source: 'fe80::abcd' }),
    grants: [
      { cidr: '::/0', neighbour: false },
      { cidr: 'fe80::abcd', neighbour: true },
    ],
  },
  {
    name: 'the link-local address of a MAC that is not known',
    vector: 'link-local',
    attack: packet({ source: ATTACKER.linkLocal }),
    allow: plain,
    record: { mac: null },
  },
];

const fragments: Row[] = [
  {
    name: 'a first fragment',
    vector: 'ipv6-source',
    attack: packet(
      { source: FORGED, next: fragment },
      Buffer.concat([fragmentHeader(PROTOCOL.udp, 0, true), datagram]),
    ),
    allow: behind(fragment, fragmentHeader(PROTOCOL.udp, 0, true), datagram),
  },
  {
    name: 'a later fragment',
    vector: 'ipv6-source',
    attack: packet(
      { source: FORGED, next: fragment },
      Buffer.concat([fragmentHeader(PROTOCOL.udp, 64, false), Buffer.alloc(8)]),
    ),
    allow: behind(fragment, fragmentHeader(PROTOCOL.udp, 64, false), Buffer.alloc(8)),
  },
  {
    name: 'a first fragment without its UDP header',
    vector: 'malformed',
    attack: behind(fragment, fragmentHeader(PROTOCOL.udp, 0, true), Buffer.alloc(7)),
    allow: behind(fragment, fragmentHeader(PROTOCOL.udp, 0, true), datagram),
  },
  {
    name: 'a first fragment that ends within its extension headers',
    vector: 'malformed',
    attack: behind(fragment, fragmentHeader(destinationOptions, 0, true), extension(PROTOCOL.udp, undefined, 1)),
    allow: behind(fragment, fragmentHeader(destinationOptions, 0, true), extension(PROTOCOL.udp), datagram),
  },
  {
    name: 'two fragment headers',
    vector: 'malformed',
    attack: behind(fragment, fragmentHeader(fragment, 0, false), fragmentHeader(PROTOCOL.udp, 0, false), datagram),
    allow: behind(fragment, fragmentHeader(PROTOCOL.udp, 0, false), datagram),
  },
  {
    name: 'a fragment that would end beyond 65,535',
    vector: 'malformed',
    attack: behind(fragment, fragmentHeader(PROTOCOL.udp, 65_528, false), Buffer.alloc(16)),
    allow: behind(fragment, fragmentHeader(PROTOCOL.udp, 65_512, false), Buffer.alloc(16)),
  },
];

const chain = (count: number): Buffer => {
  const headers = Array.from({ length: count - 1 }, () => extension(destinationOptions));
  return behind(destinationOptions, ...headers, extension(PROTOCOL.udp), datagram);
};
/** A client's message of DHCPv6. */
const solicit = Buffer.from([1, 0, 0, 1]);
const authentication = (next: number): Buffer => Buffer.concat([Buffer.from([next, 1, 0, 0]), Buffer.alloc(8)]);

const extensions: Row[] = [
  {
    name: 'forged behind destination options',
    vector: 'ipv6-source',
    attack: packet({ source: FORGED, next: destinationOptions }, Buffer.concat([extension(PROTOCOL.udp), datagram])),
    allow: chain(1),
  },
  {
    name: 'routing header 0',
    vector: 'source-route',
    attack: behind(routing, routingHeader(PROTOCOL.udp, 0, NODE.ipv6), datagram),
    allow: behind(routing, routingHeader(PROTOCOL.udp, 2, NODE.ipv6, 0), datagram),
  },
  {
    name: 'a routing header for the next segment (RPL)',
    vector: 'source-route',
    attack: behind(routing, routingHeader(PROTOCOL.udp, 3, NODE.ipv6), datagram),
    allow: behind(routing, routingHeader(PROTOCOL.udp, 3, NODE.ipv6, 0), datagram),
  },
  {
    name: 'a segment routing header',
    vector: 'source-route',
    attack: behind(routing, routingHeader(PROTOCOL.udp, 4, NODE.ipv6), datagram),
    allow: behind(routing, routingHeader(PROTOCOL.udp, 4, RECEIVER.ipv6, 0), datagram),
  },
  {
    name: 'a segment routing header whose last segment is not the destination',
    vector: 'source-route',
    attack: behind(routing, routingHeader(PROTOCOL.udp, 4, NODE.ipv6, 0), datagram),
    allow: behind(routing, routingHeader(PROTOCOL.udp, 4, RECEIVER.ipv6, 0), datagram),
  },
  {
    name: 'routing header 0 behind others',
    vector: 'source-route',
    attack: behind(
      hopByHop,
      routerAlert(destinationOptions),
      extension(routing),
      routingHeader(PROTOCOL.udp, 0, NODE.ipv6),
      datagram,
    ),
    allow: behind(hopByHop, routerAlert(destinationOptions), extension(PROTOCOL.udp), datagram),
  },
  { name: 'nine extension headers', vector: 'malformed', attack: chain(9), allow: chain(8) },
  {
    name: 'an extension header beyond the packet',
    vector: 'malformed',
    attack: behind(destinationOptions, extension(PROTOCOL.udp, undefined, 5), datagram),
    allow: chain(1),
  },
  {
    name: 'an extension header cut short',
    vector: 'malformed',
    attack: behind(destinationOptions, Buffer.from([17, 0, 0, 0])),
    allow: chain(1),
  },
  {
    name: 'hop-by-hop that is not first',
    vector: 'malformed',
    attack: behind(destinationOptions, extension(hopByHop), routerAlert(PROTOCOL.udp), datagram),
    allow: behind(hopByHop, routerAlert(destinationOptions), extension(PROTOCOL.udp), datagram),
  },
  {
    name: 'a server behind an authentication header',
    vector: 'dhcp-server',
    attack: behind(ah, authentication(PROTOCOL.udp), udp(547, 546)),
    allow: behind(ah, authentication(PROTOCOL.udp), udp(546, 547, solicit)),
  },
];

const malformed: Row[] = [
  { name: 'version 4 in an IPv6 frame', vector: 'malformed', attack: packet({ version: 4 }), allow: plain },
  { name: 'version 0', vector: 'malformed', attack: packet({ version: 0 }), allow: plain },
  { name: 'a header cut short', vector: 'malformed', attack: plain.subarray(0, 53), allow: plain },
  {
    name: 'a payload length beyond the frame',
    vector: 'malformed',
    attack: packet({ payloadLength: 17 }),
    allow: packet({ payloadLength: 16 }),
  },
  {
    name: 'a payload length of 0 on an ordinary packet',
    vector: 'malformed',
    attack: packet({ payloadLength: 0 }),
    allow: plain,
  },
  {
    name: 'a UDP header beyond the payload length, inside the frame',
    vector: 'malformed',
    attack: packet({ payloadLength: 4 }),
    allow: packet({ payloadLength: 8 }),
  },
  { name: 'no UDP header', vector: 'malformed', attack: packet({}, Buffer.alloc(7)), allow: plain },
  {
    name: 'no TCP header',
    vector: 'malformed',
    attack: packet({ next: PROTOCOL.tcp }, Buffer.alloc(19)),
    allow: plainTcp,
  },
  {
    name: 'no ICMPv6 header',
    vector: 'malformed',
    attack: packet({ next: PROTOCOL.icmpv6 }, Buffer.alloc(7)),
    allow: ping,
  },
  {
    name: 'no SCTP header',
    vector: 'malformed',
    attack: packet({ next: PROTOCOL.sctp }, Buffer.alloc(11)),
    allow: packet({ next: PROTOCOL.sctp }, Buffer.alloc(12)),
  },
];

const request = { source: '::', destination: 'ff02::1:2' };
const clientFrame = (body: Buffer = solicit, ports: [number, number] = [546, 547], to = request): Buffer =>
  packet(to, udp(...ports, body, to));

const dhcp: Row[] = [
  {
    name: 'a reply from port 547',
    vector: 'dhcp-server',
    attack: packet({}, udp(547, 546)),
    allow: packet({}, udp(546, 547, solicit)),
  },
  { name: 'a reply from another port', vector: 'dhcp-server', attack: packet({}, udp(4000, 546)), allow: plain },
  {
    name: 'a reply in a first fragment',
    vector: 'dhcp-server',
    attack: behind(fragment, fragmentHeader(PROTOCOL.udp, 0, true), udp(547, 546)),
    allow: behind(fragment, fragmentHeader(PROTOCOL.udp, 0, true), udp(546, 548)),
  },
  {
    name: 'a message of a relay',
    vector: 'dhcp-server',
    attack: packet({}, udp(546, 547, Buffer.from([12, 0, 0, 0]))),
    allow: packet({}, udp(546, 547, Buffer.from([8, 0, 0, 1]))),
  },
  {
    name: 'a client message in a first fragment',
    vector: 'dhcp-server',
    attack: behind(fragment, fragmentHeader(PROTOCOL.udp, 0, true), udp(546, 547, solicit)),
    allow: plain,
  },
  {
    name: 'a well-formed request from ::, when enforced',
    vector: 'dhcp-client',
    attack: clientFrame(),
    allow: clientFrame(solicit, [546, 547], { source: ATTACKER.linkLocal, destination: 'ff02::1:2' }),
  },
  {
    name: 'an advertisement as request',
    vector: 'ipv6-source',
    attack: clientFrame(Buffer.from([2, 0, 0, 1])),
    allow: plain,
  },
  {
    name: 'a request from another port',
    vector: 'ipv6-source',
    attack: clientFrame(solicit, [547, 545]),
    allow: plain,
    record: { modes: allModes('enforce', { 'dhcp-server': 'off' }) },
  },
  {
    name: 'a request to one host',
    vector: 'ipv6-source',
    attack: clientFrame(solicit, [546, 547], { ...request, destination: RECEIVER.ipv6 }),
    allow: plain,
  },
  { name: 'a request cut short', vector: 'ipv6-source', attack: clientFrame(Buffer.from([1, 0, 0])), allow: plain },
];

const tunnels: Row[] = (
  [
    ['tunnel', RECEIVER.ipv6],
    ['tunnel-other', 'fd77::200'],
  ] as const
).flatMap(([vector, destination]): Row[] => [
  {
    name: 'VXLAN',
    vector,
    attack: packet({ destination }, udp(4000, 4789, vxlan(innerFrame))),
    allow: packet({ destination }, udp(4789, 4790, vxlan(innerFrame))),
  },
  { name: 'Geneve', vector, attack: packet({ destination }, udp(4000, 6081, geneve(innerFrame))), allow: plain },
  {
    name: 'VXLAN behind destination options',
    vector,
    attack: packet(
      { destination, next: destinationOptions },
      Buffer.concat([extension(PROTOCOL.udp), udp(4000, 4789, vxlan(innerFrame))]),
    ),
    allow: chain(1),
  },
  { name: '4in6', vector, attack: packet({ destination, next: PROTOCOL.ipip }, inner4), allow: plain },
  { name: '6in6', vector, attack: packet({ destination, next: PROTOCOL.ipv6 }, inner6), allow: plain },
  {
    name: '6in6 behind eight headers',
    vector,
    attack: packet(
      { destination, next: destinationOptions },
      Buffer.concat([
        ...Array.from({ length: 7 }, () => extension(destinationOptions)),
        extension(PROTOCOL.ipv6),
        inner6,
      ]),
    ),
    allow: chain(8),
  },
  { name: 'GRE', vector, attack: packet({ destination, next: PROTOCOL.gre }, gre(0x86dd, inner6)), allow: plain },
  {
    name: 'a later fragment of GRE',
    vector,
    attack: packet(
      { destination, next: fragment },
      Buffer.concat([fragmentHeader(PROTOCOL.gre, 64, false), Buffer.alloc(8)]),
    ),
    allow: behind(fragment, fragmentHeader(PROTOCOL.udp, 64, false), Buffer.alloc(8)),
  },
]);

const GROUPS: [string, Row[]][] = [
  ['source', source],
  ['fragments', fragments],
  ['extensions', extensions],
  ['malformed', malformed],
  ['dhcp', dhcp],
  ['tunnels', tunnels],
];

describe('ipv6', () => {
  const node = useNode();
  beforeAll(async () => {
    await node.agent.call('object.maps.nodeAddresses.replace', [{ address: RECEIVER.ipv6, thisNode: false }]);
    await node.agent.call('object.maps.tunnelPorts.replace', [
      { port: 4789, kind: 'vxlan' },
      { port: 6081, kind: 'geneve' },
    ]);
  });

  for (const [group, rows] of GROUPS) it.each(rows)(`${group} - $vector: $name`, (row) => judgeRow(node, row));

  it('dhcp - a well-formed request from :: in audit passes and is counted', async () => {
    await using guarded = await node.guard(node.pods.attacker, {
      modes: allModes('enforce', { 'dhcp-client': 'audit' }),
    });
    node.forgetLanded();
    await node.send(clientFrame(), 2);
    await node.fence();
    expect(node.landed(clientFrame())).toBe(2);
    expect(await guarded.counts()).toEqual({ 'dhcp-client audit': 2 });
  });

  it('samples - an IPv6 forgery as text', async () => {
    await using guarded = await node.guard(node.pods.attacker, { state: 'provisional' });
    await node.send(packet({ source: FORGED, next: PROTOCOL.tcp }, tcp({ source: 4000, destination: 443 })));
    await guarded.counted({ 'ipv6-source drop': 1 });
    expect(await guarded.samples()).toMatchObject([
      {
        vector: 'ipv6-source',
        state: 'provisional',
        claimedAddress: FORGED,
        expectedAddress: ATTACKER.ipv6,
        destinationAddress: RECEIVER.ipv6,
        etherType: 0x86dd,
        l4Protocol: 6,
        sourcePort: 4000,
        destinationPort: 443,
      },
    ]);
  });
});
