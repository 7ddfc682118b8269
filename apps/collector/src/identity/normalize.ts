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

/**
 * Addresses of an interface, of each family: more than the kernel maps hold for it (MAX_GRANTS). A pod can ask
 * for thousands (`ips` of Multus), and each is compared with those of the others.
 */
export const MAX_INTERFACE_ADDRESSES = 80;

/** Canonical addresses of an interface, the first MAX_INTERFACE_ADDRESSES of each family. */
export function interfaceAddresses(values: readonly string[], where: string, dropped: Dropped): string[] {
  const ofFamily = (isIpv6: boolean) =>
    values.filter((value) => value.includes(':') === isIpv6).slice(0, MAX_INTERFACE_ADDRESSES);
  const kept = [...ofFamily(false), ...ofFamily(true)];
  const more = values.length - kept.length;
  if (more > 0) dropped.push(`${where}: ${more} addresses beyond ${MAX_INTERFACE_ADDRESSES} of a family`);
  return normalizeAddresses(kept, where, dropped);
}

/** Canonical CIDRs without duplicates and host bits. */
export const normalizeCidrs = (values: readonly string[], where: string, dropped: Dropped): string[] =>
  normalize(values, where, dropped, (text) => formatCidr(parseCidr(text)));

/** Canonical MAC; empty if the value is empty or no MAC. */
export const normalizeMac = (value: string, where: string, dropped: Dropped): string =>
  value === '' ? '' : (normalize([value], where, dropped, (text) => formatMac(parseMac(text)))[0] ?? '');
