/**
 * Publishes the status of an instance of a service: at once when its readiness or its configuration changes, and every INSTANCE_STATUS_MS.
 *
 * Place in the path: correlator, responder, ipam-sync, siem-relay → `bailiff_services` → status, doctor. Best effort: a put that fails is reported and
 * the next one holds more. A process that hangs, and one that the bus does not answer, publishes nothing: its silence is what readers see.
 * Bounds: one put in flight; what changes meanwhile goes with the next.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import {
  clipReason,
  fitRefused,
  INSTANCE_STATUS_MS,
  type InstanceProgress,
  type InstanceStatus,
} from '@bailiff/schemas';
import type { Bus } from '../connection/connect.ts';
import { toBusError } from '../connection/errors.ts';
import { type Bucket, openBucket } from '../kv/bucket.ts';
import { type ProgressSource, ProgressWatch } from './stream-progress.ts';

export const SERVICES_BUCKET = 'bailiff_services';
/** How often readiness is looked at, so that a change is published at once. */
const READY_CHECK_MS = 1_000;

export interface InstanceReporterOptions {
  bus: Bus;
  /** `correlator`, `responder`, `ipam-sync`, `siem-relay`: also its identity on the bus. */
  service: string;
  version: string;
  nowMs(): number;
  /** Newest sequence of CONFIG_LOG that was taken; 0 of who does not read it. */
  configRevision(): number;
  /** Keys whose newest value is not in force here, with the reason. */
  refused(): Iterable<readonly [key: string, reason: string]>;
  /** Its readiness checks: "ok" or the reason, by name. */
  ready(): Promise<{ ok: boolean; checks: Readonly<Record<string, string>> }>;
  /** The streams whose work it does. */
  progress?: readonly ProgressSource[];
  /** Fields that only this service has. A `progress` of null: the work is another instance's. */
  more?(): Pick<InstanceStatus, 'taints' | 'leads'> & { progress?: null };
  onError(error: Error): void;
}

/** `ipam-sync-0-3f2a91bc`: a key token that no other process has. */
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
  readonly #startedAt: string;
  readonly #progress: readonly ProgressWatch[];
  readonly #timers: NodeJS.Timeout[];
  #ready = { ok: false, since: '', reason: '' };
  #checking = false;
  #inFlight: Promise<void> | null = null;
  #again = false;
  #closed = false;

  /** Tells at once; whoever makes it closes it. */
  constructor(options: InstanceReporterOptions) {
    this.#o = options;
    this.#bucket = openBucket(options.bus, SERVICES_BUCKET);
    this.#startedAt = new Date(options.nowMs()).toISOString();
    this.key = `${options.service}.${this.#instance}`;
    this.#progress = (options.progress ?? []).map((source) => new ProgressWatch(options.bus, source));
    this.#timers = [
      setInterval(() => this.report(), INSTANCE_STATUS_MS),
      setInterval(() => void this.#checkReady(), READY_CHECK_MS),
    ];
    for (const timer of this.#timers) timer.unref();
    this.report();
  }

  /** Longest time that work has waited with no progress, as of the last status. */
  get stalledSeconds(): number {
    return Math.max(0, ...this.#progress.map(({ stalledMs }) => stalledMs)) / 1000;
  }

  /** Something changed. Never throws. */
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
    const { ok, checks } = await this.#o.ready();
    const failed = Object.entries(checks).filter(([, text]) => text !== 'ok');
    const since = this.#ready.since !== '' && ok === this.#ready.ok ? this.#ready.since : this.#now();
    const reason = clipReason(failed.map(([name, text]) => `${name}: ${text}`).join('; '));
    this.#ready = { ok, since, reason };
    return this.#ready;
  }

  #now(): string {
    return new Date(this.#o.nowMs()).toISOString();
  }

  async #put(): Promise<void> {
    try {
      await this.#bucket.put(this.key, JSON.stringify(await this.#status()));
    } catch (error) {
      if (!this.#closed) this.#o.onError(toBusError(error, SERVICES_BUCKET));
    }
  }

  /** What was known before, when the bus does not say what the stream holds: the status itself may be stored all the same. */
  #readProgress(watch: ProgressWatch): Promise<InstanceProgress | null> {
    return watch.read().catch((error: unknown) => {
      if (!this.#closed) this.#o.onError(toBusError(error, SERVICES_BUCKET));
      return watch.last;
    });
  }

  async #status(): Promise<InstanceStatus> {
    const { service, version, configRevision, refused, more } = this.#o;
    const ready = await this.#readReadiness();
    const progressRead = await Promise.all(this.#progress.map((watch) => this.#readProgress(watch)));
    const { progress, ...own } = more?.() ?? {};
    return {
      service,
      instance: this.#instance,
      version,
      startedAt: this.#startedAt,
      updatedAt: this.#now(),
      configRevision: configRevision(),
      configRefused: fitRefused(refused()),
      ready,
      ...(progress === null ? {} : { progress: progressRead.filter((one) => one !== null) }),
      ...own,
      ...(this.#closed ? { stoppedAt: this.#now() } : {}),
    };
  }

  /** Publishes that it ended, with how far it came, while there is a bus. */
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
