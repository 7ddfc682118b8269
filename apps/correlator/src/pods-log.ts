/**
 * Reads `bailiff_pods` as a log: each snapshot in the bucket and each that follows, with the time
 * at which the bus stored it. Data path: ipam-sync → bailiff_pods → here → PodInventory →
 * attribution.
 *
 * Invariants: a refused snapshot is counted and reported, and the last valid one stays. A recreated
 * bucket is read from its beginning. Until it has a snapshot of a node, the old list stays,
 * incomplete.
 */
import {
  type Bus,
  BusError,
  consumeOrdered,
  createdMicrosOf,
  podListOf,
  type StreamMessage,
  StreamWatermark,
  streamInfo,
} from '@bailiff/bus';
import type { PodInventory, PodSnapshot } from '@bailiff/correlation';

const STREAM = 'KV_bailiff_pods';

export interface PodsLogOptions {
  bus: Bus;
  inventory: PodInventory;
  signal: AbortSignal;
  onRefused(node: string, reason: string): void;
}

export class PodsLog {
  readonly #o: PodsLogOptions;
  readonly #watermark: StreamWatermark;
  snapshots = 0;
  refused = 0;

  constructor(options: PodsLogOptions) {
    this.#o = options;
    this.#watermark = new StreamWatermark(options.bus, STREAM, options.signal);
  }

  /** Whether every snapshot stored up to a time has been applied. */
  isCompleteTo(timeMicros: number): boolean {
    return this.#watermark.isCompleteTo(timeMicros);
  }
  /** @throws like StreamWatermark.whenCompleteTo */
  whenCompleteTo(timeMicros: number): Promise<void> {
    return this.#watermark.whenCompleteTo(timeMicros);
  }

  /**
   * Reads until the signal aborts. Calls `onCaughtUp` once, after the snapshots that exist at the
   * start.
   */
  async read(onCaughtUp: () => void): Promise<void> {
    const { bus, inventory, signal } = this.#o;
    await bus.whenConnected(signal);
    const [bucketCreated, framesCreated] = [await this.#createdAt(STREAM), await this.#createdAt('VIOLATIONS')];
    // A bucket younger than the frames is a recreated one.
    if (bucketCreated > framesCreated) inventory.bucketCreatedAt(bucketCreated);
    let caughtUp = false;
    await consumeOrdered(bus, STREAM, {
      start: 'all',
      onMessage: (message) => this.#take(message),
      onRecreated: (stream) => {
        inventory.streamRecreated(createdMicrosOf(stream));
        this.#watermark.streamRecreated();
      },
      onIdle: () => {
        if (caughtUp) return;
        caughtUp = true;
        onCaughtUp();
      },
      signal,
    });
  }

  /** When a stream was created; 0 if it does not exist yet. */
  async #createdAt(stream: string): Promise<number> {
    try {
      return createdMicrosOf(await streamInfo(this.#o.bus, stream));
    } catch (error) {
      if (error instanceof BusError && error.code === 'BUS_NO_STREAM') return 0;
      throw error;
    }
  }

  #take(message: StreamMessage): void {
    const list = podListOf(message);
    if (list) this.#apply(list);
    this.#watermark.advanceTo(message.sequence);
  }

  #apply(list: PodSnapshot): void {
    const refused = this.#o.inventory.apply(list);
    this.snapshots++;
    if (refused === null) return;
    this.refused++;
    this.#o.onRefused(list.node, refused);
  }
}
