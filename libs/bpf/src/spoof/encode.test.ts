import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatAddress, formatMac, linkLocalOfMac } from '../core/addresses.ts';
import {
  decodeAddressGrant,
  decodeCounterKey,
  decodeIface,
  decodeMeta,
  decodeProbeKey,
  decodeSettings,
  encodeAddressGrant,
  encodeAllowedCidr,
  encodeCounterKey,
  encodeIface,
  encodeMeta,
  encodeProbeKey,
  encodeSettings,
  FOREVER_NS,
  type IfaceRecord,
} from './encode.ts';
import { AddressFlagValues, IfaceFlagValues, IfaceLayout } from './layout.gen.ts';
import { IFACE_STATES, MODES, type Mode, VECTORS, vectorModes } from './names.ts';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u64 = fc.bigInt({ min: 0n, max: FOREVER_NS });
const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(formatMac);
const ipv4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => bytes.join('.'));
const ipv6 = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map(formatAddress)
  .filter((text) => text.includes(':'));
const modes = fc
  .array(fc.constantFrom(...MODES), { minLength: VECTORS.length, maxLength: VECTORS.length })
  .map((list) => vectorModes((_, i) => list[i] as Mode));

const u16 = fc.integer({ min: 1, max: 0xffff });
const iface: fc.Arbitrary<IfaceRecord> = fc.record({
  orphaned: fc.constantFrom(true, undefined),
  netkit: fc.constantFrom(true, undefined),
  generation: fc.integer({ min: 1, max: 0xffff_ffff }),
  slot: u32,
  state: fc.constantFrom(...IFACE_STATES),
  mac: fc.option(mac),
  ipv4: fc.option(ipv4),
  ipv6: fc.option(ipv6),
  hasMore: fc.boolean(),
  modes,
  sampling: fc.option(fc.record({ burst: u16, perSecond: u16 })),
  quarantineUntilNs: u64,
  auditUntilNs: u64,
});

