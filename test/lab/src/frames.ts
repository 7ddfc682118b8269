/**
 * Frames built from the outside in: ethernet(ipv4(udp())), with every field open to forgery. Used
 * by the lab's attacks and every tier that sends packets. Pure. Checksums are correct unless given,
 * so that real stacks accept the packets.
 */
import { parseAddress, parseMac } from '@bailiff/bpf';

export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, rarp: 0x8035, vlan: 0x8100, ipv6: 0x86dd, qinq: 0x88a8 } as const;
export const PROTOCOL = {
  hopByHop: 0,
  icmp: 1,
  igmp: 2,
  ipip: 4,
  tcp: 6,
  udp: 17,
  dccp: 33,
  ipv6: 41,
  routing: 43,
  fragment: 44,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: 58,
  none: 59,
  destinationOptions: 60,
  eigrp: 88,
  ospf: 89,
  pim: 103,
  vrrp: 112,
  sctp: 132,
  udpLite: 136,
} as const;

const u8 = (...bytes: number[]): Buffer => Buffer.from(bytes);
const u16 = (value: number): Buffer => u8((value >> 8) & 255, value & 255);
const u32 = (value: number): Buffer => {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(value >>> 0);
  return buffer;
};
export const ipv4Bytes = (text: string): Buffer => parseAddress(text).subarray(12);
/** Internet checksum (RFC 1071). */
export function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export interface EthernetFields {
  readonly source: string;
  readonly destination: string;
  readonly type: number;
  /** Outermost first. */
  readonly tags?: readonly { readonly tpid?: number; readonly tci?: number }[];
}

export function ethernet(fields: EthernetFields, payload: Buffer = Buffer.alloc(0)): Buffer {
  const tags = (fields.tags ?? []).map(({ tpid = ETHERTYPE.vlan, tci = 0 }) => Buffer.concat([u16(tpid), u16(tci)]));
  return Buffer.concat([parseMac(fields.destination), parseMac(fields.source), ...tags, u16(fields.type), payload]);
}

export interface ArpFields {
  readonly senderMac: string;
  readonly sender: string;
  readonly target: string;
  readonly targetMac?: string;
  readonly operation?: number;
  readonly hardware?: number;
  readonly protocol?: number;
  readonly lengths?: readonly [number, number];
}

export function arp(fields: ArpFields): Buffer {
  const { operation = 1, hardware = 1, protocol = ETHERTYPE.ipv4, lengths = [6, 4] } = fields;
  return Buffer.concat([
    ...[u16(hardware), u16(protocol), u8(...lengths), u16(operation)],
    ...[parseMac(fields.senderMac), ipv4Bytes(fields.sender)],
    ...[parseMac(fields.targetMac ?? '00:00:00:00:00:00'), ipv4Bytes(fields.target)],
  ]);
}

export interface Ipv4Fields {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly version?: number;
  readonly ihl?: number;
  readonly totalLength?: number;
  readonly id?: number;
  /** In bytes, a multiple of 8. */
  readonly offset?: number;
  readonly moreFragments?: boolean;
  readonly ttl?: number;
  readonly options?: Buffer;
}

export function ipv4(fields: Ipv4Fields, payload: Buffer = Buffer.alloc(0)): Buffer {
  const options = fields.options ?? Buffer.alloc(0);
  const padded = Buffer.concat([options, Buffer.alloc((4 - (options.length % 4)) % 4)]);
  const { version = 4, ihl = 5 + padded.length / 4, ttl = 64, id = 0x1234, offset = 0 } = fields;
  const total = fields.totalLength ?? 20 + padded.length + payload.length;
  const header = Buffer.concat([
    ...[u8((version << 4) | ihl, 0), u16(total), u16(id)],
    ...[u16((fields.moreFragments ? 0x2000 : 0) | (offset / 8)), u8(ttl, fields.protocol), u16(0)],
    ...[ipv4Bytes(fields.source), ipv4Bytes(fields.destination), padded],
  ]);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, payload]);
}

export interface Ipv6Fields {
  readonly source: string;
  readonly destination: string;
  readonly next: number;
  readonly version?: number;
  readonly payloadLength?: number;
  readonly hopLimit?: number;
}

/** Sixteen bytes of an IPv6 address; IPv4 text gives the mapped address. */
export const ipv6Bytes = (text: string): Buffer => parseAddress(text);

export function ipv6(fields: Ipv6Fields, payload: Buffer = Buffer.alloc(0)): Buffer {
  const { version = 6, hopLimit = 64, payloadLength = payload.length } = fields;
  return Buffer.concat([
    ...[u32((version << 28) >>> 0), u16(payloadLength), u8(fields.next, hopLimit)],
    ...[ipv6Bytes(fields.source), ipv6Bytes(fields.destination), payload],
  ]);
}

/** Hop-by-hop, routing or destination options: `body` is padded to a multiple of 8 bytes. */
export function extension(next: number, body: Buffer = Buffer.alloc(6), units?: number): Buffer {
  const length = Math.ceil((2 + body.length) / 8);
  return Buffer.concat([u8(next, units ?? length - 1), body, Buffer.alloc(length * 8 - 2 - body.length)]);
}

/** Destination options, each complete, padded to a multiple of 8 bytes as a stack does. */
export function destinationOptions(next: number, options: readonly Buffer[]): Buffer {
  const body = Buffer.concat(options);
  const missing = (16 - ((2 + body.length) % 8)) % 8;
  const padding = missing === 1 ? u8(0) : u8(1, missing - 2, ...Array<number>(Math.max(0, missing - 2)).fill(0));
  return extension(next, missing === 0 ? body : Buffer.concat([body, padding]));
}

