/**
 * Encodes the records of user space as bytes of the kernel maps, and decodes them again.
 *
 * Data path: collector's plan → here → map update. Offsets come from layout.gen.ts, so they match
 * the object. Invariants: pure. Every buffer has exactly the size of the struct and no unwritten
 * byte. A number out of range is a programmer's error (assert); invalid address text is an
 * AddressError. Layouts are little-endian; object.ts asserts os.endianness() once.
 */
import assert from 'node:assert/strict';
import {
  type Cidr,
  type Family,
  familyOf,
  formatAddress,
  formatCidr,
  formatMac,
  isMac,
  isMappedIpv4,
  mapPrefixLength,
  parseAddress,
  parseCidr,
  parseMac,
} from '../core/addresses.ts';
import { checkU32, encodeU32 } from '../core/integers.ts';
import {
  AddressFlagValues,
  AddressKeyLayout,
  CidrKeyLayout,
  CounterKeyLayout,
  IfaceFlagValues,
  IfaceLayout,
  MetaLayout,
  ProbeKeyLayout,
  ServiceKeyLayout,
  SettingsLayout,
} from './layout.gen.ts';
import {
  IFACE_STATES,
  type IfaceState,
  MODES,
  type Mode,
  NETWORK_PLACES,
  type NetworkPlace,
  TUNNEL_SERVICE_KINDS,
  type TunnelServiceKind,
  VECTORS,
  type VectorModes,
  vectorModes,
} from './names.ts';

/** Value of quarantineUntilNs and auditUntilNs without an end: no clock reaches it. */
export const FOREVER_NS = 0xffff_ffff_ffff_ffffn;

/** The kernel's record of one pod interface. */
export interface IfaceRecord {
  /** 1 to 2^32-1; never reused while the pinned maps live. */
  readonly generation: number;
  /** Index into the per-slot arrays: 0 to maxInterfaces - 1, unique among live records. */
  readonly slot: number;
  readonly state: IfaceState;
  /** Null: checks that compare MACs are skipped. */
  readonly mac: string | null;
  /** First address of each family. Further addresses are in the map `addresses`. */
  readonly ipv4: string | null;
  readonly ipv6: string | null;
  /** True if `addresses` holds more for this interface and generation. */
  readonly hasMore: boolean;
  /** Merged from all scopes. */
  readonly modes: VectorModes;
  /** Token bucket of this interface, each number 1 to 65535. Null: that of the settings. */
  readonly sampling: { readonly burst: number; readonly perSecond: number } | null;
  /** CLOCK_BOOTTIME. 0n: not quarantined. FOREVER_NS: until released. */
  readonly quarantineUntilNs: bigint;
  /** CLOCK_BOOTTIME. Until then every enforce is judged as audit. 0n: armed. */
  readonly auditUntilNs: bigint;
  /** Its pod has ended: each packet from it violates `orphaned`. Default false. */
  readonly orphaned?: boolean;
  /** The host side of a netkit pair. Default false. */
  readonly netkit?: boolean;
}

export interface IfaceKey {
  readonly ifindex: number;
  readonly generation: number;
}

/** An address or prefix that an interface may use beyond the inline ones. */
export interface AddressGrant {
  /** An address or a CIDR; or a further MAC of the pod. */
  readonly cidr: string;
  /**
   * Also valid in ARP and ND: true for the pod's own addresses, false for prefixes that it only
   * routes or translates.
   */
  readonly neighbour: boolean;
  /** Valid as a source. Default true; false only for a destination of tunnels. */
  readonly source?: boolean;
  /** The pod may send tunnels to it. Default false. */
  readonly tunnel?: boolean;
  /** Another interface of the pod has it. No right: without one, it violates `other-interface`. Default false. */
  readonly other?: boolean;
}

export interface Settings {
  readonly sampleBurst: number;
  readonly samplesPerSecond: number;
  readonly unknownMode: Mode;
}

