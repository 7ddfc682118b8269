/**
 * How far an instance has come with a stream, measured against what the bus holds: the instance's own view of what it was sent cannot show
 * that its consumer delivers nothing any more.
 *
 * Place in the path: service → here → instance status and the metric `stalled_seconds`. Bounds: one STREAM.INFO a look and stream.
 */
import type { InstanceProgress } from '@bailiff/schemas';
import type { Bus } from '../connection/connect.ts';
import { streamInfo } from '../streams/direct.ts';

export interface Position {
  /** Newest sequence that was handled; 0 before the first. */
  sequence: number;
  /** When the bus stored that message; 0 when that is not known. */
  timestampMicros: number;
}

export interface ProgressSource {
  stream: string;
  position(): Position;
  /** What waits behind the position. Default: what the stream holds after it. */
  behind?(): number;
}

export class ProgressWatch {
  readonly #bus: Bus;
  readonly #source: ProgressSource;
  readonly #monotonicMs: () => number;
  /** As of the last look that the bus answered; null before it. */
  last: InstanceProgress | null = null;
  /** The position at which work has waited since a look. */
  #stalled: { sequence: number; sinceMs: number } | null = null;

  constructor(bus: Bus, source: ProgressSource, monotonicMs: () => number = () => performance.now()) {
    this.#bus = bus;
    this.#source = source;
    this.#monotonicMs = monotonicMs;
  }

  /** How long work has waited with no progress, as of the last look. */
  get stalledMs(): number {
    return this.#stalled === null ? 0 : Math.round(this.#monotonicMs() - this.#stalled.sinceMs);
  }

  /** @throws BusError when the bus does not say what the stream holds */
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
