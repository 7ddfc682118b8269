/**
 * Addresses in the form of the kernel maps: 16 bytes, IPv6 as it is, IPv4 as ::ffff:a.b.c.d; and
 * MACs. Pure.
 *
 * Place in the data path: configuration and CNI records → here → encode.ts; decode.ts → here →
 * text.
 */
import { isIPv4, isIPv6 } from 'node:net';

export type Family = 4 | 6;

/** Text that is not an address, CIDR or MAC; `code` is stable. */
export class AddressError extends Error {
  readonly code = 'ERR_BPF_ADDRESS';
  readonly text: string;
  constructor(what: string, text: string) {
    super(`not ${what}: ${JSON.stringify(text)}`);
    this.name = 'AddressError';
    this.text = text;
  }
}

export interface Cidr {
  readonly family: Family;
  /** 16 bytes, host bits cleared. */
  readonly bytes: Buffer;
  /** In the terms of the family: 0-32 or 0-128. */
  readonly prefixLength: number;
}

const MAPPED_PREFIX = Buffer.from('00000000000000000000ffff', 'hex');

/** Two hex digits per byte, as a table: formatMac runs twice per sample. */
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Whether 16 bytes are an IPv4 address in the form of the maps. */
export function isMappedIpv4(bytes: Uint8Array, at = 0): boolean {
  for (let i = 0; i < MAPPED_PREFIX.length; i += 1) if (bytes[at + i] !== MAPPED_PREFIX[i]) return false;
  return true;
}

function parseIpv6(text: string): Buffer {
  const bytes = Buffer.alloc(16);
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  let plain = text;
  if (dotted !== null) {
    const [a, b, c, d] = dotted.slice(2).map(Number) as [number, number, number, number];
    plain = `${dotted[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [head = '', tail] = plain.split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)));
  groups(head).forEach((group, index) => {
    bytes.writeUInt16BE(group, index * 2);
  });
  const last = tail === undefined ? [] : groups(tail);
  last.forEach((group, index) => {
    bytes.writeUInt16BE(group, 16 - (last.length - index) * 2);
  });
  return bytes;
}

/** `10.0.0.1` or `2001:db8::1` → 16 bytes. Throws AddressError. */
export function parseAddress(text: string): Buffer {
  if (isIPv4(text)) return Buffer.concat([MAPPED_PREFIX, Buffer.from(text.split('.').map(Number))]);
  if (isIPv6(text) && !text.includes('%')) return parseIpv6(text);
  throw new AddressError('an IP address', text);
}

/** The family of an address in the form of the maps. A mapped IPv6 address counts as IPv4. */
export function familyOf(bytes: Uint8Array): Family {
  return isMappedIpv4(bytes) ? 4 : 6;
}

/** 16 bytes, from `at` on → canonical text. */
export function formatAddress(bytes: Uint8Array, at = 0): string {
  if (isMappedIpv4(bytes, at)) return `${bytes[at + 12]}.${bytes[at + 13]}.${bytes[at + 14]}.${bytes[at + 15]}`;
  const groups: number[] = [];
  for (let i = at; i < at + 16; i += 2) groups.push((bytes[i]! << 8) | bytes[i + 1]!);
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) {
      start = i;
      length = end - i;
    }
    if (end > i) i = end;
  }
  const hex = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':');
  return start < 0 ? hex(0, 8) : `${hex(0, start)}::${hex(start + length, 8)}`;
}

/**
 * `10.0.0.0/8`, `2001:db8::/32`; an address without length has its full length. Clears the host
 * bits. Throws AddressError.
 */
export function parseCidr(text: string): Cidr {
  const slash = text.indexOf('/');
  const bytes = parseAddress(slash < 0 ? text : text.slice(0, slash));
  const family = familyOf(bytes);
  const width = family === 4 ? 32 : 128;
  const lengthText = slash < 0 ? String(width) : text.slice(slash + 1);
  const prefixLength = Number(lengthText);
  if (!/^(0|[1-9]\d{0,2})$/.test(lengthText) || prefixLength > width) throw new AddressError('a CIDR', text);
  clearHostBits(bytes, 128 - width + prefixLength);
  return { family, bytes, prefixLength };
}

function clearHostBits(bytes: Buffer, keptBits: number): void {
  for (let i = 0; i < 16; i++) {
    const kept = Math.min(8, Math.max(0, keptBits - i * 8));
    bytes[i] = bytes[i]! & (0xff00 >> kept) & 0xff;
  }
}

/** Whether `outer` contains every address of `inner`. */
export function covers(outer: Cidr, inner: Cidr): boolean {
  if (outer.family !== inner.family || outer.prefixLength > inner.prefixLength) return false;
  const start = Buffer.from(inner.bytes);
  clearHostBits(start, mapPrefixLength(outer));
  return start.equals(outer.bytes);
}

/** A CIDR as text; a full length is written too. */
export function formatCidr(cidr: Cidr): string {
  return `${formatAddress(cidr.bytes)}/${cidr.prefixLength}`;
}

/** Prefix length in the 128-bit terms of the maps. */
export function mapPrefixLength(cidr: Cidr): number {
  return cidr.family === 4 ? 96 + cidr.prefixLength : cidr.prefixLength;
}

const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i;
/** No MAC is a valid IPv6 address too. */
export const isMac = (text: string): boolean => MAC.test(text);

/** `02:00:00:00:00:01` → 6 bytes. Throws AddressError. */
export function parseMac(text: string): Buffer {
  if (!isMac(text)) throw new AddressError('a MAC address', text);
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

/** 6 bytes, from `at` on → lower-case text. */
export function formatMac(bytes: Uint8Array, at = 0): string {
  const hex = (i: number) => HEX[bytes[at + i] as number];
  return `${hex(0)}:${hex(1)}:${hex(2)}:${hex(3)}:${hex(4)}:${hex(5)}`;
}

/**
 * The link-local address of a MAC by EUI-64 (RFC 4291, appendix A), which the kernel accepts as the
 * pod's own.
 */
export function linkLocalOfMac(mac: string): string {
  const bytes = parseMac(mac);
  const address = Buffer.alloc(16);
  address.writeUInt16BE(0xfe80, 0);
  bytes.copy(address, 8, 0, 3);
  address[8] = address[8]! ^ 0x02;
  address.writeUInt16BE(0xfffe, 11);
  bytes.copy(address, 13, 3, 6);
  return formatAddress(address);
}
