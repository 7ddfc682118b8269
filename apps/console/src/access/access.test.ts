import type { IncomingMessage } from 'node:http';
import { type KubeApi, KubeError, type RequestOptions } from '@bailiff/kube';
import { kubeApiOf } from '@bailiff/kube/testing';
import { describe, expect, it } from 'vitest';
import { KEEP_MS } from './door.ts';
import { ProxyDoor } from './proxy-door.ts';
import { MAX_AT_ONCE, MAX_VISITORS, MISSING_MS, Rights } from './rights.ts';
import { MAX_REVIEWS, Visitors } from './visitors.ts';

interface Body {
  spec: { token?: string; user?: string; groups?: string[]; resourceAttributes?: { namespace: string } };
}

/** An API server with namespaces a to c. `may` decides; `wait` holds every response back. */
function server({
  may = () => false,
  wait = Promise.resolve(),
}: {
  may?: (namespace: string, user: string) => boolean;
  wait?: Promise<unknown>;
} = {}) {
  const asked: string[] = [];
  const groups: string[][] = [];
  const request = async ({ path, body }: RequestOptions) => {
    const { spec } = (body ?? { spec: {} }) as Body;
    await wait;
    if (path === '/api/v1/namespaces') return { items: ['a', 'b', 'c'].map((name) => ({ metadata: { name } })) };
    if (path.endsWith('tokenreviews')) {
      asked.push(spec.token ?? '');
      return { status: spec.token?.startsWith('good') ? { authenticated: true, user: { username: spec.token } } : {} };
    }
    const namespace = spec.resourceAttributes?.namespace ?? '';
    asked.push(namespace);
    groups.push(spec.groups ?? []);
    return { status: { allowed: may(namespace, spec.user ?? '') } };
  };
  return { asked, groups, client: kubeApiOf(request) };
}

const asRequest = (headers: Record<string, string | string[]>) => {
  const headersDistinct = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value].flat()]));
  return { headersDistinct, socket: {} } as unknown as IncomingMessage;
};
const OPTIONS = {
  audiences: [],
  userHeader: 'X-Forwarded-User',
  groupsHeader: 'x-forwarded-groups',
  proxyNames: [],
  proxySecrets: () => ['next', 'secret'],
};
const person = { username: 'ann', groups: ['dev'] };

describe('rights', () => {
  it('are asked for all namespaces first, then for each', async () => {
    const all = server({ may: () => true });
    expect(await new Rights(all.client, () => 0).scopeOf(person)).toMatchObject({ isAll: true });
    expect(all.asked).toEqual(['']);
    const some = server({ may: (namespace) => namespace === 'b' });
    const scope = await new Rights(some.client, () => 0).scopeOf(person);
    expect(scope).toMatchObject({ isAll: false, namespaces: ['b'] });
    expect([scope.maySee('b'), scope.maySee('a'), scope.maySee(null)]).toEqual([true, false, false]);
    expect(some.asked.sort()).toEqual(['', 'a', 'b', 'c']);
  });

  it('are asked for again after KEEP_MS, missing ones after MISSING_MS', async () => {
    let nowMs = 0;
    const allowed = new Set(['b']);
    const { asked, client } = server({ may: (namespace) => allowed.has(namespace) });
    const rights = new Rights(client, () => nowMs);
    const names = async () => (await rights.scopeOf(person)).namespaces;
    expect(await names()).toEqual(['b']);
    asked.length = 0;
    nowMs = KEEP_MS - 1;
    expect([await names(), asked]).toEqual([['b'], []]);
    allowed.clear();
    nowMs = KEEP_MS;
    expect([await names(), asked]).toEqual([[], ['', 'b']]);
    allowed.add('a');
    nowMs = MISSING_MS + KEEP_MS;
    expect(await names()).toEqual(['a']);
  });

  it('are none while the API server does not answer, or too many ask', async () => {
    const failing = kubeApiOf(() => Promise.reject(new KubeError('KUBE_UNREACHABLE', 'down')));
    await expect(new Rights(failing, () => 0).scopeOf(person)).rejects.toMatchObject({ status: 503 });
    let go = (_: unknown) => {};
    const { client } = server({
      may: () => true,
      wait: new Promise((resolve) => {
        go = resolve;
      }),
    });
    const rights = new Rights(client, () => 0);
    const first = Array.from({ length: MAX_AT_ONCE / 2 }, (_, n) => rights.scopeOf({ username: `u${n}` }));
    await expect(rights.scopeOf({ username: 'late' })).rejects.toMatchObject({ status: 503 });
    go(null);
    for (const scope of await Promise.all(first)) expect(scope.isAll).toBe(true);
    expect((await rights.scopeOf({ username: 'late' })).isAll, 'the failure is not kept').toBe(true);
  });

  it('a flood of tokens without a right leaves reviews for people who had one', async () => {
    let wait: Promise<unknown> = Promise.resolve();
    let nowMs = 0;
    const { asked, client } = server({ may: (namespace, user) => namespace === 'b' && user === 'ann' });
    const slow = kubeApiOf(async (options) => {
      await wait;
      return client.request(options);
    });
    const rights = new Rights(slow, () => nowMs);
    expect((await rights.scopeOf(person)).namespaces).toEqual(['b']);
    nowMs = KEEP_MS;
    let go = (_: unknown) => {};
    wait = new Promise((resolve) => {
      go = resolve;
    });
    // Each token of a service account is an identity of its own.
    const token = (n: number) => ({
      username: 'sa',
      extra: { 'authentication.kubernetes.io/credential-id': [`${n}`] },
    });
    const flood = Array.from({ length: 3 * MAX_AT_ONCE }, (_, n) =>
      rights.scopeOf(n % 2 === 0 ? token(n) : { username: `sa-${n}` }).catch(({ status }) => status as number),
    );
    const ann = rights.scopeOf(person);
    await expect(rights.scopeOf({ username: 'new' }), 'the control').rejects.toMatchObject({ status: 503 });
    go(null);
    expect((await ann).namespaces).toEqual(['b']);
    const reviewed = (await Promise.all(flood)).filter((one) => one !== 503);
    expect(reviewed.length).toBeLessThanOrEqual(MAX_AT_ONCE / 2);
    // What is remembered about ann is not displaced by the identities of another name.
    wait = Promise.resolve();
    for (let n = 0; n < 2 * MAX_VISITORS; n += 1) await rights.scopeOf(token(1_000 + n));
    nowMs += KEEP_MS;
    asked.length = 0;
    await rights.scopeOf(person);
    expect(asked).toEqual(['', 'b']);
  });

  it('end at the first namespaces of a large cluster, and say so', async () => {
    const request = async ({ path }: RequestOptions) =>
      path === '/api/v1/namespaces'
        ? { metadata: { continue: 'next' }, items: [{ metadata: { name: 'a' } }] }
        : { status: { allowed: false } };
    const client = kubeApiOf(request);
    const door = (api: KubeApi) =>
      new ProxyDoor(new Visitors(api, OPTIONS, () => 0), new Rights(api, () => 0), () => {});
    const ann = asRequest({ 'x-forwarded-user': 'ann', 'x-bailiff-proxy-secret': 'secret' });
    await expect(door(client).admit(ann)).rejects.toThrow('in any of the first 2000 namespaces');
    await expect(door(server().client).admit(ann), 'the control').rejects.toThrow('in any namespace');
  });

  it('of users with the same name and other groups are their own', async () => {
    const { groups, client } = server({ may: () => true });
    const rights = new Rights(client, () => 0);
    await rights.scopeOf(person);
    await rights.scopeOf({ ...person, groups: ['ops'] });
    expect(groups).toEqual([['dev'], ['ops']]);
  });
});

