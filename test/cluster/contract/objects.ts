// Contract: creating, reading and replacing objects.

import { expect, test } from 'vitest';
import {
  type Bench,
  createConfigMap,
  createPod,
  expectFailure,
  expectStatus,
  podBody,
  uniqueName,
} from './fixtures.ts';

export function objectTests(bench: () => Bench): void {
  test('create - the server sets identity, time and defaults', async () => {
    const { namespace } = bench();
    const pod = await createPod(bench(), 'created', { labels: { app: 'x' } });
    expect(pod['metadata']).toMatchObject({ name: 'created', namespace, labels: { app: 'x' } });
    expect(pod['metadata'].uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(pod['metadata'].resourceVersion).toMatch(/^\d+$/);
    expect(pod['metadata'].creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(pod['spec']).toMatchObject({
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: 30,
      dnsPolicy: 'ClusterFirst',
    });
    expect(pod['status']).toMatchObject({ phase: 'Pending', qosClass: 'BestEffort' });
  });

  test('create - a status in a new pod is ignored', async () => {
    const { api, path } = bench();
    const body = { ...podBody('born-running'), status: { phase: 'Running', podIP: '10.0.0.1' } };
    const made = expectStatus(await api.post(path('pods'), body), 201).body;
    expect(made['status'].phase).toBe('Pending');
    expect(made['status'].podIP).toBeUndefined();
  });

  test('create - a name that exists is AlreadyExists', async () => {
    const { api, path } = bench();
    await createConfigMap(bench(), 'taken');
    const status = expectFailure(
      await api.post(path('configmaps'), { metadata: { name: 'taken' } }),
      409,
      'AlreadyExists',
    );
    expect(status['details']).toEqual({ name: 'taken', kind: 'configmaps' });
    expect(status['message']).toBe('configmaps "taken" already exists');
  });

  test('create - generateName makes distinct names', async () => {
    const { api, path } = bench();
    const make = async () =>
      expectStatus(await api.post(path('configmaps'), { metadata: { generateName: 'gen-' } }), 201).body['metadata']
        .name;
    const [one, two] = [await make(), await make()];
    expect(one).toMatch(/^gen-[a-z0-9]{5}$/);
    expect(two).not.toBe(one);
  });

  test.each([
    ['a name with capitals', 'pods', podBody('Big_Name'), 'metadata.name'],
    ['no containers', 'pods', { ...podBody('empty'), spec: { containers: [] } }, 'spec.containers'],
    ['a label value with a space', 'configmaps', { metadata: { name: 'l', labels: { a: 'b c' } } }, 'metadata.labels'],
    ['no name at all', 'configmaps', { metadata: {} }, 'metadata.name'],
  ])('create - %s is Invalid, with the field', async (_, resource, body, field) => {
    const { api, path } = bench();
    const status = expectFailure(await api.post(path(resource), body), 422, 'Invalid');
    expect(status['details'].causes.map((cause: { field: string }) => cause.field)).toContain(field);
  });

  test('create - into an absent namespace is NotFound', async () => {
    const status = expectFailure(
      await bench().api.post('/api/v1/namespaces/bailiff-none/pods', podBody('a')),
      404,
      'NotFound',
    );
    expect(status['details']).toMatchObject({ name: 'bailiff-none', kind: 'namespaces' });
  });

  test.each([
    ['another namespace than the path', { metadata: { name: 'a', namespace: 'default' } }],
    ['another kind', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'a' } }],
    ['a resourceVersion', { metadata: { name: 'a', resourceVersion: '12' } }],
    ['no JSON', '{bad'],
  ])('create - %s in the body is refused', async (what, body) => {
    const { api, path } = bench();
    const reply = await api.post(path('configmaps'), body);
    // For its own reasons, a real server may respond with 500 to a version in a new object.
    expect(what === 'a resourceVersion' ? [400, 500] : [400]).toContain(reply.status);
    expectStatus(await api.get(path('configmaps', 'a')), 404);
  });

  test('create - dryRun responds as usual, and stores nothing', async () => {
    const { api, path } = bench();
    const reply = expectStatus(await api.post(`${path('pods')}?dryRun=All`, podBody('dry')), 201);
    expect(reply.body['metadata'].uid).toMatch(/-/);
    expectStatus(await api.get(path('pods', 'dry')), 404);
    expectFailure(await api.post(`${path('pods')}?dryRun=Some`, podBody('dry')), 422, 'Invalid');
  });

  test('get - an absent object is NotFound, by name', async () => {
    const { api, path } = bench();
    const status = expectFailure(await api.get(path('pods', 'absent')), 404, 'NotFound');
    expect(status).toMatchObject({ message: 'pods "absent" not found', details: { name: 'absent', kind: 'pods' } });
    const lease = expectFailure(await api.get(path('leases', 'absent')), 404, 'NotFound');
    expect(lease['message']).toBe('leases.coordination.k8s.io "absent" not found');
    expect(lease['details']).toEqual({ name: 'absent', group: 'coordination.k8s.io', kind: 'leases' });
  });

  test('get - an unknown resource and an unknown method have different errors', async () => {
    const { api, path, namespace } = bench();
    expectFailure(await api.get(`/api/v1/namespaces/${namespace}/unheardof`), 404, 'NotFound');
    expectStatus(await api.get('/apis/unheard.of/v1'), 404);
    expectFailure(
      await api.call('PATCH', path('pods'), {}, { type: 'application/merge-patch+json' }),
      405,
      'MethodNotAllowed',
    );
  });

  test('update - a stale version is a Conflict, the current one succeeds', async () => {
    const { api, path } = bench();
    const first = await createConfigMap(bench(), 'updated');
    const second = expectStatus(
      await api.put(path('configmaps', 'updated'), { ...first, data: { key: '2' } }),
      200,
    ).body;
    expect(Number(second['metadata'].resourceVersion)).toBeGreaterThan(Number(first['metadata'].resourceVersion));
    const status = expectFailure(
      await api.put(path('configmaps', 'updated'), { ...first, data: { key: '3' } }),
      409,
      'Conflict',
    );
    expect(status['details']).toEqual({ name: 'updated', kind: 'configmaps' });
    expect(status['message']).toMatch(/the object has been modified; please apply your changes to the latest version/);
  });

  test('update - one that changes nothing keeps the version', async () => {
    const { api, path } = bench();
    const first = await createConfigMap(bench(), 'unchanged');
    const again = expectStatus(await api.put(path('configmaps', 'unchanged'), first), 200).body;
    expect(again['metadata'].resourceVersion).toBe(first['metadata'].resourceVersion);
  });

  test('update - whether it needs a version depends on the kind', async () => {
    const { api, path } = bench();
    await createConfigMap(bench(), 'blind');
    expectStatus(await api.put(path('configmaps', 'blind'), { metadata: { name: 'blind' }, data: {} }), 200);
    const lease = { metadata: { name: 'blind' }, spec: { holderIdentity: 'one' } };
    expectStatus(await api.put(path('leases', 'blind'), lease), 201);
    const status = expectFailure(
      await api.put(path('leases', 'blind'), { ...lease, spec: { holderIdentity: 'two' } }),
      422,
      'Invalid',
    );
    expect(status['details'].causes[0].field).toBe('metadata.resourceVersion');
  });

  test('update - another name or uid than the stored one is refused', async () => {
    const { api, path } = bench();
    const map = await createConfigMap(bench(), 'identity');
    expectFailure(
      await api.put(path('configmaps', 'identity'), { ...map, metadata: { name: 'other' } }),
      400,
      'BadRequest',
    );
    const foreign = {
      metadata: { name: 'identity', uid: 'c0ffee00-0000-4000-8000-000000000000' },
      data: { key: 'lost' },
    };
    expectFailure(await api.put(path('configmaps', 'identity'), foreign), 409, 'Conflict');
    expectStatus(await api.put(path('configmaps', 'missing'), { metadata: { name: 'missing' } }), 404);
  });

  test('update - generation counts changes of the spec and no others', async () => {
    const { api, path } = bench();
    const name = uniqueName('np');
    const body = { metadata: { name }, spec: { podSelector: { matchLabels: { a: 'b' } }, policyTypes: ['Ingress'] } };
    const made = expectStatus(await api.post(path('networkpolicies'), body), 201).body;
    expect(made['metadata'].generation).toBe(1);
    const labelled = await api.patch(path('networkpolicies', name), 'merge', { metadata: { labels: { x: 'y' } } });
    expect(labelled.body['metadata'].generation).toBe(1);
    const changed = await api.patch(path('networkpolicies', name), 'merge', {
      spec: { policyTypes: ['Ingress', 'Egress'] },
    });
    expect(changed.body['metadata'].generation).toBe(2);
  });

  test('status - the main path ignores changes of it, and /status ignores changes of the spec', async () => {
    const { api, path } = bench();
    const pod = await createPod(bench(), 'split');
    const main = await api.patch(path('pods', 'split'), 'merge', {
      metadata: { labels: { a: 'b' } },
      status: { phase: 'Running' },
    });
    expect(main.body['status'].phase).toBe('Pending');
    expect(main.body['metadata'].labels).toEqual({ a: 'b' });
    const body = {
      spec: { terminationGracePeriodSeconds: 5 },
      status: { phase: 'Running', podIP: '10.9.8.7', podIPs: [{ ip: '10.9.8.7' }] },
    };
    const status = expectStatus(await api.patch(path('pods', 'split/status'), 'merge', body), 200);
    expect(status.body['spec']).toEqual(pod['spec']);
    expect(status.body['status']).toMatchObject({ phase: 'Running', podIP: '10.9.8.7', qosClass: 'BestEffort' });
  });

  test('update - a pod stays on its node', async () => {
    const { api, path } = bench();
    await createPod(bench(), 'fixed', { bound: true });
    const status = expectFailure(
      await api.patch(path('pods', 'fixed'), 'merge', { spec: { nodeName: 'elsewhere' } }),
      422,
      'Invalid',
    );
    expect(status['details'].causes[0].field).toBe('spec');
    const image = [{ name: 'main', image: 'example.invalid/other:2' }];
    expectStatus(await api.patch(path('pods', 'fixed'), 'strategic', { spec: { containers: image } }), 200);
  });

  test('events - both APIs show one object', async () => {
    const { api, path, namespace } = bench();
    const involvedObject = { kind: 'Pod', namespace, name: 'some', uid: 'u-1' };
    const body = {
      metadata: { name: 'happened' },
      involvedObject,
      reason: 'Seen',
      message: 'a thing',
      type: 'Warning',
      count: 2,
    };
    expectStatus(await api.post(path('events'), body), 201);
    const found = await api.get(`${path('events')}?fieldSelector=involvedObject.uid=u-1,type=Warning`);
    expect(found.body['items']).toHaveLength(1);
    const other = await api.get(`/apis/events.k8s.io/v1/namespaces/${namespace}/events/happened`);
    expect(other.body).toMatchObject({
      apiVersion: 'events.k8s.io/v1',
      note: 'a thing',
      deprecatedCount: 2,
      regarding: involvedObject,
    });
    const wrong = {
      ...body,
      metadata: { name: 'elsewhere' },
      involvedObject: { ...involvedObject, namespace: 'default' },
    };
    expectFailure(await api.post(path('events'), wrong), 422, 'Invalid');
  });
}
