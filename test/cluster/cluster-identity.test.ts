// Events name their cluster: ipam-sync reads the UID of kube-system with the rights of its manifests,
// and the siem-relay renders it with the configured name in every format.
import { type Bucket, openBucket } from '@bailiff/bus';
import { decodeSnapshotValue } from '@bailiff/schemas';
import { sampleViolation } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { launch, startWorld } from './ipam-sync/harness.ts';
import { RelayRig } from './siem-relay-rig.ts';

it('cluster - ipam-sync publishes the UID of kube-system and the configured name', async () => {
  await using world = await startWorld();
  const uid = world.kube.server.store.get('namespaces', 'kube-system')?.metadata.uid;
  expect(uid).toMatch(/^[0-9a-f-]{36}$/);
  world.node('node-1', ['10.0.0.1']);
  await using _ = await launch(world, ['--cluster-name', 'shop-eu']);
  await waitFor(async () => (await clusterOf(world.pods)) !== undefined, { what: 'the list of the cluster' });
  expect(await clusterOf(world.pods)).toEqual({ uid, name: 'shop-eu' });
});

it('cluster - every format of an event names it; without one, none does', async () => {
  await using rig = await RelayRig.start();
  const flags = ['--formats', 'ocsf,ecs,cef'];
  const before = await rig.relay(flags);
  await rig.violations();
  await rig.eventCount(3);
  expect(rig.events.map(({ text }) => text).join(' ')).not.toMatch(/cluster|deviceExternalId/);
  await before.stop();
  const cluster = { uid: '6d3bd2f2-0a5a-4a7e-9b0c-5f2f1f0f9a10', name: 'shop-eu' };
  await openBucket(rig.admin, 'bailiff_pods').put('_cluster', JSON.stringify({ revision: 1, nodes: [], cluster }));
  await rig.relay(flags);
  await rig.violations([sampleViolation()]);
  await rig.eventCount(6);
  const [ocsf, ecs, cef] = ['ocsf', 'ecs', 'cef'].map(
    (format) => rig.events.slice(3).find(({ subject }) => subject.includes(`.${format}.`))?.text ?? '',
  );
  expect(JSON.parse(ocsf as string)).toMatchObject({
    unmapped: { k8s: { cluster_uid: cluster.uid, cluster_name: cluster.name } },
  });
  expect(JSON.parse(ecs as string)).toMatchObject({
    orchestrator: { cluster: { id: cluster.uid, name: cluster.name } },
  });
  expect(cef).toContain(`deviceExternalId=${cluster.uid} deviceFacility=${cluster.name}`);
});

async function clusterOf(bucket: Bucket): Promise<unknown> {
  const entry = await bucket.get('_cluster');
  return entry ? JSON.parse(decodeSnapshotValue(entry.value)).cluster : undefined;
}
