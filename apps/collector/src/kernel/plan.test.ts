import { VECTORS, type VectorModes } from '@bailiff/bpf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KernelEntries } from '../interfaces/guarded-interface.ts';
import { MAX_GRANTS, planIface, wantedIface } from './plan.ts';

const modes = Object.fromEntries(VECTORS.map((v) => [v, 'enforce'])) as VectorModes;
const input = {
  identity: {
    state: 'programmed' as const,
    mac: '0a:00:00:00:00:01',
    addresses: ['10.0.0.2', 'fd00::2', '10.0.0.3', 'fd00::3'],
    allowedPrefixes: ['10.9.0.0/16'],
  },
  modes,
  sampling: null,
  quarantineUntilNs: 0n,
  auditUntilNs: 0n,
  probePorts: [
    { port: 8080, protocol: 'TCP' as const },
    { port: 8080, protocol: 'TCP' as const },
  ],
};
const { wanted } = wantedIface(input);
const changed = (record: Partial<KernelEntries['record']>): KernelEntries => ({
  ...wanted,
  record: { ...wanted.record, ...record },
});

describe('plan - wanted', () => {
  it('first address of each family inline, the rest looked up; a prefix may not be spoken for', () => {
    expect(wanted.record).toMatchObject({ ipv4: '10.0.0.2', ipv6: 'fd00::2', hasMore: true });
    expect(wanted.grants).toEqual([
      { cidr: '10.0.0.3/32', neighbour: true },
      { cidr: 'fd00::3/128', neighbour: true },
      { cidr: '10.9.0.0/16', neighbour: false },
    ]);
    expect(wanted.probePorts).toEqual([{ port: 8080, protocol: 'tcp' }]);
  });
  it('over the bound - prefixes are cut off before addresses, and counted', () => {
    const prefixes = Array.from({ length: MAX_GRANTS + 5 }, (_, i) => `10.${i}.0.0/16`);
    const result = wantedIface({ ...input, identity: { ...input.identity, allowedPrefixes: prefixes } });
    expect(result.wanted.grants).toHaveLength(MAX_GRANTS);
    expect(result.wanted.grants.filter((g) => g.neighbour)).toHaveLength(2);
    expect(result.omitted).toBe(7);
  });
});

describe('plan - steps', () => {
  it('nothing there - grants before the record', () => {
    expect(planIface(null, wanted).map((s) => s.step)).toEqual(['probe-ports', 'grants', 'record', 'grants']);
  });
  it('the same - nothing', () => {
    expect(planIface(wanted, structuredClone(wanted))).toEqual([]);
  });
  it('a grant fewer - the record stays', () => {
    expect(planIface(wanted, { ...wanted, grants: wanted.grants.slice(1) })).toEqual([
      { step: 'grants', grants: wanted.grants.slice(1) },
    ]);
  });
  it.each<[string, Partial<KernelEntries['record']>]>([
    ['state', { state: 'provisional' }],
    ['MAC', { mac: '0a:00:00:00:00:02' }],
    ['first IPv4', { ipv4: '10.0.0.9' }],
    ['a mode', { modes: { ...modes, tunnel: 'audit' } }],
    ['quarantine begins', { quarantineUntilNs: 5n }],
    ['break-glass begins', { auditUntilNs: 5n }],
    ['sampling is its own', { sampling: { burst: 1, perSecond: 2 } }],
  ])('the record is written when it changes - %s', (_name, change) => {
    expect(planIface(wanted, changed(change))).toEqual([{ step: 'record', record: { ...wanted.record, ...change } }]);
  });
  it('an end that moved by less than a second is no change, by more it is', () => {
    const until = changed({ quarantineUntilNs: 10_000_000_000n });
    expect(planIface(until, changed({ quarantineUntilNs: 10_500_000_000n }))).toEqual([]);
    expect(planIface(until, changed({ quarantineUntilNs: 12_000_000_000n }))).toHaveLength(1);
  });
  it('any two identities - the plan ends in the wanted one, and an address of both is never refused on the way', () => {
    const addresses = fc.uniqueArray(fc.constantFrom<string>('10.0.0.1', '10.0.0.2', '10.0.0.3', 'fd00::1', 'fd00::2'));
    const of = (list: string[]) =>
      wantedIface({ ...input, identity: { ...input.identity, addresses: list, allowedPrefixes: [] } }).wanted;
    fc.assert(
      fc.property(addresses, addresses, (before, after) => {
        const from = of(before);
        let record = from.record;
        let grants = from.grants.map((g) => g.cidr);
        const passes = (address: string) =>
          [record.ipv4, record.ipv6].includes(address) ||
          grants.includes(`${address}/${address.includes(':') ? 128 : 32}`);
        const kept: string[] = before.filter((a) => after.includes(a));
        for (const step of planIface(from, of(after))) {
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
