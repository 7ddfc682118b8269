// A tenant binds thousands of small pods to a node, whose names do not compress. ipam-sync and a
// correlator run on one bus: pods of other tenants are listed, and their violations are judged.
import { createHash } from 'node:crypto';
import { openBucket } from '@bailiff/bus';
import { podRef } from '@bailiff/correlation/testing';
import { encodeSnapshotValue, type InstanceStatus, MAX_SNAPSHOT_BYTES } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { CorrelatorRig, NODE_A } from './correlator-rig.ts';
import { launch, startWorld } from './ipam-sync/harness.ts';

/** Hexadecimal digits that hardly compress. */
const noise = (seed: number, digits: number) =>
  Array.from({ length: Math.ceil(digits / 128) }, (_, i) => createHash('sha512').update(`${seed}/${i}`).digest('hex'))
    .join('')
    .slice(0, digits);
/** More than a list held when the largest pods were only cut. */
const PODS = 1_990;

test('ipam-sync - 1,990 small pods of one tenant: a new pod of another is listed and its attack judged, the node is not blamed', async () => {
  await using world = await startWorld();
  const { api } = world.kube.server;
  for (const name of ['tenant', 'innocent']) api.create('namespaces', { metadata: { name } });
  await using rig = await CorrelatorRig.start(world.nats);
  world.node(NODE_A, ['192.0.2.1']);
  const hostile = (i: number, addresses: string[] = []) =>
    world.running(noise(i, 253), NODE_A, addresses, {
      metadata: { namespace: 'tenant' },
      spec: { serviceAccountName: noise(i + 9_000, 253) },
    });
  await using sync = await launch(world);
  await rig.correlator();
  for (let i = 0; i < PODS; i += 1) hostile(i);
  const list = async () => {
    const snapshot = await world.snapshot(NODE_A);
    return { pods: snapshot?.pods ?? [], omitted: snapshot?.omitted ?? 0, omittedFrom: snapshot?.omittedFrom };
  };
  await waitFor(async () => (await list()).pods.length + (await list()).omitted === PODS, { state: sync.metrics });
  const full = await list();
  expect(full.omittedFrom).toEqual([{ namespace: 'tenant', pods: full.omitted }]);
  expect(await sync.metric('bailiff_ipam_sync_omitted_pods')).toBe(full.omitted);
  const statuses = openBucket(world.admin, 'bailiff_services');
  const omittedPods = async () => {
    const values = (await statuses.entries()).map(({ value }) => JSON.parse(value.toString()) as InstanceStatus);
    return values.find(({ service }) => service === 'ipam-sync')?.omittedPods;
  };
  await waitFor(async () => (await omittedPods())?.total === full.omitted, { state: omittedPods });
  expect(await omittedPods()).toMatchObject({ nodes: 1, namespaces: [{ namespace: 'tenant', pods: full.omitted }] });
  // Control: all of them, each with nothing but its identity, are more than the bus stores.
  const identities = Array.from({ length: PODS }, (_, i) => [noise(i, 253), noise(i + 9_000, 253)]);
  expect(encodeSnapshotValue(JSON.stringify(identities)).length).toBeGreaterThan(MAX_SNAPSHOT_BYTES);

  const uids = {
    innocent: world.running('innocent', NODE_A, ['10.1.0.5'], { metadata: { namespace: 'innocent' } }),
    // The newest of the tenant: it runs, so others that do not are omitted instead.
    hostile: hostile(PODS, ['10.1.0.6']),
  };
  const isListed = async (uid: string) => (await list()).pods.some((pod) => pod.uid === uid);
  await waitFor(async () => (await isListed(uids.innocent)) && isListed(uids.hostile), { state: sync.metrics });
  await rig.settle();
  await rig.spoof(NODE_A, podRef('innocent', { uid: uids.innocent, namespace: 'innocent' }), 10);
  await rig.spoof(NODE_A, podRef(noise(PODS, 253), { uid: uids.hostile, namespace: 'tenant' }), 10);
  await rig.verdictCount(2);
  expect(rig.verdicts.map(({ groupKey }) => groupKey).sort()).toEqual(Object.values(uids).sort());
  expect(rig.deadLetters).toEqual([]);

  // The tenant deletes them: the list is complete again.
  for (let i = 0; i < PODS; i += 1)
    api.delete('pods', { namespace: 'tenant', name: noise(i, 253) }, { gracePeriodSeconds: 0 });
  await waitFor(async () => (await list()).omitted === 0 && (await list()).pods.length === 2, { state: sync.metrics });
  expect(await sync.metric('bailiff_ipam_sync_omitted_pods')).toBe(0);
}, 120_000);
