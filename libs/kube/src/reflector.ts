/**
 * Keeps a local picture of a Kubernetes collection: list by pages, then watch from there, for ever. Never misses: a watch goes on
 * from the last version seen, and whatever casts doubt on that (410, a version the server does not know, five failures in a row)
 * leads to a new list, whose difference to the picture is announced; so does the age of the last list. Never stale: a watch on which nothing comes for
 * `inactivityMs`, not even a bookmark, is broken off and opened anew.
 *
 * Memory: only what `select` keeps; one page of the list at a time.
 */
import { type BackoffOptions, backoffMs, DEFAULT_BACKOFF, pause } from './backoff.ts';
import type { KubeApi, WatchEvent } from './client.ts';
import { errorOfStatus, KubeError } from './errors.ts';
import { type Change, ObjectStore } from './store.ts';
import type { KubeList, KubeObject } from './types.ts';

export interface ReflectorOptions<T> {
  client: KubeApi;
  /** Of the collection, for example `/api/v1/pods`. */
  path: string;
  /** The part of an object to keep; null when it is of no interest. Must not keep the object itself. */
  select(object: KubeObject): T | null;
  fieldSelector?: string;
  labelSelector?: string;
  /** `application/json;as=PartialObjectMetadata…` for metadata alone. */
  accept?: { list: string; watch: string };
  onAdd?(value: T, uid: string): void;
  onUpdate?(value: T, before: T, uid: string): void;
  onDelete?(value: T, uid: string): void;
  /** After each complete list; what came before it has been announced. */
  onSync?(): void;
  /** Each failure, before it is tried again; for counting, nothing needs to be done. */
  onError?(error: KubeError): void;
  pageLimit?: number;
  inactivityMs?: number;
  /** After this long the server is asked to end the watch, so that load spreads over its replicas. */
  watchSeconds?: number;
  listTimeoutMs?: number;
  /** A list older than this is made anew when a watch ends: heals what no watch tells, such as a server that skipped an event. */
  relistMs?: number;
  backoff?: BackoffOptions;
  random?: () => number;
}

export interface ReflectorStats {
  lists: number;
  watches: number;
  events: number;
  bookmarks: number;
  /** Times the server said that our version is too old. */
  gone: number;
  /** Watches broken off because nothing came. */
  inactive: number;
  errors: number;
  staleEvents: number;
  objects: number;
}

const PAGE_LIMIT = 500;
/**
 * A tenant chooses how large its objects are: 500 pods of 1.4 MiB are more than a process has. 500 ordinary ones are 3 to 5 MiB. One object is read
 * whatever its size.
 */
const MAX_PAGE_BYTES = 8 * 1024 * 1024;
/** A server sends a bookmark a minute; half as much again may pass. */
const INACTIVITY_MS = 90_000;
const WATCH_SECONDS = 300;
const LIST_TIMEOUT_MS = 60_000;
/** Twenty pages for 10,000 pods, twice an hour. */
const RELIST_MS = 30 * 60_000;
/** Failures of the watch in a row after which the picture is no longer trusted and listed anew. */
const MAX_WATCH_FAILURES = 5;

interface Page {
  page: KubeList;
  /** For the next page. */
  limit: number | undefined;
}

export class Reflector<T> {
  #options: ReflectorOptions<T>;
  #store: ObjectStore<T>;
  #version = '';
  /** As `#version`, and kept while a list is made anew. */
  #picture = '';
  #synced = false;
  #listedAtMs = 0;
  #lastContactMs = Number.NEGATIVE_INFINITY;
  /** Since the last event or the last watch that the server ended in the ordinary way. */
  #failuresInRow = 0;
  /** An expired continue token was met: the next list is asked for in one piece, as the stock client does. */
  #unpaged = false;
  /** `select` keeps another part of objects: they are listed again. */
  #reselecting = false;
  #watching = new AbortController();
  #counts = { lists: 0, watches: 0, events: 0, bookmarks: 0, gone: 0, inactive: 0, errors: 0 };

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#store = new ObjectStore(options.select);
  }

  /** True once a list was complete. */
  get synced(): boolean {
    return this.#synced;
  }
  /** Milliseconds since the server last said anything; Infinity before it ever did. */
  get silentMs(): number {
    return performance.now() - this.#lastContactMs;
  }
  /** resourceVersion of the picture: everything up to it is in it. Empty before the first list. */
  get version(): string {
    return this.#picture;
  }
  get stats(): ReflectorStats {
    return { ...this.#counts, staleEvents: this.#store.staleEvents, objects: this.#store.size };
  }
  get(uid: string): T | undefined {
    return this.#store.get(uid);
  }
  values(): T[] {
    return this.#store.values();
  }

  /** Runs until the signal aborts. Never rejects for what the server does. */
  async run(signal: AbortSignal): Promise<void> {
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

  /** Lists all objects again and selects from each: what `select` keeps has changed. Until then what is held stays. */
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

  /** Notes a failure; gives how long to wait. */
  #failed(error: KubeError): number {
    const { backoff = DEFAULT_BACKOFF, random = Math.random } = this.#options;
    this.#counts.errors += 1;
    this.#failuresInRow += 1;
    this.#options.onError?.(error);
    if (error.code === 'KUBE_INACTIVE') {
      this.#counts.inactive += 1;
      return 0;
    }
    const gone = error.code === 'KUBE_GONE';
    if (gone) this.#counts.gone += 1;
    if (gone || this.#failuresInRow % MAX_WATCH_FAILURES === 0) this.#version = '';
    // A first 410 is ordinary (compaction) and answered at once; a server that goes on saying so is not hammered.
    if (gone && this.#failuresInRow === 1) return 0;
    return backoffMs(this.#failuresInRow, backoff, random(), error.retryAfterMs);
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { path, pageLimit = PAGE_LIMIT } = this.#options;
    const uids = new Set<string>();
    let version = '';
    let token: string | undefined;
    let limit = this.#unpaged ? undefined : pageLimit;
    do {
      let page: KubeList;
      try {
        ({ page, limit } = await this.#page(token, limit, signal));
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
      // All pages show one moment: that of the first, which each repeats.
      version = page.metadata.resourceVersion ?? '';
      token = page.metadata.continue || undefined;
    } while (token !== undefined && !signal.aborted);
    if (signal.aborted) return;
    if (version === '') throw new KubeError('KUBE_PROTOCOL', `list ${path}: no resourceVersion`);
    for (const change of this.#store.retain(uids)) this.#announce(change);
    this.#unpaged = false;
    this.#version = version;
    this.#picture = version;
    this.#listedAtMs = performance.now();
    this.#counts.lists += 1;
    this.#synced = true;
    this.#options.onSync?.();
  }

  /** One page, of fewer objects while so many are too large together. */
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
      onOpen: () => this.#contact(),
      onEvent: (event) => {
        events += 1;
        this.#event(event);
      },
    });
    this.#failuresInRow = 0;
    // A server that ends each watch at once (a proxy, say) must not be asked in a tight loop.
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
      this.#announce(this.#store.event(type, object as KubeObject));
    } else throw new KubeError('KUBE_PROTOCOL', `watch ${this.#options.path}: unknown event ${type}`);
    this.#version = metadata.resourceVersion;
    this.#picture = metadata.resourceVersion;
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
