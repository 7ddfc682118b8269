/**
 * Leader election over a coordination.k8s.io/v1 Lease. Every write carries the resourceVersion it is based on, so of two takers
 * one gets a conflict. A leader that cannot renew steps down before others may take over (`renewDeadlineMs` < `durationMs`), and
 * `isLeader` looks at the monotonic clock each time, so a process that was stopped and goes on knows that it is over.
 *
 * That clock cannot stop a write already on its way: whoever leads must still write by compare-and-set, and begin by
 * rewriting what it owns, so that a late write of the former leader meets a conflict.
 */

import { pause } from './backoff.ts';
import type { KubeApi } from './client.ts';
import { apiPath } from './client.ts';
import { KubeError } from './errors.ts';
import { DEFAULT_LEASE_TIMING, type LeaseTiming, leaseSpec, nextStep, type Observed, observe } from './lease-rules.ts';
import type { Lease } from './types.ts';

export interface LeaderOptions {
  client: KubeApi;
  namespace: string;
  /** Of the Lease. */
  name: string;
  /** Of this process; never used by another, also not by its own next start. */
  identity: string;
  timing?: LeaseTiming;
  /** Called on becoming leader; `term` aborts when it is over. */
  onLeading(term: AbortSignal): void;
  /** False while this process could not do the work: it then does not run for the lease, and hands over one it has. */
  eligible?(): boolean;
  /** Each failure, before it is tried again. */
  onError?(error: KubeError): void;
  nowMs?: () => number;
  wallMs?: () => number;
}

export class LeaderElector {
  #options: LeaderOptions;
  #timing: LeaseTiming;
  #nowMs: () => number;
  #wallMs: () => number;
  #lease: Lease | null = null;
  #observed: Observed | null = null;
  #renewedAtMs = Number.NEGATIVE_INFINITY;
  #term: AbortController | null = null;
  #busy: Promise<unknown> = Promise.resolve();
  #lastContactMs = Number.NEGATIVE_INFINITY;
  /** Times this process became leader. */
  terms = 0;

  constructor(options: LeaderOptions) {
    this.#options = options;
    this.#timing = options.timing ?? DEFAULT_LEASE_TIMING;
    if (this.#timing.renewDeadlineMs >= this.#timing.durationMs) throw new RangeError('renewDeadlineMs >= durationMs');
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.#wallMs = options.wallMs ?? Date.now;
  }

  /** True while no other process can hold the lease. */
  get isLeader(): boolean {
    return this.#term !== null && !this.#term.signal.aborted && this.#sinceRenewalMs < this.#timing.renewDeadlineMs;
  }
  /** Milliseconds since the lease was last read or written; Infinity before it ever was. */
  get silentMs(): number {
    return this.#nowMs() - this.#lastContactMs;
  }
  /** Who holds the lease as far as is known; empty when nobody. */
  get holder(): string {
    return this.#lease?.spec?.holderIdentity ?? '';
  }

  /** Runs for the lease until the signal aborts; then releases it if it is ours. Never rejects for what the server does. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#options.eligible?.() ?? true) await this.#serial(() => this.#attempt(signal));
      else if (this.#term !== null) await this.release();
      this.#stepDownIfLate();
      await pause(this.#term ? Math.min(this.#timing.retryMs, this.#leftMs) : this.#timing.retryMs, signal);
      this.#stepDownIfLate();
    }
  }

  /** Ends the term and hands the lease over at once. Call it after the last write of this term. */
  async release(): Promise<void> {
    await this.#serial(async () => {
      this.#endTerm();
      if (this.holder !== this.#options.identity) return;
      try {
        await this.#write('release', 2);
      } catch (error) {
        this.#report(error);
      }
    });
  }

  /** Asks the server whether this process still leads, by renewing now. For use after a conflict on something it owns. */
  async confirm(signal?: AbortSignal): Promise<boolean> {
    if (this.#term === null) return false;
    const renewed = await this.#serial(() => this.#attempt(signal));
    this.#stepDownIfLate();
    return renewed && this.isLeader;
  }

  get #sinceRenewalMs(): number {
    return this.#nowMs() - this.#renewedAtMs;
  }
  get #leftMs(): number {
    return Math.max(0, this.#timing.renewDeadlineMs - this.#sinceRenewalMs);
  }

