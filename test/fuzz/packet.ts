/**
 * Parses a frame as libs/bpf/bpf/spoof/rules.md specifies, for the model, independent of the kernel
 * program. Reading beyond the end or beyond the bytes of a frame that are read throws, so the model
 * cannot overlook a length. Addresses are bigints of 128 bits, IPv4 in its mapped form, as in the
 * maps.
 */
import type { Vector } from '@bailiff/bpf';

export const MAPPED = 0xffffn << 32n;

const ICMP = 1;
const IGMP = 2;
const TCP = 6;
const UDP = 17;
const AUTHENTICATION = 51;
const ICMPV6 = 58;
/** Bytes of a frame that are read. */
const READ_BYTES = 512;

/** A cursor over some bytes that refuses to leave them. */
export class Bytes {
  readonly #bytes: Buffer;
  /** Where in the frame they begin. */
  readonly #start: number;
  constructor(bytes: Buffer, start = 0) {
    this.#bytes = bytes;
    this.#start = start;
  }
  get length(): number {
    return this.#bytes.length;
  }
  has(at: number, length: number): boolean {
    return at >= 0 && at + length <= this.#bytes.length;
  }
  /** Whether these bytes exist, and are among those that are read. */
  canRead(at: number, length: number): boolean {
    return this.has(at, length) && this.#start + at + length <= READ_BYTES;
  }
  number(at: number, length: number): number {
    if (!this.canRead(at, length)) throw new Error(`model reads ${length} bytes at ${at} of ${this.length}`);
    return this.#bytes.readUIntBE(at, length);
  }
  big(at: number, length: number): bigint {
    if (!this.canRead(at, length)) throw new Error(`model reads ${length} bytes at ${at} of ${this.length}`);
    return BigInt(`0x${this.#bytes.subarray(at, at + length).toString('hex') || '0'}`);
  }
  from(at: number, length = this.length - at): Bytes {
    if (!this.has(at, length)) throw new Error(`model cuts ${length} bytes at ${at} of ${this.length}`);
    return new Bytes(this.#bytes.subarray(at, at + length), this.#start + at);
  }
}

type Fragment = 'none' | 'first' | 'later';

/** A packet as far as it could be read. */
export interface Packet {
  readonly kind: 'arp' | 'ipv4' | 'ipv6' | 'other';
  readonly faults: Set<Vector>;
  readonly sourceMac: bigint | null;
  readonly destinationMac: bigint | null;
  /** ARP: sender and target. Undefined: not read. */
  readonly source?: bigint;
  readonly destination?: bigint;
  readonly arp?: { readonly senderMac: bigint; readonly operation: number };
  /** ARP of any form whose target is in 127/8. */
  readonly isForLoopback: boolean;
  readonly protocol?: number;
  readonly fragment: Fragment;
  readonly hopLimit: number;
  readonly hopByHop: boolean;
  /** A routing header of any type. */
  readonly routed: boolean;
  readonly frameBytes: number;
  /** IPv6: the transport header follows the IPv6 header, and the packet ends where the frame ends. */
  readonly bare: boolean;
  /** From the transport header on; undefined if the frame has none. */
  readonly transport?: Bytes;
  /** IPv6: where in the packet the last extension header is that could be read; null: there is none. */
  readonly extensionAt: number | null;
  /** Where in the frame the ARP or IP header is, and the transport header. */
  readonly networkAt: number;
  readonly transportAt: number;
  /** It is cut into several packets later. */
  readonly segmented: boolean;
}

const EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 44, 51, 60]);
const HEADER_BYTES: ReadonlyMap<number, number> = new Map([
  [TCP, 20],
  [UDP, 8],
  [136, 8],
  [ICMP, 8],
  [IGMP, 8],
  [ICMPV6, 8],
  [132, 12],
  [33, 12],
]);

/** Of these headers this much is read. */
const HEAD_BYTES: ReadonlyMap<number, number> = new Map([
  [TCP, 14],
  [UDP, 8],
  [ICMP, 8],
  [IGMP, 8],
  [ICMPV6, 8],
]);

/** Whether the transport header is all there, and what is read of it among the bytes that are read. */
function transportFits(protocol: number, rest: Bytes): boolean {
  if (rest.length < (HEADER_BYTES.get(protocol) ?? 0)) return false;
  const head = HEAD_BYTES.get(protocol);
  if (head !== undefined && !rest.canRead(0, head)) return false;
  if (protocol !== TCP) return true;
  const own = (rest.number(12, 1) >> 4) * 4;
  return own >= 20 && own <= rest.length;
}

