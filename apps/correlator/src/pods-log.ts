/**
 * `bailiff_pods` as a log: every snapshot of a node's pods that the bucket still has and all that follow, with the time the bus stored each.
 *
 * Place in the path: ipam-sync → bailiff_pods → here → members (libs/judge), by which the fold judges who may speak of whom.
 * Invariants: a snapshot that is refused leaves the last good one, is counted, and is told once. A bucket that was made anew is read anew; what was
 * listed stands until it is told again, and nobody is blamed by lists that the new bucket does not have yet.
 */
import {
  type Bus,
  BusError,
  consumeOrdered,
  decodeToken,
  microsOf,
  type StreamMessage,
  streamInfo,
} from '@bailiff/bus';
import type { Members } from '@bailiff/judge';
import { CLUSTER_KEY, decodeSnapshotValue } from '@bailiff/schemas';
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
  /** The bucket was made anew. */
  onRemade(): void;
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
  async read(onCaughtUp: () => void): Promise<void> {
    const { bus, members, signal } = this.#o;
    await bus.whenConnected(signal);
    const [made, judged] = [await this.#madeAt(STREAM), await this.#madeAt('VIOLATIONS')];
    // Ordinarily it is there before the first frame is. One that is younger took the place of another.
    if (made > judged) members.bornAt(made);
    let caughtUp = false;
    await consumeOrdered(bus, STREAM, {
      start: 'all',
      onMessage: (message) => this.#take(message),
      onRecreated: async () => {
        members.startOver(await this.#madeAt(STREAM));
        this.#proof.startOver();
        this.#o.onRemade();
      },
      onIdle: () => {
        if (caughtUp) return;
        caughtUp = true;
        onCaughtUp();
      },
      signal,
    });
  }

  /** 0 = it is not there yet. */
  async #madeAt(stream: string): Promise<number> {
    try {
      return microsOf((await streamInfo(this.#o.bus, stream)).created);
    } catch (error) {
      if (error instanceof BusError && error.code === 'BUS_NO_STREAM') return 0;
      throw error;
    }
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
      json: isGone ? null : decodeSnapshotValue(data),
    });
    this.snapshots++;
    if (refused === null) return;
    this.refused++;
    this.#o.onRefused(node, refused);
  }
}
