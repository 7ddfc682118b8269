/**
 * How far a reader has read in one life of a stream, and whether the stream was recreated since.
 *
 * Data path: ordered.ts and read-direct.ts. A stream that was deleted and created again, or restored from an older backup, counts its
 * sequences from below: it has another creation time, fewer messages than were read, or another message at the last sequence.
 */
import type { StreamInfo } from '@nats-io/jetstream';
import { microsOf } from './direct.ts';
import type { StartAt, StreamMessage } from './ordered.ts';

/** Errors after which a reader tries again: time may heal them. */
export const TRANSIENT: ReadonlySet<string> = new Set(['BUS_NO_STREAM', 'BUS_TIMEOUT', 'BUS_UNREACHABLE', 'BUS_FULL']);

export class StreamPosition {
  readonly #start: StartAt;
  /** Creation time of the stream that is read, as the server formats it; empty before the first look. */
  #created = '';
  #recreated = false;
  /** Last sequence that was received; null until the start is known. */
  received: number | null = null;
  /** The server's time of that message; 0: none was received. */
  #receivedMicros = 0;

  constructor(start: StartAt) {
    this.#start = start;
  }

  get isNew(): boolean {
    return this.#created === '';
  }

  /** Where reading starts: what takes the place of another stream is new from its first message. */
  get start(): StartAt {
    const start = this.#start;
    const continued = start === 'new' || (typeof start === 'object' && 'sequence' in start);
    return this.#recreated && continued ? 'all' : start;
  }

  begin({ created }: Pick<StreamInfo, 'created'>): void {
    this.#created = created;
  }

  /** Begins again in the stream that took the place of the one before. */
  beginRecreated(info: Pick<StreamInfo, 'created'>): void {
    this.received = null;
    this.#receivedMicros = 0;
    this.#recreated = true;
    this.begin(info);
  }

  take({ sequence, timestampMicros }: Pick<StreamMessage, 'sequence' | 'timestampMicros'>): void {
    this.received = sequence;
    this.#receivedMicros = timestampMicros;
  }

  isSameLife({ created }: Pick<StreamInfo, 'created'>): boolean {
    return created === this.#created;
  }

  isRecreated(info: Pick<StreamInfo, 'created' | 'state'>): boolean {
    const { state } = info;
    if (!this.isSameLife(info) || state.last_seq < (this.received ?? 0)) return true;
    if (state.last_seq !== this.received || this.#receivedMicros === 0) return false;
    return microsOf(state.last_ts) !== this.#receivedMicros;
  }
}