  /** One write at a time, so that two never base themselves on one version. */
  #serial<T>(fn: () => Promise<T>): Promise<T> {
    const next = this.#busy.then(fn, fn);
    this.#busy = next.catch(() => {});
    return next;
  }

  /** Reads if need be, and writes what is due; gives whether the lease is ours by a write of just now. */
  async #attempt(signal?: AbortSignal): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#advance(signal);
      } catch (error) {
        this.#lease = null;
        // Somebody wrote in between: look at once who it was, so that a term which is over ends now.
        if (error instanceof KubeError && error.code === 'KUBE_CONFLICT' && attempt < 3) continue;
        if (!signal?.aborted) this.#report(error);
        return false;
      }
    }
  }

  async #advance(signal?: AbortSignal): Promise<boolean> {
    // A leader writes over what it wrote; it reads only when that fails.
    if (this.#term === null || this.#lease === null) await this.#read(signal);
    const { step } = nextStep(this.#lease, this.#options.identity, this.#observed, this.#nowMs());
    // Anything but a renewal means that somebody else may have led in between.
    if (step !== 'renew') this.#endTerm();
    if (step === 'wait') return false;
    await this.#write(step, 1, signal);
    if (this.#term === null) this.#begin();
    return true;
  }

  async #read(signal?: AbortSignal): Promise<void> {
    const { namespace, name, client } = this.#options;
    const path = apiPath`/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${name}`;
    try {
      const lease = await client.request<Lease>({
        path,
        attempts: 1,
        timeoutMs: this.#requestMs,
        ...(signal ? { signal } : {}),
      });
      this.#lease = lease;
      this.#observed = observe(lease, this.#observed, this.#nowMs());
      this.#lastContactMs = this.#nowMs();
    } catch (error) {
      if (!(error instanceof KubeError) || error.code !== 'KUBE_NOT_FOUND') throw error;
      this.#lease = null;
    }
  }

  async #write(
    step: 'create' | 'acquire' | 'renew' | 'release',
    attempts: number,
    signal?: AbortSignal,
  ): Promise<void> {
    const { namespace, name, identity, client } = this.#options;
    const collection = apiPath`/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
    const startedAtMs = this.#nowMs();
    const spec = leaseSpec(this.#lease, identity, step, this.#timing, this.#wallMs());
    const resourceVersion = this.#lease?.metadata.resourceVersion;
    const lease = await client.request<Lease>({
      verb: step === 'create' ? 'POST' : 'PUT',
      path: step === 'create' ? collection : collection + apiPath`/${name}`,
      body: {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { ...this.#lease?.metadata, name, namespace, ...(resourceVersion ? { resourceVersion } : {}) },
        spec,
      },
      attempts,
      timeoutMs: this.#requestMs,
      ...(signal ? { signal } : {}),
    });
    this.#lease = lease;
    this.#observed = observe(lease, this.#observed, this.#nowMs());
    this.#lastContactMs = this.#nowMs();
    // Counted from before the request: others count from when they saw it, which is later.
    if (step !== 'release') this.#renewedAtMs = startedAtMs;
  }

  get #requestMs(): number {
    return Math.max(100, Math.min(this.#timing.renewDeadlineMs / 2, 5_000));
  }

  #begin(): void {
    this.#term = new AbortController();
    this.terms += 1;
    this.#options.onLeading(this.#term.signal);
  }

  #stepDownIfLate(): void {
    if (this.#term !== null && this.#leftMs <= 0) this.#endTerm();
  }

  #endTerm(): void {
    const term = this.#term;
    this.#term = null;
    term?.abort();
  }

  #report(error: unknown): void {
    if (!(error instanceof KubeError)) throw error;
    this.#options.onError?.(error);
  }
}