/** Where a packet to an address can end; an address without a network is outside. */
export interface Network {
  /** Only the longest match counts. */
  readonly cidr: string;
  readonly place: NetworkPlace;
}

/** UDP that nodes translate to a tunnel port. */
export interface TunnelService {
  /** null: the port itself. */
  readonly address: string | null;
  readonly port: number;
  /**
   * translated: this address and port. node-port: the port, on all addresses of nodes. only: the
   * port is no tunnel port on other addresses.
   */
  readonly kinds: readonly TunnelServiceKind[];
}

export interface ProbePort {
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
}

export interface Meta {
  readonly frameSequence: bigint;
  readonly nextGeneration: number;
  readonly abi: number;
}

const PROTOCOL_NUMBERS = { tcp: 6, udp: 17 } as const;

/** 0 means "not set", so it is refused. */
function u16(value: number, what: string): number {
  assert(Number.isInteger(value) && value >= 1 && value <= 0xffff, `${what} is not 1 to 65535: ${value}`);
  return value;
}

function addressOfFamily(text: string, family: Family): Buffer {
  const bytes = parseAddress(text);
  assert.equal(familyOf(bytes), family, `${text} is not IPv${family}`);
  return bytes;
}

/** Encodes `struct iface`. */
export function encodeIface(record: IfaceRecord): Buffer {
  const layout = IfaceLayout;
  const buffer = Buffer.alloc(layout.size);
  assert(record.generation > 0, 'a generation is never 0');
  buffer.writeUInt32LE(checkU32(record.generation, 'generation'), layout.generation.offset);
  buffer.writeUInt32LE(checkU32(record.slot, 'slot'), layout.slot.offset);
  buffer.writeUInt8(IFACE_STATES.indexOf(record.state), layout.state.offset);
  let flags = record.hasMore ? IfaceFlagValues.IFACE_HAS_MORE : 0;
  if (record.mac !== null) {
    flags |= IfaceFlagValues.IFACE_HAS_MAC;
    parseMac(record.mac).copy(buffer, layout.mac.offset);
  }
  if (record.ipv4 !== null) {
    flags |= IfaceFlagValues.IFACE_HAS_IPV4;
    addressOfFamily(record.ipv4, 4).copy(buffer, layout.ipv4.offset, 12);
  }
  if (record.ipv6 !== null) {
    flags |= IfaceFlagValues.IFACE_HAS_IPV6;
    addressOfFamily(record.ipv6, 6).copy(buffer, layout.ipv6.offset);
  }
  if (record.orphaned === true) flags |= IfaceFlagValues.IFACE_ORPHANED;
  if (record.netkit === true) flags |= IfaceFlagValues.IFACE_NETKIT;
  buffer.writeUInt8(flags, layout.flags.offset);
  VECTORS.forEach((vector, index) => {
    buffer.writeUInt8(MODES.indexOf(record.modes[vector]), layout.modes.offset + index);
  });
  if (record.sampling !== null) {
    buffer.writeUInt16LE(u16(record.sampling.burst, 'sampling.burst'), layout.sampleBurst.offset);
    buffer.writeUInt16LE(u16(record.sampling.perSecond, 'sampling.perSecond'), layout.samplesPerSecond.offset);
  }
  buffer.writeBigUInt64LE(record.quarantineUntilNs, layout.quarantineUntilNs.offset);
  buffer.writeBigUInt64LE(record.auditUntilNs, layout.auditUntilNs.offset);
  return buffer;
}

