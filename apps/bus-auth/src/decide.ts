/**
 * Decides a login from the client's credentials and the API server's review: a grant or a refusal.
 * Pure.
 *
 * The permissions are those of `permissionsFor` for the node that the API server reports; nothing
 * from the client extends them. Anything that cannot be interpreted is refused. A grant expires
 * with the token at the latest.
 */

import { accountOf, type NodeRole, nodeUserOf, permissionsFor, userOf } from '@bailiff/bus';
import { type AuthRequest, type Grant, lifeOfToken } from '@bailiff/bus/auth';
import type { TokenReviewStatus } from '@bailiff/kube';
import { escapeUnsafe } from '@bailiff/service';

/** Reasons of refusals: labels of a metric and texts for the log. Their number is fixed. */
export const REFUSALS = {
  'unknown-user': 'only collectors log in by token: the user must be collector-<node> or push-<node>',
  'mixed-credentials': 'the password field must hold the token, without a token field, nkey or JWT',
  'second-login': 'the connection has logged in already',
  'no-token': 'no token',
  'not-a-token': 'the password is not a ServiceAccount token',
  'token-too-large': 'the token is too large',
  expired: 'the token has expired',
  'wrong-audience': 'the token is for another audience',
  'wrong-service-account': "the token does not belong to the collectors' ServiceAccount",
  forged: 'the token names a key of the API server but is not signed by it',
  'not-authenticated': 'the API server rejects the token',
  'not-bound': 'the token is not bound to a pod',
  'no-node-claim': 'the token does not name a node: the API server must be 1.32 or later',
  'wrong-node': 'the token belongs to a pod on another node',
  'rate-limited': 'too many failed logins of this pod or address',
  overloaded: 'too many logins at once: try again',
  'api-unreachable': 'the API server cannot be reached',
  'api-forbidden': 'bus-auth may not create TokenReviews',
} as const;
export type RefusalReason = keyof typeof REFUSALS;

export interface Refusal {
  reason: RefusalReason;
  /** Details beside the reason, truncated and without secrets. */
  detail: string;
}
export type Decision = { grant: Grant; node: string; podName: string } | { refusal: Refusal };

export interface Terms {
  audience: string;
  collectorNamespace: string;
  collectorServiceAccount: string;
  maxSessionSeconds: number;
}

/** Above the server's 4 KiB limit of the CONNECT line with the token. Tokens have 1 to 2 KiB. */
export const MAX_TOKEN_BYTES = 8 * 1024;
const MAX_DETAIL = 200;
const NODE_NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

/** The detail becomes part of a line in the server's log, and may be text of a client without a login. */
export const refuse = (reason: RefusalReason, detail = ''): { refusal: Refusal } => ({
  refusal: { reason, detail: escapeUnsafe(detail.slice(0, MAX_DETAIL)) },
});

const accountName = (terms: Terms) =>
  `system:serviceaccount:${terms.collectorNamespace}:${terms.collectorServiceAccount}`;

interface Claims {
  aud: string[];
  sub: string;
  podUid: string;
  podName: string;
  node: string;
}

/** A text inside an untrusted value. */
function textAt(value: unknown, ...keys: string[]): string {
  const found = keys.reduce<unknown>((at, key) => (at as Record<string, unknown> | null | undefined)?.[key], value);
  return typeof found === 'string' ? found : '';
}

/** Claims of the token, not verified. */
function claimsOf(token: string): Claims | null {
  const parts = token.split('.');
  if (parts.length !== 3) return null;
  try {
    const claims = JSON.parse(Buffer.from(parts[1] ?? '', 'base64url').toString('utf8')) as Record<string, unknown>;
    const { aud, sub, 'kubernetes.io': bound } = claims;
    const audiences = typeof aud === 'string' ? [aud] : aud;
    if (!Array.isArray(audiences) || typeof sub !== 'string') return null;
    return {
      aud: audiences.filter((one) => typeof one === 'string'),
      sub,
      podUid: textAt(bound, 'pod', 'uid'),
      podName: textAt(bound, 'pod', 'name'),
      node: textAt(bound, 'node', 'name'),
    };
  } catch {
    return null;
  }
}

