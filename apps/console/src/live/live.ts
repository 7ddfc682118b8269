/**
 * The state of the page Now for one scope: follows three streams from its start, and reads status and
 * approvals while a page is open. Every page of the scope gets the same view. What is outside the scope
 * is in no list and no count.
 *
 * Bounds: one view in memory, of bounded lists. A view is sent at most every PUSH_MS, and only if it
 * changed. A reading that fails is repeated with doubling pauses, and the view says why it failed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { EVERYTHING, type Scope } from '../access/scope.ts';
import { type ConsoleData, LIVE_STREAMS, type LiveEvents, type LiveStream } from '../data.ts';
import { toJson } from '../json.ts';
import type { NowView, ScopeView, StatusView, TableView } from '../wire.ts';
import { DAY_MS, NewestRows } from './newest-rows.ts';
import { ViolationWindow, WINDOW_MS } from './window.ts';

/** Shortest time between two views. */
const PUSH_MS = 250;
/** Status, while a page is open: collectors and services store theirs every ten seconds. */
const READ_MS = 10_000;
const RETRY_MS = 1_000;
const MAX_RETRY_MS = 10_000;
/** Approvals are read after a response, but no sooner after the last time, and this often without one. */
const LEAST_WAITING_MS = 5_000;
const READ_WAITING_MS = 60_000;
/** Namespaces that a view names. */
const MAX_NAMED_SCOPES = 20;

const SINCE_MS = { VIOLATIONS: WINDOW_MS, VERDICTS: DAY_MS, RESPONSES: DAY_MS };

/** Gets views as JSON text. */
export type ViewListener = (json: string) => void;

export interface LiveOptions {
  data: ConsoleData;
  nowMs: () => number;
  scope?: Scope;
  /** For tests. */
  readMs?: number;
}

export class Live {
  readonly #data: ConsoleData;
  readonly #nowMs: () => number;
  readonly #scope: Scope;
  readonly #readMs: number;
  readonly #end = new AbortController();
  readonly #listeners = new Set<ViewListener>();
  readonly #verdicts = new NewestRows();
  readonly #responses = new NewestRows();
  readonly #done: Promise<unknown>;
  readonly #timer: NodeJS.Timeout;
  readonly #caughtUp = new Set<LiveStream>();
  readonly #cut = new Set<LiveStream>();
  /** Why a stream or the status cannot be read, by what is read. */
  readonly #problems = new Map<string, string>();
  #window = new ViolationWindow();
  #refused = 0;
  /** Messages of violations. */
  #read = 0;
  #left = 0;
  #skipped = 0;
  /** When approvals are read next. */
  #readWaitingMs = 0;
  #lastWaitingMs = 0;
  #status: StatusView | null = null;
  #waiting: TableView | null = null;
  /** Loops that wait for a page. */
  #sleeping: (() => void)[] = [];
  #last = '';
  /** The view as text, for pages that are opened before the next one; empty: to be made. */
  #json = '';

