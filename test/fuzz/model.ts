/**
 * What libs/bpf/bpf/rules.md says, in TypeScript and by itself: a frame and what is known of its sender → the set of
 * broken vectors, and whether quarantine lets it pass. Nothing here is taken from the kernel program.
 *
 * Addresses are bigints of 128 bits, IPv4 in its mapped form, as the maps hold them.
 */
import type { Vector } from '@bailiff/bpf';

export interface Grant {
  readonly family: 4 | 6;
  readonly network: bigint;
  /** Of 128 bits. */
  readonly bits: number;
  readonly neighbour: boolean;
}

export interface World {
  /** 48 bits; null: not known. */
  readonly mac: bigint | null;
  readonly ipv4: bigint | null;
  readonly ipv6: bigint | null;
  readonly grants: readonly Grant[];
  readonly nodes: ReadonlyMap<bigint, 'this' | 'other'>;
  readonly tunnelPorts: ReadonlySet<number>;
  readonly allowed: readonly Omit<Grant, 'neighbour'>[];
  readonly probes: readonly { readonly port: number; readonly protocol: number }[];
}

const ALL_ONES = (1n << 128n) - 1n;
const MAPPED = 0xffffn << 32n;
const isMapped = (address: bigint): boolean => address >> 32n === 0xffffn;

/** A cursor over some bytes that refuses to leave them. */
class Bytes {
  readonly #bytes: Buffer;
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }
  get length(): number {
    return this.#bytes.length;
  }
  has(at: number, length: number): boolean {
    return at >= 0 && at + length <= this.#bytes.length;
  }
  number(at: number, length: number): number {
    return Number(this.big(at, length));
  }
  big(at: number, length: number): bigint {
    if (!this.has(at, length)) throw new Error(`model reads ${length} bytes at ${at} of ${this.length}`);
    return BigInt(`0x${this.#bytes.subarray(at, at + length).toString('hex') || '0'}`);
  }
  from(at: number, length = this.length - at): Bytes {
    if (!this.has(at, length)) throw new Error(`model cuts ${length} bytes at ${at} of ${this.length}`);
    return new Bytes(this.#bytes.subarray(at, at + length));
  }
}

type Fragment = 'none' | 'first' | 'later';

/** A packet as far as it could be read. */
export interface Packet {
  readonly kind: 'arp' | 'ipv4' | 'ipv6' | 'other';
  readonly faults: Set<Vector>;
  readonly sourceMac: bigint | null;
  /** ARP: sender and target. Undefined: not read. */
  readonly source?: bigint;
  readonly destination?: bigint;
  readonly arp?: { readonly senderMac: bigint; readonly operation: number };
  readonly protocol?: number;
  readonly fragment: Fragment;
  readonly hopLimit: number;
  readonly hopByHop: boolean;
  /** From the transport header on; undefined when there is none to read. */
  readonly transport?: Bytes;
}

const ICMP = 1;
const IPIP = 4;
const TCP = 6;
const UDP = 17;
const SIX_IN = 41;
const GRE = 47;
const ICMPV6 = 58;
const EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 44, 51, 60]);
const HEADER_BYTES: ReadonlyMap<number, number> = new Map([
  [TCP, 20],
  [UDP, 8],
  [136, 8],
  [ICMP, 8],
  [ICMPV6, 8],
  [132, 12],
  [33, 12],
]);

/** Whether the transport header is all there. */
function transportFits(protocol: number, rest: Bytes): boolean {
  if (rest.length < (HEADER_BYTES.get(protocol) ?? 0)) return false;
  if (protocol !== TCP) return true;
  const own = (rest.number(12, 1) >> 4) * 4;
  return own >= 20 && own <= rest.length;
}

type Draft = { -readonly [K in keyof Packet]: Packet[K] };

function readArp(draft: Draft, rest: Bytes): void {
  const sound =
    rest.length >= 28 &&
    rest.number(0, 2) === 1 &&
    rest.number(2, 2) === 0x0800 &&
    rest.number(4, 2) === 0x0604 &&
    [1, 2].includes(rest.number(6, 2));
  if (!sound) {
    draft.faults.add('malformed');
    return;
  }
  draft.arp = { senderMac: rest.big(8, 6), operation: rest.number(6, 2) };
  draft.source = MAPPED | rest.big(14, 4);
  draft.destination = MAPPED | rest.big(24, 4);
}

/** Walks the options; false when one of them cannot be. */
function readOptions(draft: Draft, options: Bytes): boolean {
  let at = 0;
  while (at < options.length) {
    const kind = options.number(at, 1);
    if (kind === 0) return true;
    if (kind === 1) {
      at++;
      continue;
    }
    if (!options.has(at, 2)) return false;
    const length = options.number(at + 1, 1);
    if (length < 2 || at + length > options.length) return false;
    if (kind === 131 || kind === 137) draft.faults.add('source-route');
    at += length;
  }
  return true;
}

