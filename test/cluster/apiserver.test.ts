// Behaviour of the API stand-in that a real server does not show on demand: expiry, faults, stalled
// watches, and the small replacements of controllers.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { Agent, get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type ApiServer, type ApiServerOptions, type RequestRecord, startApiServer } from '@bailiff/lab/apiserver';
import { waitFor } from '@bailiff/service/testing';
import { CoreV1Api, KubeConfig, Watch } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { nodeArgs } from '../../tools/children.ts';
import { ApiClient } from './contract/client.ts';
import { expectFailure, expectStatus, names, podBody } from './contract/fixtures.ts';

interface Running extends AsyncDisposable {
  server: ApiServer;
  api: ApiClient;
  as(user: string): ApiClient;
}

async function startServer(options: Partial<ApiServerOptions> = {}): Promise<Running> {
  const certDir = options.certDir ?? (await mkdtemp(join(tmpdir(), 'bailiff-apiserver-')));
  const server = await startApiServer({ certDir, ...options });
  const ca = await readFile(server.caFile, 'utf8');
  const as = (user?: string) => new ApiClient({ url: server.url, ca, token: server.token(user) });
  return {
    server,
    api: as(),
    as,
    [Symbol.asyncDispose]: async () => {
      await server.close();
      if (options.certDir === undefined) await rm(certDir, { recursive: true, force: true });
    },
  };
}

const pods = '/api/v1/namespaces/default/pods';
const maps = '/api/v1/namespaces/default/configmaps';

describe('expiry', () => {
  let running: Running;
  beforeAll(async () => {
    running = await startServer();
  });
  afterAll(() => running?.[Symbol.asyncDispose]());
  const fill = (prefix: string) => {
    for (let index = 0; index < 5; index += 1)
      running.server.api.create('configmaps', { metadata: { name: `${prefix}-${index}` } });
  };

  test('list - a continue token from before the compaction is Expired, and the error offers another', async () => {
    const { api, server } = running;
    fill('page');
    const first = expectStatus(await api.get(`${maps}?limit=2`), 200).body;
    server.api.create('configmaps', { metadata: { name: 'page-9' } });
    const still = await api.get(`${maps}?limit=2&continue=${first['metadata'].continue}`);
    expect(still.status).toBe(200);
    server.faults.compact();
    const gone = expectFailure(await api.get(`${maps}?limit=2&continue=${first['metadata'].continue}`), 410, 'Expired');
    const rest = expectStatus(await api.get(`${maps}?continue=${gone['metadata'].continue}`), 200).body;
    expect(names(rest)).toEqual(['page-2', 'page-3', 'page-4', 'page-9']);
    expect(Number(rest['metadata'].resourceVersion)).toBeGreaterThan(Number(first['metadata'].resourceVersion));
  });

  test('list - an exact version from before the compaction is Expired', async () => {
    const { api, server } = running;
    const version = (await api.get(maps)).body['metadata'].resourceVersion as string;
    fill('exact');
    const query = `resourceVersion=${version}&resourceVersionMatch=Exact`;
    expectStatus(await api.get(`${maps}?${query}`), 200);
    server.faults.compact();
    expectFailure(await api.get(`${maps}?${query}`), 410, 'Expired');
    expectStatus(await api.get(`${maps}?resourceVersion=${version}`), 200);
  });

  test('watch - from a version before the compaction it gets 410 in the stream, or as a status if requested', async () => {
    const { api, server } = running;
    const version = server.store.version;
    fill('watched');
    const before = await api.watch(`${maps}?watch=1&resourceVersion=${version}&timeoutSeconds=1`);
    await before.ended;
    expect(before.events).toHaveLength(5);
    server.faults.compact();
    const after = await api.watch(`${maps}?watch=1&resourceVersion=${version}`);
    await after.ended;
    expect(after.status).toBe(200);
    expect(after.events).toHaveLength(1);
    expect(after.events[0]).toMatchObject({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } });
    server.faults.expiredWatch = 'status';
    onTestFinished(() => server.faults.clear());
    expectFailure(await api.get(`${maps}?watch=1&resourceVersion=${version}`), 410, 'Expired');
  });

  test('history - is bounded, and older versions are expired', async () => {
    await using small = await startServer({ historyLimit: 40 });
    const version = small.server.store.version;
    for (let index = 0; index < 100; index += 1)
      small.server.api.create('configmaps', { metadata: { name: `m-${index}` } });
    expect(small.server.store.compactedVersion).toBeGreaterThan(version);
    expect(small.server.store.version - small.server.store.compactedVersion).toBeLessThanOrEqual(45);
    const watch = await small.api.watch(`${maps}?watch=1&resourceVersion=${version}`);
    await watch.ended;
    expect(watch.events[0]?.object['code']).toBe(410);
  });

  test('events - the oldest are removed beyond the limit', async () => {
    await using small = await startServer({ maxEvents: 16 });
    const involvedObject = { kind: 'Pod', namespace: 'default', name: 'a' };
    for (let index = 0; index < 40; index += 1)
      small.server.api.create('events', { metadata: { name: `e-${index}` }, involvedObject });
    const left = small.server.api.list('events').items.map((event) => event.metadata.name);
    expect(left.length).toBeLessThanOrEqual(18);
    expect(left).toContain('e-39');
    expect(left).not.toContain('e-0');
  });
});

