// Neighbour discovery: who may claim an address, in advertisements, solicitations and duplicate
// address detection.
import { linkLocalOfMac } from '@bailiff/bpf';
import { solicitedNode } from '@bailiff/lab/frames';
import { describe, expect, it } from 'vitest';
import {
  ALL_NODES,
  advertise,
  dad,
  dadLinkLocal,
  dadOwn,
  destination,
  echo,
  FOREIGN_LINK_LOCAL,
  FORGED_MAC,
  message,
  na,
  naFromGlobal,
  naLinkLocal,
  nonce,
  ns,
  rs,
  solicit,
  sourceMac,
  targetMac,
} from './harness/nd.ts';
import { ATTACKER, allModes, NODE, RECEIVER } from './harness/node.ts';
import { judgeRow, type Row } from './harness/rows.ts';
import { useNode } from './harness/use-node.ts';

const claims: Row[] = [
  { name: "NA for the gateway's address", vector: 'nd-target', attack: advertise(NODE.ipv6), allow: na },
  { name: "NA for the other pod's address", vector: 'nd-target', attack: advertise(RECEIVER.ipv6), allow: na },
  {
    name: "NA for the gateway's link-local address",
    vector: 'nd-target',
    attack: advertise(linkLocalOfMac(NODE.mac)),
    allow: naLinkLocal,
  },
  {
    name: 'NA for an unassigned link-local address',
    vector: 'nd-target',
    attack: advertise('fe80::1:2:3'),
    allow: naLinkLocal,
  },
  {
    name: 'unsolicited NA to all nodes',
    vector: 'nd-target',
    attack: advertise(NODE.ipv6, targetMac(), { ip: { source: ATTACKER.ipv6, destination: ALL_NODES } }),
    allow: naFromGlobal,
  },
  {
    name: 'NA with another MAC',
    vector: 'nd-target',
    attack: advertise(ATTACKER.ipv6, targetMac(FORGED_MAC)),
    allow: na,
  },
  {
    name: 'NA with another MAC after another option',
    vector: 'nd-target',
    attack: advertise(ATTACKER.ipv6, Buffer.concat([nonce, targetMac(FORGED_MAC)])),
    allow: advertise(ATTACKER.ipv6, Buffer.concat([nonce, targetMac()])),
  },
  {
    name: 'NA with an option of another kind of link',
    vector: 'nd-target',
    attack: advertise(ATTACKER.ipv6, Buffer.concat([Buffer.from([2, 2]), targetMac().subarray(2), Buffer.alloc(8)])),
    allow: na,
  },
  {
    name: 'inverse advertisement',
    vector: 'nd-target',
    attack: message({ type: 142, body: Buffer.alloc(24) }),
    allow: echo,
  },
  {
    name: 'NA without an option, for another',
    vector: 'nd-target',
    attack: advertise(NODE.ipv6, Buffer.alloc(0)),
    allow: advertise(ATTACKER.ipv6, Buffer.alloc(0)),
  },
  {
    name: 'NA for another behind destination options',
    vector: 'nd-target',
    attack: advertise(NODE.ipv6, targetMac(), { headers: [destination] }),
    allow: advertise(ATTACKER.ipv6, targetMac(), { headers: [destination] }),
  },
  {
    name: 'NA for an allowed prefix',
    vector: 'nd-target',
    attack: advertise('fd78::1'),
    allow: advertise('fd79::1'),
    grants: [
      { cidr: 'fd78::/32', neighbour: false },
      { cidr: 'fd79::1', neighbour: true },
    ],
  },
  {
    name: 'NS from an allowed prefix',
    vector: 'nd-target',
    attack: solicit({ ip: { source: 'fd78::1' } }),
    allow: solicit({ ip: { source: 'fd79::1' } }),
    grants: [
      { cidr: 'fd78::/32', neighbour: false },
      { cidr: 'fd79::1', neighbour: true },
    ],
  },
  {
    name: 'RS from an allowed prefix',
    vector: 'nd-target',
    attack: rs(sourceMac(), { source: 'fd78::1' }),
    allow: rs(sourceMac(), { source: ATTACKER.ipv6 }),
    grants: [{ cidr: 'fd78::/32', neighbour: false }],
  },
  {
    name: 'NA for the mapped form of a granted IPv4 address',
    vector: 'nd-target',
    attack: advertise('::ffff:10.77.0.20'),
    allow: na,
    grants: [{ cidr: '10.77.0.20', neighbour: true }],
  },
  {
    name: 'NA from a foreign link-local, for another',
    vector: 'nd-target',
    attack: advertise(NODE.ipv6, targetMac(), { ip: { source: FOREIGN_LINK_LOCAL } }),
    allow: na,
  },
  {
    name: 'NA from a foreign link-local, for itself',
    vector: 'nd-target',
    attack: advertise(FOREIGN_LINK_LOCAL, targetMac(), { ip: { source: FOREIGN_LINK_LOCAL } }),
    allow: na,
  },
  {
    name: 'NA from a foreign link-local, for the own address',
    vector: 'link-local',
    attack: advertise(ATTACKER.ipv6, targetMac(), { ip: { source: FOREIGN_LINK_LOCAL } }),
    allow: na,
  },
  {
    name: "NA from the other pod's address",
    vector: 'ipv6-source',
    attack: advertise(ATTACKER.ipv6, targetMac(), { ip: { source: RECEIVER.ipv6 } }),
    allow: na,
  },
  {
    name: 'NA from ::',
    vector: 'ipv6-source',
    attack: advertise(ATTACKER.ipv6, Buffer.alloc(0), { ip: { source: '::' } }),
    allow: na,
  },
  { name: 'NS with another MAC', vector: 'nd-target', attack: solicit({}, sourceMac(FORGED_MAC)), allow: ns },
  {
    name: 'NS with another MAC in the wrong option',
    vector: 'nd-target',
    attack: solicit({}, targetMac(FORGED_MAC)),
    allow: ns,
  },
  {
    name: "NS from the other pod's address",
    vector: 'ipv6-source',
    attack: solicit({ ip: { source: RECEIVER.ipv6 } }),
    allow: solicit({ ip: { source: ATTACKER.ipv6 } }),
  },
  {
    name: 'NS from a foreign link-local',
    vector: 'link-local',
    attack: solicit({ ip: { source: FOREIGN_LINK_LOCAL } }),
    allow: ns,
  },
  {
    name: "NS from the gateway's link-local, link-local audited",
    vector: 'nd-target',
    attack: solicit({ ip: { source: linkLocalOfMac(NODE.mac) } }),
    allow: ns,
    record: { modes: allModes('enforce', { 'link-local': 'audit' }) },
  },
  {
    name: "RS from the other pod's link-local, link-local audited",
    vector: 'nd-target',
    attack: rs(sourceMac(), { source: RECEIVER.linkLocal }),
    allow: rs(),
    record: { modes: allModes('enforce', { 'link-local': 'audit' }) },
  },
  { name: 'RS with another MAC', vector: 'nd-target', attack: rs(sourceMac(FORGED_MAC)), allow: rs() },
];

