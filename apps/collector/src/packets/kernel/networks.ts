/**
 * Where a tunnelled packet can end: entries of the maps `networks` and `tunnel_services`, by which
 * the kernel chooses between the vectors tunnel and tunnel-other. Pure.
 *
 * The node's routing table is exact for this node. The API server lists the addresses of other
 * nodes incompletely, so every address without global meaning counts as inside, unless an
 * administrator names it as outside. The kernel knows addresses that no entry can make outside, such
 * as multicast (is_never_outside() in owner.h).
 */
import {
  type Cidr,
  formatAddress,
  formatCidr,
  type Network,
  type NetworkPlace,
  parseCidr,
  type TunnelService,
} from '@bailiff/bpf';
import type { TunnelService as ListedService } from '@bailiff/schemas';

export interface NetworkSources {
  /** Addresses of the node's interfaces with the prefix lengths of their links. */
  links: readonly string[];
  /** Networks that the node takes packets for. */
  local: readonly string[];
  /** Pod networks of all nodes. */
  podCidrs: readonly string[];
  /** Named by an administrator. */
  inside: readonly string[];
  outside: readonly string[];
}

/** Registries of special-purpose addresses (RFC 6890): those without global reach. */
const NON_GLOBAL = [
  ...['10.0.0.0/8', '100.64.0.0/10', '172.16.0.0/12', '192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24'],
  ...['192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24'],
  ...['64:ff9b:1::/48', '100::/64', '2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20', '5f00::/16', 'fc00::/7'],
];

/** IPv4 in a map that holds both families: no IPv6 network covers it. */
const ALL_IPV4: Network = { cidr: '0.0.0.0/0', place: 'outside' };

/**
 * Address plugins give the first two addresses of a node's pod network to the node: to its bridge,
 * and to its end of the overlay.
 */
function nodeAddressesIn({ family, bytes, prefixLength }: Cidr): string[] {
  const length = family === 4 ? 32 : 128;
  if (prefixLength > length - 2) return [];
  const second = Buffer.from(bytes);
  second.writeUInt8(second.readUInt8(15) + 1, 15);
  return [bytes, second].map((address) => formatCidr({ family, bytes: address, prefixLength: length }));
}

/** The addresses among networks of one address. */
export function singleAddresses(cidrs: readonly string[]): ReadonlySet<string> {
  const single = cidrs.map(parseCidr).filter(({ family, prefixLength }) => prefixLength === (family === 4 ? 32 : 128));
  return new Set(single.map(({ bytes }) => formatAddress(bytes)));
}

/** Entries of the map. Of equal prefixes, a later source wins. */
export function networksOf({ links, local, podCidrs, inside, outside }: NetworkSources): Network[] {
  const places = new Map<string, NetworkPlace>([[ALL_IPV4.cidr, ALL_IPV4.place]]);
  const add = (cidrs: readonly string[], place: NetworkPlace) => {
    for (const cidr of cidrs) places.set(formatCidr(parseCidr(cidr)), place);
  };
  add(NON_GLOBAL, 'inside');
  add(links, 'inside');
  add(inside, 'inside');
  add(outside, 'outside');
  add(podCidrs, 'inside');
  add(
    podCidrs.flatMap((cidr) => nodeAddressesIn(parseCidr(cidr))),
    'node',
  );
  add(local, 'node');
  return [...places].map(([cidr, place]) => ({ cidr, place }));
}

/** Entries of the map `tunnel_services`: of each address and port, and of each port. */
export function tunnelServicesOf(listed: readonly ListedService[], tunnelPorts: readonly number[]): TunnelService[] {
  const ports = new Map<number, Set<TunnelService['kinds'][number]>>();
  for (const { address, port } of listed) {
    const kinds = ports.get(port) ?? new Set(tunnelPorts.includes(port) ? [] : ['only']);
    if (address === '') kinds.add('node-port');
    ports.set(port, kinds);
  }
  return [
    ...listed.flatMap(({ address, port }) =>
      address === '' ? [] : [{ address, port, kinds: ['translated' as const] }],
    ),
    ...[...ports].flatMap(([port, kinds]) => (kinds.size === 0 ? [] : [{ address: null, port, kinds: [...kinds] }])),
  ];
}
