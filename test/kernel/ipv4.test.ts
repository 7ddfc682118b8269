// IPv4: sources, fragments, options, and packets that cannot be parsed.

import { dhcp, icmp, ipv4, ipv6, PROTOCOL, tcp, udp } from '@bailiff/lab/frames';
import { describe, expect, it } from 'vitest';
import {
  FORGED,
  frame,
  lsrr,
  option,
  packet,
  ping,
  plain,
  plainTcp,
  recordRoute,
  request,
  routerAlertOption,
  ssrr,
} from './harness/ipv4.ts';
import { ATTACKER, RECEIVER } from './harness/node.ts';
import { judgeRow, type Row } from './harness/rows.ts';
import { useNode } from './harness/use-node.ts';

const source: Row[] = [
  { name: 'UDP from an unassigned address', vector: 'ipv4-source', attack: packet({ source: FORGED }), allow: plain },
  {
    name: "UDP from the other pod's address",
    vector: 'ipv4-source',
    attack: packet({ source: RECEIVER.ipv4 }),
    allow: plain,
  },
  {
    name: 'TCP SYN',
    vector: 'ipv4-source',
    attack: packet({ source: FORGED, protocol: PROTOCOL.tcp }, tcp({ source: 1, destination: 80 })),
    allow: packet({ protocol: PROTOCOL.tcp }, tcp({ source: 1, destination: 80 })),
  },
  {
    name: 'ICMP echo',
    vector: 'ipv4-source',
    attack: packet({ source: FORGED, protocol: PROTOCOL.icmp }, icmp(8)),
    allow: ping,
  },
  {
    name: 'a protocol that is not looked into',
    vector: 'ipv4-source',
    attack: packet({ source: FORGED, protocol: 253 }),
    allow: packet({ protocol: 253 }),
  },
  {
    name: 'a packet of only a header',
    vector: 'ipv4-source',
    attack: packet({ source: FORGED, protocol: 253 }, Buffer.alloc(0)),
    allow: plain,
  },
  { name: 'loopback as source', vector: 'ipv4-source', attack: packet({ source: '127.0.0.1' }), allow: plain },
  { name: 'multicast as source', vector: 'ipv4-source', attack: packet({ source: '224.0.0.1' }), allow: plain },
  { name: 'link-local as source', vector: 'ipv4-source', attack: packet({ source: '169.254.1.1' }), allow: plain },
  { name: '0.0.0.0 outside DHCP', vector: 'ipv4-source', attack: packet({ source: '0.0.0.0' }), allow: plain },
  {
    name: 'outside the allowed prefix',
    vector: 'ipv4-source',
    attack: packet({ source: '10.79.0.1' }),
    allow: packet({ source: '10.78.200.1' }),
    grants: [{ cidr: '10.78.0.0/16', neighbour: false }],
  },
  {
    name: 'an address beside a further address of the pod',
    vector: 'ipv4-source',
    attack: packet({ source: '10.77.0.21' }),
    allow: packet({ source: '10.77.0.20' }),
    grants: [{ cidr: '10.77.0.20', neighbour: true }],
  },
  {
    name: 'loopback, though everything is allowed',
    vector: 'ipv4-source',
    attack: packet({ source: '127.0.0.1' }),
    allow: packet({ source: '203.0.113.9' }),
    grants: [{ cidr: '0.0.0.0/0', neighbour: false }],
  },
  {
    name: 'IPv4, though all of IPv6 is allowed',
    vector: 'ipv4-source',
    attack: packet({ source: FORGED }),
    allow: plain,
    grants: [{ cidr: '::/0', neighbour: true }],
  },
  {
    name: 'the record has no IPv4 address',
    vector: 'ipv4-source',
    attack: packet({ source: '10.77.0.98' }),
    allow: plain,
    record: { ipv4: null },
    grants: [{ cidr: ATTACKER.ipv4, neighbour: true }],
  },
];