/** Decodes `struct iface`, for example after a restart. */
export function decodeIface(buffer: Buffer): IfaceRecord {
  const layout = IfaceLayout;
  assert.equal(buffer.length, layout.size, 'not a struct iface');
  const flags = buffer.readUInt8(layout.flags.offset);
  const slice = (field: { offset: number; size: number }) => buffer.subarray(field.offset, field.offset + field.size);
  const ipv4 = slice(layout.ipv4);
  const burst = buffer.readUInt16LE(layout.sampleBurst.offset);
  const mode = (index: number): Mode => MODES[buffer.readUInt8(layout.modes.offset + index)] ?? 'enforce';
  return {
    generation: buffer.readUInt32LE(layout.generation.offset),
    slot: buffer.readUInt32LE(layout.slot.offset),
    state: IFACE_STATES[buffer.readUInt8(layout.state.offset)] ?? 'unknown',
    mac: (flags & IfaceFlagValues.IFACE_HAS_MAC) === 0 ? null : formatMac(slice(layout.mac)),
    ipv4: (flags & IfaceFlagValues.IFACE_HAS_IPV4) === 0 ? null : ipv4.join('.'),
    ipv6: (flags & IfaceFlagValues.IFACE_HAS_IPV6) === 0 ? null : formatAddress(slice(layout.ipv6)),
    hasMore: (flags & IfaceFlagValues.IFACE_HAS_MORE) !== 0,
    modes: vectorModes((_, index) => mode(index)),
    sampling: burst === 0 ? null : { burst, perSecond: buffer.readUInt16LE(layout.samplesPerSecond.offset) },
    quarantineUntilNs: buffer.readBigUInt64LE(layout.quarantineUntilNs.offset),
    auditUntilNs: buffer.readBigUInt64LE(layout.auditUntilNs.offset),
    ...((flags & IfaceFlagValues.IFACE_ORPHANED) === 0 ? {} : { orphaned: true }),
    ...((flags & IfaceFlagValues.IFACE_NETKIT) === 0 ? {} : { netkit: true }),
  };
}

function familyFlag(cidr: Cidr): number {
  return cidr.family === 4 ? AddressFlagValues.ADDRESS_IPV4 : AddressFlagValues.ADDRESS_IPV6;
}

/** The first of 16 bytes whose last six are a granted MAC. */
const MAC_KEY = 0xff;
const MAC_AT = 10;

/** A CIDR, or a MAC in the form of the map. */
function grantedCidr(text: string): Cidr {
  if (!isMac(text)) return parseCidr(text);
  const bytes = Buffer.alloc(16);
  bytes[0] = MAC_KEY;
  parseMac(text).copy(bytes, MAC_AT);
  return { family: 6, bytes, prefixLength: 128 };
}

/** Encodes one grant as key and value of `addresses`. */
export function encodeAddressGrant(key: IfaceKey, grant: AddressGrant): { key: Buffer; value: Buffer } {
  const cidr = grantedCidr(grant.cidr);
  const layout = AddressKeyLayout;
  const buffer = Buffer.alloc(layout.size);
  buffer.writeUInt32LE(64 + mapPrefixLength(cidr), layout.prefixlen.offset);
  buffer.writeUInt32LE(checkU32(key.ifindex, 'ifindex'), layout.ifindex.offset);
  buffer.writeUInt32LE(checkU32(key.generation, 'generation'), layout.generation.offset);
  cidr.bytes.copy(buffer, layout.address.offset);
  const { ADDRESS_SOURCE, ADDRESS_NEIGHBOUR, ADDRESS_TUNNEL, ADDRESS_OTHER } = AddressFlagValues;
  const right =
    (grant.source === false ? 0 : ADDRESS_SOURCE) |
    (grant.neighbour ? ADDRESS_NEIGHBOUR : 0) |
    (grant.tunnel === true ? ADDRESS_TUNNEL : 0) |
    (grant.other === true ? ADDRESS_OTHER : 0);
  const flags = isMac(grant.cidr) ? AddressFlagValues.ADDRESS_MAC : right | familyFlag(cidr);
  return { key: buffer, value: encodeU32(flags) };
}

