/**
 * IPv4 packets of the attacker, valid unless a part is overridden. All have the receiver's MAC as destination. Pure.
 */

import {
  dhcp,
  ETHERTYPE,
  ethernet,
  type Ipv4Fields,
  icmp,
  ipv4,
  ipv6,
  PROTOCOL,
  TCP_FLAGS,
  tcp,
  udp,
} from '@bailiff/lab/frames';
import { ATTACKER, NODE, RECEIVER } from './node.ts';

export const FORGED = '10.77.0.99';
export const own = { source: ATTACKER.ipv4, destination: RECEIVER.ipv4 };
export const BROADCAST_MAC = 'ff:ff:ff:ff:ff:ff';

/** A frame with the receiver's MAC as destination, whatever the packet contains. */
export const frame = (packet: Buffer, destination: string = RECEIVER.mac): Buffer =>
  ethernet({ source: ATTACKER.mac, destination, type: ETHERTYPE.ipv4 }, packet);
export const packet = (fields: Partial<Ipv4Fields> = {}, payload: Buffer = udp(4000, 4001, undefined, own)): Buffer =>
  frame(ipv4({ ...own, protocol: PROTOCOL.udp, ...fields }, payload));
/** A plain datagram from this source. */
export const datagram = (source: string, payload?: Buffer): Buffer => packet({ source }, udp(1, 2, payload));
export const plain = packet();
export const plainTcp = packet(
  { protocol: PROTOCOL.tcp },
  tcp({ source: 4000, destination: 80, flags: TCP_FLAGS.ack }),
);
export const ping = packet({ protocol: PROTOCOL.icmp }, icmp(8));
export const inner4 = ipv4({ source: FORGED, destination: RECEIVER.ipv4, protocol: PROTOCOL.udp }, udp(1, 2));
export const inner6 = ipv6({ source: 'fd77::99', destination: RECEIVER.ipv6, next: PROTOCOL.udp }, udp(1, 2));
export const innerFrame = ethernet({ source: NODE.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv4 }, inner4);

export const option = (...bytes: number[]): Buffer => Buffer.from(bytes);
export const lsrr = option(131, 7, 4, 10, 77, 0, 1, 0);
export const ssrr = option(137, 7, 4, 10, 77, 0, 1, 0);
export const recordRoute = option(7, 7, 4, 0, 0, 0, 0, 0);
export const routerAlertOption = option(148, 4, 0, 0);

export const request = { source: '0.0.0.0', destination: '255.255.255.255' };
export const dhcpFrame = (
  fields: Parameters<typeof dhcp>[1] = {},
  ports: [number, number] = [68, 67],
  to = request,
): Buffer => frame(ipv4({ ...to, protocol: PROTOCOL.udp }, udp(...ports, dhcp(ATTACKER.mac, fields))), BROADCAST_MAC);
