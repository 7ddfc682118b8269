/**
 * Keeps a local copy of a Kubernetes collection: list by pages, then watch from there.
 *
 * A watch resumes at the last version. A 410, an unknown version or five consecutive failures cause
 * a new list, and so does the age of the last list; the differences are reported. A watch without
 * data for `inactivityMs`, bookmarks included, is reopened. Memory holds only what `select` keeps
 * and one page. Objects with large events are read by themselves (large-objects.ts).
 */
import { type BackoffOptions, backoffMs, pause } from '@bailiff/service/retry';
import { DEFAULT_BACKOFF, type KubeApi, type WatchEvent } from './client.ts';
import { errorOfStatus, KubeError } from './errors.ts';
import type { EventHead } from './event-head.ts';
import { LargeObjects, readByName } from './large-objects.ts';
import { type Change, ObjectStore } from './store.ts';
import type { KubeList, KubeObject } from './types.ts';

export interface ReflectorOptions<T> {
  client: KubeApi;
  /** Path of the collection, such as `/api/v1/pods`. */
  path: string;
  /** The part of an object to keep; null to ignore the object. Must not retain the object. */
  select(object: KubeObject): T | null;
  fieldSelector?: string;
  labelSelector?: string;
  /** `application/json;as=PartialObjectMetadata…` for metadata only. */
  accept?: { list: string; watch: string };
  onAdd?(value: T, uid: string): void;
  onUpdate?(value: T, before: T, uid: string): void;
  onDelete?(value: T, uid: string): void;
  /** Called after each complete list and its changes. */
  onSync?(): void;
  /** Called for each failure before a retry, for counting. */
  onError?(error: KubeError): void;
  /** Large objects of which no version was read yet are late, or are not any more. */
  onLate?(areLate: boolean): void;
  pageLimit?: number;
  inactivityMs?: number;
  /** Requested duration of a watch, so that load spreads over the server's replicas. */
  watchSeconds?: number;
  listTimeoutMs?: number;
  /**
   * Maximum age of a list when a watch ends. A new list corrects what no watch reports, such as a
   * skipped event.
   */
  relistMs?: number;
  backoff?: BackoffOptions;
  random?: () => number;
}

export interface ReflectorStats {
  lists: number;
  watches: number;
  events: number;
  bookmarks: number;
  /** Number of 410 responses. */
  gone: number;
  /** Number of watches ended for inactivity. */
  inactive: number;
  errors: number;
  staleEvents: number;
  objects: number;
  /** Objects with a large event that wait to be read. */
  large: number;
}

const PAGE_LIMIT = 500;
/**
 * Tenants choose the size of their objects, and 500 pods of 1.4 MiB exceed the memory of a process.
 * 500 ordinary pods have 3 to 5 MiB. A single object is read whatever its size.
 */
const MAX_PAGE_BYTES = 8 * 1024 * 1024;
/** A server sends a bookmark a minute; this adds half of that. */
const INACTIVITY_MS = 90_000;
/** Pages in a row that fit, after which the next one has twice as many objects again. */
const GROW_AFTER = 4;
const WATCH_SECONDS = 300;
const LIST_TIMEOUT_MS = 60_000;
/** Twenty pages for 10,000 pods, twice an hour. */
const RELIST_MS = 30 * 60_000;
/** A 410 so soon after a list follows from the former one. */
const GONE_AGAIN_MS = 10_000;
/** Consecutive watch failures after which the collection is listed again. */
const MAX_WATCH_FAILURES = 5;

interface Page {
  page: KubeList;
  /** Objects of the next page. */
  limit: number | undefined;
}

