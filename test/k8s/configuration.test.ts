// Manifests against the code: a container gets the settings that its app reads, and its files are
// mounted.
import { FIXED_ROLES } from '@bailiff/bus';
import { busOptionsOf, envName, envPrefix } from '@bailiff/service';
import { describe, expect, it } from 'vitest';
import type * as z from 'zod';
import { configSchema as busAuthSchema } from '../../apps/bus-auth/src/config.ts';
import { secretOfUser } from '../../apps/cli/src/operate/credentials/names.ts';
import { collectorSchema } from '../../apps/collector/src/config.ts';
import { configSchema as correlatorSchema } from '../../apps/correlator/src/config.ts';
import { configSchema as ipamSyncSchema } from '../../apps/ipam-sync/src/config.ts';
import { responderSchema } from '../../apps/responder/src/config.ts';
import { configSchema as relaySchema } from '../../apps/siem-relay/src/config.ts';
import { buildConfig, frameShape } from '../../libs/service/src/config.ts';
import {
  environmentOf,
  type Json,
  METRICS_PORT,
  mountOf,
  OVERLAYS,
  objectsOf,
  ofKind,
  PROBE_PORT,
  secretsOf,
  type Workload,
  workloadsOf,
} from './rendered.ts';

const SCHEMAS: Readonly<Record<string, z.ZodObject>> = {
  'bus-auth': busAuthSchema,
  collector: collectorSchema,
  correlator: correlatorSchema,
  responder: responderSchema,
  'ipam-sync': ipamSyncSchema,
  'siem-relay': relaySchema,
};

type Config = Record<string, Json>;

function configOf(objects: readonly Json[], { component, container }: Workload): Config {
  const schema = (SCHEMAS[component] as z.ZodObject).safeExtend(frameShape).strict();
  const env = environmentOf(objects, container);
  return buildConfig(schema, { name: component, defaults: {}, file: null, env, flags: new Map() }) as Config;
}

