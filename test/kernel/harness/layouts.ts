/**
 * How CNI plugins connect a pod to its node, as ip(8) commands: one layout per plugin. LAYOUTS use a
 * veth pair; onNetkit() makes the same layout with netkit pairs. They differ in the addresses of both sides, in how each side finds the MAC of the other
 * one, and in the routes of the node.
 */
export const NODE = { mac: '02:00:00:00:77:01', ipv4: '10.77.0.1', ipv6: 'fd77::1' } as const;
export const ATTACKER = {
  mac: '02:00:00:00:77:0a',
  ipv4: '10.77.0.10',
  ipv6: 'fd77::10',
  linkLocal: 'fe80::ff:fe00:770a',
} as const;
export const RECEIVER = {
  mac: '02:00:00:00:77:0b',
  ipv4: '10.77.0.11',
  ipv6: 'fd77::11',
  linkLocal: 'fe80::ff:fe00:770b',
} as const;

/** In mode L3 of netkit, both ends have this MAC. */
export const ZERO_MAC = '00:00:00:00:00:00';
export type NetkitMode = 'l2' | 'l3';

export interface Identity {
  readonly mac: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly linkLocal: string;
}

export interface Layout {
  readonly name: string;
  hostInterface(suffix: string): string;
  /** MAC of every host side; absent: the kernel chooses one. */
  readonly hostMac?: string;
  /** Mode of the pods' netkit pairs; absent: they have veth pairs. */
  readonly netkit?: NetkitMode;
  /** Run once in the node. */
  readonly node: readonly string[];
  /** Run once in a node whose kernel has addresses. */
  readonly stacks: readonly string[];
  /** Run in the node for each pod. */
  host(device: string, identity: Identity): readonly string[];
  /** Run in the pod. @param hostMac MAC of its host side */
  pod(identity: Identity, hostMac: string): readonly string[];
  /** Run in the node for each pod. @param route the node's default route, as ip(8) takes it */
  uplink?(identity: Identity, route: string): readonly string[];
}

/** The reference plugin `bridge`, as under flannel. */
export const BRIDGE: Layout = {
  name: 'bridge (flannel)',
  hostInterface: (suffix) => `h${suffix}`,
  node: [`ip link add br0 address ${NODE.mac} type bridge mcast_snooping 0 stp_state 0`, 'ip link set br0 up'],
  stacks: [`ip addr add ${NODE.ipv4}/24 dev br0`, `ip addr add ${NODE.ipv6}/64 dev br0 nodad`],
  host: (device) => [`ip link set ${device} master br0 up`],
  pod: ({ ipv4, ipv6 }) => [
    `ip addr add ${ipv4}/24 dev eth0`,
    `ip addr add ${ipv6}/64 dev eth0 nodad`,
    `ip route add default via ${NODE.ipv4}`,
    `ip -6 route add default via ${NODE.ipv6}`,
  ],
};

/** Host addresses are usable at once, and nothing but the guard drops forged sources. */
const ROUTER = [
  'sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0',
  'sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0',
];

const routed = (device: string, { ipv4, ipv6 }: Identity): string[] => [
  `ip link set ${device} up`,
  `ip route add ${ipv4}/32 dev ${device} scope link`,
  `ip -6 route add ${ipv6}/128 dev ${device}`,
];

/** A host address for pods as they have none of their own. */
const gatewayOn = (device: string): string[] => [
  `ip addr add ${NODE.ipv4}/32 dev ${device}`,
  `ip addr add ${NODE.ipv6}/128 dev ${device} nodad`,
];

const single = ({ ipv4, ipv6 }: Identity): string[] => [
  `ip addr add ${ipv4}/32 dev eth0`,
  `ip addr add ${ipv6}/128 dev eth0 nodad`,
];

/** Default routes by gateways that no interface has. */
const via = (gateway4: string, gateway6: string): string[] => [
  `ip route add ${gateway4}/32 dev eth0 scope link`,
  `ip route add default via ${gateway4} dev eth0`,
  `ip -6 route add ${gateway6}/128 dev eth0`,
  `ip -6 route add default via ${gateway6} dev eth0`,
];

const permanent = (address: string, mac: string): string =>
  `ip neigh replace ${address} lladdr ${mac} dev eth0 nud permanent`;

