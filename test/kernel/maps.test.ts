// The typed maps against the kernel's maps: values are read back as written, sets are replaced
// whole, numbers are allocated once.
import { mkdtempSync, rmdirSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type AddressGrant,
  BpfMap,
  detachAll,
  mountBpffs,
  type Network,
  openPinnedMaps,
  openSpoofObject,
  possibleCpus,
  type SpoofMaps,
  type SpoofObject,
  type TunnelService,
} from '@bailiff/bpf';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { allModes } from './harness/node.ts';
import { command } from './harness/processes.ts';

describe('maps', () => {
  const bpffs = mkdtempSync(path.join(tmpdir(), 'bailiff-bpffs-'));
  const pinDir = path.join(bpffs, 'spoof');
  let object: SpoofObject;
  let maps: SpoofMaps;
  beforeAll(() => mountBpffs(bpffs));
  beforeEach(() => {
    object?.close();
    detachAll(pinDir);
    object = openSpoofObject({ pinDir, maxInterfaces: 16 });
    maps = object.maps;
  });
  afterAll(async () => {
    object?.close();
    detachAll(pinDir);
    await command('umount', bpffs);
    rmdirSync(bpffs);
  });

  const one = { ifindex: 7, generation: 1 };
  const two = { ifindex: 7, generation: 2 };

  it('ifaces - a record is read back as written; a missing one is undefined', () => {
    const record = {
      generation: 3,
      slot: 5,
      state: 'provisional' as const,
      mac: '02:00:00:00:00:01',
      ipv4: '10.0.0.1',
      ipv6: null,
      hasMore: true,
      modes: allModes('audit'),
      sampling: { burst: 1024, perSecond: 10_000 },
      quarantineUntilNs: 5n,
      auditUntilNs: 6n,
    };
    maps.ifaces.set(9, record);
    expect(maps.ifaces.get(9)).toEqual(record);
    expect(maps.ifaces.entries()).toEqual([[9, record]]);
    expect([maps.ifaces.delete(9), maps.ifaces.delete(9), maps.ifaces.get(9)]).toEqual([true, false, undefined]);
  });

  it('addresses - replaced for one generation only; returns the number of changed entries', () => {
    const grants = [
      { cidr: '10.0.0.5', neighbour: true },
      { cidr: '10.1.0.0/16', neighbour: false },
      { cidr: 'fd00::/64', neighbour: false },
    ];
    expect(maps.addresses.replace(one, grants)).toBe(3);
    expect(maps.addresses.replace(two, grants.slice(0, 1))).toBe(1);
    expect(maps.addresses.replace(one, grants)).toBe(0);
    const changed = [{ cidr: '10.0.0.5', neighbour: false }, grants[2]!];
    expect(maps.addresses.replace(one, changed)).toBe(2);
    const of = (generation: number) =>
      maps.addresses
        .entries()
        .filter((entry) => entry.generation === generation)
        .map(({ cidr, neighbour }) => `${cidr} ${neighbour}`)
        .sort();
    expect(of(1)).toEqual(['10.0.0.5/32 false', 'fd00::/64 false']);
    expect(of(2)).toEqual(['10.0.0.5/32 true']);
    expect(maps.addresses.replace(one, [])).toBe(2);
    expect(of(2)).toHaveLength(1);
  });

  it('counters - created zeroed, kept when created again, removed when deleted', () => {
    maps.counters.create(one);
    maps.counters.create(one);
    maps.counters.create(two);
    expect(maps.counters.read(one)).toEqual([]);
    expect(maps.counters.readAll()).toHaveLength(2);
    expect([maps.counters.delete(one), maps.counters.delete(one)]).toEqual([true, false]);
    expect(maps.counters.read(one)).toBeUndefined();
    expect(maps.counters.readAll()).toEqual([{ ...two, cells: [] }]);
  });

  it('tunnel ports - any set of ports is stored exactly', () => {
    const port = fc.record({ port: fc.nat(65_535), kind: fc.constantFrom('vxlan' as const, 'geneve' as const) });
    const name = (list: { port: number; kind: string }[]) =>
      [...new Set(list.map((p) => `${p.port} ${p.kind}`))].sort();
    fc.assert(
      fc.property(fc.array(port, { maxLength: 16 }), (ports) => {
        maps.tunnelPorts.replace(ports);
        expect(name(maps.tunnelPorts.entries())).toEqual(name(ports));
        expect(maps.tunnelPorts.replace(ports)).toBe(0);
      }),
      { numRuns: 50 },
    );
  });

  it('sets - node addresses, allowed CIDRs and probe ports', () => {
    const nodes = [
      { address: '10.0.0.1', thisNode: true },
      { address: 'fd00::2', thisNode: false },
    ];
    expect(maps.nodeAddresses.replace(nodes)).toBe(2);
    expect(maps.nodeAddresses.entries().sort((a, b) => a.address.localeCompare(b.address))).toEqual(nodes);
    expect(maps.nodeAddresses.replace(nodes.slice(1))).toBe(1);

    expect(maps.allowedCidrs.replace(['10.9.0.0/16', '::/0', '0.0.0.0/0'])).toBe(3);
    expect(maps.allowedCidrs.entries().sort()).toEqual(['0.0.0.0/0', '10.9.0.0/16', '::/0']);
    expect(maps.allowedCidrs.replace([])).toBe(3);

    const networks: Network[] = [
      { cidr: '10.0.0.0/8', place: 'inside' },
      { cidr: '10.5.0.7/32', place: 'outside' },
      { cidr: 'fd00::/64', place: 'node' },
    ];
    expect(maps.networks.replace(networks)).toBe(3);
    expect(maps.networks.entries().sort((a, b) => a.cidr.localeCompare(b.cidr))).toEqual(networks);
    expect(maps.networks.replace([{ cidr: '10.0.0.0/8', place: 'outside' }])).toBe(3);

    const services: TunnelService[] = [
      { address: '10.96.0.10', port: 53, kinds: ['translated'] },
      { address: 'fd00:96::a', port: 53, kinds: ['translated'] },
      { address: null, port: 53, kinds: ['node-port', 'only'] },
    ];
    expect(maps.tunnelServices.replace(services)).toBe(3);
    expect(maps.tunnelServices.entries().sort((a, b) => `${b.address}`.localeCompare(`${a.address}`))).toEqual(
      services.toReversed(),
    );

    const grants: AddressGrant[] = [
      { cidr: '10.7.0.0/16', neighbour: false, source: false, tunnel: true },
      { cidr: '10.7.0.7/32', neighbour: true, tunnel: true },
      { cidr: '10.7.0.8/32', neighbour: false, source: false },
    ];
    maps.addresses.replace(one, grants);
    const found = maps.addresses.entries().map(({ ifindex: _, generation: __, ...grant }) => grant);
    expect(found.sort((a, b) => a.cidr.localeCompare(b.cidr))).toEqual(grants);
    maps.addresses.replace(one, []);

    const probes = [
      { port: 8080, protocol: 'tcp' as const },
      { port: 53, protocol: 'udp' as const },
    ];
    expect(maps.probePorts.replace(one, probes)).toBe(2);
    expect(maps.probePorts.replace(two, probes)).toBe(2);
    expect(maps.probePorts.replace(one, [])).toBe(2);
    expect(maps.probePorts.entries()).toHaveLength(2);
  });

  it('meta - generations and frame sequences are allocated once, also across a restart', () => {
    const first = maps.meta.allocateGeneration();
    expect(maps.meta.allocateGeneration()).toBe(first + 1);
    const sequence = maps.meta.allocateFrameSequences(10);
    expect(maps.meta.allocateFrameSequences(1)).toBe(sequence + 10n);
    object.close();
    object = openSpoofObject({ pinDir });
    expect(object.reused).toBe(true);
    expect(object.maps.meta.allocateGeneration()).toBe(first + 2);
    expect(object.maps.meta.allocateFrameSequences(1)).toBe(sequence + 11n);
  });

  it('meta - maps recreated in the same boot repeat no generation and no frame sequence', () => {
    const generation = maps.meta.allocateGeneration();
    const sequence = maps.meta.allocateFrameSequences(100);
    const fresh = (remove: () => void): SpoofMaps => {
      object.close();
      remove();
      object = openSpoofObject({ pinDir });
      expect(object.reused).toBe(false);
      return object.maps;
    };
    const second = fresh(() => detachAll(pinDir));
    const nextGeneration = second.meta.allocateGeneration();
    const nextSequence = second.meta.allocateFrameSequences(100);
    expect(nextGeneration).toBeGreaterThan(generation);
    expect(nextSequence).toBeGreaterThan(sequence + 99n);
    const third = fresh(() => unlinkSync(path.join(pinDir, 'maps', 'meta')));
    expect(third.meta.allocateGeneration()).toBeGreaterThan(nextGeneration);
    expect(third.meta.allocateFrameSequences(1)).toBeGreaterThan(nextSequence + 99n);
  });

  it('seen and losses - the sum over all CPUs', () => {
    const write = (name: string, index: number, value: (cpu: number) => number) => {
      using map = BpfMap.openPinned(path.join(pinDir, 'maps', name));
      const key = Buffer.alloc(4);
      key.writeUInt32LE(index);
      const block = Buffer.alloc(possibleCpus() * 8);
      for (let cpu = 0; cpu < possibleCpus(); cpu++) block.writeBigUInt64LE(BigInt(value(cpu)), cpu * 8);
      map.set(key, block);
    };
    const wanted = Array.from({ length: possibleCpus() }, (_, cpu) => 10 + cpu).reduce((sum, value) => sum + value, 0);
    write('seen', 3, (cpu) => 10 + cpu);
    write('losses', 1, () => 2);
    expect(maps.seen(3)).toBe(BigInt(wanted));
    expect(maps.seen(4)).toBe(0n);
    expect(maps.losses()).toEqual({ 'ring-full': 0n, 'no-counter': BigInt(2 * possibleCpus()), 'no-iface': 0n });
  });

  it("status - the pinned maps are read beside the owner's handles, and none is null", () => {
    maps.counters.create(one);
    {
      using pinned = openPinnedMaps(pinDir);
      expect(pinned!.maps.counters.readAll()).toEqual([{ ...one, cells: [] }]);
      expect(pinned!.maps.settings()).toEqual({ sampleBurst: 8, samplesPerSecond: 10, unknownMode: 'audit' });
    }
    expect(openPinnedMaps(path.join(bpffs, 'other'))).toBeNull();
  });

  it('status - maps that lost a pin are reported by name', () => {
    unlinkSync(path.join(pinDir, 'maps', 'counters'));
    expect(() => openPinnedMaps(pinDir)).toThrow(expect.objectContaining({ code: 'ERR_SPOOF_PINS' }));
    expect(() => openPinnedMaps(pinDir)).toThrow('counters');
    unlinkSync(path.join(pinDir, 'maps', 'meta'));
    expect(() => openPinnedMaps(pinDir)).toThrow('counters, meta');
    object.close();
    object = openSpoofObject({ pinDir });
    using pinned = openPinnedMaps(pinDir);
    expect(pinned).not.toBeNull();
  });
});
