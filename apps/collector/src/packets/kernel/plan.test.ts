import { vectorModes } from '@bailiff/bpf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KernelEntries } from '../subjects/guarded-interface.ts';
import { MAX_GRANTS } from './grants.ts';
import { desiredEntries, planInterface } from './plan.ts';

const modes = vectorModes(() => 'enforce');
const input = {
  identity: {
    state: 'programmed' as const,
    mac: '0a:00:00:00:00:01',
    addresses: ['10.0.0.2', 'fd00::2', '10.0.0.3', 'fd00::3'],
    allowedPrefixes: ['10.9.0.0/16'],
    allowedMacs: [],
    allowedTunnels: [],
    allowedNeighbours: [],
  },
  takenAddresses: [],
  modes,
  sampling: null,
  quarantineUntilNs: 0n,
  auditUntilNs: 0n,
  orphaned: false,
  netkit: false,
  probePorts: [
    { port: 8080, protocol: 'TCP' as const },
    { port: 8080, protocol: 'TCP' as const },
  ],
};
const { entries: desired } = desiredEntries(input);
const changed = (record: Partial<KernelEntries['record']>): KernelEntries => ({
  ...desired,
  record: { ...desired.record, ...record },
});

describe('plan - desired entries', () => {
  it('addresses - the first of each family inline, the others as grants; prefixes are no neighbours', () => {
    expect(desired.record).toMatchObject({ ipv4: '10.0.0.2', ipv6: 'fd00::2', hasMore: true });
    expect(desired.grants).toEqual([
      { cidr: '10.0.0.3/32', neighbour: true },
      { cidr: 'fd00::3/128', neighbour: true },
      { cidr: '10.9.0.0/16', neighbour: false },
    ]);
    expect(desired.probePorts).toEqual([{ port: 8080, protocol: 'tcp' }]);
  });
  it('above the limit - prefixes are cut before addresses, and counted', () => {
    const prefixes = Array.from({ length: MAX_GRANTS + 5 }, (_, i) => `10.${i}.0.0/16`);
    const result = desiredEntries({ ...input, identity: { ...input.identity, allowedPrefixes: prefixes } });
    expect(result.entries.grants).toHaveLength(MAX_GRANTS);
    expect(result.entries.grants.filter((g) => g.neighbour)).toHaveLength(2);
    expect(result.omitted).toBe(7);
  });
});

describe('plan - steps', () => {
  it('unknown entries - grants before the record', () => {
    expect(planInterface(null, desired).map((s) => s.step)).toEqual(['probe-ports', 'grants', 'record', 'grants']);
  });
  it('equal entries - no step', () => {
    expect(planInterface(desired, structuredClone(desired))).toEqual([]);
  });
  it('one grant less - the record stays', () => {
    expect(planInterface(desired, { ...desired, grants: desired.grants.slice(1) })).toEqual([
      { step: 'grants', grants: desired.grants.slice(1) },
    ]);
  });
  it.each<[string, Partial<KernelEntries['record']>]>([
    ['state', { state: 'provisional' }],
    ['MAC', { mac: '0a:00:00:00:00:02' }],
    ['first IPv4', { ipv4: '10.0.0.9' }],
    ['a mode', { modes: { ...modes, tunnel: 'audit' } }],
    ['quarantine begins', { quarantineUntilNs: 5n }],
    ['disarm begins', { auditUntilNs: 5n }],
    ['orphaned', { orphaned: true }],
    ['of an older collector on netkit', { netkit: true }],
    ['own sampling', { sampling: { burst: 1, perSecond: 2 } }],
  ])('changed record - written: %s', (_name, change) => {
    expect(planInterface(desired, changed(change))).toEqual([
      { step: 'record', record: { ...desired.record, ...change } },
    ]);
  });
  it('end - a drift below a second is no change', () => {
    const until = changed({ quarantineUntilNs: 10_000_000_000n });
    expect(planInterface(until, changed({ quarantineUntilNs: 10_500_000_000n }))).toEqual([]);
    expect(planInterface(until, changed({ quarantineUntilNs: 12_000_000_000n }))).toHaveLength(1);
  });
  it('any two identities - the plan ends in the desired one and never drops an address of both', () => {
    const addresses = fc.uniqueArray(fc.constantFrom<string>('10.0.0.1', '10.0.0.2', '10.0.0.3', 'fd00::1', 'fd00::2'));
    const of = (list: string[]) =>
      desiredEntries({ ...input, identity: { ...input.identity, addresses: list, allowedPrefixes: [] } }).entries;
    fc.assert(
      fc.property(addresses, addresses, (before, after) => {
        const from = of(before);
        let record = from.record;
        let grants = from.grants.map((g) => g.cidr);
        const passes = (address: string) =>
          [record.ipv4, record.ipv6].includes(address) ||
          grants.includes(`${address}/${address.includes(':') ? 128 : 32}`);
        const kept: string[] = before.filter((a) => after.includes(a));
        for (const step of planInterface(from, of(after))) {
          if (step.step === 'record') record = step.record;
          if (step.step === 'grants') grants = step.grants.map((g) => g.cidr);
          for (const address of kept) expect([address, passes(address)]).toEqual([address, true]);
        }
        for (const address of ['10.0.0.1', '10.0.0.2', '10.0.0.3', 'fd00::1', 'fd00::2'])
          expect(passes(address)).toBe(after.includes(address));
      }),
    );
  });
});
