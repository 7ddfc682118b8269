/**
 * Service account tokens: issued by TokenRequest and checked by TokenReview, as in Kubernetes 1.32.
 * A token is a JWT signed by this server, with audiences and expiry, optionally bound to a pod and
 * its node. It is valid while its account and pod exist with the same UIDs. Tokens are not stored.
 */
import { generateKeyPairSync, randomUUID, sign, verify } from 'node:crypto';
import { badRequest, conflict, invalid, notFound } from '../errors.ts';
import { keyOf, type Store } from '../store/store.ts';
import { timeText } from '../times.ts';
import { at, isObject, type JsonObject, type KubeObject, listAt, type ObjectInput, textAt } from '../types.ts';
import type { TokenUser } from './users.ts';

/** The server's own audience and the issuer. */
export const apiAudience = 'https://kubernetes.default.svc';

const defaultSeconds = 3600;
const maxSeconds = 2 ** 32;
/** A terminating pod keeps its token this long for an orderly shutdown. */
const deletedPodGraceMs = 60_000;

const authentication = 'authentication.kubernetes.io';
const subject = { group: 'authentication.k8s.io', plural: 'tokenrequests', kind: 'TokenRequest' };
const serviceAccounts = { group: '', plural: 'serviceaccounts', kind: 'ServiceAccount' };
const pods = { group: '', plural: 'pods', kind: 'Pod' };

interface Claims {
  iss: string;
  sub: string;
  aud: string[];
  iat: number;
  nbf: number;
  exp: number;
  jti: string;
  'kubernetes.io': {
    namespace: string;
    serviceaccount: { name: string; uid: string };
    pod?: { name: string; uid: string };
    node?: { name: string; uid?: string };
  };
}

/** User and audiences of a token, or the error. */
export type Reviewed = { user: TokenUser; audiences: string[] } | { error: string };

export interface TokenOptions {
  /** Minimum lifetime; a real server's is ten minutes. */
  minSeconds: number;
  /** False: without the node claim, as before 1.32. */
  nodeClaim: boolean;
}

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** User name of a service account. */
export const accountUser = (namespace: string, name: string): string => `system:serviceaccount:${namespace}:${name}`;

export class ServiceAccountTokens {
  readonly #store: Store;
  readonly #nowMs: () => number;
  readonly #options: TokenOptions;
  readonly #keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  readonly #keyId = randomUUID();

  constructor(store: Store, nowMs: () => number, options: TokenOptions) {
    this.#store = store;
    this.#nowMs = nowMs;
    this.#options = options;
  }

