/**
 * Which logins by token a real nats-server accepts and refuses. Each refusal is next to an accepted
 * login.
 */

import {
  type Bus,
  CONNECTION_LIMITS,
  captureSubject,
  ensureTopology,
  NODE_ROLES,
  request,
  userOf,
  violationSubject,
} from '@bailiff/bus';
import { testUsers } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { createInbox } from '@nats-io/nats-core';
import { connect as rawConnect } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { OUTSIDE, seed, tryEverything } from '../bus/rights.ts';
import { LINES, NODE_USERS, tryAll, tryIt } from '../bus/subject-table.ts';
import type { RunningService } from '../support/service.ts';
import { AuthRig, CONNECTION_LISTS, NODES, type TokenWish } from './bus-auth/rig.ts';

const [A, B] = NODES;
const AS_A = userOf({ role: 'collector', node: A });
const AS_B = userOf({ role: 'collector', node: B });

describe('a login by token', () => {
  let rig: AuthRig;
  let auth: RunningService;
  beforeAll(async () => {
    rig = await AuthRig.start();
    auth = await rig.busAuth(['--refusals-per-minute', '10000']);
  });
  afterAll(() => rig?.[Symbol.asyncDispose]());
  const refusals = (reason: string) => auth.metric(`refused_total{reason="${reason}"}`);

  /** Refused for the reason, and counted so; then the right login succeeds. */
  async function refused(reason: string, user: string, password: string, more = {}): Promise<void> {
    const before = await refusals(reason);
    expect(await rig.login(user, password, more)).toBe('BUS_AUTHENTICATION');
    expect(await refusals(reason)).toBe(before + 1);
    expect(await rig.login(AS_A, await rig.tokenOf(A))).toBe('in');
  }

  test('each collector may use its own node’s subjects and no other', async () => {
    const buses = new Map<string, Bus>();
    for (const node of NODES) {
      for (const role of NODE_ROLES) {
        buses.set(userOf({ role, node }), await rig.connect(await rig.collector(node, {}, role)));
      }
    }
    const { wrong, tried } = await tryAll(buses);
    expect(wrong).toEqual([]);
    expect(tried).toBe(LINES * NODE_USERS.length);
    const [a, b] = [buses.get(AS_A), buses.get(AS_B)] as [Bus, Bus];
    expect(await tryIt(a, 'publish', violationSubject(A, 'spoof'))).toBe(true);
    expect(await tryIt(a, 'publish', violationSubject(B, 'spoof'))).toBe(false);
    expect(await tryIt(b, 'publish', violationSubject(B, 'spoof'))).toBe(true);
  });

  test('a collector has as many subscriptions as its account allows, and no more', async () => {
    const a = await rig.connect(await rig.collector(A));
    const errors: string[] = [];
    a.statusListeners.add((status) => {
      if (status.type === 'error') errors.push(status.error.message);
    });
    const subscribe = (count: number) => {
      for (let index = 0; index < count; index += 1) a.nc.subscribe(createInbox(a.inboxPrefix));
      return a.nc.flush();
    };
    await subscribe(CONNECTION_LIMITS.maxSubscriptions);
    expect(errors).toEqual([]);
    await subscribe(1);
    await waitFor(() => errors.some((text) => /maximum subscriptions exceeded/i.test(text)), {
      what: 'the refusal of one more',
      state: () => errors,
    });
  });

  test('a collector answers each request once, and may publish to no other inbox', async () => {
    const a = await rig.connect(await rig.collector(A, {}, 'push'));
    const responder = await rig.nats.connect('responder');
    let inbox = '';
    a.nc.subscribe(captureSubject(A), {
      callback: (_, message) => {
        inbox = message.reply ?? '';
        message.respond('once');
        message.respond('twice');
      },
    });
    await a.nc.flush();
    const answer = await request(responder, captureSubject(A), 'what runs?');
    expect(Buffer.from(answer.data).toString()).toBe('once');
    expect(await tryIt(a, 'publish', inbox)).toBe(false);
    expect(await tryIt(a, 'publish', '_INBOX_responder.x.y')).toBe(false);
  });

  test.each<[string, string, TokenWish]>([
    ['for another audience', 'wrong-audience', { audiences: ['https://kubernetes.default.svc'] }],
    ['of another ServiceAccount', 'wrong-service-account', { account: 'other', pod: null }],
    [
      'of the account of that name in another namespace',
      'wrong-service-account',
      { namespace: 'elsewhere', pod: null },
    ],
    ['bound to no pod', 'not-bound', { pod: null }],
  ])('a token %s is refused', async (_, reason, wish) => {
    await refused(reason, AS_A, await rig.token(wish));
  });

  test('a token of a pod on another node is refused, whichever of the two it claims', async () => {
    await refused('wrong-node', AS_A, await rig.tokenOf(B));
    await refused('wrong-node', AS_B, await rig.tokenOf(A));
    expect(await rig.login(AS_B, await rig.tokenOf(B))).toBe('in');
  });

  test('a token for several audiences is accepted if one of them is the bus', async () => {
    expect(await rig.login(AS_A, await rig.tokenOf(A, { audiences: ['vault', 'bailiff'] }))).toBe('in');
  });

  test('an expired token is refused', async () => {
    const token = await rig.tokenOf(A, { seconds: 1 });
    await waitFor(
      () => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()).exp * 1000 < Date.now(),
    );
    await refused('expired', AS_A, token);
  });

  test('a token of a deleted pod is refused, also if the pod was recreated under its name', async () => {
    rig.pod('collector-old', A);
    const token = await rig.token({ pod: 'collector-old' });
    expect(await rig.login(AS_A, token)).toBe('in');
    const { api } = rig.kube.server;
    api.delete('pods', { namespace: 'bailiff-system', name: 'collector-old' }, { gracePeriodSeconds: 0 });
    // The last review serves a token for some seconds.
    await waitFor(async () => (await rig.login(AS_A, token)) !== 'in', { intervalMs: 500 });
    await refused('not-authenticated', AS_A, token);
    rig.pod('collector-old', A);
    await refused('not-authenticated', AS_A, token);
  });

  test('a modified token is refused', async () => {
    const [head, payload, signature] = (await rig.tokenOf(A)).split('.') as [string, string, string];
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
    claims['kubernetes.io'].node.name = B;
    const forged = Buffer.from(JSON.stringify(claims)).toString('base64url');
    await refused('forged', AS_B, `${head}.${forged}.${signature}`);
    await refused('forged', AS_A, `${head}.${payload}.${signature.slice(4)}AAAA`);
    // If bus-auth does not have the key of that name, it asks the API server.
    const renamed = Buffer.from('{"alg":"ES256","kid":"another"}').toString('base64url');
    await refused('not-authenticated', AS_A, `${renamed}.${payload}.${signature}`);
    await refused('not-a-token', AS_A, `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}`);
  });

  test.each([
    ['garbage', 'not-a-token', 'garbage'],
    ['nothing', 'no-token', ''],
    ['binary', 'not-a-token', '\u0000\u0001\uffff'],
    ['dots', 'not-a-token', '..'],
    ['JSON of the wrong form', 'not-a-token', `x.${Buffer.from('[]').toString('base64url')}.x`],
  ])('%s instead of a token is refused', async (_, reason, shown) => {
    await refused(reason, AS_A, shown);
  });

  test('the server refuses a huge token without asking bus-auth', async () => {
    const asked = await auth.metric('login_seconds_count');
    for (const size of [5_000, 1_000_000])
      expect(await rig.login(AS_A, 'x'.repeat(size), { timeoutMs: 1_000 })).not.toBe('in');
    expect(await auth.metric('login_seconds_count')).toBe(asked);
    expect(await rig.login(AS_A, await rig.tokenOf(A))).toBe('in');
    expect(await auth.metric('login_seconds_count')).toBe(asked + 1);
  });

  test.each([
    ['an unknown user', 'unknown'],
    ['no user', ''],
    ['a collector of no node', 'collector-'],
    ['a wildcard', 'collector-*'],
    ['a node and more', 'collector-node-a.>'],
    ['bus-auth in the wrong case', 'Bus-auth'],
  ])('a good token sent by %s is refused', async (_, user) => {
    // An inbox of its own, because the client rejects a wildcard there.
    await refused('unknown-user', user, await rig.tokenOf(A), { inboxPrefix: '_INBOX_test' });
  });

  test('the server itself refuses a good token as the password of a fixed user', async () => {
    const granted = await auth.metric('granted_total');
    for (const user of ['correlator', 'admin', 'bus-auth']) {
      expect([user, await rig.login(user, await rig.tokenOf(A))]).toEqual([user, 'BUS_AUTHENTICATION']);
      expect(await rig.login(user, `password-of-${user}`)).toBe('in');
    }
    expect(await auth.metric('granted_total')).toBe(granted);
  });

  test('a token beside other credentials is refused', async () => {
    const token = await rig.tokenOf(A);
    const shows = async (more: object) => {
      const before = await refusals('mixed-credentials');
      const options = { servers: rig.nats.url, reconnect: false, user: AS_A, pass: token, ...more };
      const refusedBy = await rawConnect(options).then(
        async (nc) => {
          await nc.close();
          return 'in';
        },
        (error: Error) => error.message,
      );
      return [refusedBy, (await refusals('mixed-credentials')) - before];
    };
    expect(await shows({})).toEqual(['in', 0]);
    expect(await shows({ token })).toEqual(['Authorization Violation', 1]);
    expect(await shows({ token: 'password-of-admin' })).toEqual(['Authorization Violation', 1]);
  });

  test('a token in the token field alone names no collector and is refused', async () => {
    const before = await refusals('unknown-user');
    const options = { servers: rig.nats.url, reconnect: false, token: await rig.tokenOf(A) };
    await expect(rawConnect(options)).rejects.toThrow('Authorization Violation');
    expect(await refusals('unknown-user')).toBe(before + 1);
  });

  test('refusals are logged once with their reason, and in the server’s log', async () => {
    const lines = auth.log().filter(({ msg, reason }) => msg === 'refused' && reason === 'wrong-node');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ level: 40, host: '127.0.0.1', detail: expect.stringContaining('runs on') });
    expect(rig.nats.log).toContain('wrong-node: the token belongs to a pod on another node');
  });

  test('no token is in a log of Bailiff or of the server', async () => {
    const token = await rig.tokenOf(A);
    expect(await rig.login(AS_A, token)).toBe('in');
    expect(await rig.login(AS_B, token)).toBe('BUS_AUTHENTICATION');
    for (const text of [rig.nats.log, JSON.stringify(auth.log())]) {
      for (const part of token.split('.')) expect(text).not.toContain(part);
    }
  });

  test('the API server refuses a token for the bus', async () => {
    const at = async (audiences: string[]) => {
      const token = await rig.token({ audiences });
      const { api } = rig.kube.server;
      expect(api).toBeDefined();
      const client = rig.kube.client();
      const request = { verb: 'POST', path: '/apis/authentication.k8s.io/v1/tokenreviews' } as const;
      const review = await client.request<{ status: { authenticated?: boolean } }>({
        ...request,
        body: { spec: { token } },
      });
      return review.status.authenticated ?? false;
    };
    expect(await at(['https://kubernetes.default.svc'])).toBe(true);
    expect(await at(['bailiff'])).toBe(false);
  });
});

