// Contract: watches - their events, the order, and the end.

import { waitFor } from '@bailiff/service/testing';
import { expect, onTestFinished, test } from 'vitest';
import type { WatchReader } from './client.ts';
import { type Bench, createConfigMap, createPod, expectFailure, expectStatus } from './fixtures.ts';

interface Seen {
  type: string;
  name: string;
}

const seen = (watch: WatchReader): Seen[] =>
  watch.events
    .filter((event) => event.type !== 'BOOKMARK')
    .map((event) => ({ type: event.type, name: event.object['metadata'].name }));

const text = (watch: WatchReader) => seen(watch).map((event) => `${event.type} ${event.name}`);

export function watchTests(bench: () => Bench): void {
  const versionOf = async (resource: string): Promise<string> => {
    const reply = await bench().api.get(`${bench().path(resource)}?limit=1`);
    return reply.body['metadata'].resourceVersion as string;
  };
  const open = async (resource: string, query: string, accept?: string): Promise<WatchReader> => {
    const watch = await bench().api.watch(`${bench().path(resource)}?watch=1&${query}`, { accept });
    onTestFinished(() => watch.close());
    return watch;
  };
  const expectEvents = async (watch: WatchReader, expected: string[]) => {
    await waitFor(() => seen(watch).length >= expected.length || undefined, {
      what: `${expected.length} events`,
    }).catch(() => {});
    expect(text(watch)).toEqual(expected);
  };

  test('watch - from a version it sends everything after it, in order', async () => {
    const { api, path } = bench();
    const version = await versionOf('configmaps');
    await createConfigMap(bench(), 'w-before');
    const watch = await open('configmaps', `resourceVersion=${version}`);
    await api.patch(path('configmaps', 'w-before'), 'merge', { data: { key: '2' } });
    await api.delete(path('configmaps', 'w-before'));
    await expectEvents(watch, ['ADDED w-before', 'MODIFIED w-before', 'DELETED w-before']);
    const versions = watch.events.map((event) => Number(event.object['metadata'].resourceVersion));
    expect(versions).toEqual([...versions].sort((a, b) => a - b));
    expect(new Set(versions).size).toBe(3);
    expect(watch.events[0]!.object['kind']).toBe('ConfigMap');
  });

  test('watch - without a version it first sends the existing objects', async () => {
    await createConfigMap(bench(), 'w-present', { w: 'present' });
    const watch = await open('configmaps', 'labelSelector=w%3Dpresent');
    await expectEvents(watch, ['ADDED w-present']);
    await createConfigMap(bench(), 'w-new', { w: 'present' });
    await expectEvents(watch, ['ADDED w-present', 'ADDED w-new']);
  });

  test('watch - leaving a label selection is DELETED and entering it is ADDED', async () => {
    const { api, path } = bench();
    await createConfigMap(bench(), 'w-moves', { colour: 'red' });
    const watch = await open(
      'configmaps',
      `labelSelector=colour%3Dred&resourceVersion=${await versionOf('configmaps')}`,
    );
    const paint = (colour: string | null) =>
      api.patch(path('configmaps', 'w-moves'), 'merge', { metadata: { labels: { colour } } });
    const left = (await paint('blue')).body;
    await paint(null);
    await paint('red');
    await api.delete(path('configmaps', 'w-moves'));
    await expectEvents(watch, ['DELETED w-moves', 'ADDED w-moves', 'DELETED w-moves']);
    const first = watch.events[0]!.object['metadata'];
    expect(first.labels).toEqual({ colour: 'red' });
    expect(first.resourceVersion).toBe(left['metadata'].resourceVersion);
  });

  test('watch - field selections follow the object too', async () => {
    const { api, path } = bench();
    const watch = await open('pods', `fieldSelector=status.phase%3DRunning&resourceVersion=${await versionOf('pods')}`);
    await createPod(bench(), 'w-phase');
    const phase = (name: string) => api.patch(path('pods', 'w-phase/status'), 'merge', { status: { phase: name } });
    expectStatus(await phase('Running'), 200);
    expectStatus(await phase('Failed'), 200);
    await expectEvents(watch, ['ADDED w-phase', 'DELETED w-phase']);
    expect(watch.events[1]!.object['status'].phase).toBe('Running');
  });

  test('watch - it ends at its timeout, and a bookmark has the version it reached', async () => {
    await createConfigMap(bench(), 'w-bookmark');
    const version = await versionOf('configmaps');
    // Before the timeout starts.
    await createConfigMap(bench(), 'w-bookmark-2');
    const watch = await open('configmaps', `resourceVersion=${version}&allowWatchBookmarks=true&timeoutSeconds=6`);
    // A real server sends no bookmark for the initial version of a watch.
    await createConfigMap(bench(), 'w-bookmark-3');
    await watch.ended;
    expect(text(watch)).toEqual(['ADDED w-bookmark-2', 'ADDED w-bookmark-3']);
    const bookmark = watch.events.findLast((event) => event.type === 'BOOKMARK');
    expect(bookmark?.object['kind']).toBe('ConfigMap');
    expect(Number(bookmark?.object['metadata'].resourceVersion)).toBeGreaterThan(Number(version));
    expect(bookmark?.object['metadata'].name ?? '').toBe('');
  });

  test('watch - without the request for them it sends no bookmarks', async () => {
    const watch = await open('configmaps', `resourceVersion=${await versionOf('configmaps')}&timeoutSeconds=3`);
    await watch.ended;
    expect(watch.events).toEqual([]);
  });

  test('watch - initial events can be requested, and end with a marked bookmark', async () => {
    await createConfigMap(bench(), 'w-initial', { w: 'initial' });
    const query =
      'labelSelector=w%3Dinitial&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true';
    const watch = await open('configmaps', query);
    expect(watch.status).toBe(200);
    const done = await waitFor(() => watch.events.find((event) => event.type === 'BOOKMARK'), {
      what: 'the closing bookmark',
    });
    expect(done.object['metadata'].annotations).toMatchObject({ 'k8s.io/initial-events-end': 'true' });
    expect(text(watch)).toEqual(['ADDED w-initial']);
  });

  test('watch - as a table each event has a row, and the first has the columns', async () => {
    await createConfigMap(bench(), 'w-table', { w: 'table' });
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
    const watch = await open('configmaps', 'labelSelector=w%3Dtable', accept);
    await waitFor(() => watch.events.length >= 1, { what: 'one event' });
    await createConfigMap(bench(), 'w-table-2', { w: 'table' });
    await waitFor(() => watch.events.length >= 2, { what: 'two events' });
    const [first, second] = watch.events.map((event) => event.object);
    expect(first!['columnDefinitions'].map((column: { name: string }) => column.name)).toEqual(['Name', 'Data', 'Age']);
    expect(first!['rows'][0].cells.slice(0, 2)).toEqual(['w-table', 1]);
    expect(first!['rows'][0].object).toMatchObject({ kind: 'PartialObjectMetadata', metadata: { name: 'w-table' } });
    expect(second!['columnDefinitions'] ?? []).toEqual([]);
  });

  test.each([
    ['an unknown field', 'fieldSelector=spec.colour=red'],
    ['labels that do not parse', 'labelSelector=a%20b'],
  ])('watch - %s is refused before it starts', async (_, query) => {
    expectFailure(await bench().api.get(`${bench().path('configmaps')}?watch=1&${query}`), 400, 'BadRequest');
  });

  test('watch - a cluster-scoped resource is not found in a namespace', async () => {
    const { api, namespace } = bench();
    expectFailure(await api.get(`/api/v1/namespaces/${namespace}/nodes`), 404, 'NotFound');
  });
}
