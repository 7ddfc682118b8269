/**
 * Addresses of the node's own interfaces, such as its bridge and the host sides of its pods. The
 * API server does not list them. Probes come from them, and a tunnel to one of them ends on the
 * node.
 */
import { networkInterfaces } from 'node:os';

export type Interfaces = NodeJS.Dict<{ address: string; internal: boolean }[]>;

/** fe80::/10: ambiguous without its link. */
const LINK_LOCAL = /^fe[89ab]/i;

/**
 * @returns each address once, sorted, without loopback and IPv6 link-local. Interfaces that are
 *   down are not included, so neither are the service addresses of kube-proxy on kube-ipvs0.
 */
export function ownAddresses(interfaces: Interfaces = networkInterfaces()): string[] {
  const all = Object.values(interfaces).flatMap((list) => list ?? []);
  const own = all.filter(({ address, internal }) => !internal && !LINK_LOCAL.test(address));
  return [...new Set(own.map(({ address }) => address))].sort();
}