/** Decodes one entry of `addresses`. */
export function decodeAddressGrant(key: Buffer, value: Buffer): IfaceKey & AddressGrant {
  const layout = AddressKeyLayout;
  const address = key.subarray(layout.address.offset, layout.address.offset + layout.address.size);
  const prefix = key.readUInt32LE(layout.prefixlen.offset) - 64;
  const flags = value.readUInt32LE(0);
  const cidr = `${formatAddress(address)}/${isMappedIpv4(address) ? prefix - 96 : prefix}`;
  return {
    ifindex: key.readUInt32LE(layout.ifindex.offset),
    generation: key.readUInt32LE(layout.generation.offset),
    cidr: (flags & AddressFlagValues.ADDRESS_MAC) === 0 ? cidr : formatMac(address, MAC_AT),
    neighbour: (flags & AddressFlagValues.ADDRESS_NEIGHBOUR) !== 0,
    ...((flags & (AddressFlagValues.ADDRESS_SOURCE | AddressFlagValues.ADDRESS_MAC)) === 0 ? { source: false } : {}),
    ...((flags & AddressFlagValues.ADDRESS_TUNNEL) !== 0 ? { tunnel: true } : {}),
    ...((flags & AddressFlagValues.ADDRESS_OTHER) !== 0 ? { other: true } : {}),
  };
}

function encodeCidrKey(cidr: Cidr): Buffer {
  const buffer = Buffer.alloc(CidrKeyLayout.size);
  buffer.writeUInt32LE(mapPrefixLength(cidr), CidrKeyLayout.prefixlen.offset);
  cidr.bytes.copy(buffer, CidrKeyLayout.address.offset);
  return buffer;
}

/** Decodes a `struct cidr_key`. */
export function decodeCidrKey(key: Buffer): string {
  const bytes = key.subarray(CidrKeyLayout.address.offset);
  const bits = key.readUInt32LE(CidrKeyLayout.prefixlen.offset);
  const prefixLength = isMappedIpv4(bytes) ? bits - 96 : bits;
  return formatCidr({ family: familyOf(bytes), bytes, prefixLength });
}

/** Encodes key and value of `allowed_cidrs`. */
export function encodeAllowedCidr(text: string): { key: Buffer; value: Buffer } {
  const cidr = parseCidr(text);
  return { key: encodeCidrKey(cidr), value: encodeU32(familyFlag(cidr)) };
}

/** Encodes key and value of `networks`. */
export function encodeNetwork({ cidr, place }: Network): { key: Buffer; value: Buffer } {
  return { key: encodeCidrKey(parseCidr(cidr)), value: encodeU32(NETWORK_PLACES.indexOf(place)) };
}

/** Decodes one entry of `networks`. */
export function decodeNetwork(key: Buffer, value: Buffer): Network {
  return { cidr: decodeCidrKey(key), place: NETWORK_PLACES[value.readUInt32LE(0)] ?? 'inside' };
}

/** Encodes key and value of `tunnel_services`. */
export function encodeTunnelService({ address, port, kinds }: TunnelService): { key: Buffer; value: Buffer } {
  const key = Buffer.alloc(ServiceKeyLayout.size);
  if (address !== null) parseAddress(address).copy(key, ServiceKeyLayout.address.offset);
  key.writeUInt16BE(u16(port, 'port'), ServiceKeyLayout.port.offset);
  return { key, value: encodeU32(kinds.reduce((flags, kind) => flags | (1 << TUNNEL_SERVICE_KINDS.indexOf(kind)), 0)) };
}

/** Decodes one entry of `tunnel_services`. */
export function decodeTunnelService(key: Buffer, value: Buffer): TunnelService {
  const address = key.subarray(0, ServiceKeyLayout.address.size);
  const flags = value.readUInt32LE(0);
  return {
    address: address.every((byte) => byte === 0) ? null : formatAddress(address),
    port: key.readUInt16BE(ServiceKeyLayout.port.offset),
    kinds: TUNNEL_SERVICE_KINDS.filter((_, bit) => ((flags >> bit) & 1) === 1),
  };
}

