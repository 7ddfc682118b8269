import { SignedConfig, spoofCluster, spoofScoped } from '@bailiff/policy';
import type { ProjectedFrame, ProjectedViolation } from '@bailiff/schemas';
import { sampleFrame, sampleViolation } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import { spoofValuesOf, TrialModes } from './trial-modes.ts';

const CLUSTER = 'spoof.cluster._.default';
const scoped = (modes: object) => spoofScoped.parse({ modes });
const always = () => true;
const sampled = (part: Partial<ProjectedViolation>): ProjectedViolation => ({ ...sampleViolation(), ...part });
const frameOf = (...violations: ProjectedViolation[]): ProjectedFrame => ({ ...sampleFrame(), violations });
const actionsOf = ({ violations }: ProjectedFrame) => violations.map(({ action }) => action);

describe('modes on trial', () => {
  it('the widest scope, and narrower ones that set the vector themselves', () => {
    const now = new Map([['spoof.namespace.shop.default', scoped({ 'ipv4-source': 'audit' })]]);
    const modes = new TrialModes(now, new Map([[CLUSTER, spoofCluster.parse({ modes: { 'ipv4-source': 'off' } })]]));
    const pod = { ...sampleViolation().pod!, namespace: 'pay' };
    const of = (namespace: string, action: 'drop' | 'audit') => sampled({ action, pod: { ...pod, namespace } });
    const frame = frameOf(of('shop', 'audit'), of('pay', 'drop'));
    const tried = modes.frame('n', frame, always);
    expect(tried.violations[0], 'its own mode stays').toBe(frame.violations[0]);
    expect(tried.violations[1]).toMatchObject({ count: 0, suppressed: 0, cumulativePackets: 0 });
    expect(modes.changed).toMatchObject([{ vector: 'ipv4-source', from: 'enforce', to: 'off', pods: 1 }]);
  });

  it('what was recorded under another mode than now changes too, if it differs from the tried one', () => {
    const tried = (mode: string) => new Map([[CLUSTER, spoofCluster.parse({ modes: { 'ipv4-source': mode } })]]);
    const frame = frameOf(sampled({ action: 'audit' }), sampled({ action: 'drop' }));
    const toAudit = new TrialModes(new Map(), tried('audit'));
    expect(actionsOf(toAudit.frame('n', frame, always))).toEqual(['audit', 'audit']);
    expect(toAudit.changed).toMatchObject([{ from: 'enforce', to: 'audit' }]);
    const toOff = new TrialModes(tried('audit'), tried('off'));
    toOff.frame('n', frame, always);
    expect(toOff.changed.map(({ from, to }) => [from, to])).toEqual([
      ['audit', 'off'],
      ['enforce', 'off'],
    ]);
    expect(new TrialModes(tried('audit'), tried('audit')).frame('n', frame, always), 'the control').toBe(frame);
  });

  it('operations, vectors without a mode, and frames that do not change are the same objects', () => {
    const modes = new TrialModes(
      new Map(),
      new Map([[CLUSTER, spoofCluster.parse({ modes: { 'ipv4-source': 'off' } })]]),
    );
    const others = frameOf(
      sampled({ kind: 'lsm' }),
      sampled({ vector: 'quarantine' }),
      sampled({ vector: 'source-mac' }),
    );
    expect(modes.frame('n', others, always)).toBe(others);
  });

  it('interfaces of unknown pods have a mode of their own', () => {
    const modes = new TrialModes(new Map(), new Map([[CLUSTER, spoofCluster.parse({ unknown: 'enforce' })]]));
    const frame = frameOf(sampled({ vector: 'unknown-interface', action: 'audit', pod: null }));
    expect(actionsOf(modes.frame('n', frame, always))).toEqual(['drop']);
  });

  it('packets outside the range are not counted; repeated frames count once', () => {
    const modes = new TrialModes(
      new Map(),
      new Map([[CLUSTER, spoofCluster.parse({ modes: { 'ipv4-source': 'off' } })]]),
    );
    const part = { cumulativePackets: 9, count: 4, suppressed: 5, counterEpoch: 'e' };
    modes.frame('n', frameOf(sampled({ ...part, counterEpoch: 'before' })), () => false);
    for (let n = 0; n < 2; n += 1) modes.frame('n', frameOf(sampled(part)), always);
    expect(modes.changed).toMatchObject([{ packets: 9 }]);
  });

  it('bounds - a node that invents pods leaves room for another one, and every packet is counted', () => {
    const off = new Map([[CLUSTER, spoofCluster.parse({ modes: { 'ipv4-source': 'off' } })]]);
    const modes = new TrialModes(new Map(), off, 100);
    const one = (node: string, n: number) => {
      const pod = { ...sampleViolation().pod!, uid: `${node}-${n}` };
      const counts = { cumulativePackets: 1, count: 1, suppressed: 0, counterEpoch: `${node}/${n}` };
      modes.frame(node, frameOf(sampled({ pod, ...counts })), always);
    };
    for (let n = 0; n < 1_000; n += 1) one('flood', n);
    const [flooded] = modes.changed;
    for (let n = 0; n < 20; n += 1) one('quiet', n);
    expect(flooded).toMatchObject({ packets: 1_000, pods: 50 });
    expect([modes.changed, modes.hasMorePods]).toMatchObject([[{ packets: 1_020, pods: 70 }], true]);
  });

  it('values in force - a deleted one is gone, and a refused change leaves the last good one', () => {
    const change = (sequence: number, key: string, value: unknown) => ({
      ...{ sequence, timestampMicros: sequence, key },
      json: value === null ? null : JSON.stringify(value),
    });
    const shop = 'spoof.namespace.shop.default';
    const changes = [
      change(1, CLUSTER, { modes: { tunnel: 'audit' } }),
      change(2, CLUSTER, { modes: { tunnel: 'maybe' } }),
      change(3, shop, { modes: { tunnel: 'off' } }),
      change(4, shop, null),
      change(5, 'response.cluster._.x', {}),
    ];
    const values = spoofValuesOf(changes, new SignedConfig());
    expect([...values.keys()]).toEqual([CLUSTER]);
    expect(values.get(CLUSTER)?.modes).toEqual({ tunnel: 'audit' });
  });
});
