/**
 * Canonical form of addresses, CIDRs and MACs from outside, as the kernel maps need them. A value
 * that cannot be parsed is dropped with a reason; the record or snapshot around it stays valid.
 * Pure.
 */
import { AddressError, formatAddress, formatCidr, formatMac, parseAddress, parseCidr, parseMac } from '@bailiff/bpf';

/** Reasons of dropped values: `<where>: not a CIDR: "x"`. */
export type Dropped = string[];

function normalize(
  values: readonly string[],
  where: string,
  dropped: Dropped,
  read: (text: string) => string,
): string[] {
  const result = new Set<string>();
  for (const value of values) {
    try {
      result.add(read(value));
    } catch (error) {
      if (!(error instanceof AddressError)) throw error;
      dropped.push(`${where}: ${error.message}`);
    }
  }
  return [...result];
}

/** Canonical addresses without duplicates. */
export const normalizeAddresses = (values: readonly string[], where: string, dropped: Dropped): string[] =>
  normalize(values, where, dropped, (text) => formatAddress(parseAddress(text)));

/** Canonical CIDRs without duplicates and host bits. */
export const normalizeCidrs = (values: readonly string[], where: string, dropped: Dropped): string[] =>
  normalize(values, where, dropped, (text) => formatCidr(parseCidr(text)));

/** Canonical MAC; empty if the value is empty or no MAC. */
export const normalizeMac = (value: string, where: string, dropped: Dropped): string =>
  value === '' ? '' : (normalize([value], where, dropped, (text) => formatMac(parseMac(text)))[0] ?? '');