  constructor({ data, nowMs, scope = EVERYTHING, readMs = READ_MS }: LiveOptions) {
    this.#scope = scope;
    this.#data = data;
    this.#nowMs = nowMs;
    this.#readMs = readMs;
    this.#done = Promise.all([
      ...LIVE_STREAMS.map((stream) => this.#follow(stream)),
      this.#readStatus(),
      this.#readWaiting(),
    ]);
    this.#timer = setInterval(() => this.#push(), PUSH_MS);
  }

  get pages(): number {
    return this.#listeners.size;
  }

  /** The listener gets the current view at once. @returns a function that removes it */
  subscribe(listener: ViewListener): () => void {
    this.#listeners.add(listener);
    this.#wake();
    this.#json ||= toJson(this.view());
    listener(this.#json);
    return () => this.#listeners.delete(listener);
  }

  view(): NowView {
    const nowMs = this.#nowMs();
    const { bus, user, columns } = this.#data;
    const { attackers, omitted, withoutPod, unknownPod } = this.#window.attackers(nowMs);
    const notes: string[] = [];
    if (this.#cut.size > 0) {
      notes.push(`Only the newest messages of ${[...this.#cut].join(', ')} were read: there are too many.`);
    }
    if (this.#refused > 0) {
      notes.push(`${this.#refused} violations are refused and not counted: a node may not report them.`);
    }
    // Messages are of all namespaces.
    const seesAll = this.#scope.maySee(null);
    if (this.#skipped > 0) {
      notes.push(
        `${seesAll ? this.#skipped : 'Some'} messages were skipped: violations arrive faster than they can be counted here. Pods that went on are counted in full by their next message; the others are not.`,
      );
    }
    if (unknownPod > 0) notes.push(`(no pod): a count of ${unknownPod} is of interfaces whose pod is not known.`);
    if (withoutPod > 0) notes.push(`A count of ${withoutPod} belongs to pods beyond the limit of the list.`);
    const live = {
      rates: this.#window.rates(nowMs),
      attackers,
      attackersOmitted: omitted,
      notes,
      verdicts: this.#verdicts.table([...columns.verdicts], nowMs),
      responses: this.#responses.table([...columns.responses], nowMs),
      responseCounts: this.#responses.counts(nowMs).map(([kind, count]) => ({ kind, count })),
      complete: this.#caughtUp.size === LIVE_STREAMS.length,
      read: seesAll ? this.#read : 0,
      left: seesAll ? this.#left : 0,
    };
    const problem = [...this.#problems.values()][0] ?? '';
    const connection = { bus, user, connected: this.#data.connected(), problem };
    return { nowMs, connection, scope: scopeView(this.#scope), status: this.#status, waiting: this.#waiting, live };
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#end.abort();
    this.#wake();
    await this.#done;
  }

  #push(): void {
    this.#json = '';
    if (this.#listeners.size === 0) return;
    const view = this.view();
    const content = toJson({ ...view, nowMs: 0 });
    if (content === this.#last) return;
    this.#last = content;
    this.#json = toJson(view);
    for (const listener of this.#listeners) listener(this.#json);
  }

  /** Repeats a work until the end; a failure is part of the view. */
  async #repeat(what: string, work: () => Promise<void>): Promise<void> {
    let pauseMs = RETRY_MS;
    while (!this.#end.signal.aborted) {
      const startedMs = this.#nowMs();
      try {
        await work();
        this.#problems.delete(what);
        pauseMs = RETRY_MS;
      } catch (error) {
        if (this.#end.signal.aborted) return;
        this.#problems.set(what, this.#data.describe(error).error);
        if (this.#nowMs() - startedMs > MAX_RETRY_MS) pauseMs = RETRY_MS;
        await this.#pause(pauseMs);
        pauseMs = Math.min(2 * pauseMs, MAX_RETRY_MS);
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.#end.signal }).catch(() => undefined);
  }

  #follow(stream: LiveStream): Promise<void> {
    return this.#repeat(stream, async () => {
      this.#reset(stream);
      await this.#data.follow(stream, this.#nowMs() - SINCE_MS[stream], this.#events(), this.#end.signal);
    });
  }

  #reset(stream: LiveStream): void {
    this.#caughtUp.delete(stream);
    this.#cut.delete(stream);
    if (stream === 'VERDICTS') this.#verdicts.clear();
    else if (stream === 'RESPONSES') this.#responses.clear();
    else {
      this.#window = new ViolationWindow();
      this.#refused = 0;
      this.#read = 0;
      this.#left = 0;
      this.#skipped = 0;
    }
  }

  #events(): LiveEvents {
    const { maySee } = this.#scope;
    return {
      onViolation: (violation) => {
        if (maySee(violation.pod?.namespace ?? null)) this.#window.add(violation);
      },
      // The claim of a node, whatever it names.
      onRefused: () => {
        if (maySee(null)) this.#refused += 1;
      },
      onVerdict: (verdict) => {
        if (maySee(verdict.namespace)) this.#verdicts.add(verdict);
      },
      onResponse: (response) => {
        if (!maySee(response.namespace)) return;
        this.#responses.add(response);
        this.#readWaitingMs = Math.min(this.#readWaitingMs, this.#lastWaitingMs + LEAST_WAITING_MS);
      },
      onProgress: (stream, left) => {
        if (stream !== 'VIOLATIONS') return;
        this.#read += 1;
        this.#left = left;
      },
      onSkipped: (_stream, messages) => {
        this.#skipped += messages;
      },
      onCaughtUp: (stream, cut) => {
        this.#problems.delete(stream);
        this.#caughtUp.add(stream);
        if (cut) this.#cut.add(stream);
      },
    };
  }

  #readStatus(): Promise<void> {
    return this.#repeat('status', async () => {
      await this.#untilShown();
      if (this.#end.signal.aborted) return;
      this.#status = await this.#data.status(this.#scope.maySee, this.#end.signal);
      this.#problems.delete('status');
      this.#push();
      await this.#pause(this.#readMs);
    });
  }

  #readWaiting(): Promise<void> {
    return this.#repeat('approvals', async () => {
      await this.#untilShown();
      if (this.#end.signal.aborted) return;
      if (this.#nowMs() >= this.#readWaitingMs) {
        this.#lastWaitingMs = this.#nowMs();
        this.#readWaitingMs = this.#lastWaitingMs + READ_WAITING_MS;
        this.#waiting = await this.#data.waiting(this.#scope.maySee, this.#end.signal);
        this.#problems.delete('approvals');
        this.#push();
      }
      await this.#pause(PUSH_MS);
    });
  }

  /** Without a page, only the streams are read. */
  #untilShown(): Promise<void> {
    if (this.#listeners.size > 0 || this.#end.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#sleeping.push(resolve);
    });
  }

  #wake(): void {
    for (const resolve of this.#sleeping.splice(0)) resolve();
  }
}

const scopeView = ({ isAll, namespaces }: Scope): ScopeView => ({
  isAll,
  namespaces: namespaces.slice(0, MAX_NAMED_SCOPES),
  omitted: Math.max(0, namespaces.length - MAX_NAMED_SCOPES),
});
