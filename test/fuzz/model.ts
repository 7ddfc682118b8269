/**
 * libs/bpf/bpf/spoof/rules.md in TypeScript, independent of the kernel program: from a frame parsed
 * by packet.ts and the identity of its sender to the set of violated vectors, and whether
 * quarantine passes the frame.
 */
import type { Vector, VectorModes } from '@bailiff/bpf';
import { type Bytes, MAPPED, type Packet, TUNNELS } from './packet.ts';

export interface Grant {
  readonly family: 4 | 6;
  readonly network: bigint;
  /** Of 128 bits. */
  readonly bits: number;
  readonly neighbour: boolean;
  /** Valid as a source. */
  readonly source: boolean;
  /** The pod may send tunnels to it. */
  readonly tunnel: boolean;
  /** Another interface of the pod has it. */
  readonly other: boolean;
}

/** Without the family: only the longest match counts. */
export interface Network {
  readonly network: bigint;
  /** Of 128 bits. */
  readonly bits: number;
  readonly place: 'outside' | 'inside' | 'node';
}

/** UDP that nodes translate to a tunnel port. */
export interface Service {
  /** 0n: the port itself. */
  readonly address: bigint;
  readonly port: number;
  readonly kinds: readonly ('translated' | 'node-port' | 'only')[];
}

export interface World {
  /** Its pod has ended. */
  readonly orphaned: boolean;
  /** 48 bits; null: not known. */
  readonly mac: bigint | null;
  readonly ipv4: bigint | null;
  readonly ipv6: bigint | null;
  readonly grants: readonly Grant[];
  /** Granted ones. */
  readonly macs: ReadonlySet<bigint>;
  readonly nodes: ReadonlyMap<bigint, 'this' | 'other'>;
  readonly networks: readonly Network[];
  /** Ports of Services included. */
  readonly tunnelPorts: ReadonlySet<number>;
  readonly services: readonly Service[];
  readonly allowed: readonly Pick<Grant, 'family' | 'network' | 'bits'>[];
  /**
   * No socket of this machine is the peer of the fuzz tests' packets, so only probes that need no
   * socket match.
   */
  readonly probes: readonly { readonly port: number; readonly protocol: number }[];
}

const ALL_ONES = (1n << 128n) - 1n;
const isMapped = (address: bigint): boolean => address >> 32n === 0xffffn;

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;

const isLinkLocal = (address: bigint): boolean => address >> 118n === 0xfe8n >> 2n;

function linkLocalOf(mac: bigint): bigint {
  const upper = (mac >> 24n) ^ 0x020000n;
  return (0xfe80n << 112n) | (upper << 40n) | (0xfffen << 24n) | (mac & 0xffffffn);
}

const isGroup = (mac: bigint): boolean => ((mac >> 40n) & 1n) === 1n;
const isGrantedMac = (world: World, mac: bigint): boolean => world.macs.has(mac) && !isGroup(mac);

/** Every MAC is, if the record has none. */
const isOwnMac = (world: World, mac: bigint): boolean =>
  world.mac === null || (mac === world.mac && !isGroup(mac)) || isGrantedMac(world, mac);

const isOwnLinkLocal = (world: World, address: bigint): boolean =>
  world.mac !== null && [world.mac, ...world.macs].some((mac) => isOwnMac(world, mac) && address === linkLocalOf(mac));

function neverGranted(address: bigint, family: 4 | 6): boolean {
  if (family === 6) return address <= 1n || address >> 120n === 0xffn || isMapped(address);
  const four = address & 0xffffffffn;
  return four === 0n || four >> 24n === 127n || four >> 24n >= 224n;
}

const within = (address: bigint, network: bigint, bits: number): boolean =>
  bits === 0 || (address & (ALL_ONES << BigInt(128 - bits))) === (network & (ALL_ONES << BigInt(128 - bits)));

