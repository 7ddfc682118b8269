/** Options of consumeOrdered (ordered.ts), shared by its two readers. */
import type { StreamMessage } from './direct.ts';

export type StartAt = 'all' | 'new' | { sequence: number } | { timeMs: number } | 'last-per-subject';

export interface OrderedOptions {
  filterSubjects?: readonly string[];
  start: StartAt;
  /** May be synchronous, which is several times faster. A throw or rejection ends the reading with that error. */
  onMessage: (message: StreamMessage) => void | Promise<void>;
  /**
   * All that the stream held has been handled, up to this sequence: after the last message, at the start when there is none, and with each
   * heartbeat.
   */
  onIdle?: (sequence: number) => void;
  /** A consumer was given up, with why. */
  onRestart?: (why: string) => void;
  /**
   * The stream is another than the one that was read before; nothing of it has been told yet, and no message of the old one will be. Sequences
   * begin again. Awaited; a throw or rejection ends the reading unless time may heal it, and then it is called again.
   */
  onRecreated?: () => void | Promise<void>;
  /** Ends the reading; the promise is then fulfilled. */
  signal: AbortSignal;
  /** Messages asked for at once. Default 500: with frames of 25 kB that is 12 MB in the server's buffer for us, which may hold 64. */
  maxMessages?: number;
  /** Only subjects and headers. */
  headersOnly?: boolean;
}
