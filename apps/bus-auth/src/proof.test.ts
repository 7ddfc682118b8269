import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { expect, test } from 'vitest';
import { keysOf, LEAST_REFRESH_MS, MAX_KEYS, prove, REFRESH_MS, SigningKeys } from './proof.ts';

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const jwk = (key: KeyObject, kid: string, more: object = {}) => ({ ...key.export({ format: 'jwk' }), kid, ...more });
const DOCUMENT = { keys: [jwk(ec.publicKey, 'ec'), jwk(rsa.publicKey, 'rsa', { use: 'sig', alg: 'RS256' })] };
const KEYS = keysOf(DOCUMENT);

const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
function tokenOf(head: object, key: KeyObject, claims: object = { sub: 'x' }): string {
  const text = `${part(head)}.${part(claims)}`;
  return `${text}.${sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}
const GOOD = tokenOf({ alg: 'ES256', kid: 'ec' }, ec.privateKey);
const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

test.each<[string, string, string]>([
  ['signed by its key', 'proven', GOOD],
  ['signed by its RSA key', 'proven', tokenOf({ alg: 'RS256', kid: 'rsa' }, rsa.privateKey)],
  ['signed by another key under its name', 'forged', tokenOf({ alg: 'ES256', kid: 'ec' }, other)],
  ['with other claims', 'forged', GOOD.replace(part({ sub: 'x' }), part({ sub: 'y' }))],
  ['without a signature', 'forged', `${part({ alg: 'none', kid: 'ec' })}.${part({})}.`],
  ['with the public key as a shared secret', 'forged', tokenOf({ alg: 'HS256', kid: 'ec' }, other)],
  ['with an algorithm of another kind of key', 'forged', tokenOf({ alg: 'RS256', kid: 'ec' }, rsa.privateKey)],
  ['of an unknown key', 'unproven', tokenOf({ alg: 'ES256', kid: 'new' }, other)],
  ['that names no key', 'unproven', tokenOf({ alg: 'ES256' }, ec.privateKey)],
  ['without a valid header', 'unproven', 'x.y.z'],
])('proof - a token %s is %s', (_, proof, token) => {
  expect(prove(token, KEYS)).toBe(proof);
});

test.each([
  null,
  'x',
  {},
  { keys: 'x' },
  { keys: [null, 7, { kid: 'a' }, { ...DOCUMENT.keys[0], kid: 7 }] },
  { keys: [jwk(ec.publicKey, 'for sealing', { use: 'enc' })] },
  { keys: [jwk(generateKeyPairSync('ed25519').publicKey, 'unsupported type')] },
])('proof - %j contains no key', (document) => {
  expect(keysOf(document).size).toBe(0);
});

test('proof - reads the valid keys of a document, up to MAX_KEYS', () => {
  const many = Array.from({ length: MAX_KEYS + 1 }, (_, n) => jwk(ec.publicKey, `key-${n}`));
  expect(keysOf({ keys: [{ kid: 'bad', kty: 'EC' }, DOCUMENT.keys[0]] }).size).toBe(1);
  expect(keysOf({ keys: many }).size).toBe(MAX_KEYS);
});

test('proof - an unknown key id fetches the keys again, at most every LEAST_REFRESH_MS; a failure keeps them', async () => {
  let asked = 0;
  let document: unknown = { keys: [] };
  const signing = new SigningKeys(async () => {
    asked += 1;
    if (document === null) throw new Error('away');
    return document;
  });
  expect(signing.isDue(0)).toBe(true);
  await signing.refresh(0);
  expect([asked, signing.size, signing.isDue(REFRESH_MS - 1)]).toEqual([1, 0, false]);
  expect([signing.prove(GOOD, LEAST_REFRESH_MS - 1), asked]).toEqual(['unproven', 1]);
  document = DOCUMENT;
  expect([signing.prove(GOOD, LEAST_REFRESH_MS), asked]).toEqual(['unproven', 2]);
  await new Promise(setImmediate);
  expect([signing.prove(GOOD, LEAST_REFRESH_MS), signing.size]).toEqual(['proven', 2]);
  document = null;
  await signing.refresh(2 * LEAST_REFRESH_MS);
  expect([asked, signing.prove(GOOD, 0)]).toEqual([3, 'proven']);
});
