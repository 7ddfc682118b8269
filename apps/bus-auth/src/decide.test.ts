import { permissionsFor } from '@bailiff/bus';
import type { AuthRequest } from '@bailiff/bus/auth';
import type { TokenReviewStatus } from '@bailiff/kube';
import { expect, test } from 'vitest';
import { type Credentials, decide, examine, examineProven, MAX_TOKEN_BYTES, type Terms } from './decide.ts';

const NOW = 1_700_000_000_000;
const TERMS: Terms = {
  audience: 'bailiff',
  collectorNamespace: 'bailiff-system',
  collectorServiceAccount: 'bailiff-collector',
  maxSessionSeconds: 86_400,
};
const SUB = 'system:serviceaccount:bailiff-system:bailiff-collector';
const seconds = (ms: number) => Math.floor(ms / 1000);

const tokenOf = (claims: object = {}): string => {
  const whole = { aud: ['bailiff'], sub: SUB, iat: seconds(NOW), exp: seconds(NOW) + 3_600, ...claims };
  return `x.${Buffer.from(JSON.stringify(whole)).toString('base64url')}.x`;
};
const request = (part: Partial<AuthRequest> = {}): AuthRequest => ({
  userKey: 'U',
  serverId: 'N',
  connectionId: 1,
  serverName: 'nats-0',
  issuer: 'A',
  serverXkey: 'X',
  xkeySeed: 'SX',
  clientHost: '10.0.0.1',
  clientName: '',
  user: 'collector-node-a',
  password: tokenOf(),
  token: '',
  other: false,
  ...part,
});

test.each<[string, Partial<AuthRequest>]>([
  ['unknown-user', { user: 'correlator' }],
  ['unknown-user', { user: 'collector-' }],
  ['unknown-user', { user: 'push-' }],
  ['unknown-user', { user: 'node-a' }],
  ['unknown-user', { user: 'collector-a/../b' }],
  ['unknown-user', { user: 'collector-*' }],
  ['unknown-user', { user: 'collector-a\nb' }],
  ['unknown-user', { user: `collector-${'a'.repeat(254)}` }],
  ['mixed-credentials', { token: 'x' }],
  ['mixed-credentials', { other: true }],
  ['no-token', { password: '' }],
  ['token-too-large', { password: 'é'.repeat(MAX_TOKEN_BYTES / 2 + 1) }],
  ['not-a-token', { password: 'a.b.c' }],
  ['not-a-token', { password: `${tokenOf()}.x` }],
  ['not-a-token', { password: tokenOf({ exp: 'never' }) }],
  ['not-a-token', { password: tokenOf({ aud: 7 }) }],
  ['not-a-token', { password: `x.${Buffer.from('null').toString('base64url')}.x` }],
  ['not-a-token', { password: tokenOf({ iat: -1e200, exp: -1e190 }) }],
  ['not-a-token', { password: tokenOf({ exp: 1e300 }) }],
  ['expired', { password: tokenOf({ iat: 1, exp: seconds(NOW) }) }],
  ['expired', { password: tokenOf({ iat: 0, exp: 1e-300 }) }],
  ['wrong-audience', { password: tokenOf({ aud: 'https://kubernetes.default.svc' }) }],
  ['wrong-service-account', { password: tokenOf({ sub: `${SUB}-2` }) }],
])('bus-auth - refused without a request to the API server: %s for %j', (reason, part) => {
  expect(examine(request(part), TERMS, NOW)).toMatchObject({ refusal: { reason } });
});

test('bus-auth - the detail of a refusal stays in its line of the log of the server', () => {
  const refused = examine(request({ user: 'x\n[1] [INF] Server is ready\u001b[2J' }), TERMS, NOW);
  expect(refused).toMatchObject({ refusal: { detail: 'x\\u000a[1] [INF] Server is ready\\u001b[2J' } });
});

test('bus-auth - passes the token and the claimed node to the review', () => {
  for (const aud of ['bailiff', ['other', 'bailiff']]) {
    const password = tokenOf({ aud });
    expect(examine(request({ password }), TERMS, NOW)).toMatchObject({ token: password, node: 'node-a' });
  }
});