/** Only the longest match counts, whatever its family. */
function grantOf(world: World, address: bigint, family: 4 | 6): Grant | null {
  if (neverGranted(address, family)) return null;
  const best = world.grants
    .filter((grant) => within(address, grant.network, grant.bits))
    .reduce<Grant | null>((longest, grant) => (longest === null || grant.bits > longest.bits ? grant : longest), null);
  return best?.family === family ? best : null;
}

function isSource(world: World, address: bigint, family: 4 | 6): boolean {
  return address === (family === 4 ? world.ipv4 : world.ipv6) || grantOf(world, address, family)?.source === true;
}

/** The vector of an address that the pod may not use, unless another interface of the pod has it. */
const faultOf = (world: World, address: bigint, family: 4 | 6, vector: Vector): Vector =>
  grantOf(world, address, family)?.other === true ? 'other-interface' : vector;

function isClaim(world: World, address: bigint, family: 4 | 6): boolean {
  if (address === (family === 4 ? world.ipv4 : world.ipv6)) return true;
  if (family === 6 && isOwnLinkLocal(world, address)) return true;
  return grantOf(world, address, family)?.neighbour === true;
}

const isUdp = (packet: Packet, source: number, destination: number): boolean =>
  packet.protocol === UDP &&
  packet.transport !== undefined &&
  packet.transport.number(0, 2) === source &&
  packet.transport.number(2, 2) === destination;

/** A message to a DHCP server about this client itself. */
function isOwnDhcp(world: World, packet: Packet): boolean {
  if (packet.fragment !== 'none' || packet.segmented) return false;
  const body = packet.transport!.from(8);
  if (packet.kind === 'ipv6') return body.canRead(0, 4) && DHCPV6_CLIENT_TYPES.includes(body.number(0, 1));
  if (!body.canRead(0, 34) || body.number(0, 3) !== 0x010106 || body.number(24, 4) !== 0) return false;
  const client = MAPPED | body.big(12, 4);
  return (client === MAPPED || isSource(world, client, 4)) && isOwnMac(world, body.big(28, 6));
}

function isDhcpRequest(world: World, packet: Packet): boolean {
  if (!isUdp(packet, 68, 67) || packet.destination !== (MAPPED | 0xffffffffn)) return false;
  const body = packet.transport!.from(8);
  return isOwnDhcp(world, packet) && body.canRead(236, 4) && body.number(236, 4) === 0x63825363;
}

const DHCPV6_GROUPS: readonly bigint[] = [(0xff02n << 112n) | 0x10002n, (0xff05n << 112n) | 0x10003n];
const DHCPV6_CLIENT_TYPES: readonly number[] = [1, 3, 4, 5, 6, 8, 9, 11];

const isDhcpv6Request = (world: World, packet: Packet): boolean =>
  isUdp(packet, 546, 547) && DHCPV6_GROUPS.includes(packet.destination!) && isOwnDhcp(world, packet);

const icmpType = (packet: Packet): number =>
  packet.protocol === ICMPV6 && packet.kind === 'ipv6' && packet.transport !== undefined
    ? packet.transport.number(0, 1)
    : -1;

function sourceFaults(world: World, packet: Packet): Vector[] {
  const source = packet.source!;
  if (packet.kind === 'ipv4') {
    if (source === world.ipv4) return [];
    if (source === MAPPED && isIgmpReport(packet)) return [];
    if (source === MAPPED) return [isDhcpRequest(world, packet) ? 'dhcp-client' : 'ipv4-source'];
    return isSource(world, source, 4) ? [] : [faultOf(world, source, 4, 'ipv4-source')];
  }
  if (source === world.ipv6) return [];
  if (source === 0n) {
    const type = icmpType(packet);
    if (type === 133 || type === 135) return [];
    const toGroup = packet.destination! >> 120n === 0xffn;
    if ([131, 132, 143].includes(type) && packet.hopLimit === 1 && packet.hopByHop && toGroup) return [];
    return [isDhcpv6Request(world, packet) ? 'dhcp-client' : 'ipv6-source'];
  }
  if (isLinkLocal(source)) return isClaim(world, source, 6) ? [] : ['link-local'];
  return isSource(world, source, 6) ? [] : [faultOf(world, source, 6, 'ipv6-source')];
}

