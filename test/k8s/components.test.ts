// The effect of k8s/components on an overlay: the documented changes and no others, and a
// configuration that the app accepts.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type * as z from 'zod';
import { collectorSchema } from '../../apps/collector/src/config.ts';
import { responderSchema } from '../../apps/responder/src/config.ts';
import { configSchema as relaySchema } from '../../apps/siem-relay/src/config.ts';
import { buildConfig, frameShape } from '../../libs/service/src/config.ts';
import {
  environmentOf,
  type Json,
  mountOf,
  named,
  OVERLAYS,
  objectsOf,
  objectsWith,
  type Workload,
  workloadsOf,
} from './rendered.ts';

const COMPONENTS = path.resolve(import.meta.dirname, '../../k8s/components');
const INSTALL = readFileSync(path.resolve(import.meta.dirname, '../../docs/install.md'), 'utf8');

const workload = (objects: readonly Json[], component: string) =>
  workloadsOf(objects).find((one) => one.component === component) as Workload;

function configOf(objects: readonly Json[], component: string, schema: z.ZodObject): Record<string, Json> {
  const env = environmentOf(objects, workload(objects, component).container);
  const whole = schema.safeExtend(frameShape).strict();
  return buildConfig(whole, { name: component, defaults: {}, file: null, env, flags: new Map() }) as never;
}

/** Objects that differ, by kind and name; generated names without their hash. */
function changed(before: readonly Json[], after: readonly Json[]): string[] {
  const text = (objects: readonly Json[]) =>
    new Map(objects.map((object) => [`${object.kind} ${object.metadata.name}`, JSON.stringify(object)]));
  const [old, now] = [text(before), text(after)];
  const names = [...new Set([...old.keys(), ...now.keys()])].filter((name) => old.get(name) !== now.get(name));
  return names.map((name) => name.replace(/-[a-z0-9]{10}$/, '')).sort();
}

it('the installation guide or an overlay names every component', () => {
  for (const name of readdirSync(COMPONENTS)) expect(INSTALL).toContain(`\`k8s/components/${name}\``);
});

