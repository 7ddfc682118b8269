import { expect, test } from 'vitest';
import { abort, type Credentials, finish, init, type Makers, prepare, USERS } from './rotation.ts';

/** Numbered secrets: which is which can be read off them. */
function makers(): Makers {
  let made = 0;
  const next = (what: string) => {
    made += 1;
    return `${what}-${made}`;
  };
  const pair = async () => ({ certificate: `${next('cert')}\n`, key: next('key') });
  return {
    password: () => next('password'),
    hash: async (password) => `hash of ${password}`,
    issuer: () => next('issuer'),
    xkey: () => next('xkey'),
    authority: pair,
    server: async (authority) => ({ certificate: `by ${authority.certificate}`, key: next('key') }),
    now: () => new Date(0).toISOString(),
  };
}
const OPTIONS = { namespace: 'ns', replicas: 3, dnsNames: ['bus'] };

const user = (credentials: Credentials, name = 'cli') => credentials.users[name] as Credentials['users'][string];

test('credentials - each user has a password of its own, and its hash', async () => {
  const made = await init(OPTIONS, makers());
  const passwords = USERS.map((name) => user(made, name).passwords[0]);
  expect(new Set(passwords).size).toBe(USERS.length);
  for (const name of USERS) expect(user(made, name).hash).toBe(`hash of ${user(made, name).passwords[0]}`);
});

test('credentials - a rotation gives clients the next secret before the servers take it, and keeps the last one after', async () => {
  const make = makers();
  const first = await init(OPTIONS, make);
  const [old] = user(first).passwords;
  const prepared = await prepare(first, { authority: true, keys: true, routes: false, redis: false }, make);
  const [next] = user(prepared).passwords;
  expect(user(prepared)).toEqual({ passwords: [next, old], hash: `hash of ${old}` });
  expect(prepared.server).toEqual(first.server);
  expect(prepared.issuers[1]).toBe(first.issuers[0]);
  expect(prepared.authorities.map(({ key }) => key)).toEqual([expect.any(String), first.authorities[0]?.key]);
  const second = await finish(prepared, make);
  expect(user(second)).toEqual({ passwords: [next, old], hash: `hash of ${next}` });
  expect(second.server.certificate).toBe(`by ${second.authorities[0]?.certificate}`);
  const third = await prepare(second, { authority: false, keys: false, routes: false, redis: false }, make);
  expect(user(third).passwords.slice(1)).toEqual([next]);
  expect(third.authorities).toEqual([second.authorities[0]]);
  expect([third.issuers, third.xkeys]).toEqual([[second.issuers[0]], [second.xkeys[0]]]);
});

test.each([true, false])(
  'credentials - a preparation that is taken back leaves what was (with keys and CA: %s)',
  async (all) => {
    const make = makers();
    const first = await init(OPTIONS, make);
    expect(abort(await prepare(first, { authority: all, keys: all, routes: all, redis: all }, make))).toEqual(first);
  },
);

test('credentials - passwords of routes and of Redis stay unless they are asked for, and come into force with the second step', async () => {
  const make = makers();
  const first = await init(OPTIONS, make);
  const scope = { authority: false, keys: false };
  const kept = await finish(await prepare(first, { ...scope, routes: false, redis: false }, make), make);
  expect([kept.routePassword, kept.redisPassword]).toEqual([first.routePassword, first.redisPassword]);
  const prepared = await prepare(first, { ...scope, routes: true, redis: true }, make);
  const { nextRoutePassword, nextRedisPassword } = prepared;
  expect(new Set([first.routePassword, first.redisPassword, nextRoutePassword, nextRedisPassword]).size).toBe(4);
  expect([prepared.routePassword, prepared.redisPassword]).toEqual([first.routePassword, first.redisPassword]);
  const finished = await finish(prepared, make);
  expect([finished.routePassword, finished.redisPassword]).toEqual([nextRoutePassword, nextRedisPassword]);
  expect(Object.keys(finished).filter((key) => key.startsWith('next'))).toEqual([]);
});
