// The client and its calls against the API stand-in: errors by code, retries, renewed credentials,
// preconditions.
import { copyFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import {
  createEvent,
  createNetworkPolicy,
  deleteNetworkPolicy,
  deletePod,
  evictPod,
  getNetworkPolicy,
  getPod,
  KubeError,
  type KubeList,
  loadKube,
  loadSharedKube,
  patchPod,
} from '@bailiff/kube';
import { ensureCertificates, writeKubeconfig } from '@bailiff/lab/apiserver';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, test } from 'vitest';
import { FAST, startKube } from '../support/kube.ts';

const PODS = '/api/v1/namespaces/default/pods';

async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    if (error instanceof KubeError) return error.code;
    throw error;
  }
  return 'no error';
}

describe('kube client - failures of the server', () => {
  test.each([
    ['500', { status: 500 }],
    ['503', { status: 503 }],
    ['429', { status: 429 }],
    ['504', { status: 504 }],
    ['a dropped connection', { drop: true }],
  ])('kube client - %s is retried', async (_, fault) => {
    await using kube = await startKube();
    const client = kube.client();
    kube.server.faults.inject({ ...fault, verb: 'list', times: 2 });
    expect(await client.request({ path: PODS })).toMatchObject({ kind: 'PodList' });
    expect(client.stats.retries).toBe(2);
  });
  test('kube client - gives up after the last attempt, with its code', async () => {
    await using kube = await startKube();
    kube.server.faults.inject({ status: 503, verb: 'list', times: Infinity });
    const client = kube.client();
    expect(await codeOf(client.request({ path: PODS, attempts: 3 }))).toBe('KUBE_SERVER');
    expect(kube.server.requests.count({ verb: 'list', resource: 'pods' })).toBe(3);
    expect(client.stats.errors.get('KUBE_SERVER')).toBe(3);
  });
  test('kube client - waits as long as the server asks', async () => {
    await using kube = await startKube();
    kube.server.faults.inject({ status: 429, retryAfterSeconds: 1, verb: 'list' });
    const startedAtMs = performance.now();
    await kube.client().request({ path: PODS });
    expect(performance.now() - startedAtMs).toBeGreaterThan(950);
  });
  test('kube client - an unanswered POST is not sent again; an idempotent request is', async () => {
    await using kube = await startKube();
    const client = kube.client();
    const post = (idempotent: boolean) =>
      client.request({
        verb: 'POST',
        path: '/api/v1/namespaces',
        body: { metadata: { name: `made-${idempotent}` } },
        idempotent,
      });
    kube.server.faults.inject({ drop: true, when: 'after', verb: 'create', resource: 'namespaces' });
    expect(await codeOf(post(false))).toBe('KUBE_UNREACHABLE');
    kube.server.faults.inject({ drop: true, when: 'after', verb: 'create', resource: 'namespaces' });
    expect(await codeOf(post(true))).toBe('KUBE_ALREADY_EXISTS');
  });
  test('kube client - a timeout and an abort end a request', async () => {
    await using kube = await startKube();
    const client = kube.client();
    kube.server.faults.inject({ hold: true, verb: 'list', times: Infinity });
    expect(await codeOf(client.request({ path: PODS, timeoutMs: 100, attempts: 1 }))).toBe('KUBE_TIMEOUT');
    const abort = new AbortController();
    const call = codeOf(client.request({ path: PODS, signal: abort.signal }));
    abort.abort();
    expect(await call).toBe('KUBE_ABORTED');
    expect(await codeOf(client.request({ path: PODS, signal: abort.signal }))).toBe('KUBE_ABORTED');
  });
  test('kube client - 403 and 404 are final', async () => {
    const allow = [{ resources: ['nodes'], verbs: ['get'] }];
    await using kube = await startKube({ tokens: [{ user: 'small', token: 'secret-token', allow }] });
    const client = kube.client();
    expect(await codeOf(client.request({ path: PODS }))).toBe('KUBE_FORBIDDEN');
    expect(await codeOf(client.request({ path: '/api/v1/nodes/none' }))).toBe('KUBE_NOT_FOUND');
    expect(client.stats.retries).toBe(0);
  });
});

