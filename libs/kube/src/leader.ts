/**
 * Leader election with a coordination.k8s.io/v1 Lease.
 *
 * Every write carries the resourceVersion it is based on, so one of two candidates gets a conflict.
 * A leader that cannot renew steps down before others may take over (`renewDeadlineMs` <
 * `durationMs`). `isLeader` checks the monotonic clock each time, so a suspended process notices on
 * resume. A write already in flight cannot be stopped. A leader must therefore use compare-and-set
 * and start by rewriting what it owns.
 */

import { pause } from '@bailiff/service/retry';
import type { KubeApi } from './client.ts';
import { apiPath } from './client.ts';
import { KubeError, nullOn } from './errors.ts';
import { DEFAULT_LEASE_TIMING, type LeaseTiming, leaseSpec, nextStep, type Observed, observe } from './lease-rules.ts';
import type { Lease } from './types.ts';

export interface LeaderOptions {
  client: KubeApi;
  namespace: string;
  /** Name of the Lease. */
  name: string;
  /** Identity of this process, never reused, not even by its next start. */
  identity: string;
  timing?: LeaseTiming;
  /** Called on becoming leader; `term` aborts when the term ends. */
  onLeading(term: AbortSignal): void;
  /**
   * False while this process cannot do the work. It then does not run for the lease, and hands over
   * one it holds.
   */
  eligible?(): boolean;
  /** Called for each failure before a retry. */
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
  #refusal = '';
  /** Number of terms as leader. */
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
  /** Milliseconds since the lease was last read or written; Infinity before the first time. */
  get silentMs(): number {
    return this.#nowMs() - this.#lastContactMs;
  }
  /** Why this account may not read or write the lease; empty: it may, as far as is known. */
  get refusal(): string {
    return this.#refusal;
  }
  /** Last known holder of the lease; empty if there is none. */
  get holder(): string {
    return this.#lease?.spec?.holderIdentity ?? '';
  }

  /**
   * Runs for the lease until the signal aborts, then releases it if held. Never rejects for server
   * errors.
   */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#options.eligible?.() ?? true) await this.#serial(() => this.#attempt(signal));
      else if (this.#term !== null) await this.release();
      this.#stepDownIfLate();
      await pause(this.#term ? Math.min(this.#timing.retryMs, this.#leftMs) : this.#timing.retryMs, signal);
      this.#stepDownIfLate();
    }
  }

  /** Ends the term and hands over the lease at once. Call it after the last write of this term. */
  async release(): Promise<void> {
    await this.#serial(async () => {
      this.#endTerm();
      try {
        // A renewal that the shutdown interrupted leaves the version unknown.
        if (this.#lease === null) await this.#read();
        if (this.holder !== this.#options.identity) return;
        await this.#write('release', 2);
      } catch (error) {
        this.#report(error);
      }
    });
  }

  /**
   * Renews now to find out whether this process still leads. For use after a conflict on an object
   * it owns.
   */
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

  /** Serialises writes, so that two never build on the same version. */
  #serial<T>(fn: () => Promise<T>): Promise<T> {
    const next = this.#busy.then(fn, fn);
    this.#busy = next.catch(() => {});
    return next;
  }

  /** Reads if necessary and writes what is due. Returns whether this write holds the lease. */
  async #attempt(signal?: AbortSignal): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        const holds = await this.#advance(signal);
        this.#refusal = '';
        return holds;
      } catch (error) {
        this.#lease = null;
        if (error instanceof KubeError && error.code === 'KUBE_FORBIDDEN') this.#refusal = error.message;
        // Another process wrote in between. Read at once, so that an ended term stops now.
        if (error instanceof KubeError && error.code === 'KUBE_CONFLICT' && attempt < 3) continue;
        if (!signal?.aborted) this.#report(error);
        return false;
      }
    }
  }

  async #advance(signal?: AbortSignal): Promise<boolean> {
    // A leader writes over its own version and reads only after a failure.
    if (this.#term === null || this.#lease === null) await this.#read(signal);
    const { step } = nextStep(this.#lease, this.#options.identity, this.#observed, this.#nowMs());
    // Any step but a renewal means that another process may have led in between.
    if (step !== 'renew') this.#endTerm();
    if (step === 'wait') return false;
    await this.#write(step, 1, signal);
    if (this.#term === null) this.#begin();
    return true;
  }

  async #read(signal?: AbortSignal): Promise<void> {
    const { namespace, name, client } = this.#options;
    const path = apiPath`/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${name}`;
    const request = { path, attempts: 1, timeoutMs: this.#requestMs, ...(signal ? { signal } : {}) };
    const lease = await nullOn('KUBE_NOT_FOUND', client.request<Lease>(request));
    this.#lease = lease;
    if (lease === null) return;
    this.#observed = observe(lease, this.#observed, this.#nowMs());
    this.#lastContactMs = this.#nowMs();
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
    // Measured from before the request. Other processes measure from their first sight of it, which
    // is later.
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
