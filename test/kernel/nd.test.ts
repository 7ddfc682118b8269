// Neighbour discovery and MLD: who may claim which address, who may speak as a router, and from where.
import { linkLocalOfMac } from '@bailiff/bpf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ETHERTYPE,
  ethernet,
  extension,
  fragmentHeader,
  type Ipv6Fields,
  icmpv6,
  ipv6,
  macOption,
  ndBody,
  PROTOCOL,
  routerAlert,
  solicitedNode,
} from './harness/frames.ts';
import { ATTACKER, allModes, NODE, RECEIVER, TestNode } from './harness/node.ts';
import { judgeRow, type Row } from './harness/rows.ts';

const FORGED_MAC = '02:00:00:00:77:99';
const FOREIGN_LINK_LOCAL = 'fe80::99';
const ALL_NODES = 'ff02::1';
const ALL_ROUTERS = 'ff02::2';
const [RS, RA, NS, NA, REDIRECT] = [133, 134, 135, 136, 137];
const SOLICITED_OVERRIDE = 0x60000000;

interface Message {
  readonly type: number;
  readonly body?: Buffer;
  readonly code?: number;
  readonly ip?: Partial<Ipv6Fields>;
  /** Extension headers, first to last: each given the next header. */
  readonly headers?: readonly { readonly number: number; readonly make: (next: number) => Buffer }[];
}

/** To the receiver's MAC, whatever the packet says: it has to land on every bridge. */
function message({ type, body, code, ip, headers = [] }: Message): Buffer {
  const fields = { source: ATTACKER.linkLocal, destination: RECEIVER.linkLocal, hopLimit: 255, ...ip };
  let next: number = PROTOCOL.icmpv6;
  const parts = [icmpv6(type, body, fields, code)];
  for (const { number, make } of [...headers].reverse()) {
    parts.unshift(make(next));
    next = number;
  }
  return ethernet(
    { source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv6 },
    ipv6({ next, ...fields }, Buffer.concat(parts)),
  );
}

const sourceMac = (mac: string = ATTACKER.mac) => macOption(1, mac);
const targetMac = (mac: string = ATTACKER.mac) => macOption(2, mac);
const atomic = { number: PROTOCOL.fragment, make: (next: number) => fragmentHeader(next, 0, false) };
const destination = { number: PROTOCOL.destinationOptions, make: (next: number) => extension(next) };
const alert = { number: PROTOCOL.hopByHop, make: routerAlert };

const advertise = (target: string, options = targetMac(), more: Partial<Message> = {}): Buffer =>
  message({ type: NA, body: ndBody(target, options, SOLICITED_OVERRIDE), ...more });
const solicit = (more: Partial<Message> = {}, options = sourceMac(), target: string = RECEIVER.ipv6): Buffer =>
  message({ type: NS, body: ndBody(target, options), ...more, ip: { destination: solicitedNode(target), ...more.ip } });
const dad = (target: string, options: Buffer = Buffer.alloc(0), more: Partial<Message> = {}): Buffer =>
  solicit({ ...more, ip: { source: '::', ...more.ip } }, options, target);
const reserved = Buffer.alloc(4);
const rs = (options = sourceMac(), ip: Partial<Ipv6Fields> = {}, code = 0): Buffer =>
  message({ type: RS, body: Buffer.concat([reserved, options]), code, ip: { destination: ALL_ROUTERS, ...ip } });
const ra = (more: Partial<Message> = {}): Buffer =>
  message({
    type: RA,
    body: Buffer.concat([Buffer.alloc(12), sourceMac()]),
    ...more,
    ip: { destination: ALL_NODES, ...more.ip },
  });
const redirect = (more: Partial<Message> = {}): Buffer => message({ type: REDIRECT, body: Buffer.alloc(36), ...more });
const mld = (more: Partial<Message> = {}): Buffer =>
  message({
    type: 143,
    body: Buffer.alloc(24),
    headers: [alert],
    ...more,
    ip: { destination: 'ff02::16', hopLimit: 1, ...more.ip },
  });
