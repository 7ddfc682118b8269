// A pod with a granted MAC, as of a virtual machine in it: the MAC is valid wherever the pod's own
// one is, for this pod alone, and its prefix of the map grants no address.
import { type ArpFields, arp, dhcp, ETHERTYPE, ethernet, ipv4, ipv6, PROTOCOL, udp } from '@bailiff/lab/frames';
import { describe, expect, it } from 'vitest';
import { BROADCAST_MAC, datagram, request as dhcpEnds } from './harness/ipv4.ts';
import { advertise, dad, rs, sourceMac, targetMac } from './harness/nd.ts';
import { ATTACKER, RECEIVER } from './harness/node.ts';
import { judgeRow, type Row } from './harness/rows.ts';
import { useNode } from './harness/use-node.ts';

const GUEST = { mac: '52:54:00:12:34:56', linkLocal: 'fe80::5054:ff:fe12:3456' } as const;
const OTHER = { mac: '52:54:00:12:34:57', linkLocal: 'fe80::5054:ff:fe12:3457' } as const;
const GROUP = '53:54:00:12:34:56';
const grants = [{ cidr: GUEST.mac, neighbour: false }];

/** The frame with another Ethernet source; the rest stays. */
const from = (mac: string, frame: Buffer): Buffer =>
  Buffer.concat([frame.subarray(0, 6), Buffer.from(mac.replaceAll(':', ''), 'hex'), frame.subarray(12)]);
const datagram4 = datagram(ATTACKER.ipv4);
const datagram6 = (source: string): Buffer =>
  ethernet(
    { source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv6 },
    ipv6({ source, destination: RECEIVER.ipv6, next: PROTOCOL.udp }, udp(1, 2)),
  );
const arpFrame = (mac: string, fields: Partial<ArpFields> = {}): Buffer =>
  ethernet(
    { source: mac, destination: BROADCAST_MAC, type: ETHERTYPE.arp },
    arp({ senderMac: mac, sender: ATTACKER.ipv4, target: RECEIVER.ipv4, ...fields }),
  );
const dhcpFrame = (mac: string): Buffer =>
  ethernet(
    { source: GUEST.mac, destination: BROADCAST_MAC, type: ETHERTYPE.ipv4 },
    ipv4({ ...dhcpEnds, protocol: PROTOCOL.udp }, udp(68, 67, dhcp(mac))),
  );

const rows: Row[] = [
  { name: 'IPv4', vector: 'source-mac', attack: from(OTHER.mac, datagram4), allow: from(GUEST.mac, datagram4) },
  {
    name: 'IPv6',
    vector: 'source-mac',
    attack: from(OTHER.mac, datagram6(ATTACKER.ipv6)),
    allow: from(GUEST.mac, datagram6(ATTACKER.ipv6)),
  },
  {
    // A bridge drops frames from a group address by itself.
    name: 'ARP with a group address',
    vector: 'arp-sender',
    attack: arpFrame(GUEST.mac, { senderMac: GROUP }),
    allow: arpFrame(GUEST.mac),
    grants: [...grants, { cidr: GROUP, neighbour: false }],
  },
  {
    name: 'ARP',
    vector: 'arp-sender',
    attack: from(GUEST.mac, arpFrame(OTHER.mac)),
    allow: arpFrame(GUEST.mac),
  },
  {
    name: 'ARP for another address',
    vector: 'arp-sender',
    attack: arpFrame(GUEST.mac, { sender: '10.77.0.1' }),
    allow: arpFrame(GUEST.mac),
  },
  {
    name: 'link-local source',
    vector: 'link-local',
    attack: from(GUEST.mac, datagram6(OTHER.linkLocal)),
    allow: from(GUEST.mac, datagram6(GUEST.linkLocal)),
  },
  {
    name: 'advertisement with another MAC',
    vector: 'nd-target',
    attack: from(GUEST.mac, advertise(ATTACKER.ipv6, targetMac(OTHER.mac))),
    allow: from(GUEST.mac, advertise(ATTACKER.ipv6, targetMac(GUEST.mac))),
  },
  {
    name: 'advertisement of a link-local address',
    vector: 'nd-target',
    attack: from(GUEST.mac, advertise(OTHER.linkLocal, targetMac(GUEST.mac))),
    allow: from(GUEST.mac, advertise(GUEST.linkLocal, targetMac(GUEST.mac))),
  },
  {
    name: 'DAD of a link-local address',
    vector: 'nd-target',
    attack: from(GUEST.mac, dad(OTHER.linkLocal)),
    allow: from(GUEST.mac, dad(GUEST.linkLocal)),
  },
  {
    name: 'router solicitation',
    vector: 'nd-target',
    attack: from(GUEST.mac, rs(sourceMac(OTHER.mac), { source: GUEST.linkLocal })),
    allow: from(GUEST.mac, rs(sourceMac(GUEST.mac), { source: GUEST.linkLocal })),
  },
  {
    name: 'the key of the MAC is no source',
    vector: 'ipv6-source',
    attack: datagram6('ff00::5254:12:3456'),
    allow: datagram6(ATTACKER.ipv6),
  },
  {
    name: 'a prefix of all addresses grants no MAC',
    vector: 'source-mac',
    attack: from(OTHER.mac, datagram4),
    allow: datagram4,
    grants: [{ cidr: '::/0', neighbour: true }],
  },
].map((row) => ({ grants, ...row }) as Row);

describe('granted MACs', () => {
  const node = useNode();

  it.each(rows)('$vector - $name', (row) => judgeRow(node, row));

  it('dhcp - a request for the granted MAC is a client’s, one for another is forged', async () => {
    await using guarded = await node.guard(node.pods.attacker, { hasMore: true });
    await node.agent.call('object.maps.addresses.replace', guarded.key, grants);
    await node.send(dhcpFrame(GUEST.mac));
    await node.send(dhcpFrame(OTHER.mac));
    await guarded.counted({ 'dhcp-client drop': 1, 'ipv4-source drop': 1 });
  });

  it('without the grant, and of another pod, the MAC is forged; a grant that ends ends it', async () => {
    const frame = from(GUEST.mac, datagram4);
    await using other = await node.guard(node.pods.receiver, { hasMore: true });
    await node.agent.call('object.maps.addresses.replace', other.key, grants);
    await using guarded = await node.guard(node.pods.attacker, { hasMore: true });
    const landed = async () => {
      node.forgetLanded();
      await node.send(frame);
      await node.fence();
      return node.landed(frame);
    };
    expect(await landed()).toBe(0);
    await node.agent.call('object.maps.addresses.replace', guarded.key, grants);
    expect(await landed()).toBe(1);
    await node.agent.call('object.maps.addresses.replace', guarded.key, []);
    expect(await landed()).toBe(0);
    await guarded.counted({ 'source-mac drop': 2 });
  });
});
