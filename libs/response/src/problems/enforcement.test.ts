import { initialSpoofPolicy, TUNABLE_VECTORS } from '@bailiff/policy';
import { describe, expect, it } from 'vitest';
import { dryRunProblems, enforcementOf, enforcementProblems, isWeakened } from './enforcement.ts';
import { weigh } from './problem.ts';

const NOW = Date.parse('2026-11-24T12:00:00Z');
const CLUSTER = 'spoof.cluster._.default';
type Stored = Record<string, object>;
const stored = (values: Stored) =>
  Object.entries(values).map(([key, value]) => ({ key, json: JSON.stringify({ revision: 1, ...value }), refused: '' }));
const lines = (values: Stored) =>
  enforcementProblems(enforcementOf(stored(values)), [], NOW).map(({ node, text }) => `${node}: ${text}`);

describe('vectors', () => {
  it('built-in modes, and stronger ones - nothing to say', () => {
    const modes = { 'tunnel-other': 'enforce', 'ipv4-source': 'enforce', 'dhcp-client': 'audit' };
    expect(lines({})).toEqual([]);
    expect(lines({ [CLUSTER]: { modes } })).toEqual([]);
  });

  it('audit of the whole cluster - says that forged packets pass, and where they do not', () => {
    const initial = initialSpoofPolicy('audit');
    expect(lines({ [CLUSTER]: initial })).toEqual([
      expect.stringMatching(
        /^cluster: (ipv4-source, ipv6-source, source-mac and \d+ more are|every vector is) in audit: such packets are counted, and pass$/,
      ),
    ]);
    const [first] = lines({
      [CLUSTER]: initial,
      'spoof.namespace.shop.default': { modes: { 'ipv4-source': 'enforce' } },
    });
    expect(first).toMatch(/ \(enforced again in namespace shop\)$/);
    expect(enforcementOf(stored({ [CLUSTER]: initial })).weakened[0]?.vectors).toHaveLength(
      // Two are in audit by default.
      TUNABLE_VECTORS.length - 2,
    );
  });

  it('one vector - names its mode, its scope and the way back', () => {
    const values = {
      [CLUSTER]: { modes: { 'arp-sender': 'off' } },
      'spoof.namespace.shop.default': { modes: { 'ipv4-source': 'audit', 'arp-sender': 'off' } },
      'spoof.workload.shop.vpn': { modes: { 'source-mac': 'audit' } },
    };
    expect(lines(values)).toEqual([
      'cluster: arp-sender is off: such packets pass uncounted',
      // It adds nothing to what holds for the cluster about arp-sender.
      'namespace shop: ipv4-source is in audit: such packets are counted, and pass',
      'workload shop/vpn: source-mac is in audit: such packets are counted, and pass',
    ]);
    const problems = enforcementProblems(enforcementOf(stored(values)), [], NOW);
    expect(problems[0]?.remedy).toBe('audit first: bailiff config set spoof.cluster._.default modes.arp-sender=audit');
    expect(problems[1]?.remedy).toMatch(/config set spoof\.namespace\.shop\.default modes\.ipv4-source=enforce$/);
    expect(weigh(problems)).toBe(10);
  });

  it('unknown interfaces - off is weaker than the built-in audit', () => {
    expect(lines({ [CLUSTER]: { unknown: 'off' } })).toEqual([
      expect.stringMatching(/^cluster: unknown-interface is off/),
    ]);
    expect(lines({ [CLUSTER]: { unknown: 'enforce' } })).toEqual([]);
  });

  it('a value that readers refuse - is reported by them', () => {
    const value = { key: CLUSTER, json: '{"modes":{"ipv4-source":"maybe"}}', refused: 'modes: invalid' };
    expect(enforcementOf([value])).toEqual(enforcementOf([]));
  });

  it('pods - those of the scope, and of no other', () => {
    const { weakened } = enforcementOf(
      stored({
        'spoof.namespace.shop.default': { modes: { 'ipv4-source': 'audit' } },
        'spoof.workload.pay.vpn': { modes: { 'source-mac': 'audit' } },
      }),
    );
    const of = (podNamespace: string, podName: string) => isWeakened({ podNamespace, podName }, weakened);
    expect([of('shop', 'web-0'), of('pay', 'vpn-0'), of('pay', 'vpn')]).toEqual([true, true, true]);
    expect([of('blog', 'web-0'), of('pay', 'vpnx-0'), of('pay', 'web-0')]).toEqual([false, false, false]);
  });
});

describe('runtime policies and disarms', () => {
  const rules = [{ name: 'r', action: 'block', execute: { paths: ['/bin/sh'] } }];

  it('policies - in audit and off', () => {
    expect(
      lines({
        'runtime.cluster._.strict': { mode: 'enforce', rules },
        'runtime.cluster._.trial': { mode: 'audit', rules },
        'runtime.namespace.shop.old': { mode: 'enforce', enabled: false, rules },
      }),
    ).toEqual([
      '1 runtime policy: trial in audit: what it denies is counted, and passes',
      '1 runtime policy: shop/old off (enabled: false)',
    ]);
    expect(lines({ 'runtime.cluster._.strict': { mode: 'enforce', rules } })).toEqual([]);
  });

  it('disabled rules - are reported and change the exit code; control: enabled rules do not', () => {
    const rule = { type: 'event_count', level: 'high', timespan: '60s', condition: { gte: 10 } };
    const off = { 'correlation.cluster._.repeated-spoofing': { ...rule, enabled: false } };
    expect(lines(off)).toEqual([
      '1 correlation rule: repeated-spoofing off (enabled: false): violations are not judged by it',
    ]);
    expect(weigh(enforcementProblems(enforcementOf(stored(off)), [], NOW))).toBe(10);
    expect(lines({ 'correlation.cluster._.repeated-spoofing': rule })).toEqual([]);
  });

  it('disabled response policies - are reported without an exit code, like dry runs', () => {
    const steps = { match: {}, steps: [{ action: 'label' }] };
    const off = { 'response.cluster._.a': { ...steps, enabled: false }, 'response.cluster._.b': steps };
    expect(lines(off)).toEqual(['1 response policy: a off (enabled: false): it responds to no verdict']);
    expect(weigh(enforcementProblems(enforcementOf(stored(off)), [], NOW))).toBe(0);
  });

  it('a responder whose responses are all dry runs - is named if a policy is none; control: another responder', () => {
    const policy = { match: {}, steps: [{ action: 'label' }] };
    const responder = (more: object) => ({
      ...{ service: 'responder', instance: 'a', version: '1', configRevision: 0, configRefused: [] },
      startedAt: new Date(NOW).toISOString(),
      updatedAt: new Date(NOW).toISOString(),
      ...more,
    });
    const texts = (dryRun: boolean, more: object) =>
      dryRunProblems(
        enforcementOf(stored({ 'response.cluster._.a': { ...policy, dryRun } })),
        [responder(more)],
        NOW,
      ).map(({ text, exitCode }) => [text, exitCode]);
    expect(texts(false, { dryRun: true })).toEqual([['was started with dryRun: a does nothing either', 0]]);
    expect([...texts(true, { dryRun: true }), ...texts(false, {})]).toEqual([]);
  });

  it('a disarm - comes first, and is no success', () => {
    const disarm = { scope: 'the whole cluster', untilMs: NOW + 600_000, by: 'me', reason: 'incident' };
    const problems = enforcementProblems(enforcementOf([]), [disarm], NOW);
    expect(problems).toMatchObject([{ node: 'DISARMED', text: 'the whole cluster for 10m by me: incident' }]);
    expect(weigh(problems)).toBe(10);
  });
});
