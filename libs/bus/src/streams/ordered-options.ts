/** Options of consumeOrdered (ordered.ts), shared by its two readers. */
import type { StreamInfo } from '@nats-io/jetstream';
import type { StreamMessage } from './direct.ts';

export type StartAt = 'all' | 'new' | { sequence: number } | { timeMs: number } | 'last-per-subject';

export interface OrderedOptions {
  filterSubjects?: readonly string[];
  start: StartAt;
  /**
   * A synchronous handler is several times faster. An exception or rejection ends the reading with
   * that error.
   */
  onMessage: (message: StreamMessage) => void | Promise<void>;
  /**
   * All stored messages up to this sequence are handled. Called after the last message, at the
   * start of an empty stream, and with each heartbeat.
   */
  onIdle?: (sequence: number) => void;
  /** A consumer was replaced; `why` is the reason. */
  onRestart?: (why: string) => void;
  /**
   * The stream was recreated. Nothing of the new one has been delivered, and nothing of the old one
   * will be. Sequences restart. Awaited; an exception or rejection ends the reading, unless time
   * may heal it: then this is called again. Bus.recreatedListeners are called before it.
   */
  onRecreated?: (stream: Pick<StreamInfo, 'created' | 'config'>) => void | Promise<void>;
  /** Ends the reading and resolves its promise. */
  signal: AbortSignal;
  /**
   * Messages per pull. Default 500: with frames of 25 kB that is 12 MB in the server's buffer for
   * this client, which holds 64 MB.
   */
  maxMessages?: number;
  /** Deliver only subjects and headers. */
  headersOnly?: boolean;
}
