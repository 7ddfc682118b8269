// Contract: deletion - grace, preconditions, finalizers, collections, and eviction under a budget.

import { waitFor } from '@bailiff/service/testing';
import { expect, onTestFinished, test } from 'vitest';
import {
  type Bench,
  createConfigMap,
  createPod,
  expectFailure,
  expectStatus,
  makeBench,
  names,
  reportReady,
  uniqueName,
} from './fixtures.ts';

const foreignUid = 'c0ffee00-0000-4000-8000-000000000000';

export function deletionTests(bench: () => Bench): void {
  test('delete - a bound pod is marked first and removed when its node confirms', async () => {
    const { api, path } = bench();
    const pod = await createPod(bench(), 'graceful', { bound: true });
    const version = pod['metadata'].resourceVersion;
    const watch = await api.watch(
      `${path('pods')}?watch=1&resourceVersion=${version}&fieldSelector=metadata.name%3Dgraceful`,
    );
    onTestFinished(() => watch.close());
    const marked = expectStatus(await api.delete(path('pods', 'graceful')), 200).body;
    expect(marked).toMatchObject({
      kind: 'Pod',
      metadata: { deletionGracePeriodSeconds: 30, uid: pod['metadata'].uid },
    });
    const deadlineMs = Date.parse(marked['metadata'].deletionTimestamp) - Date.now();
    expect(deadlineMs).toBeGreaterThan(20_000);
    const again = expectStatus(await api.delete(path('pods', 'graceful')), 200).body;
    expect(again['metadata'].resourceVersion).toBe(marked['metadata'].resourceVersion);
    const shorter = expectStatus(await api.delete(path('pods', 'graceful'), { gracePeriodSeconds: 5 }), 200).body;
    expect(shorter['metadata'].deletionGracePeriodSeconds).toBe(5);
    expect(Date.parse(shorter['metadata'].deletionTimestamp)).toBeLessThan(
      Date.parse(marked['metadata'].deletionTimestamp),
    );
    expectStatus(
      await api.delete(path('pods', 'graceful'), {
        gracePeriodSeconds: 0,
        preconditions: { uid: pod['metadata'].uid },
      }),
      200,
    );
    expectStatus(await api.get(path('pods', 'graceful')), 404);
    await waitFor(() => watch.events.at(-1)?.type === 'DELETED', { what: 'the last event' });
    expect(watch.events.map((event) => event.type)).toEqual(['MODIFIED', 'MODIFIED', 'MODIFIED', 'DELETED']);
  });

  test('delete - a name is free again only when the pod is removed', async () => {
    const { api, path } = bench();
    const first = await createPod(bench(), 'reborn', { bound: true });
    await api.delete(path('pods', 'reborn'));
    const body = { metadata: { name: 'reborn' }, spec: first['spec'] };
    const status = expectFailure(await api.post(path('pods'), body), 409, 'AlreadyExists');
    expect(status['message']).toBe('object is being deleted: pods "reborn" already exists');
    await api.delete(path('pods', 'reborn'), { gracePeriodSeconds: 0 });
    const second = await createPod(bench(), 'reborn', { bound: true });
    expect(second['metadata'].uid).not.toBe(first['metadata'].uid);
    const stale = { preconditions: { uid: first['metadata'].uid } };
    const refused = expectFailure(await api.delete(path('pods', 'reborn'), stale), 409, 'Conflict');
    expect(refused['message']).toMatch(/the UID in the precondition .* does not match the UID in record/);
    expect((await api.get(path('pods', 'reborn'))).body['metadata'].deletionTimestamp).toBeUndefined();
  });

  test('delete - a pod without a node is removed at once', async () => {
    const { api, path } = bench();
    await createPod(bench(), 'unbound');
    expectStatus(await api.delete(path('pods', 'unbound')), 200);
    expectStatus(await api.get(path('pods', 'unbound')), 404);
  });

  test('delete - a pod that has ended is removed at once', async () => {
    const { api, path } = bench();
    await createPod(bench(), 'ended', { bound: true });
    await api.patch(path('pods', 'ended/status'), 'merge', { status: { phase: 'Succeeded' } });
    expectStatus(await api.delete(path('pods', 'ended')), 200);
    expectStatus(await api.get(path('pods', 'ended')), 404);
  });

  test('delete - an old version as precondition is a Conflict', async () => {
    const { api, path } = bench();
    const map = await createConfigMap(bench(), 'conditional');
    const old = { preconditions: { resourceVersion: map['metadata'].resourceVersion } };
    const now = (await api.patch(path('configmaps', 'conditional'), 'merge', { data: { key: '2' } })).body;
    expectFailure(await api.delete(path('configmaps', 'conditional'), old), 409, 'Conflict');
    const right = { preconditions: { resourceVersion: now['metadata'].resourceVersion, uid: map['metadata'].uid } };
    const gone = expectStatus(await api.delete(path('configmaps', 'conditional'), right), 200).body;
    expect(gone).toMatchObject({
      kind: 'Status',
      status: 'Success',
      details: { name: 'conditional', kind: 'configmaps', uid: map['metadata'].uid },
    });
    expectFailure(await api.delete(path('configmaps', 'conditional')), 404, 'NotFound');
  });

  test('delete - dryRun leaves the object', async () => {
    const { api, path } = bench();
    await createConfigMap(bench(), 'spared');
    expectStatus(await api.delete(path('configmaps', 'spared'), { dryRun: ['All'] }), 200);
    expectStatus(await api.get(path('configmaps', 'spared')), 200);
  });

  test('delete - finalizers keep an object until the last one is removed', async () => {
    const { api, path } = bench();
    const body = { metadata: { name: 'held', finalizers: ['bailiff.dev/one', 'bailiff.dev/two'] } };
    expectStatus(await api.post(path('configmaps'), body), 201);
    const marked = expectStatus(await api.delete(path('configmaps', 'held')), 200).body;
    expect(marked).toMatchObject({ kind: 'ConfigMap', metadata: { deletionGracePeriodSeconds: 0 } });
    const set = (finalizers: string[]) => api.patch(path('configmaps', 'held'), 'merge', { metadata: { finalizers } });
    expectFailure(await set(['bailiff.dev/one', 'bailiff.dev/three']), 422, 'Invalid');
    expectStatus(await set(['bailiff.dev/one']), 200);
    expectStatus(await api.get(path('configmaps', 'held')), 200);
    expectStatus(await set([]), 200);
    expectStatus(await api.get(path('configmaps', 'held')), 404);
  });

  test('delete - finalizers keep a pod even without grace', async () => {
    const { api, path } = bench();
    await createPod(bench(), 'held-pod', { bound: true, finalizers: ['bailiff.dev/one'] });
    expectStatus(await api.delete(path('pods', 'held-pod'), { gracePeriodSeconds: 0 }), 200);
    expect((await api.get(path('pods', 'held-pod'))).body['metadata'].deletionGracePeriodSeconds).toBe(0);
    expectStatus(await api.patch(path('pods', 'held-pod'), 'merge', { metadata: { finalizers: null } }), 200);
    expectStatus(await api.get(path('pods', 'held-pod')), 404);
  });

  test('delete - a collection is deleted by selector', async () => {
    const { api, path } = bench();
    for (const name of ['c1', 'c2']) await createConfigMap(bench(), name, { collected: 'yes' });
    await createConfigMap(bench(), 'c3', { collected: 'no' });
    expectStatus(await api.delete(`${path('configmaps')}?labelSelector=collected%3Dyes`), 200);
    expect(names((await api.get(`${path('configmaps')}?labelSelector=collected`)).body)).toEqual(['c3']);
  });
}

