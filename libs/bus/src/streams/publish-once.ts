/**
 * Stores only the first message of a subject; the bus refuses every other.
 *
 * Used for VERDICTS, RESPONSES and DEAD_LETTERS. However many replicas publish and retry after a
 * lost ack, the subject holds one message as long as the stream keeps it, without state in this
 * process. The condition alone does that. The messages have no id: three servers of 2.10 keep the id of
 * a message that its condition refused, and for two minutes acknowledge each repeat as a duplicate with
 * sequence 0, although none is stored.
 */

import { pause } from '@bailiff/service/retry';
import type { MsgHdrs } from '@nats-io/nats-core';
import { busBackoffMs } from '../connection/backoff.ts';
import type { Bus } from '../connection/connect.ts';
import { BusError, isUnavailable, toBusError } from '../connection/errors.ts';
import { headersOf, type PublishOptions, publishAcked } from './ack.ts';
import { getLastOf } from './direct.ts';

export type PublishOnceResult = { outcome: 'stored'; sequence: number } | { outcome: 'exists' };

export interface PublishOnceOptions {
  headers?: PublishOptions['headers'];
  /**
   * Stored only if this is the newest sequence of the whole stream; otherwise the outcome is
   * `exists`.
   */
  lastSequence?: number;
  /**
   * Stream of the subject, if the identity may read it. An injected reply under the subject then
   * does not count as a message.
   */
  stream?: string;
  /**
   * Set if no other client publishes this payload, or if more than one of them may be told `stored`, together with
   * `stream`. If the ack of an earlier attempt was lost and this message is stored, the outcome is then `stored`
   * instead of `exists`.
   */
  isUnique?: boolean;
  /** An earlier call may have stored this message, and ended without an ack. */
  isRepeated?: boolean;
  /** Ends the retries; then the last error is thrown. */
  signal?: AbortSignal;
  /** Limit of the retries while the bus is unavailable. Default 30,000. */
  deadlineMs?: number;
}

const EXPECTED = 'Nats-Expected-Last-Subject-Sequence';

/**
 * Stores the first message of a subject. Any later one is `exists`, whichever client published it.
 * @throws BusError BUS_FULL and other refusals at once; BUS_TIMEOUT if the server acknowledges no
 * publishes; transient errors after the deadline
 */
export async function publishOnce(
  bus: Bus,
  subject: string,
  payload: Uint8Array,
  options: PublishOnceOptions = {},
): Promise<PublishOnceResult> {
  const headers = headersOf(options);
  headers.set(EXPECTED, '0');
  if (options.lastSequence !== undefined) headers.set('Nats-Expected-Last-Sequence', String(options.lastSequence));
  let { isRepeated = false } = options;
  const attempt = async (): Promise<PublishOnceResult> => {
    const sequence = await publish(bus, subject, payload, headers);
    if (sequence !== null) return { outcome: 'stored', sequence };
    const stored = options.stream ? await getLastOf(bus, options.stream, subject) : null;
    if (stored?.injected && headers.get(EXPECTED) !== String(stored.sequence)) {
      headers.set(EXPECTED, String(stored.sequence));
      return attempt();
    }
    const isOwn = isRepeated && options.isUnique && stored && Buffer.compare(stored.data, payload) === 0;
    return isOwn ? { outcome: 'stored', sequence: stored.sequence } : { outcome: 'exists' };
  };
  const endMs = performance.now() + (options.deadlineMs ?? 30_000);
  for (let tries = 0; ; tries += 1) {
    options.signal?.throwIfAborted();
    try {
      return await attempt();
    } catch (cause) {
      const error = toBusError(cause, subject);
      const isClosed = error.code === 'BUS_TIMEOUT' && bus.jetStream?.isNotWriting(subject);
      if (!isUnavailable(error) || performance.now() >= endMs || isClosed) throw error;
      isRepeated = true;
      const waitMs = Math.min(busBackoffMs(tries), Math.max(1, endMs - performance.now()));
      await pause(waitMs, options.signal);
    }
  }
}

/** Returns the sequence, or null if the subject exists, or the stream has grown. @throws BusError */
async function publish(bus: Bus, subject: string, payload: Uint8Array, headers: MsgHdrs): Promise<number | null> {
  try {
    return (await publishAcked(bus, subject, payload, { headers })).seq;
  } catch (cause) {
    if (cause instanceof BusError && cause.code === 'BUS_CONFLICT') return null;
    throw cause;
  }
}
