/** ipam-sync with an account that lacks a right: status says so, and the API server is not flooded. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { expect, onTestFinished, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { runCli } from '../../apps/cli/src/testing.ts';
import { IPAM_SYNC_USER, launch, SHORT_LEASE, startWorld } from './ipam-sync/harness.ts';

const CRDS = path.resolve(import.meta.dirname, '../../k8s/crds');
const dir = temporaryDirectory();

/** With the custom resources installed, and one verb refused. */
async function world(resource: string, verb = 'watch') {
  const made = await startWorld();
  onTestFinished(() => made[Symbol.asyncDispose]());
  const { api, faults } = made.kube.server;
  for (const file of readdirSync(CRDS).filter((name) => name !== 'kustomization.yaml')) {
    const [crd] = parseAllDocuments(readFileSync(path.join(CRDS, file), 'utf8'));
    api.create('customresourcedefinitions.apiextensions.k8s.io', crd?.toJS());
  }
  const refused = { verb, resource, user: IPAM_SYNC_USER, status: 403, message: `cannot ${verb} ${resource}` };
  const fault = faults.inject({ ...refused, times: Number.POSITIVE_INFINITY });
  const file = path.join(dir, `password-${resource}`);
  writeFileSync(file, 'password-of-cli', { mode: 0o600 });
  const env = { BAILIFF_NATS_URL: made.nats.url, BAILIFF_NATS_PASSWORD_FILE: file };
  const status = async () => (await runCli(['status'], { home: dir, env })).stdout.replace(/\s+/g, ' ');
  return { ...made, fault, status };
}

test.each([
  ['pods', /ipam-sync: 1 running, not ready \(.*pods: watch .*cannot watch pods/],
  ['runtimepolicies', /ipam-sync: does not accept RuntimePolicy, .*cannot watch runtimepolicies/],
])('%s that may be listed and not watched are named, until they may be watched', async (resource, named) => {
  const { kube, flags, fault, status } = await world(resource);
  await using _sync = await launch({ flags }, ['--mirror-retry-ms', '1000'], { ready: false });
  await waitFor(async () => named.test(await status()), { state: status, timeoutMs: 30_000 });
  // One attempt within each retryMs; without a pause, there were about thirty a second.
  const startMs = performance.now();
  const before = kube.server.requests.count({ resource });
  await waitFor(() => kube.server.requests.count({ resource }) >= before + 4, { timeoutMs: 30_000 });
  if (resource === 'runtimepolicies') expect(performance.now() - startMs).toBeGreaterThan(900);
  fault.remove();
  await waitFor(async () => !named.test(await status()), { state: status, timeoutMs: 60_000 });
});

test('templates of a kind that may not be read are named: the pods of these controllers have no owner', async () => {
  const made = await world('replicasets', 'get');
  await using _sync = await launch({ flags: made.flags }, [], { ready: false });
  const named = /ipam-sync: 1 running, not ready \(owners: GET .*cannot get replicasets/;
  expect(await made.status(), 'control: no pod has such a controller').not.toMatch(named);
  const controller = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web-1', uid: 'uid', controller: true };
  made.running('web-1-a', 'node-1', [], { metadata: { ownerReferences: [controller] } });
  await waitFor(async () => named.test(await made.status()), { state: made.status, timeoutMs: 30_000 });
  made.fault.remove();
  await waitFor(async () => !named.test(await made.status()), { state: made.status, timeoutMs: 60_000 });
});

test.each(['get', 'create', 'update'])(
  'a lease that this account cannot %s is named, until it can: none leads meanwhile',
  async (verb) => {
    const { flags, fault, status } = await world('leases', verb);
    await using _sync = await launch({ flags }, [...SHORT_LEASE], { ready: false });
    const named = new RegExp(`ipam-sync: 1 running, not ready \\(.*lease: .*cannot ${verb} leases.*none leads`);
    await waitFor(async () => named.test(await status()), { state: status, timeoutMs: 30_000 });
    fault.remove();
    const leads = /ipam-sync: 1 running, 1 leads, up to date/;
    await waitFor(async () => leads.test(await status()), { state: status, timeoutMs: 60_000 });
  },
);
