// Manifests against the output of `bailiff credentials init --kubernetes`: Secrets, their keys, and
// the address of the bus.

import { DEFAULT_MAX_FILE_BYTES } from '@bailiff/bus';
import { newSeed } from '@bailiff/bus/auth';
import { describe, expect, it } from 'vitest';
import * as names from '../../apps/cli/src/operate/credentials/names.ts';
import { clusterConf, secrets } from '../../apps/cli/src/operate/credentials/render.ts';
import { init, type Makers } from '../../apps/cli/src/operate/credentials/rotation.ts';
import { makeProgram } from '../../apps/cli/src/run.ts';
import { envNameOf } from '../../apps/cli/src/shared/bus/connection.ts';
import { captureCli } from '../../apps/cli/src/testing.ts';
import {
  environmentOf,
  expand,
  type Json,
  mountOf,
  named,
  OVERLAYS,
  objectsOf,
  ofKind,
  secretsOf,
  type Workload,
  workloadsOf,
} from './rendered.ts';

const NAMESPACE = names.DEFAULT_NAMESPACE;
/** Of the included bus; a bus of your own is taken for a cluster. */
const REPLICAS: Record<string, number> = { included: 1, external: 3 };
/** Enough for routes, which one server has not. */
const SERVERS = 3;
let made = 0;
const makers: Makers = {
  password: () => {
    made += 1;
    return `password-${made}`;
  },
  hash: async (password) => `hash of ${password}`,
  issuer: () => newSeed('issuer'),
  xkey: () => newSeed('xkey'),
  authority: async () => ({ certificate: 'ca', key: 'ca key' }),
  server: async () => ({ certificate: 'certificate', key: 'key' }),
  now: () => new Date(0).toISOString(),
};
const dnsNames = names.defaultDnsNames(NAMESPACE);
const credentials = await init({ namespace: NAMESPACE, replicas: SERVERS, dnsNames }, makers);
const content = secrets(credentials);

describe.each(OVERLAYS)('%s', (overlay) => {
  const objects = objectsOf(overlay);
  const workloads = workloadsOf(objects);

  it('every object is in the namespace of the credentials', () => {
    const cluster = ['Namespace', 'CustomResourceDefinition', 'ClusterRole', 'ClusterRoleBinding'];
    const elsewhere = objects.filter(
      ({ kind, metadata }) => !cluster.includes(kind) && metadata.namespace !== NAMESPACE,
    );
    expect(elsewhere).toEqual([]);
    named(objects, 'Namespace', NAMESPACE);
  });

  it.each(workloads)('$name - every Secret that it mounts is created, with the files that it refers to', (workload) => {
    const uses = secretsOf(workload);
    for (const { secret } of uses) expect(Object.keys(content)).toContain(secret);
    const files = Object.values(environmentOf(objects, workload.container)).filter((value) =>
      value.startsWith('/etc/bailiff/'),
    );
    const given = uses.flatMap(({ secret, directory }) =>
      Object.keys(content[secret] ?? {}).map((key) => `${directory}/${key}`),
    );
    // The kubelet provides the collector's token.
    for (const file of files) if (!file.endsWith('/token')) expect(given).toContain(file);
  });

  it.each(workloads)('$name - no secret is in its environment or on its command line', ({ pod, container }) => {
    for (const { valueFrom } of container.env ?? []) expect(valueFrom?.secretKeyRef).toBeUndefined();
    expect(container.envFrom).toBeUndefined();
    expect(pod.initContainers).toBeUndefined();
  });

  it.each([
    [{}, { replicas: REPLICAS[overlay], keepDays: '', keepBytes: '', wait: '25m' }],
    [
      { KEEP_DAYS: '30', KEEP_BYTES: '20GiB' },
      { replicas: REPLICAS[overlay], keepDays: 30, keepBytes: 20 * 1024 ** 3, wait: '25m' },
    ],
  ])('bus setup - the command in the manifest is valid: with %o', async (settings, options) => {
    const job = workloads.find(({ component }) => component === 'bus-setup') as Workload;
    // A variable that is not set is empty; the command ignores it.
    const env: Record<string, string> = { ...environmentOf(objects, job.container), ...settings };
    const args = (job.container.args as string[]).map((word) => expand(word, env));
    const { io, stderr } = captureCli();
    const program = makeProgram(io);
    const wanted: unknown[] = [];
    const setup = program.commands.find((one) => one.name() === 'bus')?.commands.find((one) => one.name() === 'setup');
    setup?.action((options) => void wanted.push(options));
    await program.parseAsync(args, { from: 'user' });
    expect(wanted, stderr()).toEqual([options]);
    const known = ['natsUrl', 'natsUser', 'natsPasswordFile', 'natsCaFile'].map((key) => envNameOf(key as 'natsUrl'));
    expect(Object.keys(env).filter((name) => name.startsWith('BAILIFF_'))).toEqual(known);
    expect(env['BAILIFF_NATS_USER']).toBe('admin');
  });
});