describe.each(OVERLAYS)('%s', (overlay) => {
  const plain = objectsOf(overlay);

  it('without components, a custom overlay changes nothing', () => {
    expect(changed(plain, objectsWith(overlay, []))).toEqual([]);
  });

  it('audit-first - collectors audit until they have the policy, which the set-up Job stores', () => {
    const objects = objectsWith(overlay, ['audit-first']);
    expect(changed(plain, objects)).toEqual(['DaemonSet bailiff-collector', 'Job bailiff-bus-setup']);
    expect(configOf(plain, 'collector', collectorSchema)['initialMode']).toBe('enforce');
    expect(configOf(objects, 'collector', collectorSchema)['initialMode']).toBe('audit');
    const argsOf = (list: readonly Json[]) => workload(list, 'bus-setup').container.args;
    expect(argsOf(objects)).toEqual([...argsOf(plain), '--initial-mode=audit']);
  });

  it('network-only - the collector has no runtime engine, two capabilities less and the default AppArmor profile', () => {
    const objects = objectsWith(overlay, ['network-only']);
    expect(changed(plain, objects)).toEqual(['DaemonSet bailiff-collector']);
    const { pod, container } = workload(objects, 'collector');
    const before = workload(plain, 'collector');
    expect(before.container.securityContext.capabilities.add).toContain('SYS_PTRACE');
    expect(container.securityContext.capabilities).toEqual({ drop: ['ALL'], add: ['BPF', 'PERFMON', 'NET_ADMIN'] });
    expect([before.pod.securityContext.appArmorProfile, pod.securityContext.appArmorProfile]).toEqual([
      { type: 'Unconfined' },
      undefined,
    ]);
    expect(configOf(plain, 'collector', collectorSchema)['runtime']).toBe('auto');
    expect(configOf(objects, 'collector', collectorSchema)['runtime']).toBe('off');
  });

  it('cni-plugin - the collector installs the plugin where the runtime looks, and serves where the plugin asks', () => {
    const objects = objectsWith(overlay, ['cni-plugin']);
    expect(changed(plain, objects)).toEqual(['DaemonSet bailiff-collector']);
    expect(configOf(plain, 'collector', collectorSchema)['cni']).toBe('off');
    const config = configOf(objects, 'collector', collectorSchema);
    expect(config).toMatchObject({ cni: 'on', cniFailurePolicy: 'open', cniSocket: '/run/bailiff/cni.sock' });
    const collector = workload(objects, 'collector');
    const hostPathOf = (place: string) => mountOf(collector, place)?.volume['hostPath']?.path;
    expect(hostPathOf(config['cniConfDir'])).toBe('/etc/cni/net.d');
    expect(hostPathOf(config['cniBinDir'])).toBe('/opt/cni/bin');
    // The plugin is on the node: for both the path is the same.
    expect(hostPathOf(path.dirname(config['cniSocket']))).toBe(path.dirname(config['cniSocket']));
    // A collector that needed its own plugin could not start on a node that just booted.
    expect(collector.pod['hostNetwork']).toBe(true);
    expect(config['cniExemptNamespaces']).toEqual(
      expect.arrayContaining(['kube-system', collector.object.metadata.namespace]),
    );
    expect(collector.container.securityContext.capabilities, 'no capability more').toEqual(
      workload(plain, 'collector').container.securityContext.capabilities,
    );
  });

  it('redis-ca - the responder verifies Redis with the CA of its Secret', () => {
    const objects = objectsWith('external', ['redis-ca']);
    const { redisCaFile } = configOf(objects, 'responder', responderSchema);
    expect(mountOf(workload(objects, 'responder'), redisCaFile)).toMatchObject({
      mount: { readOnly: true },
      volume: { secret: { secretName: 'bailiff-redis' } },
    });
  });

  it('syslog - the relay sends by TLS to the configured receiver, and may reach its port', () => {
    const settings = { 'bailiff-syslog': ['address=logs.example.net:6514', 'format=ocsf'] };
    const objects = objectsWith(overlay, ['syslog'], settings);
    expect(changed(plain, objects)).toEqual([
      'ConfigMap bailiff-syslog',
      'Deployment bailiff-siem-relay',
      'NetworkPolicy bailiff-syslog',
    ]);
    expect(configOf(plain, 'siem-relay', relaySchema)).toMatchObject({ syslogAddress: '', formats: ['ocsf'] });
    const config = configOf(objects, 'siem-relay', relaySchema);
    expect(config).toMatchObject({
      syslogAddress: 'logs.example.net:6514',
      syslogTransport: 'tls',
      syslogFormat: 'ocsf',
      formats: ['ocsf', 'cef'],
      syslogCertFile: '',
    });
    const relay = workload(objects, 'siem-relay');
    expect(mountOf(relay, config['syslogCaFile'])).toMatchObject({
      mount: { readOnly: true },
      volume: { secret: { secretName: 'bailiff-syslog', optional: true } },
    });
    const { spec } = named(objects, 'NetworkPolicy', 'bailiff-syslog');
    expect(spec.podSelector.matchLabels['app.kubernetes.io/component']).toBe('siem-relay');
    expect(spec.egress).toEqual([{ ports: [{ port: 6514, protocol: 'TCP' }] }]);
  });

  it('syslog - plain TCP is two settings', () => {
    const settings = { 'bailiff-syslog': ['address=127.0.0.1:10514', 'transport=tcp'] };
    const config = configOf(objectsWith(overlay, ['syslog'], settings), 'siem-relay', relaySchema);
    expect(config).toMatchObject({ syslogAddress: '127.0.0.1:10514', syslogTransport: 'tcp', syslogFormat: 'cef' });
  });

  it('all of them can be combined', () => {
    const names = readdirSync(COMPONENTS);
    expect(names.length).toBeGreaterThan(2);
    expect(workloadsOf(objectsWith(overlay, names)).length).toBe(workloadsOf(plain).length);
  });
});
