/** Counts, verdicts and responses on the bus, by pod UID, from the start of the run. */

import { readFileSync } from 'node:fs';
import { type Bus, connectBus, consumeOrdered, openBucket } from '@bailiff/bus';
import { BusTally } from '@bailiff/lab/attack';
import {
  decodeResponse,
  decodeVerdict,
  decodeViolationFrame,
  type InterfaceStatus,
  type NodeStatus,
  nodeStatus,
} from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import type { BusCredentials } from './credentials.ts';

/** A loaded cluster answers slowly; that is no failure of a scenario. */
const REQUEST_TIMEOUT_MS = 30_000;

/** Connects as `cli`. */
export async function openBus({ passwordFile, caFile }: BusCredentials, url: string): Promise<Bus> {
  const options = {
    servers: url,
    name: 'bailiff-live',
    user: 'cli',
    timeoutMs: REQUEST_TIMEOUT_MS,
    passwordFile,
    tls: { ca: readFileSync(caFile, 'utf8') },
  };
  return waitFor(() => connectBus(options), { what: 'a connection to the bus', timeoutMs: 120_000, intervalMs: 500 });
}

export class BusWatch implements AsyncDisposable {
  readonly bus: Bus;
  readonly #tallies = new Map<string, BusTally>();
  readonly #stop = new AbortController();
  readonly #reading: Promise<unknown>;
  #error: Error | null = null;

  constructor(bus: Bus, sinceMs: number) {
    this.bus = bus;
    const read = (stream: string, take: (data: Uint8Array, storedAtMicros: number) => void) =>
      consumeOrdered(bus, stream, {
        start: { timeMs: sinceMs },
        onMessage: ({ data, timestampMicros }) => take(data, timestampMicros),
        signal: this.#stop.signal,
      });
    this.#reading = Promise.all([
      read('VIOLATIONS', (data, at) => {
        const frame = decodeViolationFrame(Buffer.from(data));
        for (const uid of new Set(frame.violations.map(({ pod }) => pod?.uid)))
          if (uid) this.of(uid).takeFrame(frame, at);
      }),
      read('VERDICTS', (data, at) => {
        const verdict = decodeVerdict(Buffer.from(data));
        if (verdict.pod) this.of(verdict.pod.uid).takeVerdict(verdict, at);
      }),
      read('RESPONSES', (data) => {
        const response = decodeResponse(Buffer.from(data));
        this.of(response.podUid).takeResponse(response);
      }),
    ]).catch((error: Error) => {
      this.#error = error;
    });
  }

  /** @throws Error if a stream could not be read */
  of(uid: string): BusTally {
    if (this.#error) throw this.#error;
    const known = this.#tallies.get(uid) ?? new BusTally(uid);
    this.#tallies.set(uid, known);
    return known;
  }

  packets(uid: string, vector: string): number {
    return this.of(uid).packets[vector] ?? 0;
  }

  /** The status of a node, with the revision of its key; null before the first one. */
  async node(name: string): Promise<{ status: NodeStatus; revision: number } | null> {
    const entries = await openBucket(this.bus, 'bailiff_nodes').entries();
    for (const { value, revision } of entries) {
      const parsed = nodeStatus.safeParse(JSON.parse(value.toString('utf8')));
      if (parsed.success && parsed.data.nodeName === name) return { status: parsed.data, revision };
    }
    return null;
  }

  /** The interface of a pod in a status of its node that is newer than `after`. */
  async interfaceOf(node: string, podUid: string, after = 0): Promise<InterfaceStatus | null> {
    const found = await this.node(node);
    if (!found || found.revision <= after) return null;
    return found.status.interfaces.find((one) => one.podUid === podUid) ?? null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#reading;
    await this.bus.close();
  }
}