/** Encodes a key of `counters`. */
export function encodeCounterKey(key: IfaceKey): Buffer {
  // allocUnsafe, because every reading needs one; the two numbers fill it.
  const buffer = Buffer.allocUnsafe(CounterKeyLayout.size);
  buffer.writeUInt32LE(checkU32(key.ifindex, 'ifindex'), CounterKeyLayout.ifindex.offset);
  buffer.writeUInt32LE(checkU32(key.generation, 'generation'), CounterKeyLayout.generation.offset);
  return buffer;
}

/** Decodes a key of `counters`. */
export function decodeCounterKey(buffer: Buffer): IfaceKey {
  return {
    ifindex: buffer.readUInt32LE(CounterKeyLayout.ifindex.offset),
    generation: buffer.readUInt32LE(CounterKeyLayout.generation.offset),
  };
}

/** Encodes a key of `probe_ports`. */
export function encodeProbeKey(key: IfaceKey, probe: ProbePort): Buffer {
  const buffer = Buffer.alloc(ProbeKeyLayout.size);
  buffer.writeUInt32LE(checkU32(key.ifindex, 'ifindex'), ProbeKeyLayout.ifindex.offset);
  buffer.writeUInt32LE(checkU32(key.generation, 'generation'), ProbeKeyLayout.generation.offset);
  buffer.writeUInt16BE(probe.port, ProbeKeyLayout.port.offset);
  buffer.writeUInt8(PROTOCOL_NUMBERS[probe.protocol], ProbeKeyLayout.protocol.offset);
  return buffer;
}

/** Decodes a key of `probe_ports`. */
export function decodeProbeKey(buffer: Buffer): IfaceKey & ProbePort {
  return {
    ifindex: buffer.readUInt32LE(ProbeKeyLayout.ifindex.offset),
    generation: buffer.readUInt32LE(ProbeKeyLayout.generation.offset),
    port: buffer.readUInt16BE(ProbeKeyLayout.port.offset),
    protocol: buffer.readUInt8(ProbeKeyLayout.protocol.offset) === PROTOCOL_NUMBERS.tcp ? 'tcp' : 'udp',
  };
}

/** Encodes `struct settings`. */
export function encodeSettings(settings: Settings): Buffer {
  const buffer = Buffer.alloc(SettingsLayout.size);
  buffer.writeUInt32LE(checkU32(settings.sampleBurst, 'sampleBurst'), SettingsLayout.sampleBurst.offset);
  buffer.writeUInt32LE(checkU32(settings.samplesPerSecond, 'samplesPerSecond'), SettingsLayout.samplesPerSecond.offset);
  buffer.writeUInt8(MODES.indexOf(settings.unknownMode), SettingsLayout.unknownMode.offset);
  return buffer;
}

/** Decodes `struct settings`. */
export function decodeSettings(buffer: Buffer): Settings {
  return {
    sampleBurst: buffer.readUInt32LE(SettingsLayout.sampleBurst.offset),
    samplesPerSecond: buffer.readUInt32LE(SettingsLayout.samplesPerSecond.offset),
    unknownMode: MODES[buffer.readUInt8(SettingsLayout.unknownMode.offset)] ?? 'enforce',
  };
}

/** Encodes `struct meta`. */
export function encodeMeta(meta: Meta): Buffer {
  const buffer = Buffer.alloc(MetaLayout.size);
  buffer.writeBigUInt64LE(meta.frameSequence, MetaLayout.frameSequence.offset);
  buffer.writeUInt32LE(checkU32(meta.nextGeneration, 'nextGeneration'), MetaLayout.nextGeneration.offset);
  buffer.writeUInt32LE(checkU32(meta.abi, 'abi'), MetaLayout.abi.offset);
  return buffer;
}

/** Decodes `struct meta`. */
export function decodeMeta(buffer: Buffer): Meta {
  return {
    frameSequence: buffer.readBigUInt64LE(MetaLayout.frameSequence.offset),
    nextGeneration: buffer.readUInt32LE(MetaLayout.nextGeneration.offset),
    abi: buffer.readUInt32LE(MetaLayout.abi.offset),
  };
}