describe('the included bus', () => {
  const objects = objectsOf('included');
  const workloads = workloadsOf(objects);
  const nats = workloads.find(({ component }) => component === 'nats') as Workload;
  const address = (key: string) => new URL(ofKind(objects, 'ConfigMap').find(({ data }) => data[key])?.data[key]);

  it('clients use a name from its certificate and a port of its Service', () => {
    const { hostname, port } = address('natsUrl');
    expect(dnsNames).toContain(hostname);
    const service = named(objects, 'Service', hostname.split('.')[0] as string);
    expect(service.spec.ports).toContainEqual({ name: 'nats', port: Number(port), targetPort: 'nats' });
    expect(service.spec.selector['app.kubernetes.io/component']).toBe(nats.component);
    expect(hostname.split('.')[0]).toBe(names.NATS_NAME);
  });

  it('servers find each other at the configured addresses', () => {
    expect(nats.name).toBe(names.NATS_NAME);
    expect(nats.replicas).toBe(REPLICAS['included']);
    expect(nats.object.spec.serviceName).toBe(names.NATS_HEADLESS);
    const headless = named(objects, 'Service', names.NATS_HEADLESS);
    expect(headless.spec).toMatchObject({ clusterIP: 'None', publishNotReadyAddresses: true });
    const pods = Array.from(
      { length: SERVERS },
      (_, index) => `${nats.name}-${index}.${headless.metadata.name}.${NAMESPACE}.svc`,
    );
    expect(names.routesOf(NAMESPACE, SERVERS)).toEqual(pods.map((pod) => `${pod}:${names.NATS_CLUSTER_PORT}`));
    expect(ofKind(objects, 'ConfigMap').find(({ data }) => data.natsReplicas)?.data.natsReplicas).toBe(
      String(nats.replicas),
    );
  });

  it('the files of every path, port and variable in its configuration exist', () => {
    const conf = clusterConf(credentials);
    const { container } = nats;
    expect(container.args).toEqual(['--config', `${names.NATS_CONF_DIR}/nats.conf`]);
    const ports = Object.fromEntries(
      (container.ports as Json[]).map(({ name, containerPort }) => [name, containerPort]),
    );
    expect(ports).toEqual({
      nats: names.NATS_CLIENT_PORT,
      cluster: names.NATS_CLUSTER_PORT,
      monitor: names.NATS_MONITOR_PORT,
    });
    for (const port of Object.values(ports)) expect(conf).toContain(`0.0.0.0:${port}"`);
    expect(conf).toContain(`$${names.NATS_NAME_VARIABLE}`);
    expect(Object.keys(environmentOf(objects, container))).toContain(names.NATS_NAME_VARIABLE);
    expect(mountOf(nats, `${names.NATS_CONF_DIR}/nats.conf`)?.volume.secret.secretName).toBe(names.SECRETS.natsConf);
    expect(mountOf(nats, `${names.NATS_TLS_DIR}/tls.crt`)?.volume.secret.secretName).toBe(names.SECRETS.natsTls);
    expect(conf).toContain(`store_dir: "${names.NATS_STORE_DIR}"`);
    expect(container.volumeMounts).toContainEqual({ name: 'data', mountPath: names.NATS_STORE_DIR });
    const [claim] = nats.object.spec.volumeClaimTemplates as Json[];
    expect(Number.parseInt(claim.spec.resources.requests.storage, 10) * 1024 ** 3).toBeGreaterThan(
      DEFAULT_MAX_FILE_BYTES,
    );
  });

  it('the servers free memory before they reach the limit', () => {
    const mebibytes = (text: string) => Number.parseInt(text, 10) * (/^\d+Gi/.test(text) ? 1024 : 1);
    const soft = mebibytes(environmentOf(objects, nats.container)['GOMEMLIMIT'] ?? '');
    const limit = mebibytes(nats.container.resources.limits.memory);
    expect(soft / limit).toBeGreaterThan(0.8);
    expect(soft / limit).toBeLessThan(0.95);
  });

  it('Redis is at the address that the responder uses', () => {
    const { hostname, port } = address('redisUrl');
    const service = named(objects, 'Service', hostname.split('.')[0] as string);
    expect(hostname).toBe(`${service.metadata.name}.${NAMESPACE}.svc`);
    expect(service.spec.ports).toEqual([{ name: 'redis', port: Number(port), targetPort: 'redis' }]);
    const valkey = workloads.find(({ component }) => component === 'valkey') as Workload;
    expect(valkey.container.ports).toEqual([{ name: 'redis', containerPort: Number(port) }]);
    expect(service.spec.selector['app.kubernetes.io/component']).toBe('valkey');
  });
});
