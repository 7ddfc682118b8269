/**
 * Addresses of the node's own interfaces, such as its bridge and the host sides of its pods. The
 * API server does not list them. Probes come from them, and a tunnel to one of them ends on the
 * node.
 */
import { networkInterfaces } from 'node:os';
import { dumpLocalNetworks } from '@bailiff/bpf';

export type Interfaces = NodeJS.Dict<{ address: string; cidr: string | null; internal: boolean }[]>;

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

export function ownNetworks(
  interfaces: Interfaces = networkInterfaces(),
  local: readonly string[] = dumpLocalNetworks(),
): OwnNetworks {
  const all = Object.values(interfaces).flatMap((list) => list ?? []);
  const own = all.filter(({ address, internal }) => !internal && !LINK_LOCAL.test(address));
  return {
    addresses: sorted(own.map(({ address }) => address)),
    links: sorted(own.flatMap(({ cidr }) => (cidr === null ? [] : [cidr]))),
    local: sorted(local),
  };
}