export function evictionTests(bench: () => Bench): void {
  const evict = (name: string, extra: object = {}) =>
    bench().api.post(bench().path('pods', `${name}/eviction`), {
      apiVersion: 'policy/v1',
      kind: 'Eviction',
      metadata: { name },
      ...extra,
    });
  const readyPod = async (name: string, labels: { [key: string]: string }) => {
    const pod = await createPod(bench(), name, { bound: true, labels });
    await reportReady(bench(), name);
    return pod;
  };
  /** Creates a budget. If no disruption controller runs, sets the status as that would. */
  const budget = async (labels: { [key: string]: string }, healthy: number) => {
    const { api, path, target } = bench();
    const name = uniqueName('pdb');
    const body = { metadata: { name }, spec: { minAvailable: 1, selector: { matchLabels: labels } } };
    expectStatus(await api.post(path('poddisruptionbudgets'), body), 201);
    const counts = {
      currentHealthy: healthy,
      expectedPods: healthy,
      desiredHealthy: 1,
      disruptionsAllowed: healthy - 1,
    };
    if (!target.controllers) {
      const status = { observedGeneration: 1, ...counts };
      expectStatus(await api.patch(path('poddisruptionbudgets', `${name}/status`), 'merge', { status }), 200);
    }
    await waitFor(
      async () => {
        const now = await api.get(path('poddisruptionbudgets', name));
        return (
          now.body['status'].disruptionsAllowed === counts.disruptionsAllowed &&
          now.body['status'].observedGeneration === 1
        );
      },
      { what: 'the budget is counted' },
    );
    return name;
  };

  test('evict - without a budget it is a graceful delete with its reason', async () => {
    const { api, path } = bench();
    await readyPod('free', { evicted: 'free' });
    const reply = expectStatus(await evict('free'), 201);
    expect(reply.body).toMatchObject({ kind: 'Status', status: 'Success' });
    const pod = (await api.get(path('pods', 'free'))).body;
    expect(pod['metadata'].deletionGracePeriodSeconds).toBe(30);
    expect(pod['status'].conditions).toContainEqual(
      expect.objectContaining({ type: 'DisruptionTarget', status: 'True', reason: 'EvictionByEvictionAPI' }),
    );
  });

  test('evict - an exhausted budget answers TooManyRequests and is named', async () => {
    const { api, path } = bench();
    await readyPod('needed', { evicted: 'needed' });
    const name = await budget({ evicted: 'needed' }, 1);
    const status = expectFailure(await evict('needed'), 429, 'TooManyRequests');
    expect(status['message']).toBe("Cannot evict pod as it would violate the pod's disruption budget.");
    expect(status['details'].causes).toEqual([
      { reason: 'DisruptionBudget', message: `The disruption budget ${name} needs 1 healthy pods and has 1 currently` },
    ]);
    expect((await api.get(path('pods', 'needed'))).body['metadata'].deletionTimestamp).toBeUndefined();
    await api.delete(path('poddisruptionbudgets', name));
    expectStatus(await evict('needed'), 201);
  });

  test('evict - the last disruption can be used once', async () => {
    const { api, path } = bench();
    for (const name of ['twin-1', 'twin-2']) await readyPod(name, { evicted: 'twins' });
    const name = await budget({ evicted: 'twins' }, 2);
    expectStatus(await evict('twin-1'), 201);
    expectFailure(await evict('twin-2'), 429, 'TooManyRequests');
    const after = (await api.get(path('poddisruptionbudgets', name))).body;
    expect(after['status'].disruptionsAllowed).toBe(0);
    expect((await api.get(path('pods', 'twin-2'))).body['metadata'].deletionTimestamp).toBeUndefined();
  });

  test('evict - a pod that is not running is not protected', async () => {
    await createPod(bench(), 'pending', { bound: true, labels: { evicted: 'pending' } });
    await budget({ evicted: 'pending' }, 1).catch(() => {});
    expectStatus(await evict('pending'), 201);
  });

  test('evict - another uid is a Conflict, an absent pod is NotFound, another name is refused', async () => {
    const { api, path } = bench();
    await readyPod('meant', { evicted: 'meant' });
    expectFailure(await evict('meant', { deleteOptions: { preconditions: { uid: foreignUid } } }), 409, 'Conflict');
    expect((await api.get(path('pods', 'meant'))).body['metadata'].deletionTimestamp).toBeUndefined();
    expectFailure(await evict('not-there'), 404, 'NotFound');
    expectFailure(await evict('meant', { metadata: { name: 'else' } }), 400, 'BadRequest');
    expectStatus(await evict('meant', { deleteOptions: { dryRun: ['All'] } }), 201);
    expect((await api.get(path('pods', 'meant'))).body['metadata'].deletionTimestamp).toBeUndefined();
  });
  test('evict - in a namespace that is being deleted it is Forbidden; a deletion is not', async () => {
    const ending = await makeBench(bench().target);
    await createPod(ending, 'held', { bound: true });
    expectStatus(await ending.api.delete(`/api/v1/namespaces/${ending.namespace}`), 200);
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'held' } };
    const status = expectFailure(
      await ending.api.post(ending.path('pods', 'held/eviction'), eviction),
      403,
      'Forbidden',
    );
    expect(status['message']).toContain('because it is being terminated');
    expectStatus(await ending.api.delete(ending.path('pods', 'held'), { gracePeriodSeconds: 0 }), 200);
  });
}
