/**
 * Position of a reader in one life of a stream, and detection of a recreated stream.
 *
 * Used by ordered.ts and direct-reader.ts. A stream that was deleted and created again, or restored
 * from an older backup, restarts its sequences. It is in another life (stream-lives.ts). One that other tools
 * restored keeps the name of its life: it is recognised while it has fewer messages than were read, or another
 * message at the last sequence.
 */
import type { StreamInfo } from '@nats-io/jetstream';
import { microsOf } from '../connection/server-clock.ts';
import type { StreamMessage } from './direct.ts';
import type { StartAt } from './ordered-options.ts';
import { type Lives, lifeName } from './stream-lives.ts';

export class StreamPosition {
  readonly #start: StartAt;
  /** Name of the life of the stream; empty before the first check. */
  #life = '';
  #recreated = false;
  /** Last received sequence; null until the start is known. */
  received: number | null = null;
  /** Server time of that message; 0 before the first. */
  #receivedMicros = 0;

  constructor(start: StartAt) {
    this.#start = start;
  }

  get isNew(): boolean {
    return this.#life === '';
  }

  /** Where to start reading. A recreated stream is read from its first message. */
  get start(): StartAt {
    const start = this.#start;
    const continued = start === 'new' || (typeof start === 'object' && 'sequence' in start);
    return this.#recreated && continued ? 'all' : start;
  }

  begin(info: Lives): void {
    this.#life = lifeName(info);
  }

  /** Restarts in the recreated stream. */
  beginRecreated(info: Lives): void {
    this.received = null;
    this.#receivedMicros = 0;
    this.#recreated = true;
    this.begin(info);
  }

  take({ sequence, timestampMicros }: Pick<StreamMessage, 'sequence' | 'timestampMicros'>): void {
    this.received = sequence;
    this.#receivedMicros = timestampMicros;
  }

  isSameLife(info: Lives): boolean {
    return lifeName(info) === this.#life;
  }

  isRecreated(info: Lives & Pick<StreamInfo, 'state'>): boolean {
    const { state } = info;
    if (!this.isSameLife(info) || state.last_seq < (this.received ?? 0)) return true;
    if (state.last_seq !== this.received || this.#receivedMicros === 0) return false;
    return microsOf(state.last_ts) !== this.#receivedMicros;
  }
}