test('a cluster that does not claim the node in tokens is refused, with a remedy', async () => {
  await using rig = await AuthRig.start({ api: { tokenNodeClaim: false } });
  const auth = await rig.busAuth();
  expect(await rig.login(AS_A, await rig.tokenOf(A))).toBe('BUS_AUTHENTICATION');
  expect(await auth.metric('refused_total{reason="no-node-claim"}')).toBe(1);
  expect(rig.nats.log).toContain('the API server must be 1.32 or later');
});

test('a pod whose tokens fail repeatedly is refused without a request to the API server; others are not, and its limit recovers', async () => {
  await using rig = await AuthRig.start();
  const auth = await rig.busAuth(['--refusals-per-minute', '15']);
  rig.pod('collector-old', A);
  const wrong = await rig.token({ pod: 'collector-old' });
  const { api } = rig.kube.server;
  api.delete('pods', { namespace: 'bailiff-system', name: 'collector-old' }, { gracePeriodSeconds: 0 });
  await waitFor(
    async () => {
      await Promise.all(Array.from({ length: 20 }, () => rig.login(AS_A, wrong)));
      return (await auth.metric('refused_total{reason="rate-limited"}')) > 0;
    },
    { what: 'the pod to be limited', intervalMs: 1, state: () => auth.log() },
  );
  const looked = await auth.metric('refused_total{reason="not-authenticated"}');
  expect(looked).toBeGreaterThanOrEqual(15);
  expect(await auth.metric('sources_with_failures')).toBe(1);
  expect(await rig.login(AS_A, await rig.tokenOf(A))).toBe('in');
  // The limit recovers by one in four seconds.
  await waitFor(
    async () => {
      await rig.login(AS_A, wrong);
      return (await auth.metric('refused_total{reason="not-authenticated"}')) > looked;
    },
    { what: 'its limit to recover' },
  );
});

/** bus-auth publishes its status meanwhile. */
const OWN_STATUS =
  /: message KV_bailiff_services \d+ \$KV\.bailiff_services\.bus-auth\.\S+($| .*service[\\":]+bus-auth)/;

test.each([...OUTSIDE, { role: 'bus-auth' } as const].map((identity) => [userOf(identity), identity] as const))(
  'with auth callout, %s can change nothing beyond its list through JetStream',
  async (user, identity) => {
    await using rig = await AuthRig.start({ nats: { users: testUsers(['node-b']), without: CONNECTION_LISTS } });
    await rig.busAuth();
    const admin = await rig.nats.connect('admin');
    await ensureTopology(admin);
    await seed(admin);
    const attacker =
      'node' in identity
        ? await rig.connect(await rig.collector('node-a', {}, identity.role))
        : await rig.nats.connect(user);
    const { unexpected } = await tryEverything(rig.nats, attacker, identity);
    expect(unexpected.filter((change) => !OWN_STATUS.test(change))).toEqual([]);
  },
);
