/**
 * Words of sockets with their Linux numbers: families, types, transport protocols. A policy writes
 * any other one as its number.
 */

/** AF_* (socket.h). */
const FAMILIES = {
  unix: 1,
  inet: 2,
  inet6: 10,
  netlink: 16,
  packet: 17,
  bluetooth: 31,
  can: 29,
  tipc: 30,
  alg: 38,
  nfc: 39,
  vsock: 40,
  kcm: 41,
  qipcrtr: 42,
  smc: 43,
  xdp: 44,
  mctp: 45,
} as const;
export type SocketFamily = keyof typeof FAMILIES;
export const FAMILY_NUMBERS: Readonly<Record<string, number>> = FAMILIES;
export const SOCKET_FAMILIES = Object.keys(FAMILIES) as [SocketFamily, ...SocketFamily[]];

/** SOCK_* (net.h). */
const TYPES = { stream: 1, dgram: 2, raw: 3, rdm: 4, seqpacket: 5, packet: 10 } as const;
export type SocketType = keyof typeof TYPES;
export const TYPE_NUMBERS: Readonly<Record<string, number>> = TYPES;
export const SOCKET_TYPES = Object.keys(TYPES) as [SocketType, ...SocketType[]];

/** IPPROTO_* (in.h, in6.h). */
const PROTOCOLS = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132, udplite: 136 } as const;
export type ProtocolName = keyof typeof PROTOCOLS;
export const PROTOCOL_NUMBERS: Readonly<Record<string, number>> = PROTOCOLS;
export const PROTOCOL_NAMES = Object.keys(PROTOCOLS) as [ProtocolName, ...ProtocolName[]];
