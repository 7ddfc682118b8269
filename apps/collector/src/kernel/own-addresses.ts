/**
 * Addresses that the node itself has: those of its bridge and of the host sides of its pods among them, of which no API server knows.
 * They are the node's as much as the one it is registered by: probes come from them, and a tunnel to them ends on the node.
 */
import { networkInterfaces } from 'node:os';

export type Interfaces = NodeJS.Dict<{ address: string; internal: boolean }[]>;

/** fe80::/10: says nothing without its link. */
const LINK_LOCAL = /^fe[89ab]/i;

/**
 * @returns each address once, in order, without loopback and IPv6 link-local. Interfaces that are not up are none of it, so neither are
 *   the service addresses that kube-proxy keeps on kube-ipvs0.
 */
export function ownAddresses(interfaces: Interfaces = networkInterfaces()): string[] {
  const all = Object.values(interfaces).flatMap((list) => list ?? []);
  const own = all.filter(({ address, internal }) => !internal && !LINK_LOCAL.test(address));
  return [...new Set(own.map(({ address }) => address))].sort();
}
