/** `bailiff config effective`, `export` and `import`, and several commands that write at once, on a real bus. */
import { encodeToken, writeConfig } from '@bailiff/bus';
import { spoofCluster, spoofScoped, TUNABLE_VECTORS } from '@bailiff/policy';
import type { PodIdentity } from '@bailiff/schemas';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { modesFor } from '../../apps/collector/src/effective.ts';
import { NODE_A, WEB, World } from './cli/world.ts';

let world: World;
const POD: PodIdentity = {
  uid: WEB.uid,
  namespace: 'shop',
  name: 'web-0',
  labels: { app: 'web' },
  serviceAccount: 'default',
  owners: [
    { kind: 'ReplicaSet', name: 'web-5c', uid: 'rs' },
    { kind: 'Deployment', name: 'web', uid: 'd' },
  ],
  interfaces: [],
  hostNetwork: false,
  containers: [{ name: 'app', id: 'c1' }],
  allowedPrefixes: [],
  probePorts: [],
  revision: 1,
  createdAt: '2026-01-01T00:00:00Z',
};

beforeAll(async () => {
  world = await World.start();
  const daemon = {
    ...POD,
    uid: `${WEB.uid.slice(0, -1)}9`,
    name: 'agent',
    owners: [{ kind: 'DaemonSet', name: 'agent', uid: 'a' }],
  };
  await world.put('bailiff_pods', encodeToken(NODE_A), { nodeName: NODE_A, revision: 1, pods: [POD, daemon] });
});
afterAll(() => world?.[Symbol.asyncDispose]());

interface Shown {
  setting: string;
  value: unknown;
  note: string;
  from: { source: string; key?: string; revision?: number; by?: string; why?: string; lastGood?: boolean };
}
type Report = Record<'spoof' | 'disarm' | 'runtime' | 'correlation' | 'response', Shown[]> & { refused: string[] };

