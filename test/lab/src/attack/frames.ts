/**
 * Frames of the attacks. Pure. Each contains a marker inside the packet (a bridge may trim a
 * trailer) by which a witness at the victim counts landed frames.
 */
import { parseMac } from '@bailiff/bpf';
import {
  arp,
  ETHERTYPE,
  ethernet,
  icmpv6,
  ipv4,
  ipv4Bytes,
  ipv6,
  ipv6Bytes,
  macOption,
  ndBody,
  PROTOCOL,
  udp,
} from '../frames.ts';

export interface Addresses {
  /** Ethernet. */
  fromMac: string;
  toMac: string;
  /** Network layer. */
  from: string;
  to: string;
}

/** No service listens there, so a forgery causes no further traffic. */
const DISCARD_PORT = 9;
/** Solicited and overriding (RFC 4861, 4.4). */
const SOLICITED_OVERRIDE = 0x60000000;
/** Neighbour discovery requires hop limit 255, which no router forwards. */
const UNTOUCHED = 255;
export const ND = { routerAdvert: 134, solicit: 135, advert: 136, redirect: 137 } as const;

const link = ({ fromMac, toMac }: Pick<Addresses, 'fromMac' | 'toMac'>) => ({ source: fromMac, destination: toMac });
const ends = ({ from, to }: Pick<Addresses, 'from' | 'to'>) => ({ source: from, destination: to });

/** A UDP datagram over IPv4 with the marker as payload. */
export function udp4Frame(a: Addresses, marker: Buffer, port = DISCARD_PORT): Buffer {
  const datagram = udp(port, port, marker, ends(a));
  return ethernet({ ...link(a), type: ETHERTYPE.ipv4 }, ipv4({ ...ends(a), protocol: PROTOCOL.udp }, datagram));
}

/** A UDP datagram over IPv6 with the marker as payload. */
export function udp6Frame(a: Addresses, marker: Buffer): Buffer {
  const datagram = udp(DISCARD_PORT, DISCARD_PORT, marker, ends(a));
  return ethernet({ ...link(a), type: ETHERTYPE.ipv6 }, ipv6({ ...ends(a), next: PROTOCOL.udp }, datagram));
}

/** An ARP message with the IPv4 addresses `from` and `to` and the frame's MAC addresses. */
export function arpFrame(a: Addresses, operation: 'request' | 'reply'): Buffer {
  const fields = { senderMac: a.fromMac, sender: a.from, targetMac: a.toMac, target: a.to };
  return ethernet({ ...link(a), type: ETHERTYPE.arp }, arp({ ...fields, operation: operation === 'request' ? 1 : 2 }));
}
/** The last 20 bytes of an ARP message: sender and target. No honest message has the same. */
export const arpTail = (a: Addresses) =>
  Buffer.concat([parseMac(a.fromMac), ipv4Bytes(a.from), parseMac(a.toMac), ipv4Bytes(a.to)]);

/** A neighbour discovery message. */
export function ndFrame(a: Addresses, type: number, body: Buffer): Buffer {
  const message = icmpv6(type, body, ends(a));
  const packet = ipv6({ ...ends(a), next: PROTOCOL.icmpv6, hopLimit: UNTOUCHED }, message);
  return ethernet({ ...link(a), type: ETHERTYPE.ipv6 }, packet);
}

/** A neighbour advertisement with the frame's own MAC for `target`. */
export const neighbourAdvertFrame = (a: Addresses, target: string): Buffer =>
  ndFrame(a, ND.advert, ndBody(target, macOption(2, a.fromMac), SOLICITED_OVERRIDE));
/** Target and target link-layer address option; no honest advertisement has the same. */
export const neighbourTail = (a: Pick<Addresses, 'fromMac'>, target: string) =>
  Buffer.concat([ipv6Bytes(target), macOption(2, a.fromMac)]);

/**
 * A neighbour solicitation for `target` from the claimed `from`, with the frame's own MAC as source
 * option.
 */
export const neighbourSolicitFrame = (a: Addresses, target: string): Buffer =>
  ndFrame(a, ND.solicit, ndBody(target, macOption(1, a.fromMac)));

/** Frames in the input format of `labtool send`: 16-bit length, then the bytes. */
export const packFrames = (frames: readonly Buffer[]) =>
  Buffer.concat(
    frames.flatMap((frame) => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(frame.length);
      return [length, frame];
    }),
  );
