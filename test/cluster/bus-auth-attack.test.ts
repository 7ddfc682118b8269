/**
 * A host-network pod beside a collector shares its address and sends forged tokens. If bus-auth has
 * the API server's keys, the collector logs in with a new token, however many the pod sends. Logins
 * beyond the limit of TokenReviews are refused and reported at once. A node that logs in with its
 * own valid token all the time does not keep other nodes out.
 */
import { randomBytes } from 'node:crypto';
import { userOf } from '@bailiff/bus';
import { waitFor } from '@bailiff/service/testing';
import { describe, expect, test } from 'vitest';
import type { RunningService } from '../support/service.ts';
import { AuthRig, NODES } from './bus-auth/rig.ts';

const [A, B] = NODES;
const AS_A = userOf({ role: 'collector', node: A });
const AS_B = userOf({ role: 'collector', node: B });

/** Concurrent logins of the attacker, all the time. */
const AT_ONCE = 8;
/** Attempts of the collector in the control. */
const TRIES = 20;

const part = (text: string) => JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as Record<string, unknown>;
const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Forged tokens, no two alike. Only the API server's keys distinguish them from a good one. */
function forger(good: string, kid?: string): () => string {
  const [head, claims] = good.split('.').map((one, index) => (index < 2 ? part(one) : {})) as [object, object];
  return () => {
    const forged = [kid === undefined ? head : { ...head, kid }, { ...claims, jti: randomBytes(8).toString('hex') }];
    return [...forged.map(encode), randomBytes(64).toString('base64url')].join('.');
  };
}

/** Logs in as node A until it is disposed, with forged tokens or a valid one. */
class Attack implements AsyncDisposable {
  readonly #end = new AbortController();
  readonly #loops: Promise<void>[];
  tried = 0;

