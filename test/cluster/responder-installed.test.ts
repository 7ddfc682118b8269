// The responder as installed: kubectl applies its manifests with `responder-narrowed`, and each
// action is carried out and undone with the token of its account. RBAC and the admission policies
// check its requests. Targets: the stand-in, which has no RBAC, and a real API server if one is
// named. Bus and Redis are the rig's; the rig's own API server is not used.
import type { ResponseActionName } from '@bailiff/policy';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { objectsWith } from '../k8s/rendered.ts';
import { MAIN_CONTAINER, podObject, podRuns } from '../support/kube.ts';
import { expectStatus } from './contract/fixtures.ts';
import {
  applyObjects,
  type KubectlTarget,
  kubectlTargets,
  NO_REAL,
  type Seat,
  START_TIMEOUT_MS,
} from './contract/kubectl-target.ts';
import { acting, Rig, type RigPod } from './responder/rig.ts';

const ACCOUNT = { namespace: 'bailiff-system', name: 'bailiff-responder' };
const ACTIONS: readonly ResponseActionName[] = ['observe', 'label', 'quarantine', 'evict', 'delete', 'cordon'];
const [PODS, APPS] = ['/api/v1/namespaces/shop/pods', '/apis/apps/v1/namespaces/shop'];
const targets = kubectlTargets(process.env);