/** Surely another's: a link-local address only if it is made of another MAC. */
function isForeignClaim(world: World, address: bigint): boolean {
  if (isClaim(world, address, 6)) return false;
  return !isLinkLocal(address) || (world.mac !== null && ((address >> 24n) & 0xffffn) === 0xfffen);
}

/** RS, NS and NA. */
function neighbourFaults(world: World, packet: Packet): Vector[] {
  const message = packet.transport!;
  const type = message.number(0, 1);
  if (packet.fragment !== 'none' || packet.hopLimit !== 255 || message.number(1, 1) !== 0) return ['malformed'];
  const head = type === 133 ? 8 : 24;
  if (!message.canRead(0, head)) return ['malformed'];
  const target = type === 133 ? 0n : message.big(8, 16);
  if (target >> 120n === 0xffn) return ['malformed'];

  const faults: Vector[] = [];
  const fromNowhere = packet.source === 0n;
  let options = message.from(head);
  for (let count = 0; options.length > 0; count++) {
    if (count === 8 || !options.canRead(0, 8)) return ['malformed'];
    const length = options.number(1, 1) * 8;
    if (length === 0 || length > options.length) return ['malformed'];
    const isLinkLayer = [1, 2].includes(options.number(0, 1));
    const isOwn = length === 8 && !fromNowhere && isOwnMac(world, options.big(2, 6));
    if (isLinkLayer && !isOwn) faults.push('nd-target');
    options = options.from(length);
  }
  const isDetection = type === 135 && fromNowhere;
  if (isDetection) {
    const group = (0xff02n << 112n) | (0x1ffn << 24n) | (target & 0xffffffn);
    if (packet.destination !== group) faults.push('nd-target');
  }
  if (type !== 136 && !fromNowhere && isForeignClaim(world, packet.source!)) faults.push('nd-target');
  if ((isDetection || type === 136) && !isClaim(world, target, 6)) {
    faults.push(isDetection && !isForeignClaim(world, target) ? 'link-local' : 'nd-target');
  }
  return faults;
}

/**
 * The destination of a quoted IPv6 packet, which is the last segment of a routing header. null: malformed.
 * @param isWhole the error is not fragmented, so that nothing follows the end of the quote
 */
function quotedDestination(quote: Bytes, isWhole: boolean): bigint | null {
  const first = () => quote.big(24, 16);
  if (!quote.has(0, 40) || !quote.canRead(24, 16)) return null;
  let next = quote.number(6, 1);
  let at = 40;
  for (let count = 0; [0, 43, 44, 51, 60].includes(next); count++) {
    if (count === 9) return null;
    // Nothing that is not there is read by anyone.
    if (!quote.has(at, 8)) return isWhole ? first() : null;
    if (!quote.canRead(at, 8)) return null;
    const header = { next: quote.number(at, 1), length: quote.number(at + 1, 1), word: quote.number(at + 2, 2) };
    if (next === 43) {
      if (header.word >> 8 !== 4) break;
      if (!quote.has(at + 8, 16)) return isWhole ? first() : null;
      return quote.canRead(at + 8, 16) ? quote.big(at + 8, 16) : null;
    }
    if (next === 44 && header.word >> 3 !== 0) break;
    at += { 44: 8, 51: (header.length + 2) * 4 }[next] ?? (header.length + 1) * 8;
    next = header.next;
  }
  return first();
}

