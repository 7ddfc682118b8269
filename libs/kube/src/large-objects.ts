/**
 * Objects whose events are too large to parse at once. Tenants choose the size of their objects, up to
 * 10 MiB of JSON, and can change them several times a second: parsing each version would leave no time
 * for the objects of others. So a reflector reads only the head of such an event, and the object by
 * itself, in its newest version.
 *
 * One object is read at a time, namespaces in turn, with pauses: at most a fifth of the time. Bounds:
 * MAX_WAITING objects, of which a namespace gets a further one only while more are free than it has. An
 * object beyond it is read with the next list.
 */
import { FairCounts } from '@bailiff/service';
import { pause } from '@bailiff/service/retry';
import type { KubeApi } from './client.ts';
import { KubeError } from './errors.ts';
import type { EventHead } from './event-head.ts';
import type { KubeList, KubeObject } from './types.ts';

export const MAX_WAITING = 10_000;
/** After a read, the next one waits this many times as long as it took. */
const PAUSE_FACTOR = 4;
const MAX_PAUSE_MS = 2_000;
const RETRY_MS = 1_000;
/** An object that is not known yet is late after this long. */
const LATE_MS = 5_000;
/** After the last late object. */
const LATE_FOR_MS = 60_000;

/** A collection, and how it is listed. */
export interface Collection {
  client: KubeApi;
  path: string;
  fieldSelector: string | undefined;
  labelSelector: string | undefined;
  accept?: { list: string };
  listTimeoutMs?: number;
}

/** Reads an object by a list of its name, which needs no right but those of the watch; null: it is gone. */
export async function readByName(
  { client, path, fieldSelector, labelSelector, accept, listTimeoutMs }: Collection,
  { namespace, name }: EventHead,
  signal: AbortSignal,
): Promise<KubeObject | null> {
  const isBelow = namespace === '' || path.includes('/namespaces/');
  const list = await client.request<KubeList>({
    path: isBelow ? path : path.replace(/\/([^/]+)$/, `/namespaces/${namespace}/$1`),
    query: { labelSelector, fieldSelector: [fieldSelector, `metadata.name=${name}`].filter(Boolean).join(',') },
    signal,
    ...(listTimeoutMs === undefined ? {} : { timeoutMs: listTimeoutMs }),
    ...(accept ? { accept: accept.list } : {}),
  });
  return list.items?.[0] ?? null;
}

interface Waiting {
  head: EventHead;
  sinceMs: number;
}

export interface LargeObjectsOptions {
  /** Reads the object; null: it is gone. */
  read(head: EventHead, signal: AbortSignal): Promise<KubeObject | null>;
  onRead(object: KubeObject): void;
  /** Whether a former version of the object was read. */
  isKnown(uid: string): boolean;
  /** Objects of which nothing is known wait for seconds, or none has for a minute. */
  onLate(areLate: boolean): void;
  onError(error: KubeError): void;
  nowMs?: () => number;
  sleep?: typeof pause;
}

export class LargeObjects {
  readonly #o: LargeObjectsOptions;
  readonly #nowMs: () => number;
  readonly #sleep: typeof pause;
  /** By namespace and UID; the next namespace in turn is first. */
  readonly #queues = new Map<string, Map<string, Waiting>>();
  readonly #counts = new FairCounts(MAX_WAITING);
  #wake: () => void = () => {};
  /** UID of the object that is being read; empty: it was deleted meanwhile, or none is. */
  #reading = '';
  #areLate = false;
  #lateMs = Number.NEGATIVE_INFINITY;
  /** Objects beyond the share of their namespace. */
  refused = 0;

  constructor(options: LargeObjectsOptions) {
    this.#o = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.#sleep = options.sleep ?? pause;
  }

  get waiting(): number {
    return this.#counts.size;
  }

  /** The object changed: it is read, in its newest version. */
  add(head: EventHead): void {
    const { namespace, uid } = head;
    const queue = this.#queues.get(namespace) ?? new Map<string, Waiting>();
    const before = queue.get(uid);
    if (!before && !this.#counts.hasRoom(namespace)) {
      this.refused += 1;
      this.#lateMs = this.#nowMs();
      return;
    }
    if (!before) this.#counts.add(namespace);
    this.#queues.set(namespace, queue.set(uid, { head, sinceMs: before?.sinceMs ?? this.#nowMs() }));
    this.#wake();
  }

  /** A list is complete. What is being read of an object that it lacks may be older; a newer one has an event. */
  retain(uids: ReadonlySet<string>): void {
    if (!uids.has(this.#reading)) this.#reading = '';
  }

  /** The object is gone, and is not read. */
  remove({ namespace = '', uid }: { namespace?: string; uid: string }): void {
    if (this.#reading === uid) this.#reading = '';
    const queue = this.#queues.get(namespace);
    if (!queue?.delete(uid)) return;
    this.#counts.remove(namespace);
    if (queue.size === 0) this.#queues.delete(namespace);
  }

  /** Reads until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#checkLate();
      const head = this.#next();
      if (head === null) await this.#nextAdded(signal);
      else await this.#sleep(await this.#read(head, signal), signal);
    }
  }

  #next(): EventHead | null {
    const [first] = this.#queues;
    if (first === undefined) return null;
    const [namespace, queue] = first;
    const [waiting] = queue.values();
    const { head } = waiting as Waiting;
    queue.delete(head.uid);
    this.#counts.remove(namespace);
    this.#queues.delete(namespace);
    if (queue.size > 0) this.#queues.set(namespace, queue);
    return head;
  }

  /** @returns the pause after it */
  async #read(head: EventHead, signal: AbortSignal): Promise<number> {
    const beganMs = this.#nowMs();
    this.#reading = head.uid;
    try {
      const object = await this.#o.read(head, signal);
      // An object of the same name has another UID.
      if (object?.metadata.uid === this.#reading) this.#o.onRead(object);
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (signal.aborted) return 0;
      this.#o.onError(error);
      if (this.#reading !== '') this.add(head);
      return RETRY_MS;
    } finally {
      this.#reading = '';
    }
    return Math.min(MAX_PAUSE_MS, (this.#nowMs() - beganMs) * PAUSE_FACTOR);
  }

  #nextAdded(signal: AbortSignal): Promise<void> {
    const added = new AbortController();
    this.#wake = () => added.abort();
    return this.#sleep(LATE_FOR_MS, AbortSignal.any([added.signal, signal]));
  }

  #checkLate(): void {
    const nowMs = this.#nowMs();
    for (const queue of this.#queues.values())
      for (const { head, sinceMs } of queue.values())
        if (nowMs - sinceMs > LATE_MS && !this.#o.isKnown(head.uid)) this.#lateMs = nowMs;
    const areLate = nowMs - this.#lateMs < LATE_FOR_MS;
    if (areLate === this.#areLate) return;
    this.#areLate = areLate;
    this.#o.onLate(areLate);
  }
}
