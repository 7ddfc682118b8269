import { VECTORS as KERNEL_VECTORS } from '@bailiff/bpf';
import { disarm, spoofCluster, spoofScoped, VECTORS } from '@bailiff/policy';
import { describe, expect, it } from 'vitest';
import { auditUntilNs, modesFor, toBoottimeNs } from './effective-modes.ts';

const cluster = spoofCluster.parse({ modes: { tunnel: 'audit', ethertype: 'off' } });
const until = (iso: string) => disarm.parse({ until: iso, duration: '30m' });
const nowMs = Date.parse('2026-01-01T00:00:00Z');

describe('effective configuration', () => {
  it('vectors - the same in policy and kernel, in the same order', () => {
    expect(VECTORS).toEqual(KERNEL_VECTORS);
  });
  it('narrower scope - wins where it sets a mode, inherits elsewhere', () => {
    const modes = modesFor(cluster, [
      spoofScoped.parse({ modes: { tunnel: 'enforce' } }),
      undefined,
      spoofScoped.parse({ modes: { ethertype: 'audit' } }),
    ]);
    expect(modes).toMatchObject({
      tunnel: 'enforce',
      ethertype: 'audit',
      'ipv4-source': 'enforce',
      'dhcp-client': 'audit',
    });
  });
  it('quarantine - always drops', () => {
    expect(modesFor(cluster)).toMatchObject({ 'quarantine-ingress': 'enforce', 'quarantine-egress': 'enforce' });
  });
  it.each([
    ['half an hour ahead', '2026-01-01T00:30:00Z', 1_000n + 1_800_000_000_000n],
    ['now', '2026-01-01T00:00:00Z', 0n],
    ['past', '2025-12-31T00:00:00Z', 0n],
    ['no time', 'soon', 0n],
  ])('wall time to boot time - %s', (_name, iso, expected) => {
    expect(toBoottimeNs(iso, nowMs, 1_000n)).toBe(expected);
  });
  it('several disarms - the latest end counts, a past one does not', () => {
    expect(
      auditUntilNs(
        [until('2026-01-01T00:10:00Z'), undefined, until('2026-01-01T00:20:00Z'), until('2025-01-01T00:00:00Z')],
        nowMs,
        0n,
      ),
    ).toBe(1_200_000_000_000n);
    expect(auditUntilNs([until('2025-01-01T00:00:00Z')], nowMs, 0n)).toBe(0n);
  });
});