function finish(draft: Draft, rest: Bytes): void {
  if (transportFits(draft.protocol!, rest)) draft.transport = rest;
  else draft.faults.add('malformed');
}

function readIpv4(draft: Draft, rest: Bytes): void {
  const { faults } = draft;
  if (rest.length < 20 || rest.number(0, 1) >> 4 !== 4) return void faults.add('malformed');
  const header = (rest.number(0, 1) & 15) * 4;
  const total = rest.number(2, 2);
  if (header < 20 || header > rest.length || total < header || total > rest.length) return void faults.add('malformed');
  draft.source = MAPPED | rest.big(12, 4);
  draft.destination = MAPPED | rest.big(16, 4);
  draft.protocol = rest.number(9, 1);
  draft.hopLimit = rest.number(8, 1);
  if (!readOptions(draft, rest.from(20, header - 20))) faults.add('malformed');
  const flags = rest.number(6, 2);
  const offset = (flags % 0x2000) * 8;
  if (offset > 0) {
    draft.fragment = 'later';
    if (offset + total - header > 65_535) faults.add('malformed');
    return;
  }
  if (flags & 0x2000) draft.fragment = 'first';
  finish(draft, rest.from(header, total - header));
}

function readIpv6(draft: Draft, rest: Bytes): void {
  const { faults } = draft;
  if (rest.length < 40 || rest.number(0, 1) >> 4 !== 6) return void faults.add('malformed');
  const length = rest.number(4, 2);
  if (40 + length > rest.length) return void faults.add('malformed');
  draft.source = rest.big(8, 16);
  draft.destination = rest.big(24, 16);
  draft.protocol = rest.number(6, 1);
  draft.hopLimit = rest.number(7, 1);
  let payload = rest.from(40, length);
  for (let count = 0; EXTENSIONS.has(draft.protocol); count++) {
    const kind = draft.protocol;
    if (count === 8 || payload.length < 8) return void faults.add('malformed');
    if (kind === 0 && count > 0) return void faults.add('malformed');
    const units = payload.number(1, 1);
    let bytes = (units + 1) * 8;
    if (kind === 51) bytes = (units + 2) * 4;
    if (kind === 43 && payload.number(2, 1) === 0) faults.add('source-route');
    if (kind === 0) draft.hopByHop = true;
    if (kind === 44) {
      bytes = 8;
      if (draft.fragment !== 'none') return void faults.add('malformed');
      const offset = payload.number(2, 2) & ~7;
      draft.fragment = offset > 0 ? 'later' : 'first';
      if (offset > 0 && offset + payload.length - 8 > 65_535) return void faults.add('malformed');
    }
    if (bytes > payload.length) return void faults.add('malformed');
    draft.protocol = payload.number(0, 1);
    payload = payload.from(bytes);
    if (draft.fragment === 'later') return;
  }
  finish(draft, payload);
}

/** Takes a frame apart. */
export function read(frame: Buffer): Packet {
  const bytes = new Bytes(frame);
  const draft: Draft = {
    ...{ kind: 'other', faults: new Set<Vector>(), sourceMac: null, fragment: 'none', hopLimit: 0, hopByHop: false },
  };
  if (bytes.length < 14) {
    draft.faults.add('malformed');
    return draft;
  }
  draft.sourceMac = bytes.big(6, 6);
  let type = bytes.number(12, 2);
  let at = 14;
  for (let tags = 0; type === 0x8100 || type === 0x88a8; tags++) {
    draft.faults.add('vlan-tag');
    if (tags === 2 || !bytes.has(at, 4)) {
      draft.faults.add('malformed');
      return draft;
    }
    type = bytes.number(at + 2, 2);
    at += 4;
  }
  const rest = bytes.from(at);
  if (type === 0x0806) {
    draft.kind = 'arp';
    readArp(draft, rest);
  } else if (type === 0x0800) {
    draft.kind = 'ipv4';
    readIpv4(draft, rest);
  } else if (type === 0x86dd) {
    draft.kind = 'ipv6';
    readIpv6(draft, rest);
  } else {
    draft.faults.add('ethertype');
  }
  return draft;
}

const isLinkLocal = (address: bigint): boolean => address >> 118n === 0xfe8n >> 2n;