/** An error: about a packet that was sent to the pod, or about an unknown option of one to a group. */
function errorFaults(world: World, packet: Packet, family: 4 | 6): Vector[] {
  const quote = packet.transport!.from(8);
  if (family === 6) {
    const to = quotedDestination(quote, packet.fragment === 'none');
    if (to === null) return ['malformed'];
    if (packet.transport!.number(0, 2) === 0x0402 && to >> 120n === 0xffn) return [];
    return isSource(world, to, 6) || isClaim(world, to, 6) ? [] : [faultOf(world, to, 6, 'redirect')];
  }
  if (!quote.has(0, 20) || !quote.canRead(16, 4)) return ['malformed'];
  const to = quote.big(16, 4) | MAPPED;
  return isSource(world, to, 4) || isClaim(world, to, 4) ? [] : [faultOf(world, to, 4, 'redirect')];
}

/** 64:ff9b::/96 */
const NAT64 = 0x64ff9bn << 96n;

function isNeverOutside(address: bigint): boolean {
  if (!isMapped(address))
    return address >> 64n === 0n || address >> 120n === 0xffn || address >> 119n === 0xfe80n >> 7n;
  const four = address & 0xffffffffn;
  return [0n, 127n].includes(four >> 24n) || four >> 16n === 0xa9fen || four >> 28n >= 14n;
}

/** Where a packet to this destination can end. */
function placeOf(world: World, destination: bigint): Network['place'] {
  const to = destination >> 32n === NAT64 >> 32n ? MAPPED | (destination & 0xffffffffn) : destination;
  if (world.nodes.has(to)) return 'node';
  if (isNeverOutside(to)) return 'inside';
  const matching = world.networks.filter(({ network, bits }) => within(to, network, bits));
  return matching.toSorted((a, b) => b.bits - a.bits)[0]?.place ?? 'outside';
}

/** @param port of UDP; null: another protocol */
function tunnelFaults(world: World, packet: Packet, port: number | null): Vector[] {
  const destination = packet.destination!;
  const place = placeOf(world, destination);
  const granted = grantOf(world, destination, packet.kind === 'ipv4' ? 4 : 6)?.tunnel === true;
  if (granted && place !== 'node') return [];
  const kindsOf = (address: bigint) =>
    world.services.find((service) => service.address === address && service.port === port)?.kinds ?? [];
  const ofPort = kindsOf(0n);
  if (port !== null && kindsOf(destination).length > 0) return ['tunnel'];
  if (ofPort.includes('node-port') && place === 'node') return ['tunnel'];
  if (ofPort.includes('only')) return [];
  return [place === 'outside' ? 'tunnel-other' : 'tunnel'];
}

const IGMP = 2;
const VRRP = 112;
/** EIGRP, OSPF, PIM. */
const ROUTER_PROTOCOLS: readonly number[] = [88, 89, 103];
/** Reports and leaves. */
const HOST_IGMP: readonly number[] = [0x12, 0x16, 0x17, 0x22];
const isIgmpReport = ({ destination = 0n, hopLimit, protocol, transport }: Packet): boolean =>
  protocol === IGMP &&
  transport !== undefined &&
  HOST_IGMP.includes(transport.number(0, 1)) &&
  hopLimit === 1 &&
  (destination & 0xf0000000n) === 0xe0000000n;
const ROUTER_ICMPV6: readonly number[] = [130, 138, 151, 152, 153];

/** An advertisement of addresses that the pod may claim. */
function isOwnVrrp(world: World, packet: Packet): boolean {
  const { transport } = packet;
  if (packet.fragment !== 'none' || transport === undefined || !transport.canRead(0, 4)) return false;
  const count = transport.number(3, 1);
  const [family, bytes] = packet.kind === 'ipv4' ? ([4, 4] as const) : ([6, 16] as const);
  if (count === 0 || count > 8 || !transport.canRead(8, count * bytes)) return false;
  const addresses = Array.from({ length: count }, (_, i) => transport.big(8 + i * bytes, bytes));
  return addresses.every((address) => isClaim(world, family === 4 ? MAPPED | address : address, family));
}