export const LAYOUTS: readonly Layout[] = [
  BRIDGE,
  {
    name: 'ptp (kindnet)',
    hostInterface: (suffix) => `veth0123${suffix}`,
    node: ROUTER,
    stacks: [],
    host: (device, identity) => [...routed(device, identity), ...gatewayOn(device)],
    pod: ({ ipv4, ipv6 }) => [
      `ip addr add ${ipv4}/24 dev eth0 noprefixroute`,
      `ip addr add ${ipv6}/64 dev eth0 nodad noprefixroute`,
      ...via(NODE.ipv4, NODE.ipv6),
      `ip route add 10.77.0.0/24 via ${NODE.ipv4} src ${ipv4}`,
      `ip -6 route add fd77::/64 via ${NODE.ipv6}`,
    ],
  },
  {
    // The host answers ARP for every address, and its link-local address is the IPv6 gateway.
    name: 'Calico',
    hostInterface: (suffix) => `cali0123456789${suffix}`,
    hostMac: 'ee:ee:ee:ee:ee:ee',
    node: ROUTER,
    stacks: [],
    host: (device, identity) => [
      ...routed(device, identity),
      `sysctl -qw net.ipv4.conf.${device}.proxy_arp=1 net.ipv6.conf.${device}.proxy_ndp=1`,
      `sysctl -qw net.ipv4.neigh.${device}.proxy_delay=0`,
    ],
    pod: (identity) => [...single(identity), ...via('169.254.1.1', 'fe80::ecee:eeff:feee:eeee')],
  },
  {
    // Static neighbour entries in the pod; the node routes by source, as for a second network card.
    name: 'AWS VPC CNI',
    hostInterface: (suffix) => `eni0123456789${suffix}`,
    node: ROUTER,
    stacks: [],
    host: (device, identity) => [...routed(device, identity), `ip rule add pref 512 to ${identity.ipv4} lookup main`],
    pod: (identity, hostMac) => [
      ...single(identity),
      ...via('169.254.1.1', 'fe80::1'),
      permanent('169.254.1.1', hostMac),
      permanent('fe80::1', hostMac),
    ],
    uplink: ({ ipv4 }, route) => [`ip rule add pref 1536 from ${ipv4} lookup 2`, `ip route replace ${route} table 2`],
  },
  {
    // The pod has the prefix of the network, not its route; it probes its static entry for the gateway.
    name: 'Azure (transparent)',
    hostInterface: (suffix) => `azv0123456789${suffix}`,
    hostMac: 'aa:aa:aa:aa:aa:aa',
    node: ROUTER,
    stacks: [],
    host: (device, identity) => [
      ...routed(device, identity),
      `sysctl -qw net.ipv4.conf.${device}.proxy_arp=1 net.ipv4.neigh.${device}.proxy_delay=0`,
    ],
    pod: ({ ipv4, ipv6 }, hostMac) => [
      `ip addr add ${ipv4}/16 dev eth0 noprefixroute`,
      `ip addr add ${ipv6}/64 dev eth0 nodad noprefixroute`,
      ...via('169.254.1.1', 'fe80::1234:5678:9abc'),
      `ip neigh replace 169.254.1.1 lladdr ${hostMac} dev eth0 nud probe`,
      permanent('fe80::1234:5678:9abc', hostMac),
    ],
  },
  {
    // Other pods seem to be on the link; the host answers ARP and ND for them.
    name: 'GKE',
    hostInterface: (suffix) => `gke0123456789${suffix}`,
    node: ROUTER,
    stacks: [],
    host: (device, identity) => [
      ...routed(device, identity),
      ...gatewayOn(device),
      `sysctl -qw net.ipv4.conf.${device}.proxy_arp=1 net.ipv4.neigh.${device}.proxy_delay=0`,
      `sysctl -qw net.ipv6.conf.${device}.proxy_ndp=1 net.ipv6.neigh.${device}.proxy_delay=0`,
      // As an NDP proxy for the subnet: both pods of the tests.
      `for a in fd77::10 fd77::11; do ip -6 neigh add proxy $a dev ${device}; done`,
    ],
    pod: ({ ipv4, ipv6 }) => [
      `ip addr add ${ipv4}/24 dev eth0`,
      `ip addr add ${ipv6}/112 dev eth0 nodad`,
      `ip route add default via ${NODE.ipv4}`,
      `ip -6 route add default via ${NODE.ipv6}`,
    ],
  },
];

/** What the pod has on a netkit pair of this mode: pods of mode L3 have no MAC of their own. */
export const identityOn = (identity: Identity, mode: NetkitMode | undefined): Identity =>
  mode === 'l3' ? { ...identity, mac: ZERO_MAC, linkLocal: 'fe80::200:ff:fe00:0' } : identity;

/** The same layout with netkit pairs. In mode L3 no host side has a MAC, so none is in a bridge. */
export function onNetkit(layout: Layout, netkit: NetkitMode): Layout {
  const { hostMac, ...rest } = layout;
  return {
    ...rest,
    name: `${layout.name}, netkit in mode ${netkit}`,
    netkit,
    ...(netkit === 'l2' && hostMac !== undefined ? { hostMac } : {}),
  };
}

/** Addresses of the node on a device of its own, routes to the pods: for pairs without a bridge. */
export const ROUTED: Layout = {
  name: 'routes',
  hostInterface: (suffix) => `h${suffix}`,
  node: ['ip link add node0 type dummy', 'ip link set node0 up'],
  stacks: [
    ...ROUTER,
    'sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1',
    `ip addr add ${NODE.ipv4}/32 dev node0`,
    `ip addr add ${NODE.ipv6}/128 dev node0 nodad`,
  ],
  // Without stacks there is no IPv6.
  host: (device, identity) =>
    routed(device, identity).map((line) => (line.startsWith('ip -6') ? `${line} || true` : line)),
  pod: (identity) => [...single(identity), 'ip route add default dev eth0', 'ip -6 route add default dev eth0'],
};