  /** Handles a TokenRequest for an account. Throws 400, 404, 409 and 422. */
  issue(namespace: string, name: string, request: ObjectInput): JsonObject {
    const account = this.#store.get('serviceaccounts', keyOf(namespace, name));
    if (account === undefined) throw notFound(serviceAccounts, name);
    const given = listAt<string>(request, 'spec', 'audiences');
    const audiences = given.length > 0 ? given : [apiAudience];
    const seconds = this.#seconds(at(request, 'spec', 'expirationSeconds') ?? defaultSeconds, name);
    const now = Math.floor(this.#nowMs() / 1000);
    const ref = at(request, 'spec', 'boundObjectRef');
    const claims: Claims = {
      iss: apiAudience,
      sub: accountUser(namespace, name),
      aud: audiences,
      iat: now,
      nbf: now,
      exp: now + seconds,
      jti: randomUUID(),
      'kubernetes.io': {
        namespace,
        serviceaccount: { name, uid: account.metadata.uid },
        ...(isObject(ref) ? this.#bind(namespace, name, ref) : {}),
      },
    };
    return {
      kind: 'TokenRequest',
      apiVersion: 'authentication.k8s.io/v1',
      metadata: { name, namespace, creationTimestamp: timeText(now * 1000) },
      spec: { audiences, expirationSeconds: seconds, boundObjectRef: ref ?? null },
      status: { token: this.#signed(claims), expirationTimestamp: timeText(claims.exp * 1000) },
    };
  }

  /** Public keys that verify tokens, as at `/openid/v1/jwks`. */
  publicKeys(): JsonObject {
    const key = this.#keys.publicKey.export({ format: 'jwk' });
    return { keys: [{ use: 'sig', kid: this.#keyId, alg: 'ES256', ...key }] };
  }

  /** Checks a token for audiences; undefined if this server did not issue it. */
  review(token: string, audiences: string[]): Reviewed | undefined {
    const claims = this.#verified(token);
    if (claims === undefined) return undefined;
    const nowSeconds = this.#nowMs() / 1000;
    if (nowSeconds >= claims.exp) return { error: '[invalid bearer token, service account token has expired]' };
    const shared = claims.aud.filter((audience) => audiences.includes(audience));
    if (shared.length === 0) {
      const [has, wants] = [claims.aud, audiences].map((list) => JSON.stringify(list).replaceAll(',', ' '));
      return { error: `[invalid bearer token, token audiences ${has} is invalid for the target audiences ${wants}]` };
    }
    const { namespace, serviceaccount, pod } = claims['kubernetes.io'];
    const account = this.#store.get('serviceaccounts', keyOf(namespace, serviceaccount.name));
    const holds = isSame(account, serviceaccount.uid) && (pod === undefined || this.#podHolds(namespace, pod));
    if (!holds) return { error: '[invalid bearer token, service account token has been invalidated]' };
    return { user: userOf(claims, token), audiences: shared };
  }

  #seconds(value: unknown, name: string): number {
    const { minSeconds } = this.#options;
    const complaint =
      typeof value !== 'number' || value < minSeconds
        ? 'may not specify a duration less than 10 minutes'
        : value > maxSeconds
          ? 'may not specify a duration larger than 2^32 seconds'
          : undefined;
    if (complaint === undefined) return value as number;
    const message = `Invalid value: ${JSON.stringify(value)}: ${complaint}`;
    throw invalid(subject, name, [{ reason: 'FieldValueInvalid', message, field: 'spec.expirationSeconds' }]);
  }

  #bind(namespace: string, account: string, ref: JsonObject): Partial<Claims['kubernetes.io']> {
    const [kind, name, uid] = [textAt(ref, 'kind'), textAt(ref, 'name'), textAt(ref, 'uid')];
    if (kind !== 'Pod')
      throw badRequest(`cannot bind token to object of type ${textAt(ref, 'apiVersion')}, Kind=${kind}`);
    const pod = this.#store.get('pods', keyOf(namespace, name));
    if (pod === undefined) throw notFound(pods, name);
    if (accountOf(pod) !== account) {
      const message = `cannot bind token for serviceaccount "${account}" to pod running with different serviceaccount name.`;
      throw badRequest(message);
    }
    if (uid !== '' && uid !== pod.metadata.uid) {
      const why = `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`;
      throw conflict({ ...pods, plural: 'Pod' }, name, why);
    }
    const node = textAt(pod, 'spec', 'nodeName');
    const claimed = { pod: { name, uid: pod.metadata.uid } };
    if (node === '' || !this.#options.nodeClaim) return claimed;
    const found = this.#store.get('nodes', keyOf('', node));
    return { ...claimed, node: { name: node, ...(found ? { uid: found.metadata.uid } : {}) } };
  }

  #podHolds(namespace: string, { name, uid }: { name: string; uid: string }): boolean {
    const pod = this.#store.get('pods', keyOf(namespace, name));
    if (!isSame(pod, uid)) return false;
    const deleted = pod?.metadata.deletionTimestamp;
    return deleted === undefined || Date.parse(deleted) + deletedPodGraceMs > this.#nowMs();
  }

  #signed(claims: Claims): string {
    const head = encode({ alg: 'ES256', kid: this.#keyId });
    const text = `${head}.${encode(claims)}`;
    const key = { key: this.#keys.privateKey, dsaEncoding: 'ieee-p1363' as const };
    return `${text}.${sign('sha256', Buffer.from(text), key).toString('base64url')}`;
  }

  #verified(token: string): Claims | undefined {
    const [head, payload, signature, ...more] = token.split('.');
    if (head === undefined || payload === undefined || signature === undefined || more.length > 0) return undefined;
    const key = { key: this.#keys.publicKey, dsaEncoding: 'ieee-p1363' as const };
    const good = verify('sha256', Buffer.from(`${head}.${payload}`), key, Buffer.from(signature, 'base64url'));
    return good ? (JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Claims) : undefined;
  }
}

function isSame(object: KubeObject | undefined, uid: string): boolean {
  return object !== undefined && object.metadata.uid === uid;
}

/** The default that admission sets. */
function accountOf(pod: KubeObject): string {
  return textAt(pod, 'spec', 'serviceAccountName') || 'default';
}

/**
 * Service account tokens carry no permissions here; users of this server get a token at its start.
 */
function userOf(claims: Claims, token: string): TokenUser {
  const { namespace, pod, node } = claims['kubernetes.io'];
  const extra: { [key: string]: string[] } = { [`${authentication}/credential-id`]: [`JTI=${claims.jti}`] };
  if (pod) {
    extra[`${authentication}/pod-name`] = [pod.name];
    extra[`${authentication}/pod-uid`] = [pod.uid];
  }
  if (node) {
    extra[`${authentication}/node-name`] = [node.name];
    if (node.uid !== undefined) extra[`${authentication}/node-uid`] = [node.uid];
  }
  return {
    user: claims.sub,
    uid: claims['kubernetes.io'].serviceaccount.uid,
    token,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`],
    extra,
    allow: [],
  };
}