describe('visitors', () => {
  it('a proxy gives a name and groups, but none of Kubernetes', async () => {
    const visitors = new Visitors(server().client, OPTIONS, () => 0);
    const headers = { 'x-forwarded-user': 'ann', 'x-forwarded-groups': 'dev, system:masters,,ops' };
    for (const secret of ['secret', 'next'])
      expect(await visitors.identify(asRequest({ ...headers, 'x-bailiff-proxy-secret': secret }))).toEqual({
        user: { username: 'ann', groups: ['dev', 'ops', 'system:authenticated'] },
        token: null,
      });
    await expect(visitors.identify(asRequest(headers))).rejects.toMatchObject({ status: 401 });
    const none = new Visitors(server().client, { ...OPTIONS, proxySecrets: () => [] }, () => 0);
    const empty = asRequest({ ...headers, 'x-bailiff-proxy-secret': '' });
    await expect(none.identify(empty), 'no secret is configured').rejects.toMatchObject({ status: 401 });
  });

  it.each(['x-forwarded-user', 'x-forwarded-groups', 'x-bailiff-proxy-secret', 'authorization'])(
    'a browser adds nothing to a header of the proxy - %s',
    async (name) => {
      const visitors = new Visitors(server().client, OPTIONS, () => 0);
      const headers: Record<string, string> = {
        ...{ 'x-forwarded-user': 'ann', 'x-forwarded-groups': 'dev', 'x-bailiff-proxy-secret': 'secret' },
        ...(name === 'authorization' ? { authorization: 'Bearer good-1' } : {}),
      };
      const twice = asRequest({ ...headers, [name]: ['security', headers[name] as string] });
      await expect(visitors.identify(twice)).rejects.toMatchObject({
        status: 401,
        message: expect.stringMatching(/once/),
      });
      expect((await visitors.identify(asRequest(headers))).user.username, 'the control').toMatch(/ann|good-1/);
    },
  );

  it('a flood of wrong tokens leaves reviews for those that were valid before', async () => {
    let wait: Promise<unknown> = Promise.resolve();
    let nowMs = 0;
    const { asked, client } = server();
    const slow = kubeApiOf(async (options) => {
      await wait;
      return client.request(options);
    });
    const visitors = new Visitors(slow, OPTIONS, () => nowMs);
    const come = (token: string) => visitors.identify(asRequest({ authorization: `Bearer ${token}` }));
    expect(await come('good-1')).toEqual({ user: { username: 'good-1' }, token: 'good-1' });
    nowMs = KEEP_MS;
    let go = (_: unknown) => {};
    wait = new Promise((resolve) => {
      go = resolve;
    });
    const flood = Array.from({ length: MAX_REVIEWS }, (_, n) =>
      come(`bad-${n}`).catch(({ status }) => status as number),
    );
    const known = come('good-1');
    await expect(come('good-2'), 'the control: one that is not known').rejects.toMatchObject({ status: 503 });
    go(null);
    expect((await known).user).toEqual({ username: 'good-1' });
    const half = MAX_REVIEWS / 2;
    expect((await Promise.all(flood)).sort()).toEqual([...Array(half).fill(401), ...Array(half).fill(503)]);
    expect(asked.filter((token) => token.startsWith('bad'))).toHaveLength(half);
  });
});
