import { defaultMode, TUNABLE_VECTORS, VECTORS } from '@bailiff/vocabulary';
import { describe, expect, it } from 'vitest';
import { effectiveMode } from './configuration/scopes.ts';
import { BUILT_IN_RULES } from './documents/correlation.ts';
import { BUILT_IN_RESPONSE_POLICIES, PROTECTED_NAMESPACES } from './documents/response.ts';
import { spoofScoped } from './documents/spoof.ts';
import { isCidr, parseDurationMs } from './documents/units.ts';

describe('units', () => {
  it.each([
    ['250ms', 250],
    ['30s', 30_000],
    ['10m', 600_000],
    ['1h', 3_600_000],
    ['7d', 604_800_000],
    ['30', null],
    ['s', null],
    ['-1s', null],
    ['1.5h', null],
    ['1w', null],
    ['', null],
  ])('duration %s', (text, ms) => expect(parseDurationMs(text)).toBe(ms));
  it.each([
    ['10.0.0.0/8', true],
    ['fd00::/64', true],
    ['10.0.0.0', false],
    ['10.0.0.0/33', false],
    ['fd00::/129', false],
    ['10.0.0.0/8/8', false],
    ['x/8', false],
  ])('CIDR %s', (text, ok) => expect(isCidr(text)).toBe(ok));
});

describe('built-in values', () => {
  it('every vector enforces, except those with common legitimate use', () => {
    expect(VECTORS.filter((v) => defaultMode(v) !== 'enforce')).toEqual(['tunnel-other', 'dhcp-client']);
  });
  it('quarantine and unknown-interface have no mode per vector', () => {
    expect(VECTORS.filter((v) => !TUNABLE_VECTORS.includes(v))).toEqual([
      'quarantine-ingress',
      'quarantine-egress',
      'unknown-interface',
    ]);
  });
  it('every built-in response policy is a dry run', () => {
    expect(Object.values(BUILT_IN_RESPONSE_POLICIES).every((p) => p.dryRun)).toBe(true);
    for (const policy of Object.values(BUILT_IN_RESPONSE_POLICIES))
      expect(policy.guards.protectedNamespaces).toEqual(PROTECTED_NAMESPACES);
  });
  it('rules for repeated attempts, and for a node that reports foreign pods', () => {
    expect(BUILT_IN_RULES['repeated-spoofing']).toMatchObject({
      type: 'event_count',
      level: 'high',
      'group-by': 'pod',
    });
    expect(BUILT_IN_RULES['foreign-pod-claims']).toMatchObject({ level: 'critical', 'group-by': 'node' });
  });
});

describe('modes', () => {
  const scope = (modes: object) => spoofScoped.parse({ modes });
  it.each([
    ['no scope', [], 'enforce'],
    ['the cluster', [scope({ tunnel: 'audit' })], 'audit'],
    ['the workload over the namespace', [scope({}), scope({ tunnel: 'off' }), scope({ tunnel: 'audit' })], 'audit'],
    ['a narrower one for another vector', [scope({ tunnel: 'off' }), scope({ redirect: 'audit' })], 'off'],
  ])('%s', (_name, scopes, mode) => expect(effectiveMode('tunnel', scopes)).toBe(mode));
});