const nonce = Buffer.from([14, 1, 1, 2, 3, 4, 5, 6]);

const na = advertise(ATTACKER.ipv6);
const naLinkLocal = advertise(ATTACKER.linkLocal);
const naFromGlobal = advertise(ATTACKER.ipv6, targetMac(), { ip: { source: ATTACKER.ipv6, destination: ALL_NODES } });
const ns = solicit();
const dadOwn = dad(ATTACKER.ipv6, nonce);
const dadLinkLocal = dad(ATTACKER.linkLocal);
const echo = message({ type: 128 });

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
    name: 'NA for a link-local address of nobody',
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
    name: 'DAD for a link-local address that nobody is known by',
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

const forms: Row[] = [
  {
    name: 'NA with hop limit 254',
    vector: 'malformed',
    attack: advertise(ATTACKER.ipv6, targetMac(), { ip: { hopLimit: 254 } }),
    allow: na,
  },
  { name: 'NS with code 1', vector: 'malformed', attack: solicit({ code: 1 }), allow: ns },
  { name: 'RS with hop limit 64', vector: 'malformed', attack: rs(sourceMac(), { hopLimit: 64 }), allow: rs() },
  {
    name: 'NA cut short',
    vector: 'malformed',
    attack: message({ type: NA, body: ndBody(ATTACKER.ipv6).subarray(0, 19) }),
    allow: na,
  },
  {
    name: 'NS for a multicast target',
    vector: 'malformed',
    attack: message({ type: NS, body: ndBody(ALL_NODES, sourceMac()) }),
    allow: ns,
  },
  {
    name: 'NA with an option of length 0',
    vector: 'malformed',
    attack: advertise(ATTACKER.ipv6, Buffer.from([2, 0, 0, 0, 0, 0, 0, 0])),
    allow: na,
  },
  {
    name: 'NA with an option beyond the packet',
    vector: 'malformed',
    attack: advertise(ATTACKER.ipv6, Buffer.from([2, 2, 0, 0, 0, 0, 0, 0])),
    allow: na,
  },
  {
    name: 'NA with half an option',
    vector: 'malformed',
    attack: advertise(ATTACKER.ipv6, Buffer.from([2, 1, 0, 0])),
    allow: na,
  },
  {
    name: 'NA with nine options',
    vector: 'malformed',
    attack: advertise(ATTACKER.ipv6, Buffer.concat(Array(9).fill(nonce))),
    allow: advertise(ATTACKER.ipv6, Buffer.concat([...Array(7).fill(nonce), targetMac()])),
  },
  {
    name: 'NA in an atomic fragment',
    vector: 'malformed',
    attack: advertise(ATTACKER.ipv6, targetMac(), { headers: [atomic] }),
    allow: message({ type: 128, headers: [atomic] }),
  },
  {
    name: 'NA in a fragment behind destination options',
    vector: 'malformed',
    attack: advertise(ATTACKER.ipv6, targetMac(), { headers: [destination, atomic] }),
    allow: message({ type: 128, headers: [destination, atomic] }),
  },
  {
    name: 'DAD in a fragment',
    vector: 'malformed',
    attack: dad(ATTACKER.ipv6, Buffer.alloc(0), { headers: [atomic] }),
    allow: dadOwn,
  },
];