async function effective(...args: string[]): Promise<Report> {
  const { exitCode, stdout, stderr } = await world.cli(['config', 'effective', ...args, '--json']);
  expect([exitCode, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as Report;
}
const of = (settings: readonly Shown[], name: string) => settings.find(({ setting }) => setting === name);

describe('cli config effective', () => {
  const CLUSTER = {
    modes: { tunnel: 'audit', redirect: 'off' },
    sampling: { burst: 3 },
    quarantine: { allow: ['10.0.0.0/8'] },
  };
  const NAMESPACE = { modes: { redirect: 'audit', 'source-mac': 'audit' }, sampling: { perSecond: 50 } };
  const WORKLOAD = { modes: { redirect: 'enforce' } };

  it('nothing stored - everything is what ships', async () => {
    const report = await effective('shop/web-0');
    expect([...report.spoof, ...report.correlation, ...report.response].map(({ from }) => from.source)).toEqual(
      expect.not.arrayContaining(['key']),
    );
    expect(of(report.spoof, 'modes.tunnel')).toMatchObject({ value: 'enforce', from: { source: 'default' } });
    expect(of(report.correlation, 'repeated-spoofing')?.value).toBe('high: 10 or more within 60s by pod');
    expect(report.disarm).toMatchObject([{ value: null, from: { source: 'default' } }]);
    expect(report.runtime).toEqual([]);
  });

  it('scopes - each value with the key, revision and person whose word it is; the same modes as a collector makes of it', async () => {
    const bus = await world.as('cli');
    const write = (key: string, value: object, by: string) => writeConfig(bus, key, value, { by, why: `by ${by}` });
    await write('spoof.cluster._.default', CLUSTER, 'anna');
    await write('spoof.namespace.shop.default', NAMESPACE, 'ben');
    await write('spoof.workload.shop.web', WORKLOAD, 'cleo');
    await write('spoof.workload.shop.cart', { modes: { redirect: 'off' } }, 'nobody it concerns');
    await write('spoof.namespace.bank.default', { modes: { tunnel: 'off' } }, 'nobody it concerns');
    const { spoof } = await effective('shop/web-0');
    const from = (name: string) => [of(spoof, name)?.value, of(spoof, name)?.from.key, of(spoof, name)?.from.by];
    expect(from('modes.tunnel')).toEqual(['audit', 'spoof.cluster._.default', 'anna']);
    expect(from('modes.source-mac')).toEqual(['audit', 'spoof.namespace.shop.default', 'ben']);
    expect(from('modes.redirect')).toEqual(['enforce', 'spoof.workload.shop.web', 'cleo']);
    expect(from('modes.arp-sender')).toEqual(['enforce', undefined, undefined]);
    expect(from('sampling.burst')).toEqual([3, 'spoof.cluster._.default', 'anna']);
    expect(from('sampling.perSecond')).toEqual([50, 'spoof.namespace.shop.default', 'ben']);
    expect(from('quarantine.allow')).toEqual([['10.0.0.0/8'], 'spoof.cluster._.default', 'anna']);
    expect(from('unknown')).toEqual(['audit', undefined, undefined]);
    const collector = modesFor(spoofCluster.parse(CLUSTER), [
      spoofScoped.parse(NAMESPACE),
      spoofScoped.parse(WORKLOAD),
    ]);
    expect(Object.fromEntries(TUNABLE_VECTORS.map((vector) => [vector, of(spoof, `modes.${vector}`)?.value]))).toEqual(
      Object.fromEntries(TUNABLE_VECTORS.map((vector) => [vector, collector[vector]])),
    );
    const toCome = await effective('--namespace', 'shop');
    expect(of(toCome.spoof, 'modes.redirect')).toMatchObject({ value: 'audit', from: { by: 'ben' } });
  });

  it('rules, policies and break-glass - those that reach the pod, and what protects it', async () => {
    const bus = await world.as('cli');
    const me = { by: 'dora', why: 'a test' };
    const rule = { type: 'event_count', level: 'low', timespan: '30s', condition: { gte: 3 } };
    await writeConfig(bus, 'correlation.cluster._.repeated-spoofing', { ...rule, level: 'high' }, me);
    await writeConfig(bus, 'correlation.cluster._.elsewhere', { ...rule, selection: { namespaces: ['bank'] } }, me);
    await writeConfig(
      bus,
      'correlation.cluster._.not-here',
      { ...rule, selection: { excludeNamespaces: ['shop'] } },
      me,
    );
    await writeConfig(
      bus,
      'response.cluster._.of-bank',
      { match: { namespaces: ['bank'] }, steps: [{ action: 'label' }] },
      me,
    );
    const mounts = { mode: 'enforce', rules: [{ name: 'no-mount', action: 'block', mount: {} }] };
    await writeConfig(bus, 'runtime.cluster._.all', { ...mounts, selector: { containers: ['app'] } }, me);
    await writeConfig(
      bus,
      'runtime.namespace.shop.web-only',
      { ...mounts, selector: { podLabels: { matchLabels: { app: 'web' } } } },
      me,
    );
    await writeConfig(
      bus,
      'runtime.namespace.shop.cart-only',
      { ...mounts, selector: { podLabels: { matchLabels: { app: 'cart' } } } },
      me,
    );
    await world.cli(['disarm', '--node', NODE_A, '--for', '10m', '--reason', 'a look', '--yes']);
    await world.cli(['disarm', '--namespace', 'shop', '--for', '20m', '--reason', 'longer', '--yes']);
    const report = await effective('shop/web-0');
    expect(of(report.correlation, 'repeated-spoofing')).toMatchObject({
      value: 'high: 3 or more within 30s by pod',
      from: { by: 'dora' },
    });
    expect(report.correlation.map(({ setting }) => setting)).not.toEqual(expect.arrayContaining(['elsewhere']));
    expect(of(report.correlation, 'not-here')).toBeUndefined();
    expect(report.response).toMatchObject([
      { setting: 'answer-high', value: 'dry run of observe, label, delete on high, critical', note: '' },
    ]);
    expect(report.runtime.map(({ setting, note }) => [setting, note])).toEqual([
      ['all', 'only containers app'],
      ['web-only', ''],
    ]);
    expect(report.disarm).toMatchObject([{ note: 'longer', from: { key: 'disarm.namespace.shop.all' } }]);
    const daemon = await effective('shop/agent');
    expect(daemon.response).toMatchObject([{ note: expect.stringContaining('DaemonSet are protected') }]);
    expect((await effective('-n', 'kube-system')).response).toMatchObject([
      { note: expect.stringContaining('only observed') },
    ]);
  });

  it('a value that readers refuse - the last good one is shown, and said to be', async () => {
    await world.put('bailiff_config', 'spoof.namespace.shop.default', '{"modes":{"redirect":"maybe"}}');
    const report = await effective('shop/web-0');
    expect(of(report.spoof, 'modes.source-mac')).toMatchObject({
      value: 'audit',
      from: { key: 'spoof.namespace.shop.default', by: 'ben', revision: 1, lastGood: true },
    });
    expect(report.refused).toEqual(['spoof.namespace.shop.default']);
    const text = await world.cli(['config', 'effective', 'shop/web-0']);
    expect(text.stdout).toMatch(/modes\.source-mac +audit +spoof\.namespace\.shop\.default \(last good\) +1 +ben/);
    expect(text.stdout).toMatch(/modes\.arp-sender +enforce +shipped default/);
    expect(text.stderr).toMatch(/1 stored value is refused by every reader/);
  });

  it('asked wrongly - says how', async () => {
    expect(await world.cli(['config', 'effective'])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/for which pod/),
    });
    expect(await world.cli(['config', 'effective', 'shop/nobody'])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/no pod/),
    });
  });
});
