/**
 * Who is let onto the bus, and with which rights: from what a client showed and what the API server says of it to a grant or a refusal.
 * Pure; bus-auth.ts does the asking.
 *
 * Invariants: rights are those of `permissionsFor` for the node that the API server vouches for, and nothing of what the client says
 * widens them. Whatever is not understood is refused. A grant ends with the token at the latest.
 */

import { accountOf, type NodeRole, nodeUserOf, permissionsFor, userOf } from '@bailiff/bus';
import { type AuthRequest, type Grant, lifeOfToken } from '@bailiff/bus/auth';
import type { TokenReviewStatus } from '@bailiff/kube';

/** Why somebody is not let in; labels of a metric and words of a log line, so their number is fixed. */
export const REFUSALS = {
  'unknown-user': 'only collectors log in by token: the user must be collector-<node> or push-<node>',
  'mixed-credentials':
    'a password field with a token and nothing else is wanted: no token field, nkey or JWT beside it',
  'no-token': 'no token',
  'not-a-token': 'what was shown is no ServiceAccount token',
  'token-too-large': 'the token is above what is looked at',
  expired: 'the token has expired',
  'wrong-audience': 'the token is for another audience',
  'wrong-service-account': "the token is not the collectors' ServiceAccount's",
  forged: 'the token names a key of the API server and is not signed by it',
  'not-authenticated': 'the API server does not take the token',
  'not-bound': 'the token is not bound to a pod',
  'no-node-claim': 'the token does not say its node: the API server must be 1.32 or later',
  'wrong-node': 'the token is of a pod on another node',
  'rate-limited': 'too many questions about this pod or address came to nothing',
  overloaded: 'more logins than can be judged: try again',
  'api-unreachable': 'the API server cannot be asked',
  'api-forbidden': 'bus-auth may not create TokenReviews',
} as const;
export type RefusalReason = keyof typeof REFUSALS;

export interface Refusal {
  reason: RefusalReason;
  /** What is to be known beside the reason; cut, and without anything secret. */
  detail: string;
}
export type Decision = { grant: Grant; node: string; podName: string } | { refusal: Refusal };

export interface Terms {
  audience: string;
  collectorNamespace: string;
  collectorServiceAccount: string;
  maxSessionSeconds: number;
}

/** A control line of the server is 4 KiB; tokens are 1 to 2. */
export const MAX_TOKEN_BYTES = 8 * 1024;
/** Subscriptions of one collector: it has about ten. */
export const MAX_SUBSCRIPTIONS = 100;
const MAX_DETAIL = 200;
const NODE_NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

export const refuse = (reason: RefusalReason, detail = ''): { refusal: Refusal } => ({
  refusal: { reason, detail: detail.slice(0, MAX_DETAIL) },
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

/** A text within what may be anything. */
function textAt(value: unknown, ...keys: string[]): string {
  const found = keys.reduce<unknown>((at, key) => (at as Record<string, unknown> | null | undefined)?.[key], value);
  return typeof found === 'string' ? found : '';
}

/** Claims as the token has them; proven by nobody yet. */
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

/** What somebody showed that may be worth a question. */
export interface Shown {
  token: string;
  /** The node that it claims, and for which of its connections. */
  node: string;
  role: NodeRole;
  /** Claims of the token: to be believed of a token that is proven. */
  claims: Claims;
}

/**
 * What can be said without the API server: the token to ask it about, or why it need not be asked. Saves it every login that it would
 * refuse anyway; what passes here is not yet believed.
 */
export function examine(request: AuthRequest, terms: Terms, nowMs: number): Shown | { refusal: Refusal } {
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
 * What can be said besides of a token that is known to be the API server's: then its claims are, too. A stolen one that is shown for another
 * node costs no question, and nothing is held against the pod that it was stolen of.
 */
export function examineProven({ node, claims }: Shown): { refusal: Refusal } | null {
  if (claims.podUid === '') return refuse('not-bound');
  if (claims.node === '') return refuse('no-node-claim', `pod ${claims.podName}`);
  return claims.node === node ? null : refuse('wrong-node', `pod ${claims.podName} runs on ${claims.node}`);
}

const single = (status: TokenReviewStatus, name: string): string => {
  const values = status.user?.extra?.[`authentication.kubernetes.io/${name}`];
  return values?.length === 1 ? (values[0] ?? '') : '';
};

/** What the API server's word makes of a token that `examine` let pass. */
export function decide(shown: Shown, status: TokenReviewStatus, terms: Terms, nowMs: number): Decision {
  if (status.authenticated !== true) return refuse('not-authenticated', status.error ?? '');
  // A server that knows nothing of audiences names none: then the token may be for anything.
  if (!status.audiences?.includes(terms.audience))
    return refuse('wrong-audience', 'the API server does not confirm it');
  if (status.user?.username !== accountName(terms)) return refuse('wrong-service-account', status.user?.username);
  const [podName, podUid, node] = ['pod-name', 'pod-uid', 'node-name'].map((name) => single(status, name)) as [
    string,
    string,
    string,
  ];
  if (podName === '' || podUid === '') return refuse('not-bound');
  if (node === '') return refuse('no-node-claim', `pod ${podName}`);
  if (node !== shown.node) return refuse('wrong-node', `pod ${podName} runs on ${node}`);
  const life = lifeOfToken(shown.token);
  if (!life || life.untilMs <= nowMs) return refuse('expired');
  const identity = { role: shown.role, node };
  return {
    node,
    podName,
    grant: {
      name: userOf(identity),
      account: accountOf(identity),
      permissions: permissionsFor(identity),
      expiresAtS: Math.floor(Math.min(life.untilMs / 1000, nowMs / 1000 + terms.maxSessionSeconds)),
      maxSubscriptions: MAX_SUBSCRIPTIONS,
    },
  };
}
