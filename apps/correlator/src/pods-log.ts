/**
 * `bailiff_pods` as a log: every snapshot of a node's pods that the bucket still has and all that follow, with the time the bus stored each.
 *
 * Place in the path: ipam-sync → bailiff_pods → here → members (libs/judge), by which the fold judges who may speak of whom.
 * Invariant: a snapshot that is refused leaves the last good one, is counted, and is told once.
 */
import { type Bus, consumeOrdered, decodeToken, type StreamMessage } from '@bailiff/bus';
import type { Members } from '@bailiff/judge';
import { CLUSTER_KEY } from '@bailiff/schemas';
import type { Clock } from '@bailiff/service';
import { StreamProof } from './stream-proof.ts';

const STREAM = 'KV_bailiff_pods';
const PREFIX = '$KV.bailiff_pods.';
/** Headers of a put, as every key-value client writes them. */
const OPERATION = 'KV-Operation';
const REPLACES = 'Nats-Expected-Last-Subject-Sequence';

export interface PodsLogOptions {
  bus: Bus;
  members: Members;
  clock: Clock;
  signal: AbortSignal;
  onRefused(node: string, reason: string): void;
}

export class PodsLog {
  readonly #o: PodsLogOptions;
  readonly #proof: StreamProof;
  snapshots = 0;
  refused = 0;

  constructor(options: PodsLogOptions) {
    this.#o = options;
    this.#proof = new StreamProof(options.bus, STREAM, options.clock, options.signal);
  }

  /** Whether every snapshot that was stored up to a time has been taken. */
  isCompleteTo(timeMicros: number): boolean {
    return this.#proof.isCompleteTo(timeMicros);
  }
  /** @throws as StreamProof.whenCompleteTo */
  whenCompleteTo(timeMicros: number): Promise<void> {
    return this.#proof.whenCompleteTo(timeMicros);
  }

  /** Reads until the signal aborts. `onCaughtUp` is called once, when all that was there at the start is taken. */
  read(onCaughtUp: () => void): Promise<void> {
    let caughtUp = false;
    return consumeOrdered(this.#o.bus, STREAM, {
      start: 'all',
      onMessage: (message) => this.#take(message),
      onIdle: () => {
        if (caughtUp) return;
        caughtUp = true;
        onCaughtUp();
      },
      signal: this.#o.signal,
    });
  }

  #take(message: StreamMessage): void {
    const key = message.subject.slice(PREFIX.length);
    if (key !== CLUSTER_KEY) this.#apply(decodeToken(key), message);
    this.#proof.noteRead(message.sequence);
  }

  #apply(node: string, { sequence, timestampMicros, headers, data }: StreamMessage): void {
    const replaces = headers?.get(REPLACES) ?? '';
    const isGone = (headers?.get(OPERATION) ?? '') !== '';
    const refused = this.#o.members.apply({
      node,
      timestampMicros,
      revision: sequence,
      previousRevision: /^\d+$/.test(replaces) ? Number(replaces) : null,
      json: isGone ? null : Buffer.from(data).toString('utf8'),
    });
    this.snapshots++;
    if (refused === null) return;
    this.refused++;
    this.#o.onRefused(node, refused);
  }
}
