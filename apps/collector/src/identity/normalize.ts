/**
 * Addresses, CIDRs and MACs as they come from outside -> as the maps speak of them, or dropped with a reason. One bad value costs
 * itself, never the record or snapshot that it came in. Pure.
 */
import { AddressError, formatAddress, formatCidr, formatMac, parseAddress, parseCidr, parseMac } from '@bailiff/bpf';

/** Where what was dropped is told: `<where>: not a CIDR: "x"`. */
export type Dropped = string[];

function clean(values: readonly string[], where: string, dropped: Dropped, read: (text: string) => string): string[] {
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

/** Canonical addresses, each once. */
export const cleanAddresses = (values: readonly string[], where: string, dropped: Dropped): string[] =>
  clean(values, where, dropped, (text) => formatAddress(parseAddress(text)));

/** Canonical CIDRs, each once; host bits are cleared. */
export const cleanCidrs = (values: readonly string[], where: string, dropped: Dropped): string[] =>
  clean(values, where, dropped, (text) => formatCidr(parseCidr(text)));

/** Canonical MAC; empty when there is none or it is none. */
export const cleanMac = (value: string, where: string, dropped: Dropped): string =>
  value === '' ? '' : (clean([value], where, dropped, (text) => formatMac(parseMac(text)))[0] ?? '');