describe('kube client - credentials', () => {
  const tokens = [
    { user: 'first', token: 'token-one', groups: ['system:masters'] },
    { user: 'second', token: 'token-two', groups: ['system:masters'] },
  ];
  test('kube client - an expired token is read again from its source, once for many requests, in a watch too', async () => {
    await using kube = await startKube({ tokens });
    const kubeconfig = path.join(kube.dir, 'mine');
    await copyFile(kube.server.kubeconfigPath('first'), kubeconfig);
    const client = loadKube({ kubeconfig, backoff: FAST });
    await client.request({ path: PODS });
    kube.server.faults.expireTokens('first');
    await copyFile(kube.server.kubeconfigPath('second'), kubeconfig);
    await Promise.all(Array.from({ length: 8 }, () => client.request({ path: PODS })));
    expect(client.stats.credentialReloads).toBe(1);
    await copyFile(kube.server.kubeconfigPath('first'), kubeconfig);
    kube.server.faults.restoreTokens('first');
    kube.server.faults.expireTokens('second');
    const abort = new AbortController();
    let open = false;
    const watching = client.watch({
      path: PODS,
      signal: abort.signal,
      inactivityMs: 10_000,
      onOpen: () => {
        open = true;
        abort.abort();
      },
      onEvent: () => {},
    });
    expect(await codeOf(watching)).toBe('KUBE_ABORTED');
    expect(open).toBe(true);
    expect(client.stats.credentialReloads).toBe(2);
    client.close();
  });
  test('kube client - a token that stays expired is an error, not a loop', async () => {
    await using kube = await startKube({ tokens });
    kube.server.faults.expireTokens();
    const client = kube.client();
    expect(await codeOf(client.request({ path: PODS }))).toBe('KUBE_UNAUTHORIZED');
    expect(client.stats.requests).toBe(1);
    kube.server.faults.restoreTokens();
    expect(await codeOf(client.request({ path: PODS }))).toBe('no error');
  });
  test("kube client - requests with another person's token have that person's rights, and none of our own", async () => {
    const guest = { user: 'guest', token: 'token-guest', allow: [{ resources: ['nodes'], verbs: ['list'] }] };
    await using kube = await startKube({ tokens: [...tokens, guest] });
    const { client, withToken } = loadSharedKube({ kubeconfig: kube.server.kubeconfigPath('first'), backoff: FAST });
    const as = (token: string, path: string) => codeOf(withToken(token).request({ path }));
    expect(await as('token-guest', PODS)).toBe('KUBE_FORBIDDEN');
    expect(await as('token-wrong', PODS)).toBe('KUBE_UNAUTHORIZED');
    expect(await as('token-guest', '/api/v1/nodes'), 'the control').toBe('no error');
    expect(await as('token-two', PODS)).toBe('no error');
    expect(await codeOf(client.request({ path: PODS })), 'our own').toBe('no error');
    client.close();
  });
  test('kube client - a certificate of another authority is not trusted', async () => {
    await using kube = await startKube();
    await using other = await startKube();
    const [token, url] = [kube.server.token(), kube.server.url];
    const kubeconfig = path.join(kube.dir, 'foreign');
    const { ca } = await ensureCertificates(other.dir, '127.0.0.1');
    await writeKubeconfig(kubeconfig, { url, ca, user: 'admin', token });
    const client = loadKube({ kubeconfig, backoff: FAST });
    expect(await codeOf(client.request({ path: PODS, attempts: 1 }))).toBe('KUBE_UNREACHABLE');
    client.close();
  });
  test.each([
    ['missing', '/proc/nonexistent/kubeconfig', undefined],
    ['without that context', null, 'elsewhere'],
  ])('kube client - a kubeconfig that is %s is a configuration error', async (_, file, context) => {
    await using kube = await startKube();
    const load = () => loadKube({ kubeconfig: file ?? kube.server.kubeconfigPath(), context });
    expect(load).toThrow(expect.objectContaining({ code: 'KUBE_CONFIG', exitCode: 6 }));
  });
  test('kube client - plain http is refused', async () => {
    await using kube = await startKube();
    const kubeconfig = path.join(kube.dir, 'plain');
    await writeKubeconfig(kubeconfig, { url: 'http://127.0.0.1:1', ca: '', user: 'a', token: 'x' });
    expect(() => loadKube({ kubeconfig })).toThrow(expect.objectContaining({ code: 'KUBE_CONFIG' }));
  });
});

