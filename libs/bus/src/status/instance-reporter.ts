/**
 * Publishes the status of a service instance: on a change of readiness or configuration, and every
 * INSTANCE_STATUS_MS.
 *
 * All services but collectors write to `bailiff_services`; status and doctor read it. Best effort: a
 * failed put is reported, and the next one carries the newer status. A
 * hanging process and one without a bus publish nothing, and readers notice the missing updates.
 * Limit: one put in flight; later changes go into the next.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import {
  clipReason,
  fitRefused,
  INSTANCE_STATUS_MS,
  type InstanceProgress,
  type InstanceStatus,
  instanceStatus,
} from '@bailiff/schemas';
import type { Bus } from '../connection/connect.ts';
import { toBusError } from '../connection/errors.ts';
import { type Bucket, type KvEntry, openBucket } from '../kv/bucket.ts';
import { type ProgressSource, ProgressWatch } from './stream-progress.ts';

export const SERVICES_BUCKET = 'bailiff_services';

/**
 * The status in an entry; null if it cannot be read. The key decides which service it is of, because each
 * service writes under its own name only: one that names another service counts for none.
 */
export function storedInstance({ key, value }: Pick<KvEntry, 'key' | 'value'>): InstanceStatus | null {
  let json: unknown;
  try {
    json = JSON.parse(value.toString('utf8'));
  } catch {
    return null;
  }
  const status = instanceStatus.safeParse(json).data;
  return status && key.startsWith(`${status.service}.`) ? status : null;
}
/** Interval of readiness checks, so that a change is published soon. */
const READY_CHECK_MS = 1_000;

export interface InstanceReporterOptions {
  /** Of the service's process frame. */
  ctx: {
    version: string;
    clock: { nowMs(): number };
    /** Readiness checks by name: "ok" or the reason. */
    health: {
      checkReady(): Promise<{ ok: boolean; checks: Readonly<Record<string, string>> }>;
      /** Whether the process stops because of an error. */
      readonly failed?: boolean;
    };
  };
  bus: Bus;
  /** Such as `correlator`: also its identity on the bus. */
  service: string;
  /** Newest applied sequence of CONFIG_LOG. Default 0: the service does not read it. */
  configRevision?(): number;
  /** Keys whose newest value is not in force, with the reason. */
  refused?(): Iterable<readonly [key: string, reason: string]>;
  /** The streams that the service processes. */
  progress?: readonly ProgressSource[];
  /** Fields of this service only. `progress: null` means that another instance does the work. */
  more?(): Pick<
    InstanceStatus,
    | 'taints'
    | 'omittedPods'
    | 'claimedMembers'
    | 'leads'
    | 'skipped'
    | 'outputs'
    | 'formerPoliciesUntil'
    | 'nodeConnections'
    | 'log'
    | 'missingRights'
    | 'maxGraceSeconds'
    | 'certificates'
  > & {
    progress?: null;
  };
  onError(error: Error): void;
}

/** `ipam-sync-0-3f2a91bc`: a key token unique to this process. */
function instanceName(): string {
  const host =
    hostname()
      .toLowerCase()
      .replaceAll(/[^a-z0-9-]+/g, '-')
      .slice(0, 63) || 'host';
  return `${host}-${randomUUID().slice(0, 8)}`;
}

export class InstanceReporter {
  readonly key: string;
  readonly #o: InstanceReporterOptions;
  readonly #bucket: Bucket;
  readonly #instance = instanceName();
  readonly #startedMs = performance.now();
  readonly #progress: readonly ProgressWatch[];
  readonly #timers: NodeJS.Timeout[];
  /** `sinceMs`: NaN before the first reading. */
  #ready = { ok: false, sinceMs: Number.NaN, reason: '' };
  #checking = false;
  #inFlight: Promise<void> | null = null;
  #again = false;
  #closed = false;

