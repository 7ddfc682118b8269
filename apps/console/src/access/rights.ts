/**
 * What Kubernetes lets a visitor see: `get` on `violations.bailiff.dev`, which exists in roles only.
 * Asked for all namespaces first, then for each one, by SubjectAccessReview.
 *
 * A right is asked for again after KEEP_MS, a missing one after MISSING_MS: it may come late, but not
 * stay. Bounds: MAX_VISITORS, MAX_NAMESPACES a visitor, MAX_AT_ONCE visitors under review with PARALLEL
 * reviews each. Half of those are for people who had a right before: every token of the cluster may ask,
 * and a service account has as many tokens as its owner wants. Every failure refuses.
 */
import { createHash } from 'node:crypto';
import { type KubeApi, KubeError, type KubeList, reviewAccess, type TokenUserInfo } from '@bailiff/kube';
import { FairCounts } from '@bailiff/service/fair-counts';
import { RecentMap } from '@bailiff/service/recent-map';
import { KEEP_MS, Refused } from './door.ts';
import { Recent } from './recent.ts';
import { EVERYTHING, type Scope, scopeOf } from './scope.ts';

export const MISSING_MS = 60_000;
export const MAX_VISITORS = 256;
/** Namespaces of the cluster that are asked for, in the order of their names. */
export const MAX_NAMESPACES = 2_000;
export const MAX_AT_ONCE = 8;
const PARALLEL = 4;
export const REVIEW_MS = 3_000;

const ACCESS = { verb: 'get', group: 'bailiff.dev', resource: 'violations' };
const LIST_TYPE = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json';

/** A short name of what Kubernetes knows of a user. */
export function identityOf({ username = '', uid = '', groups = [], extra = {} }: TokenUserInfo): string {
  const sorted = Object.entries(extra).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([username, uid, groups, sorted]))
    .digest('base64url');
}

interface Known {
  may: boolean;
  atMs: number;
}

interface Remembered {
  name: string;
  atMs: number;
  namespaces: ReadonlyMap<string, Known>;
}

export class Rights {
  readonly #client: KubeApi;
  readonly #nowMs: () => number;
  readonly #scopes = new Recent<Scope>(MAX_VISITORS, KEEP_MS);
  readonly #namespaces = new Recent<string[]>(1, KEEP_MS);
  /** By visitor, oldest first; shared by name. */
  readonly #known = new Map<string, Remembered>();
  readonly #shares = new FairCounts(MAX_VISITORS);
  /** Names of visitors that had a right, oldest first. */
  readonly #welcome = new RecentMap<string, true>(MAX_VISITORS);
  /** Reviews by name. */
  readonly #running = new FairCounts(MAX_AT_ONCE);
  #isCut = false;

  /** @param nowMs a monotonic clock */
  constructor(client: KubeApi, nowMs: () => number) {
    this.#client = client;
    this.#nowMs = nowMs;
  }

  /** The cluster has more than MAX_NAMESPACES: the others are not asked for. */
  get isCut(): boolean {
    return this.#isCut;
  }

  /** @throws Refused 503 if the API server does not answer, or too many are asked for at once */
  scopeOf(user: TokenUserInfo): Promise<Scope> {
    const visitor = identityOf(user);
    return this.#scopes.get(visitor, this.#nowMs(), () => this.#review(visitor, user));
  }

  async #review(visitor: string, user: TokenUserInfo): Promise<Scope> {
    const { username: name = '' } = user;
    const kept = this.#welcome.has(name) ? 0 : MAX_AT_ONCE / 2;
    if (this.#running.roomFor(name, kept) === 0)
      throw new Refused(503, 'too many visitors arrive at once', 'try again in a moment');
    this.#running.add(name);
    try {
      const scope = (await this.#may(user, '')) ? EVERYTHING : scopeOf(await this.#allowed(visitor, user));
      this.#greet(name, scope.isAll || scope.namespaces.length > 0);
      return scope;
    } catch (error) {
      throw asRefusal(error);
    } finally {
      this.#running.remove(name);
    }
  }

  #greet(name: string, hasRight: boolean): void {
    if (hasRight) this.#welcome.set(name, true);
    else this.#welcome.delete(name);
  }

  #may(user: TokenUserInfo, namespace: string): Promise<boolean> {
    return reviewAccess(this.#client, user, { ...ACCESS, namespace }, { timeoutMs: REVIEW_MS });
  }

  async #allowed(visitor: string, user: TokenUserInfo): Promise<string[]> {
    const names = await this.#namespaces.get('', this.#nowMs(), () => this.#list());
    const before = this.#known.get(visitor)?.namespaces;
    const now = new Map<string, Known>();
    const left = [...names];
    const work = async () => {
      for (let name = left.pop(); name !== undefined; name = left.pop()) {
        const known = before?.get(name);
        const isFresh = known && !known.may && this.#nowMs() - known.atMs < MISSING_MS;
        now.set(name, isFresh ? known : { may: await this.#may(user, name), atMs: this.#nowMs() });
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, work));
    this.#remember(visitor, { name: user.username ?? '', atMs: this.#nowMs(), namespaces: now });
    return [...now].filter(([, { may }]) => may).map(([name]) => name);
  }

  /** A name with many identities takes no place of another one. */
  #remember(visitor: string, one: Remembered): void {
    for (const [key, { name, atMs }] of this.#known) {
      if (key !== visitor && one.atMs - atMs < MISSING_MS) continue;
      this.#known.delete(key);
      this.#shares.remove(name);
    }
    if (!this.#shares.hasRoom(one.name)) return;
    this.#shares.add(one.name);
    this.#known.set(visitor, one);
  }

  async #list(): Promise<string[]> {
    const { metadata, items } = await this.#client.request<KubeList>({
      path: '/api/v1/namespaces',
      query: { limit: MAX_NAMESPACES },
      accept: LIST_TYPE,
      attempts: 1,
      timeoutMs: REVIEW_MS,
    });
    this.#isCut = (metadata?.continue ?? '') !== '';
    return (items ?? []).map((one) => one.metadata.name);
  }
}

export function asRefusal(error: unknown): unknown {
  if (!(error instanceof KubeError)) return error;
  return new Refused(
    503,
    `the API server does not answer about your rights: ${error.code}`,
    'try again in a moment; `kubectl -n bailiff-system logs deployment/bailiff-console` names the cause',
  );
}
