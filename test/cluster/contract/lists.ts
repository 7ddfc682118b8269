// Contract: lists - selection, version and pages.

import { beforeAll, expect, test } from 'vitest';
import { type Bench, createConfigMap, createPod, expectFailure, expectStatus, names } from './fixtures.ts';

export function listTests(bench: () => Bench): void {
  let selector = '';
  beforeAll(async () => {
    selector = 'labelSelector=group%3Dpaged';
    for (const name of ['p1', 'p2', 'p3', 'p4', 'p5']) await createConfigMap(bench(), name, { group: 'paged', name });
  });
  const list = (query: string) => bench().api.get(`${bench().path('configmaps')}?${query}`);

  test('list - it has a version and its items have no kind', async () => {
    const reply = expectStatus(await list(selector), 200);
    expect(reply.body).toMatchObject({ kind: 'ConfigMapList', apiVersion: 'v1' });
    expect(reply.body['metadata'].resourceVersion).toMatch(/^\d+$/);
    expect(names(reply.body)).toEqual(['p1', 'p2', 'p3', 'p4', 'p5']);
    expect(reply.body['items'][0].kind).toBeUndefined();
    expect(reply.body['metadata'].continue).toBeUndefined();
  });

  test('list - pages show one version despite later changes', async () => {
    const { api, path } = bench();
    const first = expectStatus(await list('limit=2'), 200).body;
    expect(first['items']).toHaveLength(2);
    expect(first['metadata'].remainingItemCount).toBeGreaterThanOrEqual(3);
    await createConfigMap(bench(), 'p3-between');
    await api.delete(path('configmaps', 'p5'));
    await api.patch(path('configmaps', 'p4'), 'merge', { data: { key: 'changed' } });
    const rest = expectStatus(await list(`limit=100&continue=${first['metadata'].continue}`), 200).body;
    expect(rest['metadata'].resourceVersion).toBe(first['metadata'].resourceVersion);
    expect(rest['metadata'].remainingItemCount).toBeUndefined();
    expect([...names(first), ...names(rest)]).toEqual(expect.arrayContaining(['p1', 'p2', 'p3', 'p4', 'p5']));
    expect(names(rest)).not.toContain('p3-between');
    expect(rest['items'].find((item: { metadata: { name: string } }) => item.metadata.name === 'p4').data.key).toBe(
      'p4',
    );
    const now = names((await list('')).body);
    expect(now).toContain('p3-between');
    expect(now).not.toContain('p5');
    await createConfigMap(bench(), 'p5', { group: 'paged', name: 'p5' });
  });

  test('list - an exact version shows the state of that time', async () => {
    const { api, path } = bench();
    const before = (await list(selector)).body['metadata'].resourceVersion as string;
    await createConfigMap(bench(), 'later', { group: 'paged' });
    const past = expectStatus(await list(`${selector}&resourceVersion=${before}&resourceVersionMatch=Exact`), 200).body;
    expect(names(past)).not.toContain('later');
    expect(past['metadata'].resourceVersion).toBe(before);
    const fresh = expectStatus(
      await list(`${selector}&resourceVersion=${before}&resourceVersionMatch=NotOlderThan`),
      200,
    ).body;
    expect(names(fresh)).toContain('later');
    await api.delete(path('configmaps', 'later'));
  });

  test('list - with version 0 the limit has no effect', async () => {
    const reply = expectStatus(await list(`${selector}&limit=1&resourceVersion=0`), 200);
    expect(reply.body['items'].length).toBeGreaterThan(1);
    expect(reply.body['metadata'].continue).toBeUndefined();
  });

  test('list - with a selector the number of remaining items is absent', async () => {
    const reply = expectStatus(await list(`${selector}&limit=2`), 200);
    expect(reply.body['metadata'].continue).toBeTruthy();
    expect(reply.body['metadata'].remainingItemCount).toBeUndefined();
  });

  test.each([
    ['name=p1', ['p1']],
    ['name in (p1,p2)', ['p1', 'p2']],
    ['name notin (p1,p2),group=paged', ['p3', 'p4', 'p5']],
    ['name!=p1,group==paged', ['p2', 'p3', 'p4', 'p5']],
    ['group,name', ['p1', 'p2', 'p3', 'p4', 'p5']],
    ['group,!name', []],
    ['group=paged,name=p9', []],
  ])('list - labels %s', async (labels, expected) => {
    const reply = expectStatus(await list(`labelSelector=${encodeURIComponent(labels)}`), 200);
    expect(names(reply.body)).toEqual(expected);
  });

  test('list - fields of pods', async () => {
    const { api, path, namespace } = bench();
    await createPod(bench(), 'on-node', { bound: true });
    await createPod(bench(), 'off-node');
    const find = async (fields: string) =>
      names((await api.get(`${path('pods')}?fieldSelector=${encodeURIComponent(fields)}`)).body);
    expect(await find('spec.nodeName=bailiff-contract-nowhere,metadata.name=on-node')).toEqual(['on-node']);
    expect(await find('spec.nodeName=')).not.toContain('on-node');
    expect(await find('metadata.name!=on-node')).toContain('off-node');
    expect(await find('status.phase=Running,metadata.name=on-node')).toEqual([]);
    const everywhere = await api.get(
      `/api/v1/pods?fieldSelector=metadata.namespace=${namespace},metadata.name=off-node`,
    );
    expect(names(everywhere.body)).toEqual(['off-node']);
  });

  test.each([
    ['an unknown field', 'fieldSelector=spec.colour=red', 400, 'BadRequest'],
    ['labels that do not parse', 'labelSelector=a%20b', 400, 'BadRequest'],
    ['a limit that is no number', 'limit=many', 400, 'BadRequest'],
    ['an invalid token', 'limit=1&continue=zz', 400, 'BadRequest'],
    ['a match without a version', 'resourceVersionMatch=Exact', 422, 'Invalid'],
    ['an exact version 0', 'resourceVersion=0&resourceVersionMatch=Exact', 422, 'Invalid'],
    ['a version from the future', 'resourceVersion=999999999', 504, 'Timeout'],
  ])('list - %s is refused', async (_, query, status, reason) => {
    expectFailure(await list(query), status, reason);
  });
}