  /** Reports at once; the caller closes it. */
  constructor(options: InstanceReporterOptions) {
    this.#o = options;
    this.#bucket = openBucket(options.bus, SERVICES_BUCKET);
    this.key = `${options.service}.${this.#instance}`;
    this.#progress = (options.progress ?? []).map((source) => new ProgressWatch(options.bus, source));
    this.#timers = [
      setInterval(() => this.report(), INSTANCE_STATUS_MS),
      setInterval(() => void this.#checkReady(), READY_CHECK_MS),
    ];
    for (const timer of this.#timers) timer.unref();
    this.report();
  }

  /** Longest time without progress although work was waiting, as of the last status. */
  get stalledSeconds(): number {
    return Math.max(0, ...this.#progress.map(({ stalledMs }) => stalledMs)) / 1000;
  }

  /** Publishes the current status, or once more after the put in flight. Never throws. */
  report(): void {
    if (this.#closed || !this.#o.bus.connected) return;
    if (this.#inFlight) {
      this.#again = true;
      return;
    }
    this.#inFlight = this.#put().finally(() => {
      this.#inFlight = null;
      if (!this.#again) return;
      this.#again = false;
      this.report();
    });
  }

  async #checkReady(): Promise<void> {
    if (this.#checking || this.#closed) return;
    this.#checking = true;
    const wasReady = this.#ready.ok;
    await this.#readReadiness();
    this.#checking = false;
    if (this.#ready.ok !== wasReady) this.report();
  }

  async #readReadiness(): Promise<InstanceStatus['ready']> {
    const { ok, checks } = await this.#o.ctx.health.checkReady();
    const failed = Object.entries(checks).filter(([, text]) => text !== 'ok');
    const before = this.#ready;
    const sinceMs = ok === before.ok && !Number.isNaN(before.sinceMs) ? before.sinceMs : performance.now();
    const reason = clipReason(failed.map(([name, text]) => `${name}: ${text}`).join('; '));
    this.#ready = { ok, sinceMs, reason };
    return { ok, since: this.#at(sinceMs), reason };
  }

  /**
   * Converts a time of performance.now() by the current clock. Readers compare the times of a status
   * with each other, and the clock may have been set since an earlier one was read.
   */
  #at(monotonicMs: number): string {
    return new Date(this.#o.ctx.clock.nowMs() - (performance.now() - monotonicMs)).toISOString();
  }

  #now(): string {
    return new Date(this.#o.ctx.clock.nowMs()).toISOString();
  }

  async #put(): Promise<void> {
    try {
      await this.#bucket.put(this.key, JSON.stringify(await this.#status()));
    } catch (error) {
      if (!this.#closed) this.#o.onError(toBusError(error, SERVICES_BUCKET));
    }
  }

  /** The last known progress if the stream cannot be read; the status may still be stored. */
  #readProgress(watch: ProgressWatch): Promise<InstanceProgress | null> {
    return watch.read().catch((error: unknown) => {
      if (!this.#closed) this.#o.onError(toBusError(error, SERVICES_BUCKET));
      return watch.last;
    });
  }

  async #status(): Promise<InstanceStatus> {
    const { ctx, service, configRevision, refused, more } = this.#o;
    const ready = await this.#readReadiness();
    const progressRead = await Promise.all(this.#progress.map((watch) => this.#readProgress(watch)));
    const { progress, ...own } = more?.() ?? {};
    return {
      service,
      instance: this.#instance,
      version: ctx.version,
      startedAt: this.#at(this.#startedMs),
      updatedAt: this.#now(),
      configRevision: configRevision?.() ?? 0,
      configRefused: fitRefused(refused?.() ?? []),
      ready,
      ...(progress === null ? {} : { progress: progressRead.filter((one) => one !== null) }),
      ...own,
      ...(this.#closed ? { stoppedAt: this.#now() } : {}),
      ...(this.#closed && ctx.health.failed ? { failed: true } : {}),
    };
  }

  /** Publishes a final status with `stoppedAt` if the bus is connected. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    await this.#inFlight;
    if (!this.#o.bus.connected) return;
    await this.#status()
      .then((status) => this.#bucket.put(this.key, JSON.stringify(status)))
      .catch((error: unknown) => this.#o.onError(toBusError(error, SERVICES_BUCKET)));
  }
}