function ownLinkLocal(world: World): bigint | null {
  if (world.mac === null) return null;
  const upper = (world.mac >> 24n) ^ 0x020000n;
  return (0xfe80n << 112n) | (upper << 40n) | (0xfffen << 24n) | (world.mac & 0xffffffn);
}

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
  return address === (family === 4 ? world.ipv4 : world.ipv6) || grantOf(world, address, family) !== null;
}

function isClaim(world: World, address: bigint, family: 4 | 6): boolean {
  if (address === (family === 4 ? world.ipv4 : world.ipv6)) return true;
  if (family === 6 && address === ownLinkLocal(world)) return true;
  return grantOf(world, address, family)?.neighbour === true;
}

const isUdp = (packet: Packet, source: number, destination: number): boolean =>
  packet.protocol === UDP &&
  packet.transport !== undefined &&
  packet.transport.number(0, 2) === source &&
  packet.transport.number(2, 2) === destination;

function isDhcpRequest(world: World, packet: Packet): boolean {
  if (packet.fragment !== 'none' || !isUdp(packet, 68, 67)) return false;
  if (packet.destination !== (MAPPED | 0xffffffffn)) return false;
  const body = packet.transport!.from(8);
  if (body.length < 240 || body.number(0, 3) !== 0x010106 || body.number(236, 4) !== 0x63825363) return false;
  return world.mac === null || body.big(28, 6) === world.mac;
}

const DHCPV6_GROUPS: readonly bigint[] = [(0xff02n << 112n) | 0x10002n, (0xff05n << 112n) | 0x10003n];
const DHCPV6_CLIENT_TYPES: readonly number[] = [1, 3, 4, 5, 6, 8, 9, 11];

function isDhcpv6Request(packet: Packet): boolean {
  if (packet.fragment !== 'none' || !isUdp(packet, 546, 547)) return false;
  if (!DHCPV6_GROUPS.includes(packet.destination!)) return false;
  const body = packet.transport!.from(8);
  return body.length >= 4 && DHCPV6_CLIENT_TYPES.includes(body.number(0, 1));
}

const icmpType = (packet: Packet): number =>
  packet.protocol === ICMPV6 && packet.kind === 'ipv6' && packet.transport !== undefined
    ? packet.transport.number(0, 1)
    : -1;

function sourceFaults(world: World, packet: Packet): Vector[] {
  const source = packet.source!;
  if (packet.kind === 'ipv4') {
    if (source === world.ipv4) return [];
    if (source === MAPPED) return [isDhcpRequest(world, packet) ? 'dhcp-client' : 'ipv4-source'];
    return isSource(world, source, 4) ? [] : ['ipv4-source'];
  }
  if (source === world.ipv6) return [];
  if (source === 0n) {
    const type = icmpType(packet);
    if (type === 133 || type === 135) return [];
    const toGroup = packet.destination! >> 120n === 0xffn;
    if ([131, 132, 143].includes(type) && packet.hopLimit === 1 && packet.hopByHop && toGroup) return [];
    return [isDhcpv6Request(packet) ? 'dhcp-client' : 'ipv6-source'];
  }
  if (isLinkLocal(source)) return isClaim(world, source, 6) ? [] : ['link-local'];
  return isSource(world, source, 6) ? [] : ['ipv6-source'];
}

/** RS, NS and NA. */
function neighbourFaults(world: World, packet: Packet): Vector[] {
  const message = packet.transport!;
  const type = message.number(0, 1);
  if (packet.fragment !== 'none' || packet.hopLimit !== 255 || message.number(1, 1) !== 0) return ['malformed'];
  const head = type === 133 ? 8 : 24;
  if (message.length < head) return ['malformed'];
  const target = type === 133 ? 0n : message.big(8, 16);
  if (target >> 120n === 0xffn) return ['malformed'];

  const faults: Vector[] = [];
  const fromNowhere = packet.source === 0n;
  let options = message.from(head);
  for (let count = 0; options.length > 0; count++) {
    if (count === 8 || options.length < 8) return ['malformed'];
    const length = options.number(1, 1) * 8;
    if (length === 0 || length > options.length) return ['malformed'];
    const isLinkLayer = [1, 2].includes(options.number(0, 1));
    if (isLinkLayer && (fromNowhere || (world.mac !== null && options.big(2, 6) !== world.mac)))
      faults.push('nd-target');
    options = options.from(length);
  }
  const isDetection = type === 135 && fromNowhere;
  if (isDetection) {
    const group = (0xff02n << 112n) | (0x1ffn << 24n) | (target & 0xffffffn);
    if (packet.destination !== group) faults.push('nd-target');
  }
  if ((isDetection || type === 136) && !isClaim(world, target, 6)) {
    faults.push(isDetection && isLinkLocal(target) ? 'link-local' : 'nd-target');
  }
  return faults;
}

