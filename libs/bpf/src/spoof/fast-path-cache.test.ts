import { describe, expect, it } from 'vitest';
import type { IfaceRecord } from './encode.ts';
import { encodeFastPathEntry } from './fast-path-cache.ts';
import { MODES, vectorModes } from './names.ts';

const record: IfaceRecord = {
  generation: 4,
  slot: 0x0102,
  state: 'provisional',
  hasMore: true,
  sampling: null,
  mac: '02:11:22:33:44:55',
  ipv4: '10.1.2.3',
  ipv6: 'fd00:102:304:506:708:90a:b0c:d0e',
  modes: vectorModes(() => MODES[0]),
  quarantineUntilNs: 0n,
  auditUntilNs: 5n,
};
const words = (entry: Buffer | null) => entry?.toString('hex').match(/.{16}/g);

describe('fast-path cache', () => {
  it('entry - words of six bytes, as in a packet', () => {
    expect(words(encodeFastPathEntry(0x0a0b0c0d, record))).toEqual([
      '0d0c0b0a02010000',
      '0211223344550000',
      '0a01020301000000',
      'fd00010203040000',
      '05060708090a0000',
      '0b0c0d0e01000000',
    ]);
  });

  it('entry - without an address its words match no packet', () => {
    const none = encodeFastPathEntry(7, { ...record, ipv4: null, ipv6: null });
    expect(words(none)?.slice(2)).toEqual(Array.from({ length: 4 }, () => '0'.repeat(16)));
  });

  const without: Partial<IfaceRecord>[] = [
    ...[{ state: 'unknown' } as const, { mac: null }, { quarantineUntilNs: 1n }],
    ...[{ slot: 0x1_0000 }, { orphaned: true }, { mac: '01:00:00:00:00:00' }],
  ];
  it.each(without)('entry - none for %o', (change) => {
    expect(encodeFastPathEntry(7, { ...record, ...change })).toBeNull();
  });
});
