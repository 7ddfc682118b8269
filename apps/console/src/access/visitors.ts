/**
 * Who a visitor of the cluster's console is: a bearer token, reviewed by the API server, or the headers
 * of a proxy that identified the person. Headers count only from a proxy that proves itself by a client
 * certificate or the shared secret. A request with a token is judged by the token alone.
 *
 * Bounds: MAX_TOKENS reviews are kept for KEEP_MS, MAX_REVIEWS run at once. Half of those are for
 * tokens that were valid before, so a flood of wrong ones does not close the console.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { type KubeApi, reviewToken, type TokenUserInfo } from '@bailiff/kube';
import { RecentMap } from '@bailiff/service/recent-map';
import { KEEP_MS, Refused, type VisitorIdentity } from './door.ts';
import { Recent } from './recent.ts';
import { asRefusal, REVIEW_MS } from './rights.ts';

export const MAX_TOKENS = 1_024;
export const MAX_REVIEWS = 16;
/** Of service accounts and OIDC; larger ones reach no API server. */
const MAX_TOKEN_LENGTH = 16_384;
const MAX_NAME_LENGTH = 256;
const MAX_GROUPS = 128;
export const SECRET_HEADER = 'x-bailiff-proxy-secret';

export interface VisitorOptions {
  /** Of tokens; empty: those of the API server. */
  audiences: readonly string[];
  userHeader: string;
  groupsHeader: string;
  /** Common names of client certificates; empty: no proxy has one. */
  proxyNames: readonly string[];
  /** Secrets of the proxy, newest first; empty: it has none. Read for each request. */
  proxySecrets: () => readonly string[];
}

const NOT_SIGNED_IN = 'sign in at the proxy in front of this console, or send a token that the API server accepts';
const hashOf = (text: string): Buffer => createHash('sha256').update(text).digest();

export class Visitors {
  readonly #client: KubeApi;
  readonly #options: VisitorOptions;
  readonly #nowMs: () => number;
  readonly #reviews = new Recent<TokenUserInfo | null>(MAX_TOKENS, KEEP_MS);
  /** Hashes of tokens that were valid, oldest first. */
  readonly #valid = new RecentMap<string, true>(MAX_TOKENS);
  #running = 0;

  /** @param nowMs a monotonic clock */
  constructor(client: KubeApi, options: VisitorOptions, nowMs: () => number) {
    this.#client = client;
    this.#options = options;
    this.#nowMs = nowMs;
  }

  /** @throws Refused */
  async identify(request: IncomingMessage): Promise<VisitorIdentity> {
    const { authorization } = request.headersDistinct;
    if (authorization !== undefined) return this.#byToken(this.#header(request, 'Authorization'));
    const user = this.#header(request, this.#options.userHeader);
    if (user === '') throw new Refused(401, 'you are not signed in', NOT_SIGNED_IN);
    if (!this.#isProxy(request)) {
      throw new Refused(
        401,
        'the name in this request is not from the proxy of this console',
        'the proxy needs the client certificate or the secret that the console is configured with',
      );
    }
    return { user: this.#byHeaders(user, this.#header(request, this.#options.groupsHeader)), token: null };
  }

  async #byToken(authorization: string): Promise<VisitorIdentity> {
    const token = /^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? '';
    const user = token === '' || token.length > MAX_TOKEN_LENGTH ? null : await this.#review(token);
    if (user) return { user, token };
    throw new Refused(401, 'the API server does not accept your token', NOT_SIGNED_IN);
  }

  #review(token: string): Promise<TokenUserInfo | null> {
    const key = hashOf(token).toString('base64url');
    return this.#reviews.get(key, this.#nowMs(), async () => {
      const most = this.#valid.has(key) ? MAX_REVIEWS : MAX_REVIEWS / 2;
      if (this.#running >= most) throw new Refused(503, 'too many visitors arrive at once', 'try again in a moment');
      this.#running += 1;
      try {
        const {
          authenticated,
          user,
          audiences = [],
        } = await reviewToken(this.#client, token, this.#options.audiences, {
          timeoutMs: REVIEW_MS,
        });
        // A server without audiences returns none: the token is then for the server itself.
        const asked = this.#options.audiences;
        const isForUs = asked.length === 0 || audiences.some((audience) => asked.includes(audience));
        const isValid = authenticated === true && isForUs && (user?.username ?? '') !== '';
        if (isValid) this.#valid.set(key, true);
        else this.#valid.delete(key);
        return isValid && user ? user : null;
      } catch (error) {
        throw asRefusal(error);
      } finally {
        this.#running -= 1;
      }
    });
  }

  /** Of a header that occurs twice, the browser may have sent one. @throws Refused */
  #header({ headersDistinct }: IncomingMessage, name: string): string {
    const [value = '', ...more] = headersDistinct[name.toLowerCase()] ?? [];
    if (more.length > 0) {
      throw new Refused(
        401,
        `the request has the header ${name} more than once`,
        'the proxy must replace what browsers send in this header, instead of adding to it',
      );
    }
    return value.trim();
  }

  #isProxy(request: IncomingMessage): boolean {
    const { proxyNames, proxySecrets } = this.#options;
    const sent = hashOf(this.#header(request, SECRET_HEADER));
    if (proxySecrets().some((secret) => timingSafeEqual(hashOf(secret), sent))) return true;
    const socket = request.socket as Partial<TLSSocket>;
    if (proxyNames.length === 0 || socket.authorized !== true) return false;
    const name: unknown = socket.getPeerCertificate?.().subject?.CN;
    return typeof name === 'string' && proxyNames.includes(name);
  }

  /** Names of Kubernetes' own identities belong to no person: a proxy cannot give them. */
  #byHeaders(user: string, groupsText: string): TokenUserInfo {
    const groups = groupsText.split(',').map((group) => group.trim());
    // A comma: another proxy joined two headers.
    if (
      user.includes(',') ||
      user.length > MAX_NAME_LENGTH ||
      user.startsWith('system:') ||
      groups.length > MAX_GROUPS
    ) {
      throw new Refused(
        401,
        'the name in this request is no name of a person',
        'check the headers that the proxy sends',
      );
    }
    const own = groups.filter(
      (group) => group !== '' && group.length <= MAX_NAME_LENGTH && !group.startsWith('system:'),
    );
    return { username: user, groups: [...own, 'system:authenticated'] };
  }
}