  constructor(rig: AuthRig, tokens: () => string, { atOnce = AT_ONCE, succeeds = false } = {}) {
    this.#loops = Array.from({ length: atOnce }, async () => {
      while (!this.#end.signal.aborted) {
        const how = await rig.login(AS_A, tokens());
        if (!succeeds) expect(how).toBe('BUS_AUTHENTICATION');
        this.tried += 1;
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await Promise.all(this.#loops);
  }
}

const refused = (auth: RunningService, reason: string) => auth.metric(`refused_total{reason="${reason}"}`);

test('without the API server’s keys the attack keeps a new token out, but no token that was let in before', async () => {
  await using rig = await AuthRig.start({ keys: false });
  const auth = await rig.busAuth(['--refusals-per-minute', '2']);
  expect(await auth.metric('signing_keys')).toBe(0);
  const known = await rig.tokenOf(A);
  expect(await rig.login(AS_A, known)).toBe('in');
  await using attack = new Attack(rig, forger(known));
  await waitFor(async () => (await refused(auth, 'rate-limited')) > 0, { what: 'the address to be limited' });
  // The control: the effect of the attack where forged tokens cannot be distinguished from good
  // ones.
  const how: string[] = [];
  // A token that was granted counts as proven from then on, so each attempt uses a new one.
  while (how.length < TRIES) how.push(await rig.login(AS_A, await rig.tokenOf(A)));
  expect(how.filter((one) => one === 'BUS_AUTHENTICATION').length).toBeGreaterThan(TRIES / 2);
  expect(await rig.login(AS_A, known)).toBe('in');
  expect(attack.tried).toBeGreaterThan(0);
});

test.each([
  ["the API server's key", 'forged', undefined],
  ['an unknown key', 'rate-limited', 'another'],
])('while forged tokens name %s, a collector logs in with a new token at its first try', async (_, reason, kid) => {
  await using rig = await AuthRig.start();
  const auth = await rig.busAuth();
  expect(await auth.metric('signing_keys')).toBe(1);
  const asked = () => auth.metric('review_seconds_count');
  const before = await asked();
  await using attack = new Attack(rig, forger(await rig.tokenOf(A), kid));
  await waitFor(async () => (await refused(auth, reason)) > 100, { what: 'the attack to be counted' });
  for (let n = 0; n < 5; n += 1) expect(await rig.login(AS_A, await rig.tokenOf(A))).toBe('in');
  // TokenReviews: 5 logins and at most 10 probes by bus-auth. Forged tokens that name the API
  // server's key cost none. Those that name an unknown key cost the burst of their address (30),
  // those in flight, and the refill of one minute (30).
  const [own, allowed] = [5 + 10, kid === undefined ? 0 : 30 + AT_ONCE + 30];
  expect(attack.tried).toBeGreaterThan(own + allowed);
  expect((await asked()) - before).toBeLessThan(own + allowed);
});

test('a token with times that no clock has costs its own login: others are admitted at once', async () => {
  await using rig = await AuthRig.start();
  const auth = await rig.busAuth();
  const good = await rig.tokenOf(A);
  const [head, claims] = good.split('.') as [string, string];
  // It has no valid signature, and any client that reaches the port of the bus can send it.
  for (const times of [{ iat: -1e200, exp: -1e190 }, { exp: 1e300 }, { exp: 8.64e12 + 1 }]) {
    const hostile = [head, encode({ ...part(claims), ...times }), 'AA'].join('.');
    expect(await rig.login(AS_A, hostile)).toBe('BUS_AUTHENTICATION');
    expect(await rig.login(AS_A, await rig.tokenOf(A))).toBe('in');
  }
  expect(await refused(auth, 'not-a-token')).toBe(3);
  expect(await auth.metric('dropped_total{reason="failed"}')).toBe(0);
});

test('requests beyond the limit for the API server are refused at once, with the reason overloaded', async () => {
  await using rig = await AuthRig.start({ keys: false });
  const auth = await rig.busAuth(['--reviews-per-second', '2']);
  const token = await rig.tokenOf(A);
  // All unproven tokens together may use half of the burst.
  const how = await Promise.all(Array.from({ length: 24 }, async () => rig.login(AS_A, await rig.tokenOf(A))));
  expect(how).toContain('in');
  expect(how).toContain('BUS_AUTHENTICATION');
  // bus-auth responded to every login: this metric counts its responses, granted or refused, and
  // not the server's own timeouts. On a busy machine a login may wait until it is too late, or its
  // review takes too long.
  const late = await auth.metric('dropped_total{reason="late"}');
  const [responded, granted] = [await auth.metric('login_seconds_count'), await auth.metric('granted_total')];
  expect(responded + late).toBe(how.length);
  const overloaded = await refused(auth, 'overloaded');
  expect(overloaded).toBeGreaterThan(0);
  expect(overloaded + (await refused(auth, 'api-unreachable'))).toBe(responded - granted);
  expect(rig.nats.log).toContain('overloaded: too many logins at once: try again');
  // The limit recovers with time, and a retry succeeds.
  await waitFor(async () => (await rig.login(AS_A, token)) === 'in');
});

describe('a node that logs in with its own valid token, four times at once, all the time', () => {
  /** Logins of another node during the attack, each with a new token. */
  async function duringAttack(flags: readonly string[], newTokens: boolean, tries = TRIES) {
    await using rig = await AuthRig.start();
    const auth = await rig.busAuth(['--reviews-per-second', '5', ...flags]);
    const tokens = newTokens ? await Promise.all(Array.from({ length: 200 }, () => rig.tokenOf(A))) : [];
    const one = await rig.tokenOf(A);
    const others = await Promise.all(Array.from({ length: tries }, () => rig.tokenOf(B)));
    let sent = 0;
    await using attack = new Attack(rig, () => tokens[sent++ % tokens.length] ?? one, { atOnce: 4, succeeds: true });
    const overShare = () => auth.metric('dropped_total{reason="over-share"}');
    // More than the burst of reviews and the share of a pod. A repeated token needs no reviews.
    const isOver = async () => (newTokens ? attack.tried > 40 : (await overShare()) > 0);
    await waitFor(isOver, { timeoutMs: 60_000, intervalMs: 100 });
    const how: string[] = [];
    for (const token of others) how.push(await rig.login(AS_B, token));
    return { in: how.filter((result) => result === 'in').length, overShare: await overShare() };
  }

  test('control - without shares, new tokens of the node use up the reviews, and the other node is kept out', async () => {
    const result = await duringAttack(['--logins-per-minute', '100000'], true);
    expect(result.in).toBeLessThan(TRIES / 2);
    expect(result.overShare).toBe(0);
  });

  test.each([
    ['a new token each time', true],
    ['the same token', false],
  ])('%s - each login of the other node succeeds', async (_, newTokens) => {
    // What the other node may do at once, too: a tenth of a minute's logins.
    const result = await duringAttack(['--logins-per-minute', '50'], newTokens, 5);
    expect(result.in).toBe(5);
    expect(result.overShare).toBeGreaterThan(0);
  });
});

test('both connections of a collector, and a repeated login, cost the API server one review', async () => {
  await using rig = await AuthRig.start();
  const auth = await rig.busAuth();
  const token = await rig.tokenOf(A);
  const asked = () => auth.metric('review_seconds_count');
  const push = userOf({ role: 'push', node: A });
  const before = await asked();
  const how = await Promise.all([AS_A, push, AS_A, push].map((user) => rig.login(user, token)));
  expect(how).toEqual(['in', 'in', 'in', 'in']);
  // Its own check may be among them.
  expect((await asked()) - before).toBeLessThanOrEqual(2);
  expect(await rig.login(AS_B, token)).toBe('BUS_AUTHENTICATION');
});