describe('encode', () => {
  it('encode - an interface record decodes to itself', () => {
    fc.assert(
      fc.property(iface, (record) => {
        expect(decodeIface(encodeIface(record))).toEqual(record);
      }),
    );
  });

  it('encode - fields are at the offsets that the kernel reads', () => {
    const modesOff = vectorModes(() => 'off');
    const bytes = encodeIface({
      generation: 7,
      slot: 3,
      state: 'programmed',
      mac: '02:00:00:00:00:2a',
      ipv4: '10.1.2.3',
      ipv6: null,
      hasMore: false,
      modes: { ...modesOff, redirect: 'enforce' },
      sampling: { burst: 300, perSecond: 1 },
      quarantineUntilNs: FOREVER_NS,
      auditUntilNs: 0n,
    });
    expect(bytes.length).toBe(88);
    expect(bytes.readUInt32LE(0)).toBe(7);
    expect(bytes[9]).toBe(IfaceFlagValues.IFACE_HAS_MAC | IfaceFlagValues.IFACE_HAS_IPV4);
    expect(bytes.subarray(16, 20)).toEqual(Buffer.from([10, 1, 2, 3]));
    expect(bytes.subarray(20, 24)).toEqual(Buffer.from([44, 1, 1, 0]));
    expect(bytes[IfaceLayout.modes.offset + VECTORS.indexOf('redirect')]).toBe(2);
  });

  it('encode - generation 0, wrong family and numbers beyond 32 bits are refused', () => {
    const record = fc.sample(iface, 1)[0]!;
    expect(() => encodeIface({ ...record, generation: 0 })).toThrow(/never 0/);
    expect(() => encodeIface({ ...record, slot: 2 ** 32 })).toThrow(/u32/);
    expect(() => encodeIface({ ...record, sampling: { burst: 0, perSecond: 1 } })).toThrow(/65535/);
    expect(() => encodeIface({ ...record, ipv4: '::1' })).toThrow(/IPv4/);
    expect(() => encodeIface({ ...record, ipv6: '10.0.0.1' })).toThrow(/IPv6/);
  });

  const grants: [cidr: string, canonical: string, bits: number, family: number][] = [
    ['10.0.0.0/8', '10.0.0.0/8', 64 + 104, AddressFlagValues.ADDRESS_IPV4],
    ['10.0.0.1', '10.0.0.1/32', 64 + 128, AddressFlagValues.ADDRESS_IPV4],
    ['::/0', '::/0', 64, AddressFlagValues.ADDRESS_IPV6],
    [linkLocalOfMac('02:00:00:00:00:01'), 'fe80::ff:fe00:1/128', 64 + 128, AddressFlagValues.ADDRESS_IPV6],
  ];
  it.each(grants)('encode - grant of %s', (cidr, canonical, bits, family) => {
    for (const neighbour of [false, true]) {
      const { key, value } = encodeAddressGrant({ ifindex: 5, generation: 9 }, { cidr, neighbour });
      expect(key.readUInt32LE(0)).toBe(bits);
      const rights = AddressFlagValues.ADDRESS_SOURCE | (neighbour ? AddressFlagValues.ADDRESS_NEIGHBOUR : 0);
      expect(value.readUInt32LE(0)).toBe(rights | family);
      expect(decodeAddressGrant(key, value)).toEqual({ ifindex: 5, generation: 9, cidr: canonical, neighbour });
    }
  });

  it('encode - an address of another interface has no right of its own, and keeps those of a prefix', () => {
    const key = { ifindex: 5, generation: 9 };
    const { ADDRESS_IPV4, ADDRESS_OTHER, ADDRESS_SOURCE } = AddressFlagValues;
    for (const [source, flags] of [
      [false, ADDRESS_OTHER | ADDRESS_IPV4],
      [true, ADDRESS_OTHER | ADDRESS_IPV4 | ADDRESS_SOURCE],
    ] as const) {
      const grant = { cidr: '10.0.0.1/32', neighbour: false, ...(source ? {} : { source }), other: true };
      const entry = encodeAddressGrant(key, grant);
      expect(entry.value.readUInt32LE(0)).toBe(flags);
      expect(decodeAddressGrant(entry.key, entry.value)).toEqual({ ...key, ...grant });
    }
  });

  it('encode - a granted MAC has a key that no source address has, and no right of an address', () => {
    fc.assert(
      fc.property(mac, (text) => {
        const key = { ifindex: 5, generation: 9 };
        const entry = encodeAddressGrant(key, { cidr: text, neighbour: false });
        expect(entry.key.subarray(12).toString('hex')).toBe(`ff${'00'.repeat(9)}${text.replaceAll(':', '')}`);
        expect(entry.value.readUInt32LE(0)).toBe(AddressFlagValues.ADDRESS_MAC);
        expect(decodeAddressGrant(entry.key, entry.value)).toEqual({ ...key, cidr: text, neighbour: false });
      }),
    );
  });

  it('encode - the value of an allowed CIDR holds its family, because ::/0 contains every IPv4 address', () => {
    expect(encodeAllowedCidr('::/0').value.readUInt32LE(0)).toBe(AddressFlagValues.ADDRESS_IPV6);
    expect(encodeAllowedCidr('0.0.0.0/0').value.readUInt32LE(0)).toBe(AddressFlagValues.ADDRESS_IPV4);
    expect(encodeAllowedCidr('0.0.0.0/0').key.readUInt32LE(0)).toBe(96);
  });

  it('encode - the small keys and values decode to themselves', () => {
    const key = { ifindex: 4_000_000_000, generation: 12 };
    expect(decodeCounterKey(encodeCounterKey(key))).toEqual(key);
    const probe = { port: 8080, protocol: 'tcp' } as const;
    expect(decodeProbeKey(encodeProbeKey(key, probe))).toEqual({ ...key, ...probe });
    expect(encodeProbeKey(key, probe).subarray(8, 10)).toEqual(Buffer.from([0x1f, 0x90]));
    const settings = { sampleBurst: 8, samplesPerSecond: 10, unknownMode: 'audit' } as const;
    expect(decodeSettings(encodeSettings(settings))).toEqual(settings);
    const meta = { frameSequence: 2n ** 60n, nextGeneration: 77, abi: 2 };
    expect(decodeMeta(encodeMeta(meta))).toEqual(meta);
  });
});
