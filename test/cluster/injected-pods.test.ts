// Pods that the webhooks of a cluster changed, with ipam-sync and a responder on one bus: guards hold
// for them as for pods that run their template, and status says which guards are weak.
import { openBucket } from '@bailiff/bus';
import { decodeSnapshotValue, type InstanceStatus, nodeSnapshot } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { INJECTIONS } from '../support/injections.ts';
import { MAIN_CONTAINER, podRuns, reportPod } from '../support/kube.ts';
import { launch, syncFlags } from './ipam-sync/harness.ts';
import { acting, NODE, Rig, type RigPod } from './responder/rig.ts';

const REPLICAS = 4;
const MERGE = 'application/merge-patch+json';
const FLOOR = { minHealthyReplicas: 3 };

/** A ReplicaSet whose pods are all made by one injection, and report ready. */
function workload(rig: Rig, name: string, inject: (spec: { containers: object[] }) => object): RigPod[] {
  const { api } = rig.api;
  const ref = { namespace: 'shop', name };
  const spec = { containers: [MAIN_CONTAINER] };
  const labels = { app: name };
  const set = api.create('replicasets.apps', {
    metadata: ref,
    spec: { replicas: REPLICAS, selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
  });
  const status = { replicas: REPLICAS, readyReplicas: REPLICAS };
  api.patch('replicasets.apps', ref, MERGE, { status }, { subresource: 'status' });
  const { uid } = set.metadata;
  const ownerReferences = [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name, uid, controller: true }];
  return Array.from({ length: REPLICAS }, (_, i) => {
    const pod = { namespace: 'shop', name: `${name}-${i}` };
    const made = api.create('pods', {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...pod, labels, ownerReferences },
      spec: { ...inject(spec), nodeName: NODE },
    });
    reportPod(api, pod, podRuns());
    return { ...pod, uid: made.metadata.uid, node: NODE };
  });
}

test('injected pods - of four replicas with a floor of three, one is deleted and the others are quarantined; a bare pod is deleted', async () => {
  await using rig = await Rig.start();
  for (const name of ['bailiff-system', 'bare']) rig.api.api.create('namespaces', { metadata: { name } });
  const all = Object.entries({ plain: (spec: object) => spec, ...INJECTIONS }).map(
    ([name, inject]) => [name, workload(rig, name, inject as never)] as const,
  );
  await rig.policies({ floor: acting('floor', [{ action: 'delete' }], FLOOR) });
  await rig.start();
  await using _sync = await launch({ flags: syncFlags(rig.nats, rig.api.kubeconfigPath(), rig.directory) });
  const listed = async () => {
    const entry = await openBucket(rig.bus, 'bailiff_pods').get(NODE.replaceAll('.', '_'));
    return entry ? nodeSnapshot.parse(JSON.parse(decodeSnapshotValue(entry.value))).pods : [];
  };
  const ownersOf = async (name: string) =>
    new Set(
      (await listed())
        .filter((pod) => pod.labels['app'] === name)
        .flatMap(({ owners }) => owners.map(({ uid }) => uid)),
    );
  await waitFor(async () => (await ownersOf('plain')).size === 1, { state: listed });

  const statusOf = async () => {
    const values = (await openBucket(rig.bus, 'bailiff_services').entries()).map(
      ({ value }) => JSON.parse(value.toString()) as InstanceStatus,
    );
    return values.find(({ service }) => service === 'ipam-sync')?.claimedMembers;
  };
  const changed = Object.keys(INJECTIONS).length;
  const weak = { pods: changed * REPLICAS, controllers: changed };
  await waitFor(async () => JSON.stringify(await statusOf()) === JSON.stringify(weak), { state: statusOf });

  for (const [name, pods] of all) {
    const [ownerUid = ''] = await ownersOf(name);
    expect(ownerUid !== '', name).toBe(name === 'plain');
    const outcomes: string[] = [];
    for (const pod of pods) {
      const verdict = await rig.verdict({ ...pod, ownerUid }, { rule: 'floor' });
      const end = await rig.until(verdict, 'delete', ['succeeded', 'refused', 'failed']);
      outcomes.push(end.phase === 'succeeded' ? 'deleted' : end.reasonCode);
      if (end.phase === 'refused') await rig.until(verdict, 'quarantine', 'succeeded');
    }
    expect(outcomes, name).toEqual(['deleted', ...Array(REPLICAS - 1).fill('below-min-healthy')]);
    expect(
      pods.filter((pod) => rig.podNow(pod) !== null),
      name,
    ).toHaveLength(REPLICAS - 1);
  }
  // Control: pods of no controller have no floor.
  for (const pod of [rig.pod({ namespace: 'bare' }), rig.pod({ namespace: 'bare' })])
    expect((await rig.until(await rig.verdict(pod, { rule: 'floor' }), 'delete', ['succeeded', 'refused'])).phase).toBe(
      'succeeded',
    );
}, 120_000);