/** Metadata of a frame in addition to its bytes. */
export interface Metadata {
  /** The checksum left to the kernel: the first byte that it covers, and its place from there. */
  readonly checksum: { readonly start: number; readonly place: number } | null;
  /** 0: one packet; otherwise the bytes of each packet that the frame is cut into later. */
  readonly gsoSize: number;
  /** Those packets keep headers of their own. */
  readonly joined: boolean;
  /** Where the packet in a tunnel begins, as the metadata say; 0: the frame is no tunnel's. */
  readonly inner: number;
}
export const NO_METADATA: Metadata = { checksum: null, gsoSize: 0, joined: false, inner: 0 };

/** Offset of each protocol's checksum, and the earliest offset of its payload. */
const CHECKSUM_PLACE: ReadonlyMap<number, number> = new Map([
  [ICMP, 2],
  [ICMPV6, 2],
  [47, 4],
  [UDP, 6],
  [136, 6],
  [33, 6],
  [132, 8],
  [TCP, 16],
]);
/** IPIP, 6in4, GRE, EtherIP, L2TP, MPLS, Ethernet. */
export const TUNNELS: readonly number[] = [4, 41, 47, 97, 115, 137, 143];

/** Returns true if the kernel's checksum would not overwrite any checked field. */
function isHarmless(packet: Packet, { start, place }: NonNullable<Metadata['checksum']>): boolean {
  if (packet.faults.has('ethertype')) return start >= packet.networkAt;
  if (packet.transport === undefined) return false;
  const behind = start - packet.transportAt;
  if (behind === 0) return place === CHECKSUM_PLACE.get(packet.protocol!);
  const nowhere = packet.kind === 'ipv4' ? MAPPED : 0n;
  if (packet.protocol === UDP) {
    const isToDhcpServer = [67, 547].includes(packet.transport.number(2, 2));
    return behind >= 8 && packet.source !== nowhere && !isToDhcpServer;
  }
  return TUNNELS.includes(packet.protocol!) && behind >= 4;
}

type Draft = { -readonly [K in keyof Packet]: Packet[K] };