const fragments: Row[] = [
  {
    name: 'a first fragment',
    vector: 'ipv4-source',
    attack: packet({ source: FORGED, moreFragments: true }),
    allow: packet({ moreFragments: true }),
  },
  {
    name: 'a later fragment',
    vector: 'ipv4-source',
    attack: packet({ source: FORGED, offset: 16 }, Buffer.from('the middle of it')),
    allow: packet({ offset: 16 }, Buffer.from('the middle of it')),
  },
  {
    name: 'a first fragment without its UDP header',
    vector: 'malformed',
    attack: packet({ moreFragments: true }, Buffer.alloc(4)),
    allow: packet({ moreFragments: true }),
  },
  {
    name: 'a first fragment with part of its TCP header',
    vector: 'malformed',
    attack: packet({ moreFragments: true, protocol: PROTOCOL.tcp }, tcp({ source: 1, destination: 2 }).subarray(0, 16)),
    allow: packet({ moreFragments: true, protocol: PROTOCOL.tcp }, tcp({ source: 1, destination: 2 })),
  },
  {
    name: 'a fragment that would end beyond 65,535',
    vector: 'malformed',
    attack: packet({ offset: 65_528 }, Buffer.alloc(16)),
    allow: packet({ offset: 65_504 }, Buffer.alloc(16)),
  },
  {
    name: 'a redirect in a first fragment',
    vector: 'redirect',
    attack: packet({ moreFragments: true, protocol: PROTOCOL.icmp }, icmp(5)),
    allow: packet({ moreFragments: true, protocol: PROTOCOL.icmp }, icmp(8)),
  },
  {
    name: 'DHCP in fragments is no request',
    vector: 'ipv4-source',
    attack: frame(ipv4({ ...request, protocol: PROTOCOL.udp, moreFragments: true }, udp(68, 67, dhcp(ATTACKER.mac)))),
    allow: plain,
  },
];

const options: Row[] = [
  { name: 'LSRR', vector: 'source-route', attack: packet({ options: lsrr }), allow: packet({ options: recordRoute }) },
  {
    name: 'SSRR',
    vector: 'source-route',
    attack: packet({ options: ssrr }),
    allow: packet({ options: routerAlertOption }),
  },
  {
    name: 'LSRR after other options',
    vector: 'source-route',
    attack: packet({ options: Buffer.concat([option(1, 1), recordRoute.subarray(0, 7), option(1), lsrr]) }),
    allow: packet({ options: Buffer.concat([option(1, 1), recordRoute]) }),
  },
  {
    name: 'LSRR as the last of forty bytes',
    vector: 'source-route',
    attack: packet({ options: Buffer.concat([Buffer.alloc(32, 1), lsrr]) }),
    allow: packet({ options: Buffer.concat([Buffer.alloc(32, 1), recordRoute]) }),
  },
  {
    name: 'LSRR on a later fragment',
    vector: 'source-route',
    attack: packet({ options: lsrr, offset: 16 }),
    allow: packet({ offset: 16 }),
  },
  {
    name: 'an option of length 0',
    vector: 'malformed',
    attack: packet({ options: option(7, 0, 4, 0) }),
    allow: packet({ options: recordRoute }),
  },
  {
    name: 'an option of length 1',
    vector: 'malformed',
    attack: packet({ options: option(7, 1, 4, 0) }),
    allow: packet({ options: recordRoute }),
  },
  {
    name: 'an option beyond the header',
    vector: 'malformed',
    attack: packet({ options: option(7, 5, 4, 0) }),
    allow: packet({ options: option(7, 4, 4, 0) }),
  },
  {
    name: 'an option without room for its length',
    vector: 'malformed',
    attack: packet({ options: option(1, 1, 1, 7) }),
    allow: packet({ options: option(1, 1, 1, 0) }),
  },
  {
    name: 'bytes like LSRR behind the end of options pass',
    vector: 'ipv4-source',
    attack: packet({ source: FORGED, options: option(0, 131, 3, 4) }),
    allow: packet({ options: option(0, 131, 3, 4) }),
  },
];

