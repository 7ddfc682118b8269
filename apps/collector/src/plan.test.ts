import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_MORE, type WantedIface, planIface, planSet, wantedIface } from './plan.ts';

const input = {
  identity: { state: 'programmed' as const, mac: '0a:00:00:00:00:01', addresses: ['10.0.0.2', 'fd00::2', '10.0.0.3', 'fd00::3'], allowedPrefixes: ['10.9.0.0/16'] },
  modes: [2, 2, 1],
  quarantineUntilNs: 0n,
  auditUntilNs: 0n,
  probePorts: [
    { port: 8080, protocol: 'TCP' as const },
    { port: 8080, protocol: 'TCP' as const },
  ],
};
const { wanted } = wantedIface(input);

describe('plan - wanted', () => {
  it('first address of each family inline, the rest looked up', () => {
    expect(wanted).toMatchObject({ ipv4: '10.0.0.2', ipv6: 'fd00::2', more: ['10.0.0.3/32', 'fd00::3/128', '10.9.0.0/16'], probePorts: ['TCP/8080'] });
  });
  it('over the bound - cut off and counted', () => {
    const prefixes = Array.from({ length: MAX_MORE + 5 }, (_, i) => `10.${i}.0.0/16`);
    const result = wantedIface({ ...input, identity: { ...input.identity, addresses: [], allowedPrefixes: prefixes } });
    expect(result.wanted.more).toHaveLength(MAX_MORE);
    expect(result.omitted).toBe(5);
  });
});

describe('plan - operations', () => {
  it('nothing there - addresses first, then the record', () => {
    expect(planIface(null, wanted).map((o) => o.op)).toEqual(['add-address', 'add-address', 'add-address', 'add-probe-port', 'write-record']);
  });
  it('the same - nothing', () => {
    expect(planIface(wanted, { ...wanted })).toEqual([]);
  });
  it('an address fewer - removed after the record was considered', () => {
    const fewer = { ...wanted, more: wanted.more.slice(1) };
    expect(planIface(wanted, fewer)).toEqual([{ op: 'remove-address', cidr: '10.0.0.3/32' }]);
  });
  it.each<[string, Partial<WantedIface>]>([
    ['state', { state: 'provisional' }],
    ['MAC', { mac: '0a:00:00:00:00:02' }],
    ['first IPv4', { ipv4: '10.0.0.9' }],
    ['a mode', { modes: [2, 2, 2] }],
    ['quarantine begins', { quarantineUntilNs: 5n }],
    ['break-glass begins', { auditUntilNs: 5n }],
  ])('record is written when it changes - %s', (_name, change) => {
    expect(planIface(wanted, { ...wanted, ...change })).toContainEqual({ op: 'write-record' });
  });
  it('an end that moved by less than a second is no change, by more it is', () => {
    const until = { ...wanted, quarantineUntilNs: 10_000_000_000n };
    expect(planIface(until, { ...until, quarantineUntilNs: 10_500_000_000n })).toEqual([]);
    expect(planIface(until, { ...until, quarantineUntilNs: 12_000_000_000n })).toEqual([{ op: 'write-record' }]);
  });
  it('any two states - applying the plan gives the wanted one, and no rightful address is ever missing', () => {
    const cidrs = fc.uniqueArray(fc.constantFrom('10.0.0.1/32', '10.0.0.2/32', '10.1.0.0/16', 'fd00::1/128', 'fd01::/64'));
    fc.assert(
      fc.property(cidrs, cidrs, (before, after) => {
        const from = { ...wanted, more: before };
        const to = { ...wanted, more: after };
        const held = new Set(before);
        const kept = before.filter((c) => after.includes(c));
        for (const operation of planIface(from, to)) {
          if (operation.op === 'add-address') held.add(operation.cidr);
          if (operation.op === 'remove-address') held.delete(operation.cidr);
          for (const cidr of kept) expect(held.has(cidr)).toBe(true);
        }
        expect([...held].sort()).toEqual([...after].sort());
      }),
    );
  });
  it('sets - what to add and remove', () => {
    expect(planSet(new Set(['a', 'b']), new Set(['b', 'c']))).toEqual({ add: ['c'], remove: ['a'] });
  });
});
