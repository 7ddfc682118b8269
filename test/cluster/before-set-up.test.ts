// Every app on a bus without its topology, as in a cluster where everything starts at once. The app
// waits, logs why, and works once the topology exists.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { ensureTopology } from '@bailiff/bus';
import { freePort, startNats } from '@bailiff/bus/testing';
import { keyOf } from '@bailiff/evidence/testing';
import { type ApiServer, startApiServer } from '@bailiff/lab/apiserver';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launchApp } from '../support/process.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';

const directory = temporaryDirectory();
let api: ApiServer;
let redis: TestRedis;
beforeAll(async () => {
  api = await startApiServer({ certDir: path.join(directory, 'certs') });
  api.api.create('namespaces', { metadata: { name: 'bailiff-system' } });
  redis = await startRedis();
}, 60_000);
afterAll(async () => {
  await redis?.[Symbol.asyncDispose]();
  await api?.close();
});

const passwordFile = (app: string) => path.join(directory, `${app}.password`);

function launch(app: string, natsUrl: string, probes: string, secret = `password-of-${app}`) {
  const password = passwordFile(app);
  writeFileSync(password, secret, { mode: 0o600 });
  const kube = ['--kubeconfig', api.kubeconfigPath()];
  const key = path.join(directory, 'key.pem');
  writeFileSync(key, keyOf(1).privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
  const log = ['--directory', path.join(directory, 'log'), '--origin', 'bailiff.test/log', '--key-file', key];
  const more: Record<string, string[]> = {
    responder: [...kube, '--redis-url', redis.url],
    'ipam-sync': kube,
    'evidence-log': [...log, '--listen-address', '127.0.0.1:0'],
  };
  const flags = ['--nats-url', natsUrl, '--nats-password-file', password, '--probe-address', probes];
  return launchApp(app, [...flags, ...(more[app] ?? [])]);
}

it.each([
  ['correlator', 'VIOLATIONS'],
  ['responder', 'VIOLATIONS'],
  ['siem-relay', 'VIOLATIONS'],
  ['evidence-log', 'CONFIG_LOG'],
  ['ipam-sync', 'KV_bailiff_pods'],
])(
  '%s - waits for the setup of the bus and is ready after it',
  async (app, missing) => {
    await using nats = await startNats();
    const probes = `127.0.0.1:${await freePort()}`;
    await using running = launch(app, nats.url, probes);
    const state = { report: { ok: true, checks: {} as Record<string, string> }, out: running.out };
    const readiness = async () => {
      const response = await fetch(`http://${probes}/readyz`);
      state.report = (await response.json()) as typeof state.report;
      return response.status;
    };
    const reported = async () =>
      (await readiness()) === 503 && String(state.report.checks['topology']).includes(missing);
    await waitFor(reported, {
      what: 'it to report what it waits for',
      timeoutMs: 30_000,
      state: () => [state.report, state.out()],
    });
    expect(state.report.checks['topology']).toBe(
      `the bus has no stream ${missing}: \`bailiff bus setup\` creates it; in Kubernetes, the Job bailiff-bus-setup does`,
    );
    const printed = () => running.out().match(/waiting for the setup of the bus/g) ?? [];
    await waitFor(() => printed().length > 0, { what: 'its log to report it', state: running.out });
    const admin = await nats.connect('admin');
    // The app is stopped meanwhile: with half of the streams it would log another reason.
    running.child.kill('SIGSTOP');
    await ensureTopology(admin);
    running.child.kill('SIGCONT');
    const ready = async () => (await readiness()) === 200 && running.out().includes('"msg":"ready"');
    await waitFor(ready, { what: 'it to be ready', timeoutMs: 30_000, state: () => [state.report, state.out()] });
    expect(printed()).toHaveLength(1);
    running.child.kill('SIGTERM');
    expect(await running.exit, running.out()).toEqual([0, null]);
  },
  90_000,
);

it.each(['correlator', 'responder', 'siem-relay', 'ipam-sync', 'evidence-log'])(
  '%s - SIGTERM while it waits ends it with 0',
  async (app) => {
    await using nats = await startNats();
    await using running = launch(app, nats.url, '127.0.0.1:0');
    await waitFor(() => running.out().includes('waiting for the setup'), { timeoutMs: 30_000, state: running.out });
    running.child.kill('SIGTERM');
    expect(await running.exit, running.out()).toEqual([0, null]);
  },
  60_000,
);

it.each(['correlator', 'responder', 'siem-relay', 'ipam-sync', 'evidence-log'])(
  '%s - a refused login at its start is logged once, and the next content of its password file is used',
  async (app) => {
    await using nats = await startNats();
    await ensureTopology(await nats.connect('admin'));
    await using running = launch(app, nats.url, '127.0.0.1:0', 'wrong');
    const reported = () => running.out().match(/the bus rejects the login/g) ?? [];
    await waitFor(() => reported().length > 0, { timeoutMs: 30_000, state: running.out });
    writeFileSync(passwordFile(app), `password-of-${app}`, { mode: 0o600 });
    await waitFor(() => running.out().includes('"msg":"ready"'), { timeoutMs: 30_000, state: running.out });
    expect(reported()).toHaveLength(1);
    running.child.kill('SIGTERM');
    expect(await running.exit, running.out()).toEqual([0, null]);
  },
  60_000,
);
