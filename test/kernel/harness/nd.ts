import {
  ETHERTYPE,
  ethernet,
  extension,
  fragmentHeader,
  type Ipv6Fields,
  icmpv6,
  ipv6,
  macOption,
  ndBody,
  PROTOCOL,
  routerAlert,
  solicitedNode,
} from '@bailiff/lab/frames';
import { ATTACKER, RECEIVER } from './node.ts';

export const FORGED_MAC = '02:00:00:00:77:99';
export const FOREIGN_LINK_LOCAL = 'fe80::99';
export const ALL_NODES = 'ff02::1';
export const ALL_ROUTERS = 'ff02::2';
export const [RS, RA, NS, NA, REDIRECT] = [133, 134, 135, 136, 137];
export const SOLICITED_OVERRIDE = 0x60000000;

export interface Message {
  readonly type: number;
  readonly body?: Buffer;
  readonly code?: number;
  readonly ip?: Partial<Ipv6Fields>;
  /** Extension headers, first to last; each is built with the next header's number. */
  readonly headers?: readonly { readonly number: number; readonly make: (next: number) => Buffer }[];
}

/**
 * With the receiver's MAC as destination, whatever the packet contains: it has to land on every
 * bridge.
 */
export function message({ type, body, code, ip, headers = [] }: Message): Buffer {
  const fields = { source: ATTACKER.linkLocal, destination: RECEIVER.linkLocal, hopLimit: 255, ...ip };
  let next: number = PROTOCOL.icmpv6;
  const parts = [icmpv6(type, body, fields, code)];
  for (const { number, make } of [...headers].reverse()) {
    parts.unshift(make(next));
    next = number;
  }
  return ethernet(
    { source: ATTACKER.mac, destination: RECEIVER.mac, type: ETHERTYPE.ipv6 },
    ipv6({ next, ...fields }, Buffer.concat(parts)),
  );
}

export const sourceMac = (mac: string = ATTACKER.mac) => macOption(1, mac);
export const targetMac = (mac: string = ATTACKER.mac) => macOption(2, mac);
export const atomic = { number: PROTOCOL.fragment, make: (next: number) => fragmentHeader(next, 0, false) };
export const destination = { number: PROTOCOL.destinationOptions, make: (next: number) => extension(next) };
export const alert = { number: PROTOCOL.hopByHop, make: routerAlert };

export const advertise = (target: string, options = targetMac(), more: Partial<Message> = {}): Buffer =>
  message({ type: NA, body: ndBody(target, options, SOLICITED_OVERRIDE), ...more });
export const solicit = (more: Partial<Message> = {}, options = sourceMac(), target: string = RECEIVER.ipv6): Buffer =>
  message({ type: NS, body: ndBody(target, options), ...more, ip: { destination: solicitedNode(target), ...more.ip } });
export const dad = (target: string, options: Buffer = Buffer.alloc(0), more: Partial<Message> = {}): Buffer =>
  solicit({ ...more, ip: { source: '::', ...more.ip } }, options, target);
export const reserved = Buffer.alloc(4);
export const rs = (options = sourceMac(), ip: Partial<Ipv6Fields> = {}, code = 0): Buffer =>
  message({ type: RS, body: Buffer.concat([reserved, options]), code, ip: { destination: ALL_ROUTERS, ...ip } });
export const ra = (more: Partial<Message> = {}): Buffer =>
  message({
    type: RA,
    body: Buffer.concat([Buffer.alloc(12), sourceMac()]),
    ...more,
    ip: { destination: ALL_NODES, ...more.ip },
  });
export const redirect = (more: Partial<Message> = {}): Buffer =>
  message({ type: REDIRECT, body: Buffer.alloc(36), ...more });
export const mld = (more: Partial<Message> = {}): Buffer =>
  message({
    type: 143,
    body: Buffer.alloc(24),
    headers: [alert],
    ...more,
    ip: { destination: 'ff02::16', hopLimit: 1, ...more.ip },
  });
export const nonce = Buffer.from([14, 1, 1, 2, 3, 4, 5, 6]);

export const na = advertise(ATTACKER.ipv6);
export const naLinkLocal = advertise(ATTACKER.linkLocal);
export const naFromGlobal = advertise(ATTACKER.ipv6, targetMac(), {
  ip: { source: ATTACKER.ipv6, destination: ALL_NODES },
});
export const ns = solicit();
export const dadOwn = dad(ATTACKER.ipv6, nonce);
export const dadLinkLocal = dad(ATTACKER.linkLocal);
export const echo = message({ type: 128 });