function isFromRouter(world: World, packet: Packet): boolean {
  const { protocol, transport } = packet;
  if (ROUTER_PROTOCOLS.includes(protocol!)) return true;
  if (protocol === VRRP) return !isOwnVrrp(world, packet);
  if (protocol === IGMP && packet.kind === 'ipv4')
    return packet.fragment === 'later' || (transport !== undefined && !HOST_IGMP.includes(transport.number(0, 1)));
  return ROUTER_ICMPV6.includes(icmpType(packet));
}

function transportFaults(world: World, packet: Packet): Vector[] {
  const faults: Vector[] = [];
  const { protocol, transport } = packet;
  if (TUNNELS.includes(protocol!)) faults.push(...tunnelFaults(world, packet, null));
  if (isFromRouter(world, packet)) faults.push('router-protocol');
  if (transport === undefined) return faults;
  if (protocol === UDP) {
    const [server, client] = packet.kind === 'ipv4' ? [67, 68] : [547, 546];
    if (transport.number(0, 2) === server || transport.number(2, 2) === client) faults.push('dhcp-server');
    if (transport.number(2, 2) === server && !isOwnDhcp(world, packet)) faults.push('dhcp-server');
    const port = transport.number(2, 2);
    if (world.tunnelPorts.has(port)) faults.push(...tunnelFaults(world, packet, port));
  }
  if (protocol === ICMP && packet.kind === 'ipv4') {
    if (transport.number(0, 1) === 5) faults.push('redirect');
    if (transport.number(0, 1) === 9) faults.push('router-advert');
    if ([3, 4, 11, 12].includes(transport.number(0, 1))) faults.push(...errorFaults(world, packet, 4));
  }
  const type = icmpType(packet);
  if (type >= 0 && type < 128) faults.push(...errorFaults(world, packet, 6));
  if (type === 134) faults.push('router-advert');
  if (type === 137) faults.push('redirect');
  if (type === 141 || type === 142) faults.push('nd-target');
  if ((type === 134 || type === 137) && packet.fragment !== 'none') faults.push('malformed');
  if (type === 133 || type === 135 || type === 136) faults.push(...neighbourFaults(world, packet));
  return faults;
}

/** The vectors that a frame from the pod breaks, quarantine aside. */
export function judge(world: World, packet: Packet): Set<Vector> {
  const broken = new Set(packet.faults);
  if (world.orphaned) broken.add('orphaned');
  if (packet.sourceMac !== null && !isOwnMac(world, packet.sourceMac)) broken.add('source-mac');
  if (packet.source === undefined) return broken;
  if (packet.arp !== undefined) {
    if (!isOwnMac(world, packet.arp.senderMac)) broken.add('arp-sender');
    const isProbe = packet.source === MAPPED && packet.arp.operation === 1;
    const claim = isProbe ? packet.destination! : packet.source;
    if (!isClaim(world, claim, 4)) broken.add(faultOf(world, claim, 4, 'arp-sender'));
    return broken;
  }
  for (const vector of [...sourceFaults(world, packet), ...transportFaults(world, packet)]) broken.add(vector);
  return broken;
}

const isGroupAddress = (address: bigint, kind: Packet['kind']): boolean =>
  kind === 'ipv4' ? address % (1n << 32n) >= 0xe0000000n : address >> 120n === 0xffn;
const isLoopback = (address: bigint): boolean => (address & 0xffffffffn) >> 24n === 127n;