function readArp(draft: Draft, rest: Bytes): void {
  draft.isForLoopback = rest.canRead(24, 1) && rest.number(24, 1) === 127;
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

/** Walks the options; false if one is invalid. */
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

function finish(draft: Draft, rest: Bytes, at: number): void {
  draft.transportAt = at;
  if (transportFits(draft.protocol!, rest)) draft.transport = rest;
  else draft.faults.add('malformed');
}

function readIpv4(draft: Draft, rest: Bytes, gso: boolean): void {
  const { faults } = draft;
  if (rest.length < 20 || rest.number(0, 1) >> 4 !== 4) return void faults.add('malformed');
  const header = (rest.number(0, 1) & 15) * 4;
  const printed = rest.number(2, 2);
  const total = printed === 0 && gso ? rest.length : printed;
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
  let payload = rest.from(header, total - header);
  let at = draft.networkAt + header;
  if (draft.protocol === AUTHENTICATION) {
    if (!payload.canRead(0, 8)) return void faults.add('malformed');
    const bytes = (payload.number(1, 1) + 2) * 4;
    draft.protocol = payload.number(0, 1);
    if (bytes > payload.length || draft.protocol === AUTHENTICATION) return void faults.add('malformed');
    payload = payload.from(bytes);
    at += bytes;
  }
  finish(draft, payload, at);
}

/** Walks the options; false if one is invalid, or if there are more than 16. */
function readDestinationOptions(draft: Draft, options: Bytes): boolean {
  let rest = options;
  for (let count = 0; rest.length > 0; count++) {
    if (count === 16) return false;
    if (!rest.canRead(0, 1)) return false;
    const kind = rest.number(0, 1);
    if (kind !== 0 && !rest.canRead(0, 2)) return false;
    const bytes = kind === 0 ? 1 : 2 + rest.number(1, 1);
    if (bytes > rest.length) return false;
    if (kind === 201) draft.faults.add('source-route');
    rest = rest.from(bytes);
  }
  return true;
}

/** Of type 0, with segments left, or of segments whose last one is not the destination. */
function isSourceRoute(header: Bytes, destination: bigint): boolean {
  const [type, left] = [header.number(2, 1), header.number(3, 1)];
  if (type === 0 || left > 0) return true;
  return type === 4 && !(header.canRead(8, 16) && header.big(8, 16) === destination);
}

function readIpv6(draft: Draft, rest: Bytes, gso: boolean): void {
  const { faults } = draft;
  if (rest.length < 40 || rest.number(0, 1) >> 4 !== 6) return void faults.add('malformed');
  const printed = rest.number(4, 2);
  const length = printed === 0 && gso ? rest.length - 40 : printed;
  if (40 + length > rest.length) return void faults.add('malformed');
  draft.source = rest.big(8, 16);
  draft.destination = rest.big(24, 16);
  draft.protocol = rest.number(6, 1);
  draft.hopLimit = rest.number(7, 1);
  let payload = rest.from(40, length);
  draft.bare = !EXTENSIONS.has(draft.protocol) && rest.length === 40 + length;
  for (let count = 0; EXTENSIONS.has(draft.protocol); count++) {
    const kind = draft.protocol;
    if (count < 8) draft.extensionAt = 40 + length - payload.length;
    if (count === 8 || !payload.canRead(0, 8)) return void faults.add('malformed');
    if (kind === 0 && count > 0) return void faults.add('malformed');
    const units = payload.number(1, 1);
    let bytes = (units + 1) * 8;
    if (kind === 51) bytes = (units + 2) * 4;
    if (kind === 43 && isSourceRoute(payload, draft.destination)) faults.add('source-route');
    if (kind === 0) draft.hopByHop = true;
    if (kind === 43) draft.routed = true;
    if (kind === 44) {
      bytes = 8;
      if (draft.fragment !== 'none') return void faults.add('malformed');
      const offset = payload.number(2, 2) & ~7;
      draft.fragment = offset > 0 ? 'later' : 'first';
      if (offset > 0 && offset + payload.length - 8 > 65_535) return void faults.add('malformed');
    }
    if (bytes > payload.length) return void faults.add('malformed');
    if (kind === 60 && !readDestinationOptions(draft, payload.from(2, bytes - 2))) return void faults.add('malformed');
    draft.protocol = payload.number(0, 1);
    payload = payload.from(bytes);
    if (draft.fragment === 'later') return;
  }
  finish(draft, payload, draft.networkAt + 40 + length - payload.length);
}

/** Parses a frame. Of joined packets to a pod the first headers count: they are those of one flow. */
export function read(frame: Buffer, metadata: Metadata = NO_METADATA, { toPod = false } = {}): Packet {
  const isJoined = metadata.joined && metadata.gsoSize > 0;
  const packet = readFrame(frame, metadata.gsoSize > 0, isJoined && !toPod);
  if (isJoined) packet.faults.add('malformed');
  if (metadata.checksum !== null && !isHarmless(packet, metadata.checksum)) packet.faults.add('checksum-offload');
  const isWritten = metadata.inner !== 0 && (metadata.gsoSize > 0 || metadata.checksum !== null);
  if (isWritten && !isBehindChecked(packet, metadata.inner)) packet.faults.add('malformed');
  return packet;
}

/** Whether the kernel writes there into a part that no rule reads. */
function isBehindChecked(packet: Packet, inner: number): boolean {
  if (packet.faults.has('ethertype')) return true;
  const checked = TUNNELS.includes(packet.protocol ?? -1) ? 0 : 8;
  return packet.transport !== undefined && inner >= packet.transportAt + checked;
}

function readFrame(frame: Buffer, segmented: boolean, isJoined: boolean): Packet {
  const bytes = new Bytes(frame);
  const draft: Draft = {
    kind: 'other',
    faults: new Set<Vector>(),
    sourceMac: null,
    destinationMac: null,
    isForLoopback: false,
    fragment: 'none',
    hopLimit: 0,
    hopByHop: false,
    routed: false,
    frameBytes: frame.length,
    bare: false,
    extensionAt: null,
    networkAt: 0,
    transportAt: 0,
    segmented,
  };
  if (isJoined || bytes.length < 14) {
    draft.faults.add('malformed');
    return draft;
  }
  draft.sourceMac = bytes.big(6, 6);
  draft.destinationMac = bytes.big(0, 6);
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
  draft.networkAt = at;
  const rest = bytes.from(at);
  if (type === 0x0806) {
    draft.kind = 'arp';
    readArp(draft, rest);
  } else if (type === 0x0800) {
    draft.kind = 'ipv4';
    readIpv4(draft, rest, segmented);
  } else if (type === 0x86dd) {
    draft.kind = 'ipv6';
    readIpv6(draft, rest, segmented);
  } else {
    draft.faults.add('ethertype');
  }
  return draft;
}
