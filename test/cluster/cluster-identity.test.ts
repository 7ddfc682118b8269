// Events name their cluster: ipam-sync reads the UID of kube-system with the rights of its manifests.
// Collectors, correlator and responder write it and the configured name into the headers of their
// messages, and the siem-relay renders both in every format.
import { type Bucket, type Bus, getNextMessage, lastSequence, openBucket } from '@bailiff/bus';
import { podRef } from '@bailiff/correlation/testing';
import { decodeSnapshotValue } from '@bailiff/schemas';
import { sampleViolation } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { TestNode } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';
import { CorrelatorRig, NODE_A } from './correlator-rig.ts';
import { launch, startWorld } from './ipam-sync/harness.ts';
import { acting, Rig } from './responder/rig.ts';
import { RelayRig } from './siem-relay-rig.ts';

const cluster = { uid: '6d3bd2f2-0a5a-4a7e-9b0c-5f2f1f0f9a10', name: 'shop eu' };
const list = JSON.stringify({ revision: 1, nodes: [], cluster });
const name = (admin: Bus) => openBucket(admin, 'bailiff_pods').put('_cluster', list);

/** Attributes of the newest message of a stream. */
async function namedBy(bus: Bus, stream: string): Promise<unknown> {
  const message = await getNextMessage(bus, stream, await lastSequence(bus, stream), '>');
  return message && [message.headers?.get('ce-clusteruid'), message.headers?.get('ce-clustername')];
}
const NAMED = [cluster.uid, 'shop%20eu'];

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
  await name(rig.admin);
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

it('cluster - a verdict of the correlator names it; without one, none does', async () => {
  await using rig = await CorrelatorRig.start();
  const [before, after] = [podRef('before'), podRef('after')];
  await rig.list(NODE_A, [before, after]);
  await rig.settle();
  const unnamed = await rig.correlator();
  await rig.spoof(NODE_A, before, 10);
  await rig.verdictCount(1);
  expect(await namedBy(rig.admin, 'VERDICTS')).toEqual(['', '']);
  await unnamed.stop();
  await name(rig.admin);
  await rig.correlator();
  await rig.spoof(NODE_A, after, 10);
  await rig.verdictCount(2);
  expect(await namedBy(rig.admin, 'VERDICTS')).toEqual(NAMED);
});

it('cluster - a response of the responder names it', async () => {
  await using rig = await Rig.start();
  await name(rig.bus);
  await rig.policies({ mark: acting('mark', [{ action: 'label' }]) });
  await rig.start();
  const verdict = await rig.verdict(rig.pod(), { rule: 'mark' });
  await rig.until(verdict, 'label', 'succeeded');
  expect(await namedBy(rig.bus, 'RESPONSES')).toEqual(NAMED);
});

it('cluster - a frame of a collector names it', async () => {
  await using node = await TestNode.start();
  await name(node.admin);
  const pod = await node.addPod();
  await node.startCollector();
  await node.waitForState(pod, 'provisional');
  await node.putPods(1);
  await node.waitForState(pod, 'programmed');
  const frame = udpFrame({ sourceMac: pod.mac, source: '10.9.9.9', destination: '10.244.0.1' });
  // The first frame may be older than the list.
  let named: unknown;
  const sent = async () => {
    await node.send(pod, [frame], 1);
    named = await namedBy(node.admin, 'VIOLATIONS');
    return String(named) === String(NAMED);
  };
  await waitFor(sent, { what: 'a frame with the name', intervalMs: 100, state: () => [named, node.log.slice(-2_000)] });
});

async function clusterOf(bucket: Bucket): Promise<unknown> {
  const entry = await bucket.get('_cluster');
  return entry ? JSON.parse(decodeSnapshotValue(entry.value)).cluster : undefined;
}