const malformed: Row[] = [
  { name: 'version 5', vector: 'malformed', attack: packet({ version: 5 }), allow: plain },
  {
    name: 'version 6 in an IPv4 frame',
    vector: 'malformed',
    attack: frame(ipv6({ source: ATTACKER.ipv6, destination: RECEIVER.ipv6, next: 59 })),
    allow: plain,
  },
  { name: 'IHL 4', vector: 'malformed', attack: packet({ ihl: 4 }), allow: plain },
  { name: 'IHL 0', vector: 'malformed', attack: packet({ ihl: 0 }), allow: plain },
  { name: 'IHL beyond the packet', vector: 'malformed', attack: packet({ ihl: 15 }), allow: plain },
  {
    name: 'a total length beyond the frame',
    vector: 'malformed',
    attack: packet({ totalLength: 37 }),
    allow: packet({ totalLength: 36 }),
  },
  { name: 'a total length under the header', vector: 'malformed', attack: packet({ totalLength: 19 }), allow: plain },
  {
    name: 'a total length of 0 on an ordinary packet',
    vector: 'malformed',
    attack: packet({ totalLength: 0 }),
    allow: plain,
  },
  { name: 'a header cut short', vector: 'malformed', attack: plain.subarray(0, 33), allow: plain },
  {
    name: 'no UDP header',
    vector: 'malformed',
    attack: packet({}, Buffer.alloc(7)),
    allow: packet({}, udp(1, 2, Buffer.alloc(0))),
  },
  {
    name: 'no TCP header',
    vector: 'malformed',
    attack: packet({ protocol: PROTOCOL.tcp }, tcp({ source: 1, destination: 2 }).subarray(0, 19)),
    allow: plainTcp,
  },
  {
    name: 'a TCP data offset of 4',
    vector: 'malformed',
    attack: packet({ protocol: PROTOCOL.tcp }, tcp({ source: 1, destination: 2, dataOffset: 4 })),
    allow: plainTcp,
  },
  {
    name: 'a TCP data offset beyond the packet',
    vector: 'malformed',
    attack: packet({ protocol: PROTOCOL.tcp }, tcp({ source: 1, destination: 2, dataOffset: 6 })),
    allow: plainTcp,
  },
  {
    name: 'no ICMP header',
    vector: 'malformed',
    attack: packet({ protocol: PROTOCOL.icmp }, Buffer.alloc(7)),
    allow: ping,
  },
  {
    name: 'no SCTP header',
    vector: 'malformed',
    attack: packet({ protocol: PROTOCOL.sctp }, Buffer.alloc(11)),
    allow: packet({ protocol: PROTOCOL.sctp }, Buffer.alloc(12)),
  },
  {
    name: 'no DCCP header',
    vector: 'malformed',
    attack: packet({ protocol: PROTOCOL.dccp }, Buffer.alloc(11)),
    allow: packet({ protocol: PROTOCOL.dccp }, Buffer.alloc(12)),
  },
  {
    name: 'no UDP-Lite header',
    vector: 'malformed',
    attack: packet({ protocol: PROTOCOL.udpLite }, Buffer.alloc(7)),
    allow: packet({ protocol: PROTOCOL.udpLite }, Buffer.alloc(8)),
  },
  {
    name: 'a UDP header beyond the total length, inside the frame',
    vector: 'malformed',
    attack: packet({ totalLength: 24 }),
    allow: packet({ totalLength: 28 }),
  },
];

const GROUPS: [string, Row[]][] = [
  ['source', source],
  ['fragments', fragments],
  ['options', options],
  ['malformed', malformed],
];

describe('ipv4', () => {
  const node = useNode();

  for (const [group, rows] of GROUPS) it.each(rows)(`${group} - $vector: $name`, (row) => judgeRow(node, row));

  it('samples - an IPv4 forgery as text', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    await node.send(packet({ source: FORGED }, udp(4000, 53)));
    await guarded.counted({ 'ipv4-source drop': 1 });
    expect(await guarded.samples()).toMatchObject([
      {
        vector: 'ipv4-source',
        action: 'drop',
        state: 'programmed',
        egress: false,
        first: true,
        claimedMac: ATTACKER.mac,
        expectedMac: ATTACKER.mac,
        claimedAddress: FORGED,
        expectedAddress: ATTACKER.ipv4,
        destinationAddress: RECEIVER.ipv4,
        etherType: 0x0800,
        l4Protocol: 17,
        sourcePort: 4000,
        destinationPort: 53,
        lengthBytes: 50,
        gsoSegments: 1,
      },
    ]);
  });

  it('samples - a packet socket on this kernel is still identified at the host side', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    await node.send(packet({ source: FORGED }));
    await guarded.counted({ 'ipv4-source drop': 1 });
    const [sample] = await guarded.samples();
    expect(sample!.socketCookie).toBeGreaterThan(0n);
    expect(sample!.cgroupId).toBeGreaterThan(0n);
  });
});
