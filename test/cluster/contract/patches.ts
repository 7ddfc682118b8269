// Contract: the three kinds of patch, and their preconditions.

import { expect, test } from 'vitest';
import { type Bench, createConfigMap, createPod, expectFailure, expectStatus, uniqueName } from './fixtures.ts';

const foreignUid = 'c0ffee00-0000-4000-8000-000000000000';

export function patchTests(bench: () => Bench): void {
  test('merge patch - sets, keeps and removes', async () => {
    const { api, path } = bench();
    await createConfigMap(bench(), 'merged', { keep: 'me', drop: 'me' });
    const body = { metadata: { labels: { drop: null, add: 'me' } } };
    const reply = expectStatus(await api.patch(path('configmaps', 'merged'), 'merge', body), 200);
    expect(reply.body['metadata'].labels).toEqual({ keep: 'me', add: 'me' });
    expect(reply.body['data']).toEqual({ key: 'merged' });
  });

  test('merge patch - a uid in it is a precondition: another one is Invalid and changes nothing', async () => {
    const { api, path } = bench();
    const pod = await createPod(bench(), 'guarded');
    const label = (uid: string) => ({ metadata: { uid, labels: { caught: 'yes' } } });
    const status = expectFailure(await api.patch(path('pods', 'guarded'), 'merge', label(foreignUid)), 422, 'Invalid');
    expect(status['details'].causes[0].field).toBe('metadata.uid');
    expect((await api.get(path('pods', 'guarded'))).body['metadata'].labels).toBeUndefined();
    const taken = await api.patch(path('pods', 'guarded'), 'merge', label(pod['metadata'].uid));
    expect(taken.body['metadata'].labels).toEqual({ caught: 'yes' });
  });

  test('merge patch - a version in it is a precondition: an old one is a Conflict', async () => {
    const { api, path } = bench();
    const first = await createConfigMap(bench(), 'versioned');
    const change = (resourceVersion: string, key: string) => ({ metadata: { resourceVersion }, data: { key } });
    const version = first['metadata'].resourceVersion;
    const second = expectStatus(
      await api.patch(path('configmaps', 'versioned'), 'merge', change(version, 'b')),
      200,
    ).body;
    expectFailure(await api.patch(path('configmaps', 'versioned'), 'merge', change(version, 'c')), 409, 'Conflict');
    expectStatus(
      await api.patch(path('configmaps', 'versioned'), 'merge', change(second['metadata'].resourceVersion, 'c')),
      200,
    );
  });

  test('merge patch - an invalid label is Invalid', async () => {
    const { api, path } = bench();
    await createConfigMap(bench(), 'strict');
    expectFailure(
      await api.patch(path('configmaps', 'strict'), 'merge', { metadata: { labels: { 'a b': 'c' } } }),
      422,
      'Invalid',
    );
  });

  test('json patch - operations apply in order', async () => {
    const { api, path } = bench();
    await createConfigMap(bench(), 'pointed', { 'a.b/c': 'old' });
    const operations = [
      { op: 'test', path: '/metadata/labels/a.b~1c', value: 'old' },
      { op: 'replace', path: '/metadata/labels/a.b~1c', value: 'new' },
      { op: 'add', path: '/data/more', value: 'x' },
      { op: 'remove', path: '/data/key' },
    ];
    const reply = expectStatus(await api.patch(path('configmaps', 'pointed'), 'json', operations), 200);
    expect(reply.body['metadata'].labels).toEqual({ 'a.b/c': 'new' });
    expect(reply.body['data']).toEqual({ more: 'x' });
  });

  test('json patch - a failed test is Invalid and changes nothing', async () => {
    const { api, path } = bench();
    await createConfigMap(bench(), 'tested');
    const operations = [
      { op: 'add', path: '/data/more', value: 'x' },
      { op: 'test', path: '/metadata/uid', value: foreignUid },
    ];
    expectFailure(await api.patch(path('configmaps', 'tested'), 'json', operations), 422, 'Invalid');
    expect((await api.get(path('configmaps', 'tested'))).body['data']).toEqual({ key: 'tested' });
  });

  test('strategic patch - conditions merge by type and finalizers as a set', async () => {
    const { api, path } = bench();
    await createPod(bench(), 'strategic');
    const condition = (type: string, status: string) => ({ status: { conditions: [{ type, status }] } });
    const patchStatus = (body: object) => api.patch(path('pods', 'strategic/status'), 'strategic', body);
    await patchStatus(condition('Ready', 'False'));
    await patchStatus(condition('Initialized', 'True'));
    const reply = expectStatus(await patchStatus(condition('Ready', 'True')), 200);
    const seen = reply.body['status'].conditions.map(
      (entry: { type: string; status: string }) => `${entry.type}=${entry.status}`,
    );
    expect(seen.sort()).toEqual(['Initialized=True', 'Ready=True']);
    const finalize = (finalizers: string[]) =>
      api.patch(path('pods', 'strategic'), 'strategic', { metadata: { finalizers } });
    await finalize(['bailiff.dev/a']);
    expect((await finalize(['bailiff.dev/b'])).body['metadata'].finalizers.sort()).toEqual([
      'bailiff.dev/a',
      'bailiff.dev/b',
    ]);
    const removal = { metadata: { '$deleteFromPrimitiveList/finalizers': ['bailiff.dev/a', 'bailiff.dev/b'] } };
    expect(
      (await api.patch(path('pods', 'strategic'), 'strategic', removal)).body['metadata'].finalizers,
    ).toBeUndefined();
  });

  test('strategic patch - a node is cordoned and tainted as kubectl does it', async ({ skip }) => {
    const { api, target } = bench();
    if (!target.ownNodes) skip('optional: nodes of this cluster are left alone');
    const name = uniqueName('bailiff-contract-node');
    const status = { conditions: [{ type: 'Ready', status: 'True' }] };
    expectStatus(await api.post('/api/v1/nodes', { metadata: { name }, status }), 201);
    const path = `/api/v1/nodes/${name}`;
    const cordoned = expectStatus(await api.patch(path, 'strategic', { spec: { unschedulable: true } }), 200).body;
    expect(cordoned['spec'].unschedulable).toBe(true);
    expect(cordoned['status'].conditions).toMatchObject(status.conditions);
    const found = await api.get('/api/v1/nodes?fieldSelector=spec.unschedulable=true');
    expect(found.body['items'].map((node: { metadata: { name: string } }) => node.metadata.name)).toContain(name);
    // Taints do not merge: a patch that names one removes the others.
    const taint = (key: string) => ({ key, effect: 'NoSchedule' });
    await api.patch(path, 'strategic', { spec: { taints: [taint('bailiff.dev/one')] } });
    const tainted = await api.patch(path, 'strategic', { spec: { taints: [taint('bailiff.dev/two')] } });
    expect(tainted.body['spec'].taints).toEqual([taint('bailiff.dev/two')]);
    const freed = expectStatus(
      await api.patch(path, 'strategic', { spec: { unschedulable: null, taints: null } }),
      200,
    );
    expect(freed.body['spec'].unschedulable).toBeUndefined();
    expect(freed.body['spec'].taints).toBeUndefined();
    const gone = expectStatus(await api.delete(path), 200);
    expect(gone.body).toMatchObject({ kind: 'Status', status: 'Success', details: { name, kind: 'nodes' } });
  });

  test('patch - an unknown media type is refused', async () => {
    const { api, path } = bench();
    await createConfigMap(bench(), 'typed');
    expectFailure(await api.patch(path('configmaps', 'typed'), 'text/plain', 'x'), 415, 'UnsupportedMediaType');
  });
}
