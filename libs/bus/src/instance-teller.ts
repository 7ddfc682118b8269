/**
 * An instance of a service tells on the bus how it does: at once when something changed, and every INSTANCE_STATUS_MS.
 *
 * Place in the path: correlator, responder, ipam-sync → `bailiff_services` → status, doctor. Best effort: a put that fails is told and the next
 * one says more. Bounds: one put in flight; what changes meanwhile goes with the next.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { fitRefused, INSTANCE_STATUS_MS, type InstanceStatus } from '@bailiff/schemas';
import type { Bus } from './connect.ts';
import { toBusError } from './errors.ts';
import { type Bucket, openBucket } from './kv.ts';

export const SERVICES_BUCKET = 'bailiff_services';

export interface InstanceTellerOptions {
  bus: Bus;
  /** `correlator`, `responder`, `ipam-sync`: also its identity on the bus. */
  service: string;
  version: string;
  nowMs(): number;
  /** Newest sequence of CONFIG_LOG that was taken; 0 of who does not read it. */
  configRevision(): number;
  /** Keys whose newest value is not in force here, with the reason. */
  refused(): Iterable<readonly [key: string, reason: string]>;
  /** What only this service has to say. */
  more?(): Pick<InstanceStatus, 'taints'>;
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

export class InstanceTeller {
  readonly key: string;
  readonly #o: InstanceTellerOptions;
  readonly #bucket: Bucket;
  readonly #instance = instanceName();
  readonly #startedAt: string;
  readonly #timer: NodeJS.Timeout;
  #inFlight: Promise<void> | null = null;
  #again = false;
  #closed = false;

  /** Tells at once; whoever makes it closes it. */
  constructor(options: InstanceTellerOptions) {
    this.#o = options;
    this.#bucket = openBucket(options.bus, SERVICES_BUCKET);
    this.#startedAt = new Date(options.nowMs()).toISOString();
    this.key = `${options.service}.${this.#instance}`;
    this.#timer = setInterval(() => this.tell(), INSTANCE_STATUS_MS);
    this.#timer.unref();
    this.tell();
  }

  /** Something changed. Never throws. */
  tell(): void {
    if (this.#closed || !this.#o.bus.connected) return;
    if (this.#inFlight) {
      this.#again = true;
      return;
    }
    this.#inFlight = this.#put().finally(() => {
      this.#inFlight = null;
      if (!this.#again) return;
      this.#again = false;
      this.tell();
    });
  }

  async #put(): Promise<void> {
    const { service, version, nowMs, configRevision, refused, more, onError } = this.#o;
    const status: InstanceStatus = {
      service,
      instance: this.#instance,
      version,
      startedAt: this.#startedAt,
      updatedAt: new Date(nowMs()).toISOString(),
      configRevision: configRevision(),
      configRefused: fitRefused(refused()),
      ...more?.(),
    };
    try {
      await this.#bucket.put(this.key, JSON.stringify(status));
    } catch (error) {
      if (!this.#closed) onError(toBusError(error, SERVICES_BUCKET));
    }
  }

  /** Says that it is gone, while there is a bus. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#inFlight;
    if (!this.#o.bus.connected) return;
    await this.#bucket.delete(this.key).catch((error: unknown) => this.#o.onError(toBusError(error, SERVICES_BUCKET)));
  }
}
