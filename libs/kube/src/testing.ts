/**
 * In-memory model of one collection of an API server, for tests of `KubeApi` users: consistent
 * paged lists, watches from a version, bookmarks, compaction, and scripted faults.
 */
import { apiPath, type KubeApi, type RequestOptions, type WatchOptions } from './client.ts';
import { errorOfStatus, KubeError } from './errors.ts';
import type { KubeObject } from './types.ts';

export type ListFault = 'none' | '500' | '429' | 'timeout' | 'gone';
/** `cut` and `end` occur after that many events; `gone-event` is the usual form of 410. */
export type WatchFault =
  | { kind: 'none' | '500' | 'gone' | 'gone-event' | 'inactive' }
  | { kind: 'cut' | 'end' | 'error-event'; after: number };

interface Recorded {
  version: number;
  type: 'ADDED' | 'MODIFIED' | 'DELETED';
  object: KubeObject;
}
interface OpenWatch {
  sent: number;
  wake: () => void;
}

/** An API server that answers requests only. */
export const kubeApiOf = (request: (options: RequestOptions) => Promise<unknown>): KubeApi => ({
  request: <T>(options: RequestOptions) => request(options) as Promise<T>,
  watch: () => Promise.reject(new KubeError('KUBE_UNREACHABLE', 'no watches')),
});

const tick = () => new Promise<void>((resolve) => setImmediate(resolve));

export class ModelCollection implements KubeApi {
  #version = 100;
  #compacted = 0;
  #objects = new Map<string, KubeObject>();
  #history: Recorded[] = [];
  #pages = new Map<string, { version: number; rest: KubeObject[] }>();
  #nextPage = 0;
  #watches = new Set<OpenWatch>();
  #bookmarks = 0;
  /** Consumed in order, one per request; empty: no fault. */
  listFaults: ListFault[] = [];
  /** A page with more objects exceeds the limit of a request that has one. */
  largestPage = Number.POSITIVE_INFINITY;
  watchFaults: WatchFault[] = [];
  lists = 0;
  watches = 0;

