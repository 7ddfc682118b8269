// Layer 2: MACs, tags, types and ARP.

import {
  type ArpFields,
  arp,
  ETHERTYPE,
  type EthernetFields,
  ethernet,
  ipv4,
  ipv6,
  PROTOCOL,
  udp,
} from '@bailiff/lab/frames';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, it } from 'vitest';
import { NOT_OWN_MAC } from '../../apps/collector/src/identity/identity.ts';
import { LAYOUTS, type Layout } from './harness/layouts.ts';
import { ATTACKER, allModes, RECEIVER, ZERO_MAC } from './harness/node.ts';
import { commandIn } from './harness/processes.ts';
import { judgeRow, type Row } from './harness/rows.ts';
import { useNode } from './harness/use-node.ts';

const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const FORGED_MAC = '02:00:00:00:77:99';
const ROUTED = LAYOUTS.find(({ name }) => name.startsWith('ptp')) as Layout;

const payload4 = ipv4(
  { source: ATTACKER.ipv4, destination: RECEIVER.ipv4, protocol: PROTOCOL.udp },
  udp(4000, 4001, Buffer.from('layer two'), { source: ATTACKER.ipv4, destination: RECEIVER.ipv4 }),
);
const payload6 = ipv6(
  { source: ATTACKER.ipv6, destination: RECEIVER.ipv6, next: PROTOCOL.udp },
  udp(4000, 4001, Buffer.from('layer two'), { source: ATTACKER.ipv6, destination: RECEIVER.ipv6 }),
);
const frame = (payload: Buffer, fields: Partial<EthernetFields> = {}): Buffer =>
  ethernet({ source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv4, ...fields }, payload);
const plain4 = frame(payload4);
const plain6 = frame(payload6, { type: ETHERTYPE.ipv6 });

const arpFrame = (fields: Partial<ArpFields> = {}, destination = BROADCAST): Buffer =>
  ethernet(
    { source: ATTACKER.mac, destination, type: ETHERTYPE.arp },
    arp({ senderMac: ATTACKER.mac, sender: ATTACKER.ipv4, target: RECEIVER.ipv4, ...fields }),
  );
const request = arpFrame();
const probe = arpFrame({ sender: '0.0.0.0', target: ATTACKER.ipv4 });
const announcement = arpFrame({ target: ATTACKER.ipv4 });
const reply = arpFrame({ operation: 2, targetMac: RECEIVER.mac }, RECEIVER.mac);
const llc = (length: number): Buffer =>
  frame(Buffer.from(`4242030000000800${payload4.toString('hex')}`, 'hex'), { type: length });

const rows: Row[] = [
  {
    name: 'IPv4 from another MAC',
    vector: 'source-mac',
    attack: frame(payload4, { source: FORGED_MAC }),
    allow: plain4,
  },
  {
    name: 'IPv6 from another MAC',
    vector: 'source-mac',
    attack: frame(payload6, { source: FORGED_MAC, type: ETHERTYPE.ipv6 }),
    allow: plain6,
  },
  {
    name: 'ARP in a frame from another MAC',
    vector: 'source-mac',
    attack: ethernet(
      { source: FORGED_MAC, destination: BROADCAST, type: ETHERTYPE.arp },
      arp({ senderMac: ATTACKER.mac, sender: ATTACKER.ipv4, target: RECEIVER.ipv4 }),
    ),
    allow: request,
  },

  {
    name: 'request for another sender address',
    vector: 'arp-sender',
    attack: arpFrame({ sender: '10.77.0.1' }),
    allow: request,
  },
  {
    name: "gratuitous ARP for the gateway's address",
    vector: 'arp-sender',
    attack: arpFrame({ sender: '10.77.0.1', target: '10.77.0.1' }),
    allow: announcement,
  },
  {
    name: "reply with the gateway's address",
    vector: 'arp-sender',
    attack: arpFrame({ operation: 2, sender: '10.77.0.1', targetMac: RECEIVER.mac }, RECEIVER.mac),
    allow: reply,
  },
  {
    name: 'another sender MAC inside',
    vector: 'arp-sender',
    attack: arpFrame({ senderMac: FORGED_MAC }),
    allow: request,
  },
  {
    name: 'a probe with another MAC inside',
    vector: 'arp-sender',
    attack: arpFrame({ senderMac: FORGED_MAC, sender: '0.0.0.0' }),
    allow: probe,
  },
  {
    name: "a probe for another pod's address, which would then give it up",
    vector: 'arp-sender',
    attack: arpFrame({ sender: '0.0.0.0' }),
    allow: probe,
  },
  {
    name: 'a reply from 0.0.0.0',
    vector: 'arp-sender',
    attack: arpFrame({ operation: 2, sender: '0.0.0.0' }),
    allow: probe,
  },
  {
    name: 'an allowed prefix is no claim',
    vector: 'arp-sender',
    attack: arpFrame({ sender: '10.78.0.5' }),
    allow: arpFrame({ sender: '10.79.0.5' }),
    grants: [
      { cidr: '10.78.0.0/16', neighbour: false },
      { cidr: '10.79.0.5', neighbour: true },
    ],
  },
  {
    name: 'an IPv6 prefix of length 0 grants no IPv4',
    vector: 'arp-sender',
    attack: arpFrame({ sender: '10.78.0.5' }),
    allow: request,
    grants: [{ cidr: '::/0', neighbour: true }],
  },

  { name: 'ARP cut short', vector: 'malformed', attack: request.subarray(0, 41), allow: request },
  { name: 'ARP of another hardware type', vector: 'malformed', attack: arpFrame({ hardware: 6 }), allow: request },
  { name: 'ARP for another protocol', vector: 'malformed', attack: arpFrame({ protocol: 0x86dd }), allow: request },
  { name: 'ARP with other lengths', vector: 'malformed', attack: arpFrame({ lengths: [8, 4] }), allow: request },
  { name: 'RARP operation', vector: 'malformed', attack: arpFrame({ operation: 3 }), allow: request },

  { name: 'VLAN 0', vector: 'vlan-tag', attack: frame(payload4, { tags: [{}] }), allow: plain4 },
  { name: 'VLAN 0 twice', vector: 'vlan-tag', attack: frame(payload4, { tags: [{}, {}] }), allow: plain4 },
  {
    name: 'VLAN 0 around IPv6',
    vector: 'vlan-tag',
    attack: frame(payload6, { tags: [{}], type: ETHERTYPE.ipv6 }),
    allow: plain6,
  },
  { name: 'VLAN 7', vector: 'vlan-tag', attack: frame(payload4, { tags: [{ tci: 7 }] }), allow: plain4 },
  {
    name: 'QinQ',
    vector: 'vlan-tag',
    attack: frame(payload4, { tags: [{ tpid: ETHERTYPE.qinq, tci: 7 }, { tci: 8 }] }),
    allow: plain4,
  },
  {
    name: 'forged source behind a tag, tags off',
    vector: 'ipv4-source',
    attack: frame(ipv4({ source: '10.77.0.99', destination: RECEIVER.ipv4, protocol: PROTOCOL.udp }, udp(1, 2)), {
      tags: [{}],
    }),
    allow: frame(payload4, { tags: [{}] }),
    record: { modes: { ...allModes('enforce'), 'vlan-tag': 'off' } },
  },
  {
    name: 'four tags, tags off',
    vector: 'malformed',
    attack: frame(payload4, { tags: [{}, {}, {}, {}] }),
    allow: frame(payload4, { tags: [{}, {}] }),
    record: { modes: { ...allModes('enforce'), 'vlan-tag': 'off' } },
  },

  { name: 'LLC/SNAP', vector: 'ethertype', attack: llc(payload4.length + 8), allow: plain4 },
  { name: 'a length of 0', vector: 'ethertype', attack: llc(0), allow: plain4 },
  { name: 'RARP', vector: 'ethertype', attack: frame(payload4, { type: ETHERTYPE.rarp }), allow: plain4 },
  { name: 'LLDP', vector: 'ethertype', attack: frame(payload4, { type: 0x88cc }), allow: plain4 },
  { name: 'MPLS', vector: 'ethertype', attack: frame(payload4, { type: 0x8847 }), allow: plain4 },
  { name: 'an old QinQ type', vector: 'ethertype', attack: frame(payload4, { type: 0x9100 }), allow: plain4 },
  { name: 'PPPoE', vector: 'ethertype', attack: frame(payload6, { type: 0x8864 }), allow: plain6 },
];

