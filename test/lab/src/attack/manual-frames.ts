/**
 * One forged frame per vector for `lab attack`, with its description. Pure. The frames only have to
 * match their vector; the collector decides what happens to them.
 */
import { dhcp, ETHERTYPE, ethernet, ipv4, ipv6Bytes, macOption, PROTOCOL, udp } from '../frames.ts';
import { arpFrame, ND, ndFrame, neighbourAdvertFrame, udp4Frame, udp6Frame } from './frames.ts';

export const MANUAL_VECTORS = [
  'ipv4-source',
  'ipv6-source',
  'source-mac',
  'arp-sender',
  'nd-target',
  'router-advert',
  'redirect',
  'dhcp-server',
  'vlan-tag',
] as const;
export type ManualVector = (typeof MANUAL_VECTORS)[number];

/** Sender, receiver and claimed identity. */
export interface Scene {
  mac: string;
  ip4: string;
  ip6: string;
  linkLocal: string;
  /** Next hop of the frames: the victim itself, or the gateway towards it. */
  toMac: string;
  victim4: string;
  victim6: string;
  gateway4: string;
  gateway6: string;
  /** The claimed addresses and the display name of their owner. */
  claimed4: string;
  claimed6: string;
  claimed: string;
}

export interface ForgedFrame {
  frame: Buffer;
  /** Description for the user: `from 10.244.0.4 (web-1)`. */
  description: string;
}

/** An unused, locally administered MAC. */
const UNUSED_MAC = '02:ba:d0:00:00:01';
const DHCP_SERVER = 67;
const DHCP_CLIENT = 68;
const ALL_NODES = 'ff02::1';
/** Hop limit 64, lifetime 1800 s, flags M and O (DHCPv6) not set. */
const ROUTER_ADVERT_HEAD = Buffer.from([64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);

export function forgedFrame(vector: ManualVector, scene: Scene, text: Buffer): ForgedFrame {
  const { mac, toMac, ip4, ip6, victim4, victim6, gateway4, gateway6, claimed4, claimed6, claimed, linkLocal } = scene;
  const link = { fromMac: mac, toMac };
  const own4 = { source: ip4, destination: victim4 };
  switch (vector) {
    case 'ipv4-source':
      return {
        frame: udp4Frame({ ...link, from: claimed4, to: victim4 }, text),
        description: `from ${claimed4} (${claimed})`,
      };
    case 'ipv6-source':
      return {
        frame: udp6Frame({ ...link, from: claimed6, to: victim6 }, text),
        description: `from ${claimed6} (${claimed})`,
      };
    case 'source-mac':
      return {
        frame: udp4Frame({ fromMac: UNUSED_MAC, toMac, from: ip4, to: victim4 }, text),
        description: `from the MAC ${UNUSED_MAC}`,
      };
    case 'arp-sender':
      return {
        frame: arpFrame({ ...link, from: gateway4, to: victim4 }, 'reply'),
        description: `ARP: the gateway ${gateway4} is at ${mac}`,
      };
    case 'nd-target':
      return {
        frame: neighbourAdvertFrame({ ...link, from: ip6, to: victim6 }, gateway6),
        description: `neighbour advertisement: the gateway ${gateway6} is at ${mac}`,
      };
    case 'router-advert': {
      const body = Buffer.concat([ROUTER_ADVERT_HEAD, macOption(1, mac)]);
      return {
        frame: ndFrame({ ...link, from: linkLocal, to: ALL_NODES }, ND.routerAdvert, body),
        description: 'router advertisement: I am a router',
      };
    }
    case 'redirect': {
      const body = Buffer.concat([Buffer.alloc(4), ipv6Bytes(linkLocal), ipv6Bytes(gateway6), macOption(2, mac)]);
      return {
        frame: ndFrame({ ...link, from: linkLocal, to: victim6 }, ND.redirect, body),
        description: `redirect: ${gateway6} is better reached through me`,
      };
    }
    case 'dhcp-server': {
      const offer = udp(DHCP_SERVER, DHCP_CLIENT, dhcp(mac, { op: 2 }), own4);
      const packet = ipv4({ ...own4, protocol: PROTOCOL.udp }, offer);
      return {
        frame: ethernet({ source: mac, destination: toMac, type: ETHERTYPE.ipv4 }, packet),
        description: 'DHCP offer: I am a DHCP server',
      };
    }
    case 'vlan-tag': {
      const packet = ipv4({ ...own4, protocol: PROTOCOL.udp }, udp(9, 9, text, own4));
      const fields = { source: mac, destination: toMac, type: ETHERTYPE.ipv4, tags: [{ tci: 7 }] };
      return { frame: ethernet(fields, packet), description: 'tagged for VLAN 7' };
    }
  }
}

/** The last bytes of a frame, at most as many as a marker. The receiver recognises it by them. */
export const tailOf = (frame: Buffer) => frame.subarray(-Math.min(32, frame.length - 14));
