/**
 * Progress of an instance on a stream, measured against the stream on the bus.
 *
 * The instance's own view cannot show that its consumer no longer delivers. The result is part of
 * the instance status and the metric `stalled_seconds`. Cost: one STREAM.INFO per stream and read.
 */
import type { InstanceProgress } from '@bailiff/schemas';
import type { Bus } from '../connection/connect.ts';
import { streamInfo } from '../streams/direct.ts';

export interface Position {
  /** Newest handled sequence; 0 before the first. */
  sequence: number;
  /** When the bus stored that message; 0 if unknown. */
  timestampMicros: number;
}

export interface ProgressSource {
  stream: string;
  position(): Position;
  /** Number of unprocessed messages. Default: messages in the stream after the position. */
  behind?(): number;
}

export class ProgressWatch {
  readonly #bus: Bus;
  readonly #source: ProgressSource;
  readonly #monotonicMs: () => number;
  /** Result of the last successful read; null before the first. */
  last: InstanceProgress | null = null;
  /** Position that has not moved although work was waiting. */
  #stalled: { sequence: number; sinceMs: number } | null = null;

  constructor(bus: Bus, source: ProgressSource, monotonicMs: () => number = () => performance.now()) {
    this.#bus = bus;
    this.#source = source;
    this.#monotonicMs = monotonicMs;
  }

  /** How long work has waited without progress, as of the last read. */
  get stalledMs(): number {
    return this.#stalled === null ? 0 : Math.round(this.#monotonicMs() - this.#stalled.sinceMs);
  }

  /** @throws BusError if the stream cannot be read */
  async read(): Promise<InstanceProgress> {
    const { stream } = this.#source;
    const held = this.#source.behind ? null : (await streamInfo(this.#bus, stream)).state;
    const { sequence, timestampMicros } = this.#source.position();
    const after = Math.max(sequence, (held?.first_seq ?? 1) - 1);
    const behind = held === null ? (this.#source.behind?.() ?? 0) : Math.max(0, held.last_seq - after);
    if (behind === 0) this.#stalled = null;
    else if (this.#stalled?.sequence !== sequence) this.#stalled = { sequence, sinceMs: this.#monotonicMs() };
    const storedAt = timestampMicros > 0 ? new Date(timestampMicros / 1000).toISOString() : '';
    this.last = { stream, sequence, storedAt, behind, stalledMs: this.stalledMs };
    return this.last;
  }
}