export class Reflector<T> {
  #options: ReflectorOptions<T>;
  #store: ObjectStore<T>;
  readonly #large: LargeObjects;
  #version = '';
  /** As `#version`, but kept during a new list. */
  #picture = '';
  #synced = false;
  #refusal = '';
  #listedAtMs = 0;
  #lastContactMs = Number.NEGATIVE_INFINITY;
  /** Since the last event, or the last watch that the server ended normally. */
  #failuresInRow = 0;
  /** 410s, each soon after the list that followed from the one before. */
  #goneInRow = 0;
  /** A continue token expired: the next list is requested without paging, as client-go does. */
  #unpaged = false;
  /** `select` has changed: all objects are listed again. */
  #reselecting = false;
  #watching = new AbortController();
  #counts = { lists: 0, watches: 0, events: 0, bookmarks: 0, gone: 0, inactive: 0, errors: 0 };

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#store = new ObjectStore(options.select);
    this.#large = new LargeObjects({
      read: (head, signal) => readByName({ ...options, ...this.#selectors() }, head, signal),
      onRead: (object) => this.#announce(this.#store.event('MODIFIED', object)),
      isKnown: (uid) => this.#store.get(uid) !== undefined,
      onLate: (areLate) => options.onLate?.(areLate),
      onError: (error) => options.onError?.(error),
    });
  }

  /** True after the first complete list. */
  get synced(): boolean {
    return this.#synced;
  }
  /** Why this account may not list or watch; empty: it may, as far as is known. */
  get refusal(): string {
    return this.#refusal;
  }
  /** Milliseconds since the last data from the server; Infinity before the first. */
  get silentMs(): number {
    return performance.now() - this.#lastContactMs;
  }
  /**
   * resourceVersion of the copy, which includes everything up to it. Empty before the first list.
   */
  get version(): string {
    return this.#picture;
  }
  get stats(): ReflectorStats {
    return {
      ...this.#counts,
      staleEvents: this.#store.staleEvents,
      objects: this.#store.size,
      large: this.#large.waiting,
    };
  }
  get(uid: string): T | undefined {
    return this.#store.get(uid);
  }
  values(): T[] {
    return this.#store.values();
  }

  /** Runs until the signal aborts. Never rejects for server errors. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#follow(signal), this.#large.run(signal)]);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        this.#prepareReselection();
        if (this.#version === '' || this.#listIsOld) await this.#list(signal);
        if (!this.#reselecting) await this.#watch(AbortSignal.any([signal, this.#watching.signal]));
      } catch (error) {
        if (signal.aborted) return;
        if (this.#reselecting) continue;
        if (!(error instanceof KubeError)) throw error;
        await pause(this.#failed(error), signal);
      }
    }
  }

  /**
   * Lists and selects all objects again after `select` has changed. The current copy stays until
   * then.
   */
  reselect(): void {
    this.#reselecting = true;
    this.#watching.abort();
  }

  #prepareReselection(): void {
    if (!this.#reselecting) return;
    this.#reselecting = false;
    this.#watching = new AbortController();
    this.#store.reselect();
    this.#version = '';
  }

  get #listIsOld(): boolean {
    return performance.now() - this.#listedAtMs > (this.#options.relistMs ?? RELIST_MS);
  }

  /** Records a failure and returns the wait. */
  #failed(error: KubeError): number {
    const { backoff = DEFAULT_BACKOFF, random = Math.random } = this.#options;
    this.#counts.errors += 1;
    this.#failuresInRow += 1;
    if (error.code === 'KUBE_FORBIDDEN') this.#refusal = error.message;
    this.#options.onError?.(error);
    if (error.code === 'KUBE_INACTIVE') {
      this.#counts.inactive += 1;
      return 0;
    }
    const gone = error.code === 'KUBE_GONE';
    if (gone || this.#failuresInRow % MAX_WATCH_FAILURES === 0) this.#version = '';
    if (gone) {
      this.#counts.gone += 1;
      this.#goneInRow = performance.now() - this.#listedAtMs < GONE_AGAIN_MS ? this.#goneInRow + 1 : 1;
      // A first 410 is normal (compaction) and handled at once; repeated ones back off, also with events
      // between them.
      return this.#goneInRow === 1 ? 0 : backoffMs(this.#goneInRow, backoff, random(), error.retryAfterMs);
    }
    return backoffMs(this.#failuresInRow, backoff, random(), error.retryAfterMs);
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { path, pageLimit = PAGE_LIMIT } = this.#options;
    const uids = new Set<string>();
    let version = '';
    let token: string | undefined;
    let limit = this.#unpaged ? undefined : pageLimit;
    let fitting = 0;
    do {
      let page: KubeList;
      try {
        const asked = limit;
        ({ page, limit } = await this.#page(token, limit, signal));
        fitting = limit === asked ? fitting + 1 : 0;
      } catch (error) {
        const code = error instanceof KubeError ? error.code : '';
        if (token !== undefined && code === 'KUBE_GONE') this.#unpaged = true;
        if (code === 'KUBE_TOO_LARGE') this.#unpaged = false;
        throw error;
      }
      this.#contact();
      for (const object of page.items ?? []) {
        uids.add(object.metadata.uid);
        this.#announce(this.#store.list(object));
      }
      // All pages show the state of the first one and repeat its version.
      version = page.metadata.resourceVersion ?? '';
      // Behind the large objects of a tenant are those of others: one a page takes minutes.
      if (limit !== undefined && fitting >= GROW_AFTER) {
        limit = Math.min(pageLimit, 2 * limit);
        fitting = 0;
      }
      token = page.metadata.continue || undefined;
    } while (token !== undefined && !signal.aborted);
    if (signal.aborted) return;
    if (version === '') throw new KubeError('KUBE_PROTOCOL', `list ${path}: no resourceVersion`);
    this.#large.retain(uids);
    for (const change of this.#store.retain(uids)) this.#announce(change);
    this.#unpaged = false;
    this.#version = version;
    this.#picture = version;
    this.#listedAtMs = performance.now();
    this.#counts.lists += 1;
    this.#synced = true;
    this.#options.onSync?.();
  }

  /** Reads one page. Halves the number of objects while the page exceeds its limit. */
  async #page(token: string | undefined, limit: number | undefined, signal: AbortSignal): Promise<Page> {
    const { client, path, accept, listTimeoutMs = LIST_TIMEOUT_MS } = this.#options;
    const isDivisible = limit !== undefined && limit > 1;
    try {
      const page = await client.request<KubeList>({
        path,
        query: { ...this.#selectors(), limit, continue: token },
        signal,
        timeoutMs: listTimeoutMs,
        ...(isDivisible ? { maxBodyBytes: MAX_PAGE_BYTES } : {}),
        ...(accept ? { accept: accept.list } : {}),
      });
      return { page, limit };
    } catch (error) {
      if (!isDivisible || !(error instanceof KubeError) || error.code !== 'KUBE_TOO_LARGE') throw error;
      return this.#page(token, Math.ceil(limit / 2), signal);
    }
  }

  async #watch(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const { client, path, accept, inactivityMs = INACTIVITY_MS, watchSeconds = WATCH_SECONDS } = this.#options;
    const { random = Math.random } = this.#options;
    const openedAtMs = performance.now();
    let events = 0;
    this.#counts.watches += 1;
    await client.watch({
      path,
      signal,
      inactivityMs,
      ...(accept ? { accept: accept.watch } : {}),
      query: {
        ...this.#selectors(),
        resourceVersion: this.#version,
        allowWatchBookmarks: true,
        timeoutSeconds: Math.ceil(watchSeconds * (1 + random())),
      },
      onOpen: () => {
        this.#refusal = '';
        this.#contact();
      },
      onEvent: (event) => {
        events += 1;
        this.#event(event);
      },
      onLarge: (head) => {
        events += 1;
        return this.#isLarge(head);
      },
    });
    this.#failuresInRow = 0;
    // A server or proxy that ends each watch at once must not cause a tight loop.
    if (events === 0 && performance.now() - openedAtMs < 1000) await pause(1000 * (0.5 + random() / 2), signal);
  }

  #event({ type, object }: WatchEvent): void {
    this.#contact();
    if (type === 'ERROR') throw errorOfStatus(0, object, `watch ${this.#options.path}`);
    const { metadata } = object as KubeObject;
    if (!metadata?.resourceVersion) throw new KubeError('KUBE_PROTOCOL', `watch ${this.#options.path}: event ${type}`);
    this.#failuresInRow = 0;
    if (type === 'BOOKMARK') this.#counts.bookmarks += 1;
    else if (type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED') {
      this.#counts.events += 1;
      if (type === 'DELETED') this.#large.remove(metadata);
      this.#announce(this.#store.event(type, object as KubeObject));
    } else throw new KubeError('KUBE_PROTOCOL', `watch ${this.#options.path}: unknown event ${type}`);
    this.#version = metadata.resourceVersion;
    this.#picture = metadata.resourceVersion;
  }

  /** Takes an event by its head. False: it has to be parsed. */
  #isLarge(head: EventHead): boolean {
    const { type, resourceVersion } = head;
    if (type !== 'ADDED' && type !== 'MODIFIED' && type !== 'DELETED') return false;
    this.#contact();
    this.#failuresInRow = 0;
    this.#counts.events += 1;
    if (type === 'DELETED') {
      this.#large.remove(head);
      this.#announce(this.#store.event(type, { metadata: head }));
    } else this.#large.add(head);
    this.#version = resourceVersion;
    this.#picture = resourceVersion;
    return true;
  }

  #announce(change: Change<T> | null): void {
    if (change === null) return;
    const { onAdd, onUpdate, onDelete } = this.#options;
    if (change.type === 'add') onAdd?.(change.value, change.uid);
    else if (change.type === 'update') onUpdate?.(change.value, change.before, change.uid);
    else onDelete?.(change.value, change.uid);
  }

  #contact(): void {
    this.#lastContactMs = performance.now();
  }

  #selectors() {
    const { fieldSelector, labelSelector } = this.#options;
    return { fieldSelector, labelSelector };
  }
}
