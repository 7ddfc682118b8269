/**
 * Canonical text of addresses and CIDRs, so that different spellings compare as equal. Pure. IPv4
 * dotted; IPv6 by RFC 5952; an IPv4-mapped IPv6 address becomes the IPv4 address.
 */
import { isIP } from 'node:net';

/** Canonical address; null if it is invalid or has a zone. */
export function canonicalAddress(text: string): string | null {
  const bytes = addressBytes(text);
  return bytes === null ? null : formatAddress(bytes);
}

/** Canonical CIDR with host bits cleared and its prefix length; null if it is invalid. */
export function canonicalCidr(text: string): string | null {
  const cidr = parseCidr(text);
  return cidr === null ? null : `${formatAddress(cidr.bytes)}/${cidr.length}`;
}

/**
 * The first two addresses of a network, which address plugins give to the node: to its bridge, and to
 * its end of the overlay. None of a network of fewer than four addresses.
 */
export function firstAddresses(text: string): string[] {
  const cidr = parseCidr(text);
  if (cidr === null || cidr.length > cidr.bytes.length * 8 - 2) return [];
  const last = cidr.bytes.at(-1) as number;
  return [cidr.bytes, [...cidr.bytes.slice(0, -1), last + 1]].map(formatAddress);
}

/** True if `outer` contains every address of `inner`. False if either CIDR is invalid. */
export function covers(outer: string, inner: string): boolean {
  const a = parseCidr(outer);
  const b = parseCidr(inner);
  if (a === null || b === null || a.bytes.length !== b.bytes.length || a.length > b.length) return false;
  return clearHostBits(b.bytes, a.length).every((byte, index) => byte === a.bytes[index]);
}

interface Cidr {
  bytes: number[];
  length: number;
}

function parseCidr(text: string): Cidr | null {
  const [address = '', lengthText = '', ...rest] = text.split('/');
  const bytes = addressBytes(address);
  if (bytes === null || rest.length > 0 || !/^(0|[1-9]\d{0,2})$/.test(lengthText)) return null;
  // A mapped address has four bytes, but its prefix length counts sixteen.
  const mapped = address.includes(':') && bytes.length === 4;
  const length = Number(lengthText) - (mapped ? 96 : 0);
  if (length < 0 || length > bytes.length * 8) return null;
  return { bytes: clearHostBits(bytes, length), length };
}

function clearHostBits(bytes: readonly number[], length: number): number[] {
  return bytes.map((byte, index) => byte & (0xff << (8 - Math.max(0, Math.min(8, length - index * 8)))) & 0xff);
}

function addressBytes(text: string): number[] | null {
  const family = isIP(text);
  if (family === 4) return text.split('.').map(Number);
  if (family !== 6 || text.includes('%')) return null;
  const bytes = ipv6Bytes(text);
  const mapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  return mapped ? bytes.slice(12) : bytes;
}

/** `text` is known to be IPv6. */
function ipv6Bytes(text: string): number[] {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const words = (part: string) =>
    part === '' ? [] : part.split(':').flatMap((word) => split16(Number.parseInt(word, 16)));
  if (dotted) {
    const [a = 0, b = 0, c = 0, d = 0] = (dotted[2] as string).split('.').map(Number);
    return ipv6Bytes(`${dotted[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`);
  }
  const [head = '', tail] = text.split('::');
  const before = words(head);
  if (tail === undefined) return before;
  const after = words(tail);
  return [...before, ...new Array<number>(16 - before.length - after.length).fill(0), ...after];
}

const split16 = (word: number) => [word >> 8, word & 0xff];

function formatAddress(bytes: readonly number[]): string {
  if (bytes.length === 4) return bytes.join('.');
  const words = Array.from({ length: 8 }, (_, i) => ((bytes[i * 2] as number) << 8) | (bytes[i * 2 + 1] as number));
  const run = longestZeroRun(words);
  const hex = words.map((word) => word.toString(16));
  if (run.length < 2) return hex.join(':');
  return `${hex.slice(0, run.from).join(':')}::${hex.slice(run.from + run.length).join(':')}`;
}

function longestZeroRun(words: readonly number[]): { from: number; length: number } {
  let best = { from: 0, length: 0 };
  for (let from = 0; from < words.length; from++) {
    let length = 0;
    while (words[from + length] === 0) length += 1;
    if (length > best.length) best = { from, length };
  }
  return best;
}