describe('link layer', () => {
  const node = useNode();

  it.each(rows)('$vector - $name', (row) => judgeRow(node, row));

  it('arp-sender - probe, announcement, request and reply of the pod itself pass uncounted', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    node.forgetLanded();
    const legal = [probe, announcement, request, reply];
    for (const one of legal) await node.send(one);
    await node.fence();
    expect(legal.map((one) => node.landed(one))).toEqual([1, 1, 1, 1]);
    expect(await guarded.counts()).toEqual({});
  });

  it('a record without a MAC - MACs are not checked, addresses are', async () => {
    await using guarded = await node.guard(node.pods.attacker, { mac: null });
    node.forgetLanded();
    const otherMac = frame(payload4, { source: FORGED_MAC });
    const forged = arpFrame({ sender: '10.77.0.1', senderMac: FORGED_MAC });
    await node.send(otherMac);
    await node.send(forged);
    await node.fence();
    expect(node.landed(otherMac)).toBe(1);
    expect(node.landed(forged)).toBe(0);
    expect(await guarded.counts()).toEqual({ 'arp-sender drop': 1 });
  });
});

// The record of an interface whose MAC is another one's. A bridge discards frames from a group and from the zero
// MAC; a node that routes does not.
describe('a record whose MAC is a group', () => {
  const node = useNode({ stacks: true, layout: ROUTED });
  const TEXTS = ['a plain packet', 'one with options'];
  const landed = () => TEXTS.map((text) => node.landedWith(Buffer.from(text)));

  it.each([NOT_OWN_MAC, ZERO_MAC, ATTACKER.mac])('no frame is the own one of the pod - from %s', async (source) => {
    const { attacker } = node.pods;
    // Without IPv6 the kernel of the pod sends nothing by itself.
    await commandIn(attacker.netns, 'sysctl', '-qw', 'net.ipv6.conf.eth0.disable_ipv6=1');
    await commandIn(node.netns, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    const frames = TEXTS.map((text, at) => {
      const ends = { source: ATTACKER.ipv4, destination: RECEIVER.ipv4 };
      const options = at === 0 ? {} : { options: Buffer.from([1, 1, 1, 1]) };
      const packet = ipv4({ ...ends, ...options, protocol: PROTOCOL.udp }, udp(4000, 9, Buffer.from(text), ends));
      return ethernet({ source, destination: attacker.hostMac, type: ETHERTYPE.ipv4 }, packet);
    });
    const send = async () => {
      node.forgetLanded();
      for (const one of frames) await node.send(one);
    };
    await send();
    await waitFor(landed, { what: 'control: they land', until: (counts) => counts.join() === '1,1' });
    await using guarded = await node.guard(attacker, { mac: NOT_OWN_MAC });
    await send();
    await guarded.counted({ 'source-mac drop': frames.length });
    expect(landed()).toEqual([0, 0]);
  });
});
