/** Changes of a connection, as its listeners get them. */
import type { BusError } from './errors.ts';

export type BusStatus =
  | { type: 'connected' }
  | { type: 'disconnected' }
  /** The server refused an operation without a response to it, mostly for a missing permission. */
  | { type: 'error'; error: BusError }
  /** A reconnection attempt failed for another reason than a refused login. It is retried. */
  | { type: 'unreachable'; error: BusError }
  | { type: 'closed' };