describe('faults', () => {
  let running: Running;
  const seen: RequestRecord[] = [];
  beforeAll(async () => {
    running = await startServer({ onRequest: (record) => seen.push(record) });
  });
  afterAll(() => running?.[Symbol.asyncDispose]());
  const create = (name: string) => running.api.post(maps, { metadata: { name } });
  const exists = async (name: string) => (await running.api.get(`${maps}/${name}`)).status === 200;

  test.each([
    [500, 'InternalError', undefined],
    [503, 'ServiceUnavailable', '2'],
    [429, 'TooManyRequests', '1'],
    [409, 'Conflict', undefined],
  ])('status - the next matching request gets %i, the following one does not', async (status, reason, retryAfter) => {
    const { server, api } = running;
    const name = `status-${status}`;
    const retryAfterSeconds = retryAfter === undefined ? undefined : Number(retryAfter);
    const fault = server.faults.inject({ verb: 'create', resource: 'configmaps', status, retryAfterSeconds });
    expectStatus(await api.get(maps), 200);
    const reply = await create(name);
    expectFailure(reply, status, reason);
    expect(reply.headers['retry-after']).toBe(retryAfter);
    expect(await exists(name)).toBe(false);
    expectStatus(await create(name), 201);
    expect(fault.hits).toBe(1);
  });

  test('match - by name and user, for the given number of requests', async () => {
    const { server } = running;
    const fault = server.faults.inject({ verb: 'get', name: 'status-500', times: 2, status: 500 });
    expect(await exists('status-503')).toBe(true);
    expect(await exists('status-500')).toBe(false);
    expect(await exists('status-500')).toBe(false);
    expect(await exists('status-500')).toBe(true);
    expect(fault.hits).toBe(2);
    server.faults.inject({ user: 'another-user', status: 500, times: Number.POSITIVE_INFINITY });
    expect(await exists('status-500')).toBe(true);
    server.faults.clear();
    expect(server.faults.pending()).toBe(0);
  });

  test('drop - the connection closes without a response, before or after the effect', async () => {
    const { server } = running;
    server.faults.inject({ verb: 'create', drop: true });
    await expect(create('dropped-before')).rejects.toThrow(/hang up|ECONNRESET/);
    expect(await exists('dropped-before')).toBe(false);
    server.faults.inject({ verb: 'create', drop: true, when: 'after' });
    await expect(create('dropped-after')).rejects.toThrow(/hang up|ECONNRESET/);
    expect(await exists('dropped-after')).toBe(true);
    expect(seen.filter((record) => record.verb === 'create' && record.status === 0)).toHaveLength(2);
  });

  test('after - returns an error although the request took effect', async () => {
    const { server } = running;
    server.faults.inject({ verb: 'create', status: 504, when: 'after' });
    expectFailure(await create('wrong-status'), 504, 'Timeout');
    expect(await exists('wrong-status')).toBe(true);
  });

  test('hold - a request waits until it is released', async () => {
    const { server } = running;
    const fault = server.faults.inject({ verb: 'create', hold: true });
    const pending = create('held');
    await waitFor(() => fault.hits === 1, { what: 'the request is held' });
    expect(await exists('held')).toBe(false);
    fault.release();
    expectStatus(await pending, 201);
  });

  test('hold - a request whose client disconnects takes no effect', async () => {
    const { server } = running;
    const fault = server.faults.inject({ verb: 'create', hold: true });
    const client = new AbortController();
    const request = running.api.call('POST', maps, { metadata: { name: 'abandoned' } }, { signal: client.signal });
    await waitFor(() => fault.hits === 1, { what: 'the request is held' });
    client.abort();
    await expect(request).rejects.toThrow(/abort/);
    await waitFor(() => seen.at(-1)?.verb === 'create' && seen.at(-1)?.status === 0, {
      what: 'the server has noticed',
    });
    fault.release();
    expect(await exists('abandoned')).toBe(false);
  });

  test('delay - a response is late, and the record has the time of the request', async () => {
    const { server } = running;
    server.faults.inject({ verb: 'delete', delayMs: 1_000 });
    await create('late');
    const startMs = Date.now();
    expectStatus(await running.api.delete(`${maps}/late`), 200);
    const endMs = Date.now();
    const record = seen.findLast((entry) => entry.verb === 'delete')!;
    expect(record).toMatchObject({
      user: 'admin',
      resource: 'configmaps',
      namespace: 'default',
      name: 'late',
      status: 200,
    });
    expect(record.durationMs).toBeGreaterThanOrEqual(995);
    // The record has the time of arrival. One clock has whole milliseconds, the other fractions.
    expect(record.timeMs).toBeGreaterThanOrEqual(startMs - 1);
    expect(endMs - record.timeMs).toBeGreaterThanOrEqual(995);
  });

  test('watches - can be closed and stalled', async () => {
    const { server, api } = running;
    const query = () => `${maps}?watch=1&resourceVersion=${server.store.version}`;
    const cut = await api.watch(query());
    await waitFor(() => server.openWatches() === 1, { what: 'the watch is open' });
    expect(server.faults.cutWatches()).toBe(1);
    await cut.ended;
    const stalled = await api.watch(query());
    onTestFinished(() => stalled.close());
    await waitFor(() => server.openWatches() === 1, { what: 'the watch is open' });
    server.faults.stallWatches(true);
    await create('unseen');
    server.faults.stallWatches(false);
    await create('seen');
    await waitFor(() => stalled.events.length > 0, { what: 'an event' });
    expect(stalled.events.map((event) => event.object['metadata'].name)).toEqual(['seen']);
  });

  test('counters - requests by verb, resource and code', async () => {
    const { server, api } = running;
    server.requests.reset();
    await api.get(pods);
    await api.get(`${pods}/absent`);
    await api.post(`${pods}/absent/eviction`, { metadata: { name: 'absent' } });
    expect(server.requests.counts()).toEqual({ 'list pods 200': 1, 'get pods 404': 1, 'create pods/eviction 404': 1 });
    expect(server.requests.count({ resource: 'pods' })).toBe(2);
    expect(server.requests.count({ code: 404 })).toBe(2);
  });
});

