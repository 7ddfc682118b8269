// Contract: everything besides the resources - discovery, versions, tables and authentication.

import { expect, test } from 'vitest';
import type { Json } from './client.ts';
import { type Bench, createPod, expectFailure, expectStatus } from './fixtures.ts';

const tableType = 'application/json;as=Table;v=v1;g=meta.k8s.io';

export function surfaceTests(bench: () => Bench): void {
  test('discovery - groups and resources are listed', async () => {
    const { api } = bench();
    expect((await api.get('/api')).body['versions']).toEqual(['v1']);
    const groups = (await api.get('/apis')).body['groups'].map((group: { name: string }) => group.name);
    expect(groups).toEqual(
      expect.arrayContaining([
        'apps',
        'policy',
        'coordination.k8s.io',
        'networking.k8s.io',
        'apiextensions.k8s.io',
        'events.k8s.io',
      ]),
    );
    const core = (await api.get('/api/v1')).body['resources'] as Json[];
    const pods = core.find((resource) => resource['name'] === 'pods');
    expect(pods).toMatchObject({ singularName: 'pod', namespaced: true, kind: 'Pod', shortNames: ['po'] });
    expect(pods!['verbs']).toEqual(['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']);
    const eviction = core.find((resource) => resource['name'] === 'pods/eviction');
    expect(eviction).toMatchObject({ group: 'policy', version: 'v1', kind: 'Eviction', verbs: ['create'] });
  });

  test('discovery - the aggregated form has the same content', async () => {
    const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json';
    const reply = expectStatus(await bench().api.get('/apis', { accept }), 200);
    expect(reply.headers['content-type']).toContain('as=APIGroupDiscoveryList');
    expect(reply.body).toMatchObject({ kind: 'APIGroupDiscoveryList', apiVersion: 'apidiscovery.k8s.io/v2' });
    const policy = (reply.body['items'] as Json[]).find((item) => item['metadata'].name === 'policy');
    const budgets = policy!['versions'][0].resources.find(
      (entry: Json) => entry['resource'] === 'poddisruptionbudgets',
    );
    expect(budgets).toMatchObject({
      scope: 'Namespaced',
      singularResource: 'poddisruptionbudget',
      shortNames: ['pdb'],
      responseKind: { kind: 'PodDisruptionBudget' },
    });
    expect(budgets.subresources[0]).toMatchObject({ subresource: 'status', verbs: ['get', 'patch', 'update'] });
  });

  test('health - it is live, ready, and has a version', async () => {
    const { api } = bench();
    for (const path of ['/healthz', '/livez', '/readyz']) expect((await api.get(path)).text).toBe('ok');
    expect((await api.get('/version')).body).toMatchObject({ major: '1' });
  });

  test('access - an unknown token is Unauthorized', async () => {
    const { api, path } = bench();
    expectFailure(await api.get(path('pods'), { token: 'unknown-token' }), 401, 'Unauthorized');
  });

  test.each([
    ['/api/v1/pods', 'Name Ready Status Restarts Age | IP, Node, Nominated Node, Readiness Gates'],
    [
      '/api/v1/nodes',
      'Name Status Roles Age Version | Internal-IP, External-IP, OS-Image, Kernel-Version, Container-Runtime',
    ],
    ['/api/v1/namespaces', 'Name Status Age | '],
    ['/api/v1/events', 'Last Seen, Type, Reason, Object, Message | Subobject, Source, First Seen, Count, Name'],
    ['/apis/coordination.k8s.io/v1/leases', 'Name Holder Age | '],
    ['/apis/networking.k8s.io/v1/networkpolicies', 'Name Pod-Selector Age | '],
    ['/apis/policy/v1/poddisruptionbudgets', 'Name, Min Available, Max Unavailable, Allowed Disruptions, Age | '],
    ['/apis/apps/v1/replicasets', 'Name Desired Current Ready Age | Containers Images Selector'],
    ['/apis/apps/v1/deployments', 'Name Ready Up-to-date Available Age | Containers Images Selector'],
  ])('table - %s has the usual columns', async (path, expected) => {
    const reply = expectStatus(await bench().api.get(path, { accept: tableType }), 200);
    expect(reply.body).toMatchObject({ kind: 'Table', apiVersion: 'meta.k8s.io/v1' });
    const columns = reply.body['columnDefinitions'] as Json[];
    const name = (wide: boolean) =>
      columns.filter((column) => column['priority'] > 0 === wide).map((column) => column['name']);
    const [plain, wide] = expected
      .split(' | ')
      .map((part) => part.split(part.includes(',') ? ', ' : ' ').filter((word) => word !== ''));
    expect(name(false)).toEqual(plain);
    expect(name(true)).toEqual(wide ?? []);
  });

  test('table - a pod’s row follows its status', async () => {
    const { api, path } = bench();
    await createPod(bench(), 'row', { bound: true });
    const cells = async () => {
      const query = 'fieldSelector=metadata.name%3Drow&includeObject=None';
      const reply = await api.get(`${path('pods')}?${query}`, { accept: `${tableType},application/json` });
      return (reply.body['rows'] as Json[])[0]!['cells'].slice(0, 4);
    };
    expect(await cells()).toEqual(['row', '0/1', 'Pending', '0']);
    const container = { name: 'main', image: 'i', imageID: 'i', ready: true, restartCount: 2, state: { running: {} } };
    const status = { phase: 'Running', containerStatuses: [container] };
    expectStatus(await api.patch(path('pods', 'row/status'), 'merge', { status }), 200);
    expect(await cells()).toEqual(['row', '1/1', 'Running', '2']);
    const waiting = { ...container, ready: false, state: { waiting: { reason: 'CrashLoopBackOff' } } };
    await api.patch(path('pods', 'row/status'), 'merge', { status: { containerStatuses: [waiting] } });
    expect(await cells()).toEqual(['row', '0/1', 'CrashLoopBackOff', '2']);
    await api.delete(path('pods', 'row'));
    expect(await cells()).toEqual(['row', '0/1', 'Terminating', '2']);
  });

  test('metadata - objects can be read without their contents', async () => {
    const { api, path } = bench();
    await createPod(bench(), 'partial');
    const one = await api.get(path('pods', 'partial'), {
      accept: 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io',
    });
    expect(one.body).toMatchObject({
      kind: 'PartialObjectMetadata',
      apiVersion: 'meta.k8s.io/v1',
      metadata: { name: 'partial' },
    });
    expect(one.body['spec']).toBeUndefined();
    const list = await api.get(path('pods'), {
      accept: 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io',
    });
    expect(list.body['kind']).toBe('PartialObjectMetadataList');
    expectStatus(await api.get(path('pods'), { accept: 'text/html' }), 406);
  });
}
