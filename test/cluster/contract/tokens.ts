// Contract: tokens of service accounts - requested, bound to a pod, with its node as a claim, and
// reviewed for an audience.

import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import type { Json } from './client.ts';
import { type Bench, createPod, expectFailure, expectStatus, nowhere, uniqueName } from './fixtures.ts';

const reviews = '/apis/authentication.k8s.io/v1/tokenreviews';
const audience = 'contract-audience';

interface Account {
  name: string;
  uid: string;
}

async function makeAccount({ api, path }: Bench): Promise<Account> {
  const made = expectStatus(await api.post(path('serviceaccounts'), { metadata: { name: uniqueName('sa') } }), 201);
  return { name: made.body['metadata'].name, uid: made.body['metadata'].uid };
}

const request = ({ api, path }: Bench, account: string, spec: Json) =>
  api.post(`${path('serviceaccounts', account)}/token`, { spec: { audiences: [audience], ...spec } });

async function tokenFor(bench: Bench, account: string, spec: Json = {}): Promise<string> {
  const reply = expectStatus(await request(bench, account, spec), 201);
  return reply.body['status'].token as string;
}

async function judge({ api }: Bench, token: string, audiences: string[] = [audience]): Promise<Json> {
  return expectStatus(await api.post(reviews, { spec: { token, audiences } }), 201).body['status'] as Json;
}

/**
 * A real server reviews tokens with a cache of accounts and pods, which is some milliseconds late.
 */
function refusedSoon(bench: Bench, token: string): PromiseLike<Json> {
  return waitFor(
    async () => {
      const status = await judge(bench, token);
      return status['authenticated'] ? null : status;
    },
    { what: 'the token is refused' },
  );
}

export function tokenTests(bench: () => Bench): void {
  test('token - of an account for one audience is valid for that audience only', async () => {
    const account = await makeAccount(bench());
    const reply = expectStatus(await request(bench(), account.name, { expirationSeconds: 700 }), 201);
    expect(reply.body).toMatchObject({
      kind: 'TokenRequest',
      apiVersion: 'authentication.k8s.io/v1',
      spec: { audiences: [audience], expirationSeconds: 700 },
    });
    const token = reply.body['status'].token as string;
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Json;
    expect((claims['exp'] as number) - (claims['iat'] as number)).toBe(700);
    expect(Date.parse(reply.body['status'].expirationTimestamp)).toBe((claims['exp'] as number) * 1000);
    const { namespace } = bench();
    const status = await judge(bench(), token, [audience, 'another']);
    expect(status).toMatchObject({
      authenticated: true,
      audiences: [audience],
      user: { username: `system:serviceaccount:${namespace}:${account.name}`, uid: account.uid },
    });
    expect(status['user'].groups).toEqual(
      expect.arrayContaining(['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated']),
    );
    for (const audiences of [['another'], []]) {
      const refused = await judge(bench(), token, audiences);
      expect([refused['authenticated'] ?? false, refused['error']]).toEqual([false, expect.stringMatching(/audience/)]);
    }
  });

  test('token - one for the server itself is accepted, one for another audience is not', async () => {
    const account = await makeAccount(bench());
    const { api } = bench();
    const who = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
    const own = expectStatus(await request(bench(), account.name, { audiences: [] }), 201).body['status'].token;
    expectStatus(await api.post(who, {}, { token: own }), 201);
    expectFailure(await api.post(who, {}, { token: await tokenFor(bench(), account.name) }), 401, 'Unauthorized');
  });

  test('token - bound to a pod, it claims the pod and its node, and is invalid without the pod', async () => {
    const account = await makeAccount(bench());
    const { api, path } = bench();
    const pod = await createPod(bench(), uniqueName('holder'), { serviceAccountName: account.name, bound: true });
    const { name, uid } = pod['metadata'] as { name: string; uid: string };
    const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name, uid };
    const token = await tokenFor(bench(), account.name, { boundObjectRef });
    const status = await judge(bench(), token);
    expect(status['user'].extra).toMatchObject({
      'authentication.kubernetes.io/pod-name': [name],
      'authentication.kubernetes.io/pod-uid': [uid],
      'authentication.kubernetes.io/node-name': [nowhere],
    });
    expectFailure(
      await request(bench(), account.name, { boundObjectRef: { ...boundObjectRef, uid: 'another' } }),
      409,
      'Conflict',
    );
    const other = await makeAccount(bench());
    expectFailure(await request(bench(), other.name, { boundObjectRef }), 400, 'BadRequest');
    expectStatus(await api.delete(path('pods', name), { gracePeriodSeconds: 0 }), 200);
    expect((await refusedSoon(bench(), token))['user'].username ?? '').toBe('');
    expectFailure(await request(bench(), account.name, { boundObjectRef }), 404, 'NotFound');
  });

  test('token - an account that was recreated under its name is another one', async () => {
    const account = await makeAccount(bench());
    const { api, path } = bench();
    const token = await tokenFor(bench(), account.name);
    expectStatus(await api.delete(path('serviceaccounts', account.name)), 200);
    await refusedSoon(bench(), token);
    expectStatus(await api.post(path('serviceaccounts'), { metadata: { name: account.name } }), 201);
    const renewed = await tokenFor(bench(), account.name);
    await waitFor(async () => (await judge(bench(), renewed))['authenticated'], { what: 'the new one is known' });
    expect((await judge(bench(), token))['authenticated'] ?? false).toBe(false);
  });

  test.each([
    ['garbage', () => 'garbage'],
    ['three parts of garbage', () => 'e30.e30.e30'],
    ['a changed claim', (token: string) => token.replace(/\.(.)/, (_, first) => `.${first === 'A' ? 'B' : 'A'}`)],
    ['a cut signature', (token: string) => token.slice(0, -8)],
  ])('token - %s is unauthenticated', async (_what, change) => {
    const account = await makeAccount(bench());
    const token = await tokenFor(bench(), account.name);
    expect((await judge(bench(), token))['authenticated']).toBe(true);
    expect((await judge(bench(), change(token)))['authenticated'] ?? false).toBe(false);
  });

  test.each([
    [{ expirationSeconds: 599 }, 422, 'Invalid'],
    [{ expirationSeconds: 2 ** 33 }, 422, 'Invalid'],
  ] as const)('token - a request with %j is refused', async (spec, status, reason) => {
    const account = await makeAccount(bench());
    expectFailure(await request(bench(), account.name, spec), status, reason);
  });

  test('access of another user - as its rights are, also to a resource that does not exist', async () => {
    const { api, namespace } = bench();
    const who = expectStatus(await api.post('/apis/authentication.k8s.io/v1/selfsubjectreviews', {}), 201);
    const { username: user, groups } = who.body['status'].userInfo as Json;
    const account = await makeAccount(bench());
    const resourceAttributes = { verb: 'get', group: 'bailiff.dev', resource: 'violations', namespace };
    const may = async (spec: Json) => {
      const sent = { spec: { ...spec, resourceAttributes } };
      const reply = await api.post('/apis/authorization.k8s.io/v1/subjectaccessreviews', sent);
      return expectStatus(reply, 201).body['status'].allowed as boolean;
    };
    expect(await may({ user, groups }), 'the administrator').toBe(true);
    expect(await may({ user: `system:serviceaccount:${namespace}:${account.name}` }), 'without a role').toBe(false);
    expect(await may({ user: uniqueName('unknown') }), 'an unknown user').toBe(false);
  });

  test('token - for an absent account is refused', async () => {
    expectFailure(await request(bench(), uniqueName('nobody'), {}), 404, 'NotFound');
  });
}
