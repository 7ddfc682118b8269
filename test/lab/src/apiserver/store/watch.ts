/**
 * Watches: changes of one selection since a version, as a stream of events. An object that leaves
 * the selection appears as DELETED, one that enters as ADDED. Bookmarks report the version to an
 * idle watcher. A slow watcher (the limit is in the sink) and an expired watch are disconnected.
 */
import { expired } from '../errors.ts';
import { fromStored } from '../kinds/conversion.ts';
import { apiVersionOf, type ResourceDef } from '../kinds/resources.ts';
import type { KubeObject } from '../types.ts';
import type { Change, ChangeType } from './history.ts';
import { type ListOptions, parseVersion, selection } from './listing.ts';
import type { ObjectPredicate } from './selectors.ts';
import type { Store } from './store.ts';

export interface WatchRequest {
  def: ResourceDef;
  namespace: string;
  options: ListOptions;
  bookmarks: boolean;
  /** Present objects first, then a bookmark that marks their end. */
  sendInitialEvents: boolean;
  timeoutMs: number;
}

export type WatchEventType = ChangeType | 'BOOKMARK' | 'ERROR';

export interface WatchSink {
  /** Sends one event; false if the receiver is too slow and must be disconnected. */
  send(type: WatchEventType, object: object): boolean;
  /** Ends the stream regularly. */
  end(): void;
  /** Breaks the connection. */
  destroy(): void;
}

export interface SelectedChange {
  type: ChangeType;
  object: KubeObject;
}

/** One change as seen by a watcher of a selection; undefined if it is unaffected. Pure. */
export function selectChange(change: Change, selects: ObjectPredicate): SelectedChange | undefined {
  const before = change.previous !== undefined && selects(change.previous);
  const after = change.type !== 'DELETED' && selects(change.object);
  if (after) return { type: before ? 'MODIFIED' : 'ADDED', object: change.object };
  if (!before) return undefined;
  if (change.type === 'DELETED') return { type: 'DELETED', object: change.object };
  const metadata = { ...change.previous!.metadata, resourceVersion: String(change.version) };
  return { type: 'DELETED', object: { ...change.previous!, metadata } };
}

interface OpenWatch {
  sink: WatchSink;
  stop(): void;
}

export class Watches {
  readonly #store: Store;
  readonly #bookmarkIntervalMs: number;
  #open = new Set<OpenWatch>();
  #stalled = false;
  /** Watchers disconnected because they were too slow. */
  slow = 0;

  constructor(store: Store, bookmarkIntervalMs: number) {
    this.#store = store;
    this.#bookmarkIntervalMs = bookmarkIntervalMs;
  }

  get count(): number {
    return this.#open.size;
  }

  /** Breaks every open connection; returns their number. */
  cutAll(): number {
    const open = [...this.#open];
    for (const watch of open) {
      watch.stop();
      watch.sink.destroy();
    }
    return open.length;
  }

  stall(on: boolean): void {
    this.#stalled = on;
  }

  /** True if a watch may start at its version; without a version it always may. */
  canStart(request: WatchRequest): boolean {
    const from = parseVersion(request.options.resourceVersion);
    return from === 0 || request.sendInitialEvents || from >= this.#store.compactedVersion;
  }

  /** Opens a watch; the returned function closes it. Throws 400. */
  start(request: WatchRequest, sink: WatchSink): () => void {
    const { def, options } = request;
    const selects = selection(def, request.namespace, options);
    if (!this.canStart(request)) {
      const message = `too old resource version: ${options.resourceVersion} (${this.#store.compactedVersion})`;
      sink.send('ERROR', expired(message).toStatus());
      sink.end();
      return () => {};
    }
    const from = parseVersion(options.resourceVersion);
    const show = (selected: SelectedChange | undefined) => {
      if (selected === undefined || this.#stalled) return;
      if (sink.send(selected.type, fromStored(def, selected.object))) return;
      this.slow += 1;
      watch.stop();
      sink.destroy();
    };
    const unsubscribe = this.#store.subscribe((change) => {
      if (change.storage === def.storage && change.version > from) show(selectChange(change, selects));
    });
    const bookmark = () => this.#bookmark(def, sink);
    const timers = [setTimeout(() => this.#finish(watch, request.bookmarks ? bookmark : () => {}), request.timeoutMs)];
    if (request.bookmarks) timers.push(setInterval(bookmark, this.#bookmarkIntervalMs));
    const watch: OpenWatch = {
      sink,
      stop: () => {
        unsubscribe();
        for (const timer of timers) clearTimeout(timer);
        this.#open.delete(watch);
      },
    };
    this.#open.add(watch);
    this.#sendPast(request, from, selects, show);
    if (request.sendInitialEvents && request.bookmarks) this.#bookmark(def, sink, true);
    return watch.stop;
  }

  /** Present objects without a version; otherwise the changes since it. */
  #sendPast(
    request: WatchRequest,
    from: number,
    selects: ObjectPredicate,
    show: (selected: SelectedChange | undefined) => void,
  ): void {
    const { storage } = request.def;
    if (from === 0 || request.sendInitialEvents) {
      for (const object of this.#store.list(storage)) if (selects(object)) show({ type: 'ADDED', object });
      return;
    }
    for (const change of this.#store.changesSince(from) ?? []) {
      if (change.storage === storage) show(selectChange(change, selects));
    }
  }

  #finish(watch: OpenWatch, lastWord: () => void): void {
    lastWord();
    watch.stop();
    watch.sink.end();
  }

  #bookmark(def: ResourceDef, sink: WatchSink, initialEnd = false): void {
    if (this.#stalled) return;
    const annotations = initialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {};
    sink.send('BOOKMARK', {
      kind: def.kind,
      apiVersion: apiVersionOf(def),
      metadata: { resourceVersion: String(this.#store.version), creationTimestamp: null, ...annotations },
    });
  }
}
