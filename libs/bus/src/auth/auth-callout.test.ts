import { createCurve, createServer, createUser, fromPublic } from '@nats-io/nkeys';
import { expect, test } from 'vitest';
import { MAX_REQUEST_BYTES, readAuthRequest, writeAuthResponse } from './auth-callout.ts';
import { readClaims, signClaims, signingKeyOf } from './nats-jwt.ts';
import { permissionsFor } from './permissions.ts';
import { keyPairOf, newSeed, publicKeyOf } from './seeds.ts';

const seedOf = (pair: { getSeed(): Uint8Array }) => new TextDecoder().decode(pair.getSeed());
const [issuer, xkey] = [newSeed('issuer'), newSeed('xkey')];
const keys = { issuers: [issuer], xkeys: [xkey] };
const server = createServer();
const serverCurve = createCurve();
const serverXkey = serverCurve.getPublicKey();
const userKey = createUser().getPublicKey();
const nowMs = Date.now();

const claims = (nats: object = {}, more: object = {}) => ({
  iss: server.getPublicKey(),
  sub: publicKeyOf('issuer', issuer),
  aud: 'nats-authorization-request',
  nats: {
    server_id: { id: server.getPublicKey(), name: 'nats-0', xkey: serverXkey },
    client_info: { host: '10.0.0.1', id: 7, name: 'x' },
    connect_opts: { user: 'collector-a', pass: 'secret' },
    user_nkey: userKey,
    type: 'authorization_request',
    ...nats,
  },
  ...more,
});
const seal = (text: string, to = publicKeyOf('xkey', xkey)) => serverCurve.seal(new TextEncoder().encode(text), to);
const signed = (body: object, by = server) => signClaims(body as never, signingKeyOf(seedOf(by)));
const read = (bytes: Uint8Array, from = serverXkey) => readAuthRequest(bytes, from, keys, nowMs);

test('auth callout - a request has the credentials of the client', () => {
  const request = read(seal(signed(claims())));
  expect(request).toMatchObject({ user: 'collector-a', password: 'secret', token: '', other: false, userKey });
  expect(request).toMatchObject({ clientHost: '10.0.0.1', serverName: 'nats-0', connectionId: 7 });
});

test.each<[string, () => Uint8Array, string?]>([
  ['in plain', () => new TextEncoder().encode(signed(claims())), ''],
  ['sealed for another key', () => seal(signed(claims()), createCurve().getPublicKey())],
  ['sealed by another server than it names', () => seal(signed(claims())), createCurve().getPublicKey()],
  ['cut', () => seal(signed(claims())).slice(0, 100)],
  ['empty', () => new Uint8Array()],
  ['above the bound', () => new Uint8Array(MAX_REQUEST_BYTES + 1)],
  ['not signed', () => seal('{}')],
  ['signed by another server than it names', () => seal(signed(claims(), createServer()))],
  ['signed by no server', () => seal(signed(claims({}, { iss: createUser().getPublicKey() }), createUser()))],
  ['of another server than signed', () => seal(signed(claims({ server_id: { id: 'N', xkey: serverXkey } })))],
  [
    'with the seal of another server',
    () => seal(signed(claims({ server_id: { id: server.getPublicKey(), xkey: 'X' } }))),
  ],
  ['for another audience', () => seal(signed(claims({}, { aud: 'x' })))],
  ['of another type', () => seal(signed(claims({ type: 'user' })))],
  ['without a user key', () => seal(signed(claims({ user_nkey: '' })))],
  ['expired', () => seal(signed(claims({}, { exp: Math.floor(nowMs / 1000) - 60 })))],
])('auth callout - a request %s is not read', (_, bytes, from) => {
  expect(() => read(bytes(), from)).toThrow(expect.objectContaining({ code: 'BUS_MESSAGE' }));
});

test('auth callout - a response is for the server and the user key, signed by the issuer that the server trusts', () => {
  const another = newSeed('issuer');
  const both = { issuers: [another, issuer], xkeys: [newSeed('xkey'), xkey] };
  const request = readAuthRequest(seal(signed(claims())), serverXkey, both, nowMs);
  const permissions = permissionsFor({ role: 'push', node: 'a' });
  const grant = { name: 'collector-a', account: 'B', permissions, expiresAtS: 9_999_999_999 };
  const opened = serverCurve.open(writeAuthResponse(request, both, { grant }), publicKeyOf('xkey', xkey));
  const answer = readClaims(new TextDecoder().decode(opened ?? new Uint8Array()));
  const by = { iss: publicKeyOf('issuer', issuer), sub: userKey };
  expect(answer).toMatchObject({ ...by, aud: server.getPublicKey(), nats: { type: 'authorization_response' } });
  const user = readClaims(answer.nats?.['jwt'] as string);
  expect(user).toMatchObject({ ...by, aud: 'B', exp: 9_999_999_999, name: 'collector-a' });
  expect(user.nats?.['pub']).toEqual({ deny: ['>'] });
  expect(user.nats?.['resp']).toEqual({ max: 1, ttl: 10_000_000_000 });
  expect(() => writeAuthResponse(request, { ...both, issuers: [another] }, { refusal: 'no' })).toThrow(
    'not one of our keys',
  );
});

test('nats jwt - NATS keys verify our signatures', () => {
  const token = signed({ ...claims(), sub: 'x' });
  const [head, payload, signature] = token.split('.') as [string, string, string];
  const bytes = new TextEncoder().encode(`${head}.${payload}`);
  const verifies = (from: string) => fromPublic(from).verify(bytes, Buffer.from(signature, 'base64url'));
  expect(verifies(server.getPublicKey())).toBe(true);
  expect(verifies(createServer().getPublicKey())).toBe(false);
});

test.each([
  ['issuer', ''],
  ['issuer', newSeed('xkey')],
  ['xkey', newSeed('issuer')],
  ['issuer', `${newSeed('issuer').slice(0, -1)}!`],
] as const)('seeds - not a seed of an %s: reported without the seed', (kind, seed) => {
  const message = (() => {
    try {
      keyPairOf(kind, seed);
      return '';
    } catch (error) {
      return String(error);
    }
  })();
  expect(message).toContain(`not a seed of an ${kind}`);
  if (seed !== '') expect(message).not.toContain(seed);
});