const routers: Row[] = [
  { name: "RA from the pod's link-local", vector: 'router-advert', attack: ra(), allow: rs() },
  {
    name: 'RA from a foreign link-local',
    vector: 'router-advert',
    attack: ra({ ip: { source: linkLocalOfMac(NODE.mac) } }),
    allow: rs(),
  },
  {
    name: 'RA behind destination options',
    vector: 'router-advert',
    attack: ra({ headers: [destination] }),
    allow: message({ type: 128, headers: [destination] }),
  },
  {
    name: 'RA behind hop-by-hop',
    vector: 'router-advert',
    attack: ra({ headers: [alert] }),
    allow: message({ type: 128, headers: [alert] }),
  },
  {
    name: 'RA in a fragment',
    vector: 'router-advert',
    attack: ra({ headers: [atomic] }),
    allow: message({ type: 128, headers: [atomic] }),
  },
  { name: 'RA with a low hop limit', vector: 'router-advert', attack: ra({ ip: { hopLimit: 1 } }), allow: rs() },
  { name: 'redirect', vector: 'redirect', attack: redirect(), allow: echo },
  {
    name: 'redirect behind destination options',
    vector: 'redirect',
    attack: redirect({ headers: [destination] }),
    allow: echo,
  },
  {
    name: 'redirect in a fragment',
    vector: 'redirect',
    attack: redirect({ headers: [atomic] }),
    allow: message({ type: 128, headers: [atomic] }),
  },
];

const groups: Row[] = [
  {
    name: 'MLD from a foreign link-local',
    vector: 'link-local',
    attack: mld({ ip: { source: FOREIGN_LINK_LOCAL } }),
    allow: mld(),
  },
  {
    name: "MLD from the other pod's address",
    vector: 'ipv6-source',
    attack: mld({ ip: { source: RECEIVER.ipv6 } }),
    allow: mld(),
  },
  {
    name: 'MLD from :: with another hop limit',
    vector: 'ipv6-source',
    attack: mld({ ip: { source: '::', hopLimit: 255 } }),
    allow: mld({ ip: { source: '::' } }),
  },
  {
    name: 'MLD from :: without router alert',
    vector: 'ipv6-source',
    attack: mld({ headers: [], ip: { source: '::' } }),
    allow: mld({ ip: { source: '::' } }),
  },
  {
    name: 'MLD from :: to one host',
    vector: 'ipv6-source',
    attack: mld({ ip: { source: '::', destination: RECEIVER.linkLocal } }),
    allow: mld({ ip: { source: '::' } }),
  },
  {
    name: 'an MLD query from ::',
    vector: 'ipv6-source',
    attack: mld({ type: 130, ip: { source: '::' } }),
    allow: mld({ type: 131, ip: { source: '::' } }),
  },
];

const GROUPS: [string, Row[]][] = [
  ['claims', claims],
  ['duplicate address detection', detection],
  ['forms', forms],
  ['routers', routers],
  ['multicast groups', groups],
];

describe('neighbour discovery', () => {
  let node: TestNode;
  beforeAll(async () => {
    node = await TestNode.start();
    await node.open();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  for (const [group, rows] of GROUPS) it.each(rows)(`${group} - $vector: $name`, (row) => judgeRow(node, row));

  it('legal - every message a host sends for itself passes uncounted', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    const legal = [
      na,
      naLinkLocal,
      naFromGlobal,
      ns,
      dadOwn,
      dadLinkLocal,
      rs(),
      rs(Buffer.alloc(0), { source: '::' }),
    ];
    legal.push(
      mld(),
      mld({ ip: { source: '::' } }),
      mld({ type: 132, ip: { source: '::', destination: ALL_ROUTERS } }),
      echo,
    );
    node.forgetLanded();
    for (const one of legal) await node.send(one);
    await node.fence();
    expect(legal.map((one) => node.landed(one))).toEqual(legal.map(() => 1));
    expect(await guarded.counts()).toEqual({});
  });

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

  it('samples - a forged NA shows what it claimed', async () => {
    await using guarded = await node.guard(node.pods.attacker);
    await node.send(advertise(NODE.ipv6));
    await guarded.counted({ 'nd-target drop': 1 });
    expect(await guarded.samples()).toMatchObject([
      { vector: 'nd-target', claimedAddress: NODE.ipv6, expectedAddress: ATTACKER.ipv6, l4Protocol: 58 },
    ]);
  });
});
