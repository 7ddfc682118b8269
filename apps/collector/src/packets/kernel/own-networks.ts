/**
 * Addresses of the node's own interfaces, such as its bridge and the host sides of its pods. The
 * API server does not list them. Probes come from them, and a tunnel to one of them ends on the
 * node.
 */
import { type AddressRecord, dumpAddresses, dumpLocalNetworks, getLink, type LinkRecord } from '@bailiff/bpf';

/** Own addresses of a node, each list in a fixed order. */
export interface OwnNetworks {
  /**
   * Addresses of interfaces, without loopback and IPv6 link-local. Interfaces that are down are not
   * included, so neither are the service addresses of kube-proxy on kube-ipvs0.
   */
  addresses: readonly string[];
  /** The same with the prefix lengths of their links. */
  links: readonly string[];
  /** Networks that the node takes packets for, interfaces that are down included. */
  local: readonly string[];
}

/** fe80::/10: ambiguous without its link. */
const LINK_LOCAL = /^fe[89ab]/i;

const sorted = (values: readonly string[]): string[] => [...new Set(values)].sort();

/** IFF_UP and IFF_RUNNING. */
const IN_USE = 0x41;
const IFF_LOOPBACK = 0x8;

export function ownNetworks(
  addresses: readonly AddressRecord[] = dumpAddresses(),
  local: readonly string[] = dumpLocalNetworks(),
  linkOf: (ifindex: number) => Pick<LinkRecord, 'flags'> | null = getLink,
): OwnNetworks {
  const global = addresses.filter(({ address }) => !LINK_LOCAL.test(address));
  // Not a list of all links, to which pods can add thousands. Those have no address.
  const inUse = [...new Set(global.map(({ ifindex }) => ifindex))].filter(
    (ifindex) => ((linkOf(ifindex)?.flags ?? 0) & (IN_USE | IFF_LOOPBACK)) === IN_USE,
  );
  const indexes = new Set(inUse);
  const own = global.filter(({ ifindex }) => indexes.has(ifindex));
  return {
    addresses: sorted(own.map(({ address }) => address)),
    links: sorted(own.map(({ address, prefixLength }) => `${address}/${prefixLength}`)),
    local: sorted(local),
  };
}