/** What an answer to a packet to the pod would break: its ends are exchanged. */
function answerFaults(world: World, packet: Packet, modes: VectorModes): Vector[] {
  const faults: Vector[] = [];
  const from = packet.destination!;
  const family = packet.kind === 'ipv4' ? 4 : 6;
  const udp = packet.protocol === UDP ? packet.transport : undefined;
  const isToGroup = isGroupAddress(from, packet.kind);
  const isReset = isToGroup && packet.protocol === TCP && packet.transport !== undefined;
  const isReserved = family === 4 && (from & 0xf0000000n) === 0xf0000000n && (from & 0xffffffffn) !== 0xffffffffn;
  // A pod that has no address waits for one.
  const isOffer =
    world.ipv4 === null && family === 4 && udp?.number(0, 2) === 67 && udp.number(2, 2) === 68 && !isLoopback(from);
  const mac = packet.destinationMac!;
  // A host may answer a datagram to a subnet, which ends in ones, from an address of its own.
  const isToSubnet = isGroup(mac) && family === 4 && udp !== undefined && (from & 3n) === 3n && !isLoopback(from);
  // An error quotes each header behind 62 bytes of its own, and 24 of the header are read, up to byte 512.
  const { extensionAt } = packet;
  if (extensionAt !== null && (packet.faults.has('malformed') || 62 + extensionAt + 24 > 512)) faults.push('malformed');
  if (packet.faults.has('source-route') && modes['source-route'] === 'enforce') {
    if (family === 4) faults.push('source-route');
    else if (packet.routed) faults.push('redirect');
  }
  const isAnswered = isToGroup ? isReset || isReserved : !isOffer && !isToSubnet;
  if (family === 6 && isMapped(packet.source!)) faults.push('ipv6-source');
  const isEcho = family === 6 && isToGroup && icmpType(packet) === 128;
  const isNear = isLinkLocal(packet.source!) || (world.ipv6 !== null && packet.source! >> 64n === world.ipv6 >> 64n);
  if (isEcho && !isNear && (isGroup(mac) || isOwnMac(world, mac))) faults.push('ipv6-source');
  if (isAnswered && (isGroup(mac) || isOwnMac(world, mac))) {
    if (family === 6 && isLinkLocal(from)) {
      if (!isClaim(world, from, 6)) faults.push('link-local');
    } else if (!isSource(world, from, family)) {
      faults.push(faultOf(world, from, family, family === 4 ? 'ipv4-source' : 'ipv6-source'));
    }
  }
  if (udp === undefined) return faults;
  const [server, client] = family === 4 ? [67, 68] : [547, 546];
  const [port, own] = [udp.number(0, 2), udp.number(2, 2)];
  if (port === client && own !== server) faults.push('dhcp-server');
  if (port === server && own !== client) faults.push('dhcp-server');
  if (world.tunnelPorts.has(port))
    faults.push(...tunnelFaults(world, { ...packet, destination: packet.source! }, port));
  return faults;
}

/** An NS for an address of all routers of a subnet. */
function isForRouters(world: World, packet: Packet): boolean {
  if (icmpType(packet) !== 135 || !packet.transport!.canRead(8, 16)) return false;
  const target = packet.transport!.big(8, 16);
  return (target & 0xffn) === 0n && !isClaim(world, target, 6);
}

/** A router's offer of a prefix in which the pod would make itself an address that is not its own. */
function offersForeignPrefix(world: World, packet: Packet): boolean {
  if (packet.kind !== 'ipv6' || icmpType(packet) !== 134) return false;
  const message = packet.transport!;
  for (let [at, count] = [16, 0]; at < message.length; count++) {
    if (count === 16 || !message.canRead(at, 4)) return true;
    const length = message.number(at + 1, 1) * 8;
    if (length === 0) return false;
    if (message.number(at, 1) === 3 && (message.number(at + 3, 1) & 0x40) !== 0 && length >= 32) {
      if (!message.canRead(at + 16, 8)) return true;
      const address =
        (message.big(at + 16, 8) << 64n) | (world.mac === null ? 0n : linkLocalOf(world.mac) & ((1n << 64n) - 1n));
      if (address !== world.ipv6 && grantOf(world, address, 6)?.neighbour !== true) return true;
    }
    at += length;
  }
  return false;
}