const detection: Row[] = [
  { name: "DAD for the other pod's address", vector: 'nd-target', attack: dad(RECEIVER.ipv6), allow: dadOwn },
  { name: 'DAD with a source MAC', vector: 'nd-target', attack: dad(ATTACKER.ipv6, sourceMac()), allow: dadOwn },
  {
    name: 'DAD to another group',
    vector: 'nd-target',
    attack: dad(ATTACKER.ipv6, Buffer.alloc(0), { ip: { destination: solicitedNode(RECEIVER.ipv6) } }),
    allow: dadOwn,
  },
  {
    name: 'DAD to one host',
    vector: 'nd-target',
    attack: dad(ATTACKER.ipv6, Buffer.alloc(0), { ip: { destination: RECEIVER.linkLocal } }),
    allow: dadOwn,
  },
  {
    name: "DAD for the other pod's link-local address",
    vector: 'nd-target',
    attack: dad(RECEIVER.linkLocal),
    allow: dadLinkLocal,
    record: { modes: allModes('enforce', { 'link-local': 'audit' }) },
  },
  {
    name: 'DAD for an unassigned link-local address',
    vector: 'link-local',
    attack: dad(FOREIGN_LINK_LOCAL),
    allow: dadLinkLocal,
  },
  {
    name: 'RS from :: with a MAC',
    vector: 'nd-target',
    attack: rs(sourceMac(), { source: '::' }),
    allow: rs(Buffer.alloc(0), { source: '::' }),
  },
];

const GROUPS: [string, Row[]][] = [
  ['claims', claims],
  ['duplicate address detection', detection],
];

describe('neighbour discovery, claims', () => {
  const node = useNode();

  for (const [group, rows] of GROUPS) it.each(rows)(`${group} - $vector: $name`, (row) => judgeRow(node, row));

  it('link-local in audit - a stable-privacy address passes and is counted, and still claims nothing', async () => {
    await using guarded = await node.guard(node.pods.attacker, {
      modes: allModes('enforce', { 'link-local': 'audit' }),
    });
    const stable = 'fe80::1234:5678:9abc:def0';
    const fromStable = solicit({ ip: { source: stable } });
    const claim = advertise(stable, targetMac(), { ip: { source: stable } });
    node.forgetLanded();
    await node.send(fromStable);
    await node.send(dad(stable));
    await node.send(claim);
    await node.fence();
    expect(node.landed(fromStable)).toBe(1);
    expect(node.landed(dad(stable))).toBe(1);
    expect(node.landed(claim)).toBe(0);
    expect(await guarded.counts()).toEqual({ 'link-local audit': 2, 'nd-target drop': 1 });
  });

  it('samples - a forged NA has the claimed address', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    await node.send(advertise(NODE.ipv6));
    await guarded.counted({ 'nd-target drop': 1 });
    expect(await guarded.samples()).toMatchObject([
      { vector: 'nd-target', claimedAddress: NODE.ipv6, expectedAddress: ATTACKER.ipv6, l4Protocol: 58 },
    ]);
  });
});