const extra = (part: Record<string, string[]> = {}) => ({
  'authentication.kubernetes.io/pod-name': ['collector-x'],
  'authentication.kubernetes.io/pod-uid': ['uid-1'],
  'authentication.kubernetes.io/node-name': ['node-a'],
  ...part,
});
const review = (part: Partial<TokenReviewStatus> = {}): TokenReviewStatus => ({
  authenticated: true,
  audiences: ['bailiff'],
  user: { username: SUB, extra: extra() },
  ...part,
});
const credentials = examine(request(), TERMS, NOW) as Credentials;

test.each<[string, Partial<TokenReviewStatus>]>([
  ['not-authenticated', { authenticated: false, error: 'token is expired' }],
  ['not-authenticated', { authenticated: undefined }],
  ['not-authenticated', { authenticated: 'yes' as never }],
  ['wrong-audience', { audiences: [] }],
  ['wrong-audience', { audiences: undefined }],
  ['wrong-audience', { audiences: ['https://kubernetes.default.svc'] }],
  ['wrong-service-account', { user: { username: 'admin', extra: extra() } }],
  ['wrong-service-account', { user: undefined }],
  ['not-bound', { user: { username: SUB } }],
  ['not-bound', { user: { username: SUB, extra: extra({ 'authentication.kubernetes.io/pod-uid': [] }) } }],
  ['no-node-claim', { user: { username: SUB, extra: extra({ 'authentication.kubernetes.io/node-name': [''] }) } }],
  [
    'no-node-claim',
    { user: { username: SUB, extra: extra({ 'authentication.kubernetes.io/node-name': ['a', 'b'] }) } },
  ],
  ['wrong-node', { user: { username: SUB, extra: extra({ 'authentication.kubernetes.io/node-name': ['node-b'] }) } }],
])('bus-auth - refused by the review of the API server: %s for %j', (reason, part) => {
  expect(decide(credentials, review(part), TERMS, NOW)).toMatchObject({ refusal: { reason } });
});

test('bus-auth - a grant has the permissions of the node, and ends with the token or after maxSessionSeconds', () => {
  const grant = { name: 'collector-node-a', account: 'NODES', expiresAtS: seconds(NOW) + 3_600 };
  const permissions = permissionsFor({ role: 'collector', node: 'node-a' });
  const decided = decide(credentials, review(), TERMS, NOW);
  expect(decided).toMatchObject({ node: 'node-a', podName: 'collector-x', grant: { ...grant, permissions } });
  const short = decide(credentials, review(), { ...TERMS, maxSessionSeconds: 60 }, NOW);
  expect(short).toMatchObject({ grant: { expiresAtS: seconds(NOW) + 60 } });
  expect(decide(credentials, review(), TERMS, NOW + 3_600_000)).toMatchObject({ refusal: { reason: 'expired' } });
});

test.each<[string | null, unknown]>([
  [null, { pod: { name: 'x', uid: 'uid-1' }, node: { name: 'node-a' } }],
  ['not-bound', undefined],
  ['not-bound', { pod: { name: 'x', uid: 7 }, node: { name: 'node-a' } }],
  ['no-node-claim', { pod: { name: 'x', uid: 'uid-1' } }],
  ['wrong-node', { pod: { name: 'x', uid: 'uid-1' }, node: { name: 'node-b' } }],
])('bus-auth - a token with a valid signature, without a request to the API server: %s for %j', (reason, bound) => {
  const proven = examine(request({ password: tokenOf({ 'kubernetes.io': bound }) }), TERMS, NOW) as Credentials;
  expect(examineProven(proven)?.refusal.reason ?? null).toBe(reason);
});

test('decide - the second connection of a collector gets permissions to receive, in its own account', () => {
  const credentials = examine(request({ user: 'push-node-a' }), TERMS, NOW) as Credentials;
  const decided = decide(credentials, review(), TERMS, NOW);
  const permissions = permissionsFor({ role: 'push', node: 'node-a' });
  expect(decided).toMatchObject({ node: 'node-a', grant: { name: 'push-node-a', account: 'NODE_PUSH', permissions } });
});