describe('kube client - responses that no server should send', () => {
  async function against(listener: RequestListener, run: (client: ReturnType<typeof loadKube>) => Promise<void>) {
    await using kube = await startKube();
    const { cert, key, ca } = await ensureCertificates(kube.dir, '127.0.0.1');
    const server = createTlsServer({ cert, key }, listener);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const kubeconfig = path.join(kube.dir, 'scripted');
    await writeKubeconfig(kubeconfig, { url: `https://127.0.0.1:${port}/prefix/`, ca, user: 'a', token: 'x' });
    const client = loadKube({ kubeconfig, backoff: FAST });
    try {
      await run(client);
    } finally {
      client.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }
  test('kube client - a page that is no JSON, and an error page of a proxy', async () => {
    const paths: (string | undefined)[] = [];
    await against(
      (request, response) => {
        paths.push(request.url);
        response.writeHead(request.url?.includes('bad') ? 200 : 403, { 'content-type': 'text/html' }).end('<html>');
      },
      async (client) => {
        expect(await codeOf(client.request({ path: '/bad' }))).toBe('KUBE_PROTOCOL');
        expect(await codeOf(client.request({ path: '/x', query: { a: 'b c', d: undefined } }))).toBe('KUBE_FORBIDDEN');
        expect(paths).toEqual(['/prefix/bad', '/prefix/x?a=b%20c']);
      },
    );
  });
  test.each([
    ['ends within an event', '{"type":"ADDED","object":{}}\n{"type":', 'KUBE_UNREACHABLE', 1],
    ['sends something else', 'hello\n', 'KUBE_PROTOCOL', 0],
  ])('kube client - a watch that %s', async (_, body, code, events) => {
    await against(
      (_request, response) => response.writeHead(200).end(body),
      async (client) => {
        let seen = 0;
        const onEvent = () => {
          seen += 1;
        };
        expect(await codeOf(client.watch({ path: '/w', inactivityMs: 30_000, onEvent }))).toBe(code);
        expect(seen).toBe(events);
      },
    );
  });
  test('kube client - a watch without events is closed; each event restarts the timeout', async () => {
    const inactivityMs = 250;
    await against(
      (_request, response) => {
        response.writeHead(200);
        let left = 4;
        const timer = setInterval(() => {
          response.write('{"type":"BOOKMARK","object":{}}\n');
          if (--left === 0) clearInterval(timer);
        }, 100);
      },
      async (client) => {
        const watched = async () => {
          let seen = 0;
          let lastAtMs = 0;
          const onEvent = () => {
            seen += 1;
            lastAtMs = performance.now();
          };
          expect(await codeOf(client.watch({ path: '/w', inactivityMs, onEvent }))).toBe('KUBE_INACTIVE');
          // Timers count in whole milliseconds.
          if (seen > 0) expect(performance.now() - lastAtMs).toBeGreaterThan(inactivityMs - 5);
          return seen;
        };
        // Both ends are in this process: if it is delayed, nothing arrives.
        await waitFor(async () => (await watched()) === 4, { what: 'a watch that was not closed too early' });
      },
    );
  });
  test('kube client - large responses are read one after another; small ones do not wait', async () => {
    const MIB = 1024 * 1024;
    const text = (bytes: number) => JSON.stringify('x'.repeat(bytes - 2));
    // More than the sockets hold: the client has read a large part of it.
    const [begin, end] = [text(16 * MIB).slice(0, -1), '"'];
    let finish: () => void = () => {};
    let firstBuffered = () => Number.POSITIVE_INFINITY;
    await against(
      (request, response) => {
        if (request.url?.endsWith('/first')) {
          response.writeHead(200, { 'content-length': begin.length + end.length });
          response.write(begin);
          finish = () => response.end(end);
          firstBuffered = () => response.writableLength;
        } else response.end(request.url?.endsWith('/second') ? text(4 * MIB) : '{}');
      },
      async (client) => {
        const done: string[] = [];
        const read = (path: string) => client.request({ path }).then(() => done.push(path));
        const first = read('/first');
        await waitFor(() => firstBuffered() === 0, { what: 'the first to be read' });
        const second = read('/second');
        for (let i = 0; i < 20; i++) await read('/small');
        expect(done).toEqual(Array(20).fill('/small'));
        finish();
        await Promise.all([first, second]);
        expect(done.slice(20)).toEqual(['/first', '/second']);
      },
    );
  });
  test('kube client - a connection closed within a response', async () => {
    await against(
      (_request, response) => {
        response.writeHead(200, { 'content-length': 1000 });
        response.write('{', () => response.destroy());
      },
      async (client) => {
        expect(await codeOf(client.request({ path: '/x', attempts: 1 }))).toBe('KUBE_UNREACHABLE');
      },
    );
  });
  test('kube client - a server that asks for another protocol ends the request', async () => {
    await against(
      (_, response) => response.writeHead(101, { connection: 'Upgrade', upgrade: 'websocket' }).end(),
      async (client) => {
        expect(await codeOf(client.request({ path: '/x', timeoutMs: 1_000, attempts: 1 }))).toBe('KUBE_UNREACHABLE');
      },
    );
  });
  test('kube client - no server listens', async () => {
    const probe = createServer();
    await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
    const { port } = probe.address() as AddressInfo;
    await new Promise((resolve) => probe.close(resolve));
    await using kube = await startKube();
    const kubeconfig = path.join(kube.dir, 'dead');
    const { ca } = await ensureCertificates(kube.dir, '127.0.0.1');
    await writeKubeconfig(kubeconfig, { url: `https://127.0.0.1:${port}`, ca, user: 'a', token: 'x' });
    const client = loadKube({ kubeconfig, backoff: FAST });
    expect(await codeOf(client.request({ path: PODS }))).toBe('KUBE_UNREACHABLE');
    expect(client.stats.retries).toBe(3);
  });
  test('kube client - one connection for consecutive requests', async () => {
    const ports = new Set<number | undefined>();
    await against(
      (request, response) => {
        ports.add(request.socket.remotePort);
        response.end('{}');
      },
      async (client) => {
        for (let i = 0; i < 20; i++) await client.request({ path: '/x' });
        expect(ports.size).toBe(1);
      },
    );
  });
});

describe('kube calls - each with its precondition', () => {
  const ref = (name: string, uid: string) => ({ namespace: 'default', name, uid });

  test('kube calls - labels are merged and removed; another UID is a conflict and changes nothing', async () => {
    await using kube = await startKube();
    const client = kube.client();
    const { uid } = kube.pod('web', { labels: { app: 'web', old: '1' } });
    const patched = await patchPod(client, ref('web', uid), { labels: { seen: 'yes', old: null } });
    expect(patched.metadata.labels).toEqual({ app: 'web', seen: 'yes' });
    expect(await codeOf(patchPod(client, ref('web', 'other'), { labels: { seen: 'no' } }))).toBe('KUBE_CONFLICT');
    expect((await getPod(client, ref('web', uid)))?.metadata.labels?.['seen']).toBe('yes');
    expect(await codeOf(patchPod(client, ref('none', uid), {}))).toBe('KUBE_NOT_FOUND');
  });
  test('kube calls - a pod with the name of a field is invalid for other reasons like any other', async () => {
    await using kube = await startKube();
    const client = kube.client();
    for (const name of ['web', 'metadata.uid']) {
      const { uid } = kube.pod(name);
      kube.server.faults.inject({ verb: 'patch', resource: 'pods', name, status: 422 });
      expect([name, await codeOf(patchPod(client, ref(name, uid), {}))]).toEqual([name, 'KUBE_INVALID']);
      expect([name, await codeOf(patchPod(client, ref(name, 'other'), {}))]).toEqual([name, 'KUBE_CONFLICT']);
    }
  });
  test('kube calls - delete: the right one, once; another UID or version is a conflict', async () => {
    await using kube = await startKube();
    const client = kube.client();
    const { uid } = kube.pod('web');
    expect(await codeOf(deletePod(client, ref('web', 'other')))).toBe('KUBE_CONFLICT');
    expect(await codeOf(deletePod(client, { ...ref('web', uid), resourceVersion: '1' }))).toBe('KUBE_CONFLICT');
    expect(await deletePod(client, { ...ref('web', uid), gracePeriodSeconds: 0 })).toBe(true);
    expect(await deletePod(client, ref('web', uid))).toBe(false);
    expect(await getPod(client, ref('web', uid))).toBeNull();
  });
  test('kube calls - a delete whose response was lost does not hit the next pod of that name', async () => {
    await using kube = await startKube();
    const client = kube.client();
    const { uid } = kube.pod('web');
    const fault = kube.server.faults.inject({ drop: true, when: 'after', verb: 'delete' });
    const call = codeOf(deletePod(client, { ...ref('web', uid), gracePeriodSeconds: 0 }));
    await waitFor(() => fault.hits === 1);
    // May lose the race against the retry: both results are right, and the new pod is never hit.
    const next = kube.pod('web');
    expect(['KUBE_CONFLICT', 'no error']).toContain(await call);
    expect((await getPod(client, ref('web', next.uid)))?.metadata.uid).toBe(next.uid);
  });
  test('kube calls - eviction: by UID, refused by a budget at once and without a retry', async () => {
    await using kube = await startKube();
    const client = kube.client();
    const { uid } = kube.pod('web');
    expect(await codeOf(evictPod(client, ref('web', 'other')))).toBe('KUBE_CONFLICT');
    kube.server.faults.inject({ status: 429, retryAfterSeconds: 10, subresource: 'eviction' });
    const refusal = await evictPod(client, ref('web', uid)).catch((error: KubeError) => error);
    expect(refusal).toMatchObject({ code: 'KUBE_TOO_MANY_REQUESTS', retryAfterMs: 10_000 });
    expect(await evictPod(client, { ...ref('web', uid), gracePeriodSeconds: 0 })).toBe(true);
    expect(await evictPod(client, ref('web', uid))).toBe(false);
  });
  test('kube calls - an event is created once despite retries, and its message is truncated', async () => {
    await using kube = await startKube();
    const client = kube.client();
    const { uid } = kube.pod('web');
    const event = {
      name: 'web.verdict-1',
      pod: ref('web', uid),
      type: 'Warning' as const,
      reason: 'SpoofedSource',
      message: 'é'.repeat(2000),
      component: 'bailiff-responder',
      timeMs: Date.now(),
    };
    kube.server.faults.inject({ drop: true, when: 'after', verb: 'create', resource: 'events' });
    expect(await createEvent(client, event)).toBe(false);
    const { items: events } = await client.request<KubeList<{ message: string }>>({
      path: '/api/v1/namespaces/default/events',
    });
    expect(events).toHaveLength(1);
    expect(Buffer.byteLength(events?.[0]?.message ?? '')).toBeLessThanOrEqual(1024);
  });
  test('kube calls - network policies are created, never overwritten, and removed', async () => {
    await using kube = await startKube();
    const client = kube.client();
    const policy = {
      metadata: { namespace: 'default', name: 'q' },
      spec: { podSelector: {}, policyTypes: ['Ingress'] },
    };
    const made = await createNetworkPolicy(client, policy);
    expect(await codeOf(createNetworkPolicy(client, policy))).toBe('KUBE_ALREADY_EXISTS');
    expect((await getNetworkPolicy(client, 'default', 'q'))?.metadata.uid).toBe(made.metadata.uid);
    const remove = (uid: string) => deleteNetworkPolicy(client, { namespace: 'default', name: 'q', uid });
    expect(await codeOf(remove('other'))).toBe('KUBE_CONFLICT');
    expect(await remove(made.metadata.uid)).toBe(true);
    expect(await remove(made.metadata.uid)).toBe(false);
    expect(await getNetworkPolicy(client, 'default', 'q')).toBeNull();
  });
});
