// IPv4: redirects, DHCP, and tunnels to nodes.

import { type DhcpFields, dhcp, geneve, gre, icmp, ipv4, PROTOCOL, udp, vxlan } from '@bailiff/lab/frames';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  BROADCAST_MAC,
  dhcpFrame,
  frame,
  inner4,
  inner6,
  innerFrame,
  own,
  packet,
  ping,
  plain,
  request,
} from './harness/ipv4.ts';
import { ATTACKER, allModes, RECEIVER } from './harness/node.ts';
import { judgeRow, type Row } from './harness/rows.ts';
import { useNode } from './harness/use-node.ts';

const routing: Row[] = [
  { name: 'ICMP redirect', vector: 'redirect', attack: packet({ protocol: PROTOCOL.icmp }, icmp(5, 1)), allow: ping },
  {
    name: 'ICMP router advertisement',
    vector: 'router-advert',
    attack: packet({ protocol: PROTOCOL.icmp }, icmp(9)),
    allow: packet({ protocol: PROTOCOL.icmp }, icmp(10)),
  },
];

/** A message of a client that has an address: to one server. */
const release = (fields: DhcpFields, mac: string = ATTACKER.mac, port = 68): Buffer =>
  packet({}, udp(port, 67, dhcp(mac, { message: 7, client: ATTACKER.ipv4, ...fields }), own));

const dhcpRows: Row[] = [
  {
    name: 'an offer from port 67',
    vector: 'dhcp-server',
    attack: dhcpFrame({ op: 2 }, [67, 68], { ...own }),
    allow: plain,
  },
  {
    name: 'an offer from another port',
    vector: 'dhcp-server',
    attack: dhcpFrame({ op: 2 }, [4000, 68], { ...own }),
    allow: plain,
  },
  {
    name: 'an offer by broadcast',
    vector: 'dhcp-server',
    attack: dhcpFrame({ op: 2 }, [67, 68], { ...own, destination: '255.255.255.255' }),
    allow: plain,
  },
  {
    name: 'an offer in a first fragment',
    vector: 'dhcp-server',
    attack: packet({ moreFragments: true }, udp(67, 68)),
    allow: packet({ moreFragments: true }, udp(68, 69)),
  },
  {
    name: 'a well-formed request, when enforced',
    vector: 'dhcp-client',
    attack: dhcpFrame(),
    allow: dhcpFrame({}, [68, 67], { ...own }),
  },
  {
    name: "a release of another client's address",
    vector: 'dhcp-server',
    attack: release({ client: RECEIVER.ipv4 }),
    allow: release({}),
  },
  {
    name: "a release for another client's MAC",
    vector: 'dhcp-server',
    attack: release({}, RECEIVER.mac),
    allow: release({}, ATTACKER.mac),
  },
  {
    name: 'a decline of another client',
    vector: 'dhcp-server',
    attack: release({ message: 4, client: '0.0.0.0' }, RECEIVER.mac),
    allow: release({ message: 4, client: '0.0.0.0' }),
  },
  {
    name: 'a request in the name of a relay',
    vector: 'dhcp-server',
    attack: release({ message: 3, relay: ATTACKER.ipv4 }),
    allow: release({ message: 3 }),
  },
  {
    name: 'a release from another port',
    vector: 'dhcp-server',
    attack: release({ client: RECEIVER.ipv4 }, ATTACKER.mac, 4000),
    allow: release({}, ATTACKER.mac, 4000),
  },
  {
    name: 'a client message in a first fragment',
    vector: 'dhcp-server',
    attack: packet({ moreFragments: true }, udp(68, 67, dhcp(ATTACKER.mac))),
    allow: plain,
  },
  { name: 'a reply as request', vector: 'ipv4-source', attack: dhcpFrame({ op: 2 }), allow: plain },
  { name: 'a request without the cookie', vector: 'ipv4-source', attack: dhcpFrame({ magic: 1 }), allow: plain },
  {
    name: 'a request with another hardware type',
    vector: 'ipv4-source',
    attack: dhcpFrame({ hardware: 6 }),
    allow: plain,
  },
  {
    name: 'a request to one host',
    vector: 'ipv4-source',
    attack: dhcpFrame({}, [68, 67], { ...request, destination: RECEIVER.ipv4 }),
    allow: plain,
  },
  { name: 'a request from another port', vector: 'ipv4-source', attack: dhcpFrame({}, [69, 67]), allow: plain },
  {
    name: 'a request for another MAC',
    vector: 'ipv4-source',
    attack: frame(ipv4({ ...request, protocol: PROTOCOL.udp }, udp(68, 67, dhcp(RECEIVER.mac))), BROADCAST_MAC),
    allow: plain,
  },
  {
    name: 'a request cut short',
    vector: 'ipv4-source',
    attack: frame(
      ipv4({ ...request, protocol: PROTOCOL.udp }, udp(68, 67, dhcp(ATTACKER.mac).subarray(0, 239))),
      BROADCAST_MAC,
    ),
    allow: plain,
  },
];