function transportFaults(world: World, packet: Packet): Vector[] {
  const faults: Vector[] = [];
  const { protocol, transport } = packet;
  const tunnel: Vector = world.nodes.has(packet.destination!) ? 'tunnel' : 'tunnel-other';
  if ([IPIP, SIX_IN, GRE].includes(protocol!)) faults.push(tunnel);
  if (transport === undefined) return faults;
  if (protocol === UDP) {
    const [server, client] = packet.kind === 'ipv4' ? [67, 68] : [547, 546];
    if (transport.number(0, 2) === server || transport.number(2, 2) === client) faults.push('dhcp-server');
    if (world.tunnelPorts.has(transport.number(2, 2))) faults.push(tunnel);
  }
  if (protocol === ICMP && packet.kind === 'ipv4') {
    if (transport.number(0, 1) === 5) faults.push('redirect');
    if (transport.number(0, 1) === 9) faults.push('router-advert');
  }
  const type = icmpType(packet);
  if (type === 134) faults.push('router-advert');
  if (type === 137) faults.push('redirect');
  if ((type === 134 || type === 137) && packet.fragment !== 'none') faults.push('malformed');
  if (type === 133 || type === 135 || type === 136) faults.push(...neighbourFaults(world, packet));
  return faults;
}

/** The vectors that a frame from the pod breaks, quarantine aside. */
export function judge(world: World, packet: Packet): Set<Vector> {
  const broken = new Set(packet.faults);
  if (packet.sourceMac !== null && world.mac !== null && packet.sourceMac !== world.mac) broken.add('source-mac');
  if (packet.source === undefined) return broken;
  if (packet.arp !== undefined) {
    if (world.mac !== null && packet.arp.senderMac !== world.mac) broken.add('arp-sender');
    const isProbe = packet.source === MAPPED && packet.arp.operation === 1;
    if (!isProbe && !isClaim(world, packet.source, 4)) broken.add('arp-sender');
    return broken;
  }
  for (const vector of [...sourceFaults(world, packet), ...transportFaults(world, packet)]) broken.add(vector);
  return broken;
}

function isAllowed(world: World, address: bigint, family: 4 | 6): boolean {
  const matching = world.allowed.filter(({ network, bits }) => within(address, network, bits));
  const longest = matching.reduce((best, one) => Math.max(best, one.bits), -1);
  return matching.some((one) => one.bits === longest && one.family === family);
}

function isProbe(world: World, packet: Packet, peer: bigint, side: 'source' | 'destination'): boolean {
  if (packet.transport === undefined || ![TCP, UDP].includes(packet.protocol!)) return false;
  if (world.nodes.get(peer) !== 'this') return false;
  const port = packet.transport.number(side === 'source' ? 0 : 2, 2);
  return world.probes.some((probe) => probe.port === port && probe.protocol === packet.protocol);
}

const NEVER_EXEMPT: readonly Vector[] = ['vlan-tag', 'malformed', 'source-route', 'ethertype'];

/** Whether quarantine lets a frame from the pod pass. `broken` is what judge() found. */
export function exemptFromPod(world: World, packet: Packet, broken: ReadonlySet<Vector>): boolean {
  if (NEVER_EXEMPT.some((vector) => broken.has(vector))) return false;
  if (packet.kind === 'arp') return broken.size === 0;
  const type = icmpType(packet);
  if ((type === 135 || type === 136) && broken.size === 0) return true;
  if (isAllowed(world, packet.destination!, packet.kind === 'ipv4' ? 4 : 6)) return true;
  const opening =
    packet.protocol === TCP && packet.transport !== undefined && (packet.transport.number(13, 1) & 0x12) === 2;
  return !opening && isProbe(world, packet, packet.destination!, 'source');
}

/** Whether quarantine lets a frame to the pod pass. */
export function exemptToPod(world: World, packet: Packet): boolean {
  if (NEVER_EXEMPT.some((vector) => packet.faults.has(vector))) return false;
  if (packet.kind === 'arp') return isClaim(world, packet.destination!, 4);
  const type = icmpType(packet);
  if (packet.fragment === 'none' && packet.hopLimit === 255 && packet.transport !== undefined) {
    if (type === 135 && packet.transport.length >= 24 && isClaim(world, packet.transport.big(8, 16), 6)) return true;
    const toAll = packet.destination === ((0xff02n << 112n) | 1n);
    if (type === 136 && (toAll || isClaim(world, packet.destination!, 6))) return true;
  }
  if (isAllowed(world, packet.source!, packet.kind === 'ipv4' ? 4 : 6)) return true;
  return isProbe(world, packet, packet.source!, 'destination');
}