describe.each(OVERLAYS)('%s', (overlay) => {
  const objects = objectsOf(overlay);
  const apps = workloadsOf(objects).filter(({ component }) => Object.hasOwn(SCHEMAS, component));

  it('every app has a workload', () => {
    expect(apps.map(({ component }) => component).sort()).toEqual(Object.keys(SCHEMAS).sort());
  });

  it.each(apps)('$component - its environment is a configuration that it accepts', (app) => {
    const config = configOf(objects, app);
    // The app rejects an unknown variable, but ignores one of another app.
    const foreign = (app.container.env as Json[]).filter(
      ({ name }) => name.startsWith('BAILIFF_') && !name.startsWith(envPrefix(app.component)),
    );
    expect(foreign).toEqual([]);
    expect(config['natsUrl']).toMatch(/^tls:/);
    expect(busOptionsOf(config as Parameters<typeof busOptionsOf>[0]).tls).toEqual({ caFile: config['natsCaFile'] });
  });

  it.each(apps)('$component - a misspelt variable would be rejected', (app) => {
    const wrong = { ...app, container: { env: [{ name: envName(app.component, 'natsUrll'), value: 'x' }] } };
    expect(() => configOf(objects, wrong)).toThrow(/no such key/);
  });

  it.each(apps)('$component - metrics and probes use the ports and paths that it serves, each its own', (app) => {
    const { container, pod } = app;
    const { metricsAddress, probeAddress } = configOf(objects, app);
    const portOf = (address: unknown) => Number(/:(\d+)$/.exec(String(address))?.[1]);
    expect([portOf(metricsAddress), portOf(probeAddress)]).toEqual([METRICS_PORT, PROBE_PORT]);
    const ports = (container.ports as Json[]).map(({ name, containerPort }) => [name, containerPort]);
    expect(ports).toEqual([
      ['metrics', METRICS_PORT],
      ['probes', PROBE_PORT],
    ]);
    // On the node's network, network policies do not apply: pods must not reach the listener.
    const host = pod.hostNetwork ? { host: '127.0.0.1' } : {};
    if (pod.hostNetwork) expect(String(probeAddress)).toBe(`127.0.0.1:${PROBE_PORT}`);
    const probes = ['startupProbe', 'livenessProbe', 'readinessProbe'].map((name) => container[name].httpGet);
    expect(probes).toEqual(['/healthz', '/healthz', '/readyz'].map((path) => ({ ...host, path, port: 'probes' })));
  });

  it('network policies - none lets another pod reach a port of probes', () => {
    const ports = ofKind(objects, 'NetworkPolicy')
      .flatMap(({ spec }) => spec.ingress ?? [])
      .flatMap(({ ports: allowed }: Json) => (allowed as Json[]).map(({ port }) => port));
    expect(ports).toContain(METRICS_PORT);
    for (const port of [PROBE_PORT, 8222]) expect(ports).not.toContain(port);
  });

  it.each(apps)('$component - every file that it reads is mounted', (app) => {
    const files = Object.entries(configOf(objects, app)).filter(([key, value]) => key.endsWith('File') && value !== '');
    expect(files.length).toBeGreaterThan(1);
    for (const [key, file] of files) expect(mountOf(app, file), key).toMatchObject({ mount: { readOnly: true } });
  });

  it.each(apps.filter(({ component }) => component !== 'collector'))(
    '$component - it connects as its own user, with its own password',
    (app) => {
      const { natsUser, natsPasswordFile } = configOf(objects, app);
      expect(natsUser).toBe(app.component);
      expect([...FIXED_ROLES, 'bus-auth']).toContain(natsUser);
      expect(secretsOf(app)).toContainEqual({ secret: secretOfUser(natsUser), directory: '/etc/bailiff/bus' });
      expect(natsPasswordFile).toBe('/etc/bailiff/bus/password');
    },
  );

  it.each(apps)('$component - its grace period covers the longest shutdown', (app) => {
    // At most five steps in a row before the final publication; each ends after stopTimeoutMs.
    const { stopTimeoutMs } = configOf(objects, app);
    expect(app.pod.terminationGracePeriodSeconds * 1000).toBeGreaterThanOrEqual(5 * stopTimeoutMs);
  });

  it('collector - its paths on the node are its defaults, except the cgroup root', () => {
    const [app] = apps.filter(({ component }) => component === 'collector') as [Workload];
    const reported = configOf(objects, app);
    const unreported = collectorSchema.parse({ nodeName: 'node-a' });
    const hostPath = (file: string) => {
      const { mount, volume } = mountOf(app, file) as { mount: Json; volume: Json };
      return { path: volume.hostPath.path + file.slice(mount.mountPath.length), readOnly: mount.readOnly ?? false };
    };
    expect(hostPath(reported['bpfDir'])).toEqual({ path: unreported.bpfDir, readOnly: false });
    expect(hostPath(reported['stateDir'])).toEqual({ path: unreported.stateDir, readOnly: false });
    expect(reported['cniResultsDir'].map(hostPath)).toEqual(
      unreported.cniResultsDir.map((dir) => ({ path: dir, readOnly: true })),
    );
    expect(hostPath(reported['cgroupRoot'])).toEqual({ path: unreported.cgroupRoot, readOnly: true });
    const hostPaths = (app.pod.volumes as Json[]).filter(({ hostPath }) => hostPath);
    expect(hostPaths.length).toBe(4);
  });
});

describe('collectors and bus-auth', () => {
  const objects = objectsOf('included');
  const workloads = workloadsOf(objects);
  const busAuth = workloads.find(({ component }) => component === 'bus-auth') as Workload;
  const collector = workloads.find(({ component }) => component === 'collector') as Workload;

  it('bus-auth accepts the tokens that collectors present, and no other ServiceAccount’s', () => {
    const { audience, collectorNamespace, collectorServiceAccount } = configOf(objects, busAuth);
    const [{ serviceAccountToken }] = (collector.pod.volumes as Json[])
      .flatMap(({ projected }) => projected?.sources ?? [])
      .filter((source) => source.serviceAccountToken);
    expect(serviceAccountToken.audience).toBe(audience);
    expect([collectorNamespace, collectorServiceAccount]).toEqual([
      collector.object.metadata.namespace,
      collector.pod.serviceAccountName,
    ]);
    const file = String(configOf(objects, collector)['natsTokenFile']);
    const mount = mountOf(collector, file)?.mount.mountPath;
    expect(file).toBe(`${mount}/${serviceAccountToken.path}`);
  });
});