describe('access', () => {
  test('tokens - unknown, expired and restored', async () => {
    await using running = await startServer();
    const { server, api } = running;
    expectFailure(await api.get(pods, { token: null }), 401, 'Unauthorized');
    expectFailure(await api.get(pods, { token: 'wrong' }), 401, 'Unauthorized');
    expectStatus(await api.get('/healthz', { token: null }), 200);
    server.faults.expireTokens();
    expectFailure(await api.get(pods), 401, 'Unauthorized');
    server.faults.restoreTokens();
    expectStatus(await api.get(pods), 200);
  });

  test('rules - denied requests, and exclusively allowed ones', async () => {
    const tokens = [
      { user: 'admin', token: 'a' },
      { user: 'no-evict', token: 'b', deny: [{ resources: ['pods/eviction'], verbs: ['create'] }] },
      {
        user: 'pods-only',
        token: 'c',
        allow: [{ apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch'] }],
      },
    ];
    await using running = await startServer({ tokens });
    expectStatus(await running.api.post(pods, podBody('one')), 201);
    const eviction = { metadata: { name: 'one' } };
    const denied = expectFailure(await running.as('no-evict').post(`${pods}/one/eviction`, eviction), 403, 'Forbidden');
    expect(denied['message']).toBe(
      'pods "one" is forbidden: User "no-evict" cannot create resource "pods/eviction" in API group "" in the namespace "default"',
    );
    expectStatus(await running.as('no-evict').get(`${pods}/one`), 200);
    const only = running.as('pods-only');
    expectStatus(await only.get(pods), 200);
    expectFailure(await only.get('/api/v1/nodes'), 403, 'Forbidden');
    expectFailure(await only.delete(`${pods}/one`), 403, 'Forbidden');
    const may = async (verb: string) => {
      const spec = { resourceAttributes: { verb, resource: 'pods', namespace: 'default' } };
      return (await only.post('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', { spec })).body['status']
        .allowed;
    };
    expect(await may('list')).toBe(true);
    expect(await may('delete')).toBe(false);
    const review = await running.api.post('/apis/authentication.k8s.io/v1/tokenreviews', { spec: { token: 'c' } });
    expect(review.body['status']).toMatchObject({ authenticated: true, user: { username: 'pods-only' } });
  });
});

describe('controllers', () => {
  let running: Running;
  beforeAll(async () => {
    running = await startServer();
  });
  afterAll(() => running?.[Symbol.asyncDispose]());

  test('owners - dependents are deleted with their last owner, or stay if orphaned', async () => {
    const { api } = running.server;
    const owner = (name: string) => {
      const { uid } = api.create('configmaps', { metadata: { name } }).metadata;
      return { apiVersion: 'v1', kind: 'ConfigMap', name, uid };
    };
    const [one, two, three] = [owner('owner-1'), owner('owner-2'), owner('owner-3')];
    api.create('configmaps', { metadata: { name: 'owned-by-one', ownerReferences: [one] } });
    api.create('configmaps', { metadata: { name: 'owned-by-two', ownerReferences: [one, two] } });
    api.create('configmaps', { metadata: { name: 'owned-by-three', ownerReferences: [three] } });
    const left = () =>
      api
        .list('configmaps')
        .items.map((item) => item.metadata.name)
        .filter((name) => name.startsWith('owned'));
    api.delete('configmaps', { namespace: 'default', name: 'owner-1' });
    await waitFor(() => !left().includes('owned-by-one'), { what: 'the sole dependent to be deleted' });
    expect(left()).toEqual(['owned-by-three', 'owned-by-two']);
    api.delete('configmaps', { namespace: 'default', name: 'owner-2' });
    await waitFor(() => !left().includes('owned-by-two'), { what: 'the other to be deleted' });
    api.delete('configmaps', { namespace: 'default', name: 'owner-3' }, { propagationPolicy: 'Orphan' });
    await waitFor(
      () => {
        const orphan = api.get('configmaps', { namespace: 'default', name: 'owned-by-three' });
        return orphan.metadata.ownerReferences?.length === 0;
      },
      { what: 'the reference to be removed' },
    );
  });

  test('namespace - terminates, accepts no new objects, and is deleted when it is empty', async () => {
    const { api } = running.server;
    api.create('namespaces', { metadata: { name: 'doomed' } });
    expect(api.get('serviceaccounts', { namespace: 'doomed', name: 'default' }).kind).toBe('ServiceAccount');
    api.create('configmaps', { metadata: { name: 'inside', namespace: 'doomed' } });
    api.create('pods', { ...podBody('inside', { bound: true }) }, 'doomed');
    const marked = api.delete('namespaces', { name: 'doomed' });
    expect(marked.object.status).toEqual({ phase: 'Terminating' });
    expectFailure(
      await running.api.post('/api/v1/namespaces/doomed/configmaps', { metadata: { name: 'late' } }),
      403,
      'Forbidden',
    );
    await waitFor(() => api.get('pods', { namespace: 'doomed', name: 'inside' }).metadata.deletionTimestamp, {
      what: 'its pod is marked',
    });
    expect(api.list('configmaps', 'doomed').items).toEqual([]);
    expect(api.get('namespaces', { name: 'doomed' }).metadata.name).toBe('doomed');
    api.delete('pods', { namespace: 'doomed', name: 'inside' }, { gracePeriodSeconds: 0 });
    await waitFor(() => !api.list('namespaces').items.some((item) => item.metadata.name === 'doomed'), {
      what: 'the namespace to be deleted',
    });
  });

  test('budget - its status follows the pods', async () => {
    const { api } = running.server;
    const ref = { namespace: 'default', name: 'counted' };
    const selector = { matchLabels: { app: 'counted' } };
    api.create('poddisruptionbudgets.policy', { metadata: ref, spec: { maxUnavailable: '50%', selector } });
    const status = () => api.get('poddisruptionbudgets.policy', ref).status;
    for (const name of ['b1', 'b2', 'b3', 'b4']) {
      api.create('pods', podBody(name, { bound: true, labels: { app: 'counted' } }), 'default');
      const ready = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
      api.patch(
        'pods',
        { namespace: 'default', name },
        'application/merge-patch+json',
        { status: ready },
        { subresource: 'status' },
      );
    }
    expect(status()).toMatchObject({ expectedPods: 4, currentHealthy: 4, desiredHealthy: 2, disruptionsAllowed: 2 });
    api.delete('pods', { namespace: 'default', name: 'b1' });
    expect(status()).toMatchObject({ expectedPods: 4, currentHealthy: 3, disruptionsAllowed: 1 });
    api.delete('pods', { namespace: 'default', name: 'b1' }, { gracePeriodSeconds: 0 });
    expect(status()).toMatchObject({ expectedPods: 3, currentHealthy: 3, desiredHealthy: 1, disruptionsAllowed: 2 });
  });
});

describe('lifecycle', () => {
  test('client - the official library reads, writes and watches', async () => {
    await using running = await startServer();
    const config = new KubeConfig();
    config.loadFromFile(running.server.kubeconfigPath());
    const core = config.makeApiClient(CoreV1Api);
    await core.createNamespacedPod({ namespace: 'default', body: podBody('typed') });
    const list = await core.listNamespacedPod({ namespace: 'default' });
    expect(list.items.map((pod) => pod.metadata?.name)).toEqual(['typed']);
    expect(list.items[0]?.metadata?.creationTimestamp).toBeInstanceOf(Date);
    const events: string[] = [];
    const watch = await new Watch(config).watch(
      '/api/v1/pods',
      { resourceVersion: list.metadata?.resourceVersion },
      (type, pod: { metadata: { name: string } }) => events.push(`${type} ${pod.metadata.name}`),
      () => {},
    );
    await core.deleteNamespacedPod({ namespace: 'default', name: 'typed' });
    await waitFor(() => events.includes('DELETED typed'), { what: 'the deletion' });
    watch.abort();
    await expect(core.readNamespacedPod({ namespace: 'default', name: 'typed' })).rejects.toMatchObject({ code: 404 });
  });

  test('connections - an idle connection is kept for some seconds, as by a real server', async () => {
    await using running = await startServer();
    const { server } = running;
    // The client of these tests does not keep connections, so this agent does.
    const agent = new Agent({ keepAlive: true, ca: await readFile(server.caFile, 'utf8') });
    onTestFinished(() => agent.destroy());
    const authorization = `Bearer ${server.token()}`;
    const [response] = (await once(get(`${server.url}${pods}`, { agent, headers: { authorization } }), 'response')) as [
      IncomingMessage,
    ];
    response.resume();
    expect(response.statusCode).toBe(200);
    expect(Number(/timeout=(\d+)/.exec(String(response.headers['keep-alive']))?.[1])).toBeGreaterThanOrEqual(60);
  });

  test('restart - on the same directory and port it is the same server for its clients', async () => {
    const certDir = await mkdtemp(join(tmpdir(), 'bailiff-restart-'));
    onTestFinished(() => rm(certDir, { recursive: true, force: true }));
    const tokens = [{ user: 'admin', token: 'stays' }];
    const first = await startServer({ certDir, tokens });
    const { api } = first;
    expectStatus(await api.get(pods), 200);
    await first[Symbol.asyncDispose]();
    await expect(api.get(pods)).rejects.toThrow(/ECONNREFUSED/);
    await using second = await startServer({ certDir, tokens, port: first.server.port });
    expect(second.server.url).toBe(first.server.url);
    expectStatus(await api.get(pods), 200);
  });

  test('process - prints its address and exits on SIGTERM', async () => {
    const child = spawn(process.execPath, nodeArgs('test/lab/src/apiserver/main.ts'), {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    const printed = JSON.parse(line) as { url: string; kubeconfig: string };
    const config = new KubeConfig();
    config.loadFromFile(printed.kubeconfig);
    expect(config.getCurrentCluster()?.server).toBe(printed.url);
    const namespaces = await config.makeApiClient(CoreV1Api).listNamespace();
    expect(namespaces.items.map((item) => item.metadata?.name)).toContain('kube-system');
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
    await expect(readFile(printed.kubeconfig)).rejects.toThrow(/ENOENT/);
  });
});
