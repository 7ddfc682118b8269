/**
 * Builds the UDP datagram that the collector's tests send, with any source address, IPv4 or IPv6.
 */
import { ETHERTYPE, ethernet, ipv4, ipv6, PROTOCOL, udp } from '@bailiff/lab/frames';

export interface UdpFrame {
  sourceMac: string;
  source: string;
  destination: string;
  /** Default: the host side of every pod. */
  destinationMac?: string;
}

const GATEWAY = '02:00:00:00:00:01';

export function udpFrame({ sourceMac, source, destination, destinationMac = GATEWAY }: UdpFrame): Buffer {
  const link = { source: sourceMac, destination: destinationMac };
  const datagram = udp(40_000, 9, undefined, { source, destination });
  return source.includes(':')
    ? ethernet({ ...link, type: ETHERTYPE.ipv6 }, ipv6({ source, destination, next: PROTOCOL.udp }, datagram))
    : ethernet({ ...link, type: ETHERTYPE.ipv4 }, ipv4({ source, destination, protocol: PROTOCOL.udp }, datagram));
}