  /** Creates or changes an object. */
  put(uid: string, name: string, data: string): void {
    const version = ++this.#version;
    const metadata = { uid, name, namespace: 'default', resourceVersion: String(version), labels: { data } };
    const type = this.#objects.has(uid) ? 'MODIFIED' : 'ADDED';
    this.#record({ version, type, object: { metadata } });
    this.#objects.set(uid, { metadata });
  }
  delete(uid: string): void {
    const object = this.#objects.get(uid);
    if (!object) return;
    const version = ++this.#version;
    const metadata = { ...object.metadata, resourceVersion: String(version) };
    this.#record({ version, type: 'DELETED', object: { metadata } });
    this.#objects.delete(uid);
  }
  /** Drops the history: earlier watches and continue tokens now get 410. */
  compact(): void {
    this.#compacted = this.#version;
    this.#history = [];
    this.#pages.clear();
  }
  bookmark(): void {
    this.#bookmarks += 1;
    this.#wakeAll();
  }
  /** The true data by UID. */
  truth(): Record<string, string> {
    const entries = [...this.#objects].map(([uid, { metadata }]) => [uid, metadata.labels?.['data'] ?? ''] as const);
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  async request<T>(options: RequestOptions): Promise<T> {
    await tick();
    this.lists += 1;
    const fault = this.listFaults.shift() ?? 'none';
    if (fault === '500') throw errorOfStatus(500, null, 'list');
    if (fault === '429') throw errorOfStatus(429, { details: { retryAfterSeconds: 0 } }, 'list');
    if (fault === 'timeout') throw new KubeError('KUBE_TIMEOUT', 'list');
    if (fault === 'gone') throw errorOfStatus(410, { reason: 'Expired' }, 'list');
    const { continue: token, limit } = options.query ?? {};
    let page = { version: this.#version, rest: [...this.#objects.values()] };
    if (token !== undefined) {
      const held = this.#pages.get(String(token));
      if (!held) throw errorOfStatus(410, { reason: 'Expired' }, 'list');
      page = held;
    }
    const size = limit === undefined ? page.rest.length : Number(limit);
    if (options.maxBodyBytes !== undefined && size > this.largestPage) throw new KubeError('KUBE_TOO_LARGE', 'list');
    const rest = page.rest.slice(size);
    const metadata: Record<string, string> = { resourceVersion: String(page.version) };
    if (rest.length > 0) {
      metadata['continue'] = `page-${this.#nextPage++}`;
      this.#pages.set(metadata['continue'], { version: page.version, rest });
    }
    return structuredClone({ metadata, items: page.rest.slice(0, size) }) as T;
  }

  async watch(options: WatchOptions): Promise<void> {
    await tick();
    this.watches += 1;
    const fault = this.watchFaults.shift() ?? { kind: 'none' };
    const from = Number(options.query?.['resourceVersion']);
    const refused = errorOfStatus(410, { reason: 'Expired' }, 'watch');
    if (fault.kind === '500') throw errorOfStatus(500, null, 'watch');
    if (fault.kind === 'gone') throw refused;
    options.onOpen?.();
    if (fault.kind === 'gone-event' || from < this.#compacted) {
      return options.onEvent({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } });
    }
    if (fault.kind === 'inactive') throw new KubeError('KUBE_INACTIVE', 'watch');
    await this.#serve(options, fault, from);
  }

  async #serve(options: WatchOptions, fault: WatchFault, from: number): Promise<void> {
    const watch: OpenWatch = { sent: from, wake: () => {} };
    this.#watches.add(watch);
    let bookmarks = this.#bookmarks;
    let events = 0;
    const struck = () => 'after' in fault && events >= fault.after;
    try {
      while (!options.signal?.aborted) {
        // Compaction under an open watch leaves a gap; a server ends such a watch.
        if (watch.sent < this.#compacted) throw errorOfStatus(410, { reason: 'Expired' }, 'watch');
        for (const { version, type, object } of this.#history.filter((entry) => entry.version > watch.sent)) {
          if (struck()) break;
          watch.sent = version;
          events += 1;
          options.onEvent(structuredClone({ type, object }));
        }
        if (struck()) return strike(fault, options);
        if (bookmarks !== this.#bookmarks) {
          bookmarks = this.#bookmarks;
          watch.sent = this.#version;
          options.onEvent({ type: 'BOOKMARK', object: { metadata: { resourceVersion: String(this.#version) } } });
        }
        await new Promise<void>((resolve) => {
          watch.wake = resolve;
          options.signal?.addEventListener('abort', () => resolve(), { once: true });
        });
      }
    } finally {
      this.#watches.delete(watch);
    }
  }

  #record(entry: Recorded): void {
    this.#history.push(entry);
    this.#wakeAll();
  }
  #wakeAll(): void {
    for (const watch of this.#watches) watch.wake();
  }
}

function strike(fault: WatchFault, options: WatchOptions): void {
  if (fault.kind === 'cut') throw new KubeError('KUBE_UNREACHABLE', 'watch: cut');
  if (fault.kind === 'error-event') options.onEvent({ type: 'ERROR', object: { kind: 'Status', code: 500 } });
}

export interface TokenRequestOptions {
  audiences: readonly string[];
  /** A real server issues tokens for at least ten minutes. */
  expirationSeconds?: number;
  /** The pod that the token is bound to. */
  pod?: { name: string; uid: string };
}

/**
 * Requests a token, as a kubelet does for a pod. @throws KubeError KUBE_NOT_FOUND, KUBE_CONFLICT
 * (the pod's UID differs)
 */
export async function requestToken(
  client: KubeApi,
  account: { namespace: string; name: string },
  options: TokenRequestOptions,
): Promise<{ token: string; expirationTimestamp: string }> {
  const { audiences, expirationSeconds, pod } = options;
  const answer = await client.request<{ status: { token: string; expirationTimestamp: string } }>({
    verb: 'POST',
    path: apiPath`/api/v1/namespaces/${account.namespace}/serviceaccounts/${account.name}/token`,
    body: {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {
        audiences,
        ...(expirationSeconds === undefined ? {} : { expirationSeconds }),
        ...(pod ? { boundObjectRef: { kind: 'Pod', apiVersion: 'v1', ...pod } } : {}),
      },
    },
  });
  return answer.status;
}