/** Credentials that may require a review. */
export interface Credentials {
  token: string;
  /** Claimed node, and the role: which of the two connections of its collector logs in. */
  node: string;
  role: NodeRole;
  /** Claims of the token; trusted only if the token is proven. */
  claims: Claims;
}

/**
 * Checks that need no review: returns the token to review, or the refusal. Saves a review for
 * logins that would be refused anyway. A passed check grants nothing.
 */
export function examine(request: AuthRequest, terms: Terms, nowMs: number): Credentials | { refusal: Refusal } {
  const user = nodeUserOf(request.user);
  if (!user || !NODE_NAME.test(user.node)) return refuse('unknown-user', request.user);
  if (request.other || request.token !== '') return refuse('mixed-credentials');
  const token = request.password;
  if (token === '') return refuse('no-token');
  if (Buffer.byteLength(token) > MAX_TOKEN_BYTES) return refuse('token-too-large', `${Buffer.byteLength(token)} bytes`);
  const claims = claimsOf(token);
  const life = lifeOfToken(token);
  if (!claims || !life) return refuse('not-a-token');
  if (life.untilMs <= nowMs) return refuse('expired', `at ${new Date(life.untilMs).toISOString()}`);
  if (!claims.aud.includes(terms.audience)) return refuse('wrong-audience', claims.aud.join(', '));
  if (claims.sub !== accountName(terms)) return refuse('wrong-service-account', claims.sub);
  return { token, ...user, claims };
}

/**
 * Checks of a proven token, whose claims are trusted. A stolen token used for another node costs no
 * review and does not count against the pod that it was stolen from.
 */
export function examineProven({ node, claims }: Credentials): { refusal: Refusal } | null {
  if (claims.podUid === '') return refuse('not-bound');
  if (claims.node === '') return refuse('no-node-claim', `pod ${claims.podName}`);
  return claims.node === node ? null : refuse('wrong-node', `pod ${claims.podName} runs on ${claims.node}`);
}

const single = (status: TokenReviewStatus, name: string): string => {
  const values = status.user?.extra?.[`authentication.kubernetes.io/${name}`];
  return values?.length === 1 ? (values[0] ?? '') : '';
};

/** Decision from the review of a token that passed `examine`. */
export function decide(credentials: Credentials, status: TokenReviewStatus, terms: Terms, nowMs: number): Decision {
  if (status.authenticated !== true) return refuse('not-authenticated', status.error ?? '');
  // A server without audience support returns none; then the token may be for any audience.
  if (!status.audiences?.includes(terms.audience))
    return refuse('wrong-audience', 'the API server does not confirm the token');
  if (status.user?.username !== accountName(terms)) return refuse('wrong-service-account', status.user?.username);
  const [podName, podUid, node] = ['pod-name', 'pod-uid', 'node-name'].map((name) => single(status, name)) as [
    string,
    string,
    string,
  ];
  if (podName === '' || podUid === '') return refuse('not-bound');
  if (node === '') return refuse('no-node-claim', `pod ${podName}`);
  if (node !== credentials.node) return refuse('wrong-node', `pod ${podName} runs on ${node}`);
  const life = lifeOfToken(credentials.token);
  if (!life || life.untilMs <= nowMs) return refuse('expired');
  const identity = { role: credentials.role, node };
  return {
    node,
    podName,
    grant: {
      name: userOf(identity),
      account: accountOf(identity),
      permissions: permissionsFor(identity),
      expiresAtS: Math.floor(Math.min(life.untilMs / 1000, nowMs / 1000 + terms.maxSessionSeconds)),
    },
  };
}