/** The hop-by-hop header of MLD: router alert and padding. */
export const routerAlert = (next: number): Buffer => extension(next, u8(5, 2, 0, 0, 1, 0));

export const routingHeader = (next: number, type: number, via: string, segmentsLeft = 1): Buffer =>
  extension(next, Buffer.concat([u8(type, segmentsLeft, 0, 0, 0, 0), ipv6Bytes(via)]));

/** Authentication header (RFC 4302), with `words` times 4 bytes of integrity data. */
export const authentication = (next: number, words = 1): Buffer =>
  Buffer.concat([u8(next, words + 1, 0, 0), Buffer.alloc(8 + words * 4)]);

export function fragmentHeader(next: number, offset: number, more: boolean, id = 0x42): Buffer {
  return Buffer.concat([u8(next, 0), u16(offset | (more ? 1 : 0)), u32(id)]);
}

/** Fields of the enclosing packet for the checksum. */
export interface Pseudo {
  readonly source: string;
  readonly destination: string;
}

function withChecksum(header: Buffer, at: number, protocol: number, pseudo: Pseudo | undefined): Buffer {
  if (pseudo === undefined) return header;
  const addresses = [pseudo.source, pseudo.destination].map((text) =>
    text.includes(':') ? ipv6Bytes(text) : ipv4Bytes(text),
  );
  const sum = checksum(Buffer.concat([...addresses, u32(header.length), u32(protocol), header]));
  header.writeUInt16BE(sum === 0 && protocol === PROTOCOL.udp ? 0xffff : sum, at);
  return header;
}

export function udp(
  source: number,
  destination: number,
  payload: Buffer = Buffer.from('bailiff.'),
  pseudo?: Pseudo,
): Buffer {
  const header = Buffer.concat([u16(source), u16(destination), u16(8 + payload.length), u16(0), payload]);
  return withChecksum(header, 6, PROTOCOL.udp, pseudo);
}

export interface TcpFields {
  readonly source: number;
  readonly destination: number;
  /** Default SYN. */
  readonly flags?: number;
  readonly dataOffset?: number;
}

export const TCP_FLAGS = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const;

export function tcp(fields: TcpFields, payload: Buffer = Buffer.alloc(0), pseudo?: Pseudo): Buffer {
  const { flags = TCP_FLAGS.syn, dataOffset = 5 } = fields;
  const header = Buffer.concat([
    ...[u16(fields.source), u16(fields.destination), u32(1), u32(0)],
    ...[u8(dataOffset << 4, flags), u16(1024), u16(0), u16(0), payload],
  ]);
  return withChecksum(header, 16, PROTOCOL.tcp, pseudo);
}

export function icmp(type: number, code = 0, body: Buffer = Buffer.alloc(4)): Buffer {
  const message = Buffer.concat([u8(type, code), u16(0), body]);
  message.writeUInt16BE(checksum(message), 2);
  return message;
}

export function icmpv6(type: number, body: Buffer = Buffer.alloc(4), pseudo?: Pseudo, code = 0): Buffer {
  return withChecksum(Buffer.concat([u8(type, code), u16(0), body]), 2, PROTOCOL.icmpv6, pseudo);
}

export const macOption = (type: 1 | 2, mac: string): Buffer => Buffer.concat([u8(type, 1), parseMac(mac)]);

/** Body of an NS or NA: reserved (or flags), target, options. */
export const ndBody = (target: string, options: Buffer = Buffer.alloc(0), flags = 0): Buffer =>
  Buffer.concat([u32(flags), ipv6Bytes(target), options]);

/** ff02::1:ffxx:xxxx of a target. */
export function solicitedNode(target: string): string {
  const last = ipv6Bytes(target).subarray(13).toString('hex');
  return `ff02::1:ff${last.slice(0, 2)}:${last.slice(2)}`;
}

export interface DhcpFields {
  readonly op?: number;
  readonly magic?: number;
  readonly hardware?: number;
  /** Address that the client has. */
  readonly client?: string;
  readonly relay?: string;
  /** Option 53. */
  readonly message?: number;
}

/** A DHCPv4 message; the defaults make a DISCOVER. */
export function dhcp(mac: string, fields: DhcpFields = {}): Buffer {
  const { op = 1, magic = 0x63825363, hardware = 1, client = '0.0.0.0', relay = '0.0.0.0' } = fields;
  const fixed = Buffer.alloc(236);
  u8(op, hardware, 6, 0).copy(fixed);
  ipv4Bytes(client).copy(fixed, 12);
  ipv4Bytes(relay).copy(fixed, 24);
  parseMac(mac).copy(fixed, 28);
  return Buffer.concat([fixed, u32(magic), u8(53, 1, fields.message ?? (op === 1 ? 1 : 2), 255)]);
}

/** IGMP, and other messages of 8 bytes and a checksum at 2. */
export function igmp(type: number, group: string): Buffer {
  const message = Buffer.concat([u8(type, 0, 0, 0), ipv4Bytes(group)]);
  message.writeUInt16BE(checksum(message), 2);
  return message;
}

/** An advertisement of VRRP 3. */
export function vrrp(addresses: readonly string[], count = addresses.length): Buffer {
  const list = addresses.map((address) => (address.includes(':') ? ipv6Bytes(address) : ipv4Bytes(address)));
  return Buffer.concat([u8(0x31, 7, 255, count, 0, 100, 0, 0), ...list]);
}

export const vxlan = (inner: Buffer): Buffer => Buffer.concat([u8(8, 0, 0, 0, 0, 0, 1, 0), inner]);
export const geneve = (inner: Buffer): Buffer => Buffer.concat([u8(0, 0), u16(0x6558), u8(0, 0, 1, 0), inner]);
export const gre = (type: number, inner: Buffer): Buffer => Buffer.concat([u16(0), u16(type), inner]);
