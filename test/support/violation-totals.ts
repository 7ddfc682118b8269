/**
 * Reads VIOLATIONS as any reader should: per counter epoch, the maximum of the cumulative count.
 * Duplicates, resends and single lost messages therefore change nothing. The totals are the
 * published counts.
 */
import { type Bus, consumeOrdered } from '@bailiff/bus';
import { decodeViolationFrame, type Violation, type ViolationFrame } from '@bailiff/schemas';

export class Ledger {
  readonly frames: ViolationFrame[] = [];
  readonly epochs = new Map<string, Violation>();
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(bus: Bus) {
    this.#done = consumeOrdered(bus, 'VIOLATIONS', {
      start: 'all',
      onMessage: (message) => this.#take(decodeViolationFrame(Buffer.from(message.data))),
      signal: this.#stop.signal,
    });
    // A broken reader would look like a collector that publishes nothing, so it ends the test.
    this.#done.catch((error: Error) => {
      if (!this.#stop.signal.aborted) throw error;
    });
  }

  #take(frame: ViolationFrame): void {
    this.frames.push(frame);
    for (const violation of frame.violations) {
      const known = this.epochs.get(violation.counterEpoch);
      if (!known || violation.cumulativePackets >= known.cumulativePackets)
        this.epochs.set(violation.counterEpoch, violation);
    }
  }

  /** Packets that match the filter, or all packets without a filter. */
  packets(by: { podUid?: string; vector?: string; action?: string } = {}): number {
    let sum = 0;
    for (const v of this.epochs.values()) {
      if (by.podUid !== undefined && v.pod?.uid !== by.podUid) continue;
      if (by.vector !== undefined && v.vector !== by.vector) continue;
      if (by.action !== undefined && v.action !== by.action) continue;
      sum += v.cumulativePackets;
    }
    return sum;
  }

  violations(vector: string): Violation[] {
    return this.frames.flatMap((f) => f.violations).filter((v) => v.vector === vector);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#done.catch(() => undefined);
  }
}
