// Neighbour discovery and MLD: well-formed messages, who may act as a router, and the allowed
// sources. Every honest message passes.
import { linkLocalOfMac } from '@bailiff/bpf';
import { ndBody } from '@bailiff/lab/frames';
import { describe, expect, it } from 'vitest';
import {
  ALL_NODES,
  ALL_ROUTERS,
  advertise,
  alert,
  atomic,
  dad,
  dadLinkLocal,
  dadOwn,
  destination,
  echo,
  FOREIGN_LINK_LOCAL,
  message,
  mld,
  NA,
  NS,
  na,
  naFromGlobal,
  naLinkLocal,
  nonce,
  ns,
  ra,
  redirect,
  rs,
  solicit,
  sourceMac,
  targetMac,
} from './harness/nd.ts';
import { ATTACKER, NODE, RECEIVER } from './harness/node.ts';
import { judgeRow, type Row } from './harness/rows.ts';
import { useNode } from './harness/use-node.ts';

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
  ['forms', forms],
  ['routers', routers],
  ['multicast groups', groups],
];

describe('neighbour discovery, forms', () => {
  const node = useNode();

  for (const [group, rows] of GROUPS) it.each(rows)(`${group} - $vector: $name`, (row) => judgeRow(node, row));

  it('legal - every message that a host sends for itself passes uncounted', async () => {
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
});