/** Whether the answer to a packet to the pod would be dropped. */
export function provokes(world: World, packet: Packet, modes: VectorModes): boolean {
  if (world.orphaned) return false;
  if (packet.kind === 'arp') return packet.isForLoopback && modes['arp-sender'] === 'enforce';
  if (packet.source === undefined) return packet.faults.has('vlan-tag') && packet.faults.has('malformed');
  if (modes['nd-target'] === 'enforce' && isForRouters(world, packet)) return true;
  const isJudged = [modes['nd-target'], modes['ipv6-source']].includes('enforce');
  if (isJudged && offersForeignPrefix(world, packet)) return true;
  return answerFaults(world, packet, modes).some((vector) => modes[vector] === 'enforce');
}

function isAllowed(world: World, address: bigint, family: 4 | 6): boolean {
  const matching = world.allowed.filter(({ network, bits }) => within(address, network, bits));
  const longest = matching.reduce((best, one) => Math.max(best, one.bits), -1);
  return matching.some((one) => one.bits === longest && one.family === family);
}

/** A reset from this node to a probe port: all of a probe that passes where no socket is. */
function isProbeReset(world: World, packet: Packet): boolean {
  if (packet.protocol !== TCP || packet.transport === undefined) return false;
  if ((packet.transport.number(12, 1) >> 4) * 4 !== packet.transport.length) return false;
  if (world.nodes.get(packet.source!) !== 'this' || (packet.transport.number(13, 1) & 4) === 0) return false;
  const port = packet.transport.number(2, 2);
  return world.probes.some((probe) => probe.port === port && probe.protocol === TCP);
}

const NEVER_EXEMPT: readonly Vector[] = ['vlan-tag', 'malformed', 'source-route', 'ethertype', 'checksum-offload'];

const isNeverExempt = (packet: Packet, broken: ReadonlySet<Vector>): boolean =>
  packet.routed || NEVER_EXEMPT.some((vector) => broken.has(vector));

const isLeanArp = (packet: Packet): boolean => packet.frameBytes <= 64;
/** NS or NA with no room for more than two options. */
const isLeanNeighbour = (packet: Packet): boolean =>
  [135, 136].includes(icmpType(packet)) && packet.bare && packet.hopLimit === 255 && packet.transport!.length <= 40;

const ALL_NODES = (0xff02n << 112n) | 1n;

function isNeighbourFromPod(world: World, packet: Packet): boolean {
  if (!isLeanNeighbour(packet)) return false;
  const to = packet.destination!;
  if (isLinkLocal(to) || world.nodes.get(to) === 'this') return true;
  if (icmpType(packet) === 136) return to === ALL_NODES;
  return to === ((0xff02n << 112n) | (0x1ffn << 24n) | (packet.transport!.big(8, 16) & 0xffffffn));
}

function isNeighbourToPod(world: World, packet: Packet): boolean {
  if (!isLeanNeighbour(packet)) return false;
  if (icmpType(packet) === 136) return packet.destination === ALL_NODES || isClaim(world, packet.destination!, 6);
  return packet.transport!.length >= 24 && isClaim(world, packet.transport!.big(8, 16), 6);
}

/** Returns true if quarantine passes a frame from the pod. `broken` is the result of judge(). */
export function exemptFromPod(world: World, packet: Packet, broken: ReadonlySet<Vector>): boolean {
  if (isNeverExempt(packet, broken)) return false;
  if (packet.kind === 'arp') return broken.size === 0 && isLeanArp(packet);
  if (broken.size === 0 && isNeighbourFromPod(world, packet)) return true;
  const to = packet.destination!;
  if (isGroup(packet.destinationMac!) && !isGroupAddress(to, packet.kind)) return false;
  return isAllowed(world, to, packet.kind === 'ipv4' ? 4 : 6);
}

/** Whether quarantine lets a frame to the pod pass. */
export function exemptToPod(world: World, packet: Packet): boolean {
  if (isNeverExempt(packet, packet.faults)) return false;
  if (packet.kind === 'arp') return isLeanArp(packet) && isClaim(world, packet.destination!, 4);
  if (isNeighbourToPod(world, packet)) return true;
  if (isAllowed(world, packet.source!, packet.kind === 'ipv4' ? 4 : 6)) return true;
  return isProbeReset(world, packet);
}