describe.each(targets)('responder installed: $name', ({ start }) => {
  let target: KubectlTarget;
  let seat: Seat;
  let rig: Rig;
  let owner: { name: string; uid: string };

  beforeAll(async () => {
    [target, rig] = await Promise.all([start([ACCOUNT]), Rig.start()]);
    const { code, stderr } = await applyObjects(target, objectsWith('included', ['responder-narrowed']));
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    seat = await target.as(ACCOUNT);
    const made = async (path: string, object: object) => expectStatus(await target.client.post(path, object), 201).body;
    await made('/api/v1/namespaces', { metadata: { name: 'shop' } });
    const template = { metadata: { labels: { app: 'web' } }, spec: { containers: [MAIN_CONTAINER] } };
    const spec = { replicas: 9, selector: { matchLabels: { app: 'web' } }, template };
    owner = (await made(`${APPS}/replicasets`, { metadata: { name: 'web' }, spec }))['metadata'];
    const status = { replicas: 9, readyReplicas: 9 };
    expectStatus(await target.client.patch(`${APPS}/replicasets/web/status`, 'merge', { status }), 200);
    const steps = (action: ResponseActionName) => [
      ['label', 'quarantine', 'cordon'].includes(action) ? { action, expires: '4s' } : { action },
    ];
    await rig.policies(Object.fromEntries(ACTIONS.map((action) => [action, acting(action, steps(action))])));
    await rig.start({ kubeconfig: seat.kubeconfig });
  }, START_TIMEOUT_MS);
  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]();
    await target?.[Symbol.asyncDispose]();
  });

  const read = async (path: string) => expectStatus(await target.client.get(path), 200).body;
  const podOn = async (name: string, node: string): Promise<RigPod> => {
    const ownerReferences = [
      { apiVersion: 'apps/v1', kind: 'ReplicaSet', controller: true, name: owner.name, uid: owner.uid },
    ];
    const object = podObject(name, {
      metadata: { labels: { app: 'web' }, ownerReferences },
      spec: { schedulerName: 'nobody', nodeName: node },
    });
    const { metadata } = expectStatus(await target.client.post(PODS, object), 201).body;
    expectStatus(await target.client.patch(`${PODS}/${name}/status`, 'merge', { status: podRuns() }), 200);
    return { namespace: 'shop', name, uid: metadata.uid, node };
  };
  /** A pod of its own, and the completed action on it. */
  const carriedOut = async (action: ResponseActionName) => {
    const pod = await podOn(`for-${action}`, `node-of-${action}`);
    const verdict = await rig.verdict(pod, { rule: action });
    await rig.until(verdict, action, 'succeeded');
    return { pod, verdict, path: `${PODS}/${pod.name}` };
  };

  test('the policies are in force for its account', async () => {
    const { name } = await podOn('guarded', 'somewhere');
    const spec = { containers: [{ name: 'main', image: 'evil' }] };
    const printed = async () =>
      (await seat.client.patch(`${PODS}/${name}`, 'strategic', { spec })).body['message'] as string | undefined;
    await waitFor(async () => (await printed())?.includes("changes nothing of a pod's spec"), { what: 'the refusal' });
  });

  test('observe - an Event', async () => {
    const { pod } = await carriedOut('observe');
    const events = await read('/api/v1/namespaces/shop/events');
    expect(events['items'].map(({ involvedObject }: { involvedObject: object }) => involvedObject)).toEqual([
      expect.objectContaining({ kind: 'Pod', name: pod.name, uid: pod.uid }),
    ]);
  });

  test('label - set, and removed when it expires; other labels stay', async () => {
    const { verdict, path } = await carriedOut('label');
    expect((await read(path))['metadata'].labels).toEqual({ app: 'web', 'bailiff.dev/verdict': 'medium' });
    await rig.until(verdict, 'label', 'undone');
    const { labels, annotations = {} } = (await read(path))['metadata'];
    expect([labels, annotations]).toEqual([{ app: 'web' }, {}]);
  });

  test('quarantine - sets label and record, and removes both when it expires', async () => {
    const { pod, verdict, path } = await carriedOut('quarantine');
    expect((await read(path))['metadata'].labels['bailiff.dev/quarantine']).toBe(pod.uid);
    const record = `/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/bailiff-quarantine-${pod.uid}`;
    expect((await read(record))['metadata'].ownerReferences).toMatchObject([{ kind: 'Pod', uid: pod.uid }]);
    await rig.until(verdict, 'quarantine', 'undone');
    expect((await read(path))['metadata'].labels).toEqual({ app: 'web' });
    expect((await target.client.get(record)).status).toBe(404);
  });

  test('cordon - set with its mark and removed with it on expiry; another user’s cordon is left alone', async () => {
    const [ours, theirs] = ['node-of-cordon', 'node-of-others'];
    for (const name of [ours, theirs])
      expectStatus(await target.client.post('/api/v1/nodes', { metadata: { name, annotations: { note: 'x' } } }), 201);
    const before = await read(`/api/v1/nodes/${ours}`);
    const { verdict } = await carriedOut('cordon');
    const during = await read(`/api/v1/nodes/${ours}`);
    expect([during['spec'].unschedulable, during['metadata'].annotations]).toEqual([
      true,
      { note: 'x', 'bailiff.dev/cordoned-by': expect.stringMatching(`^${verdict.verdictId}/cordon/20`) },
    ]);
    await rig.until(verdict, 'cordon', 'undone');
    const after = await read(`/api/v1/nodes/${ours}`);
    expect([after['spec'], after['metadata'].annotations]).toEqual([before['spec'], { note: 'x' }]);
    await target.kubectl.ok('cordon', theirs as string);
    const second = await rig.verdict(await podOn('for-others', theirs as string), { rule: 'cordon' });
    expect(await rig.until(second, 'cordon', 'refused')).toMatchObject({ reasonCode: 'already-cordoned' });
  });

  test.each(['evict', 'delete'] as const)('%s - the pod is deleted', async (action) => {
    const pod = await podOn(`for-${action}`, `node-of-${action}`);
    const verdict = await rig.verdict(pod, { rule: action });
    const isMarked = async () =>
      (await target.client.get(`${PODS}/${pod.name}`)).body['metadata']?.deletionTimestamp !== undefined;
    await waitFor(isMarked, { what: 'the pod to be marked for deletion' });
    // As its kubelet would, if it had one.
    await target.kubectl.ok('delete', 'pod', '-n', 'shop', pod.name, '--grace-period=0', '--force');
    expect((await rig.until(verdict, action, 'succeeded')).phase).toBe('succeeded');
    expect((await target.client.get(`${PODS}/${pod.name}`)).status).toBe(404);
  });
});

if (targets.length === 1) test('responder installed: a real API server', ({ skip }) => skip(NO_REAL));