/** The receiver's address is a node's in these rows; the node's own address is not. */
const tunnels: Row[] = (
  [
    ['tunnel', RECEIVER.ipv4],
    ['tunnel-other', '10.77.0.200'],
  ] as const
).flatMap(([vector, destination]): Row[] => [
  {
    name: 'VXLAN',
    vector,
    attack: packet({ destination }, udp(4000, 4789, vxlan(innerFrame))),
    allow: packet({ destination }, udp(4789, 4790, vxlan(innerFrame))),
  },
  {
    name: "VXLAN to Linux' old port",
    vector,
    attack: packet({ destination }, udp(4000, 8472, vxlan(innerFrame))),
    allow: plain,
  },
  { name: 'Geneve', vector, attack: packet({ destination }, udp(4000, 6081, geneve(innerFrame))), allow: plain },
  {
    name: 'VXLAN in a first fragment',
    vector,
    attack: packet({ destination, moreFragments: true }, udp(4000, 4789, vxlan(innerFrame))),
    allow: plain,
  },
  { name: 'IPIP', vector, attack: packet({ destination, protocol: PROTOCOL.ipip }, inner4), allow: plain },
  { name: '6in4', vector, attack: packet({ destination, protocol: PROTOCOL.ipv6 }, inner6), allow: plain },
  { name: 'GRE', vector, attack: packet({ destination, protocol: PROTOCOL.gre }, gre(0x0800, inner4)), allow: plain },
  { name: 'EtherIP', vector, attack: packet({ destination, protocol: 97 }, innerFrame), allow: plain },
  { name: 'L2TP', vector, attack: packet({ destination, protocol: 115 }, innerFrame), allow: plain },
  { name: 'MPLS in IP', vector, attack: packet({ destination, protocol: 137 }, inner4), allow: plain },
  {
    name: 'a later fragment of GRE',
    vector,
    attack: packet({ destination, protocol: PROTOCOL.gre, offset: 64 }),
    allow: packet({ offset: 64 }),
  },
]);

const GROUPS: [string, Row[]][] = [
  ['routing', routing],
  ['dhcp', dhcpRows],
  ['tunnels', tunnels],
];

describe('ipv4 services', () => {
  const node = useNode();
  beforeAll(async () => {
    await node.agent.call('object.maps.nodeAddresses.replace', [{ address: RECEIVER.ipv4, thisNode: false }]);
    await node.agent.call('object.maps.tunnelPorts.replace', [
      { port: 4789, kind: 'vxlan' },
      { port: 8472, kind: 'vxlan' },
      { port: 6081, kind: 'geneve' },
    ]);
  });

  for (const [group, rows] of GROUPS) it.each(rows)(`${group} - $vector: $name`, (row) => judgeRow(node, row));

  it('dhcp - a well-formed request in audit passes and is counted', async () => {
    await using guarded = await node.guard(node.pods.attacker, {
      modes: allModes('enforce', { 'dhcp-client': 'audit' }),
    });
    node.forgetLanded();
    await node.send(dhcpFrame(), 2);
    await node.fence();
    expect(node.landed(dhcpFrame())).toBe(2);
    expect(await guarded.counts()).toEqual({ 'dhcp-client audit': 2 });
  });
});
