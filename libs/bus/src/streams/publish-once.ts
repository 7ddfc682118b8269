/**
 * Publishing what may exist only once: the first message of a subject is stored, every other is refused by the bus.
 *
 * Place in the path: correlator and responder → VERDICTS, RESPONSES, DEAD_LETTERS. Invariant: however many replicas publish, and however
 * often each repeats it after a lost ack, the subject holds one message as long as the stream keeps it. No memory is needed for it here.
 * A repeat is answered as a duplicate before nats-server 2.12, which checks the message id first, and as a conflict since then. Both mean the same here.
 */
import type { MsgHdrs } from '@nats-io/nats-core';
import type { Bus } from '../connection/connect.ts';
import { BusError, toBusError } from '../connection/errors.ts';
import { apiRequest } from '../connection/request.ts';
import { backoffMs, pause } from '../connection/wait.ts';
import { headersOf, type PubAck, type PublishOptions } from './ack.ts';
import { getLastOf } from './direct.ts';

export type PublishOnceResult = { outcome: 'stored'; sequence: number } | { outcome: 'exists' };

export interface PublishOnceOptions extends PublishOptions {
  /** Stored only while this is the newest sequence of the whole stream. When it is not, the outcome is `exists` too. */
  lastSequence?: number;
  /** Stream of the subject, for an identity that may read it: an injected reply under the subject (injected-reply.ts) then counts as no message. */
  stream?: string;
  /**
   * No other client publishes this payload, and `stream` is given: when the ack of an earlier try was lost and the stored message is this
   * one, the outcome is `stored`. Without it such a publish ends as `exists`.
   */
  isUnique?: boolean;
  /** Ends the retries; then the last error is thrown. */
  signal?: AbortSignal;
  /** How long it is tried while the bus is away or silent. Default 30,000. */
  deadlineMs?: number;
}

const EXPECTED = 'Nats-Expected-Last-Subject-Sequence';
/** What time may heal. */
const TRANSIENT = new Set(['BUS_TIMEOUT', 'BUS_UNREACHABLE', 'BUS_NO_STREAM']);

/**
 * Stores the first message of a subject. A second one is `exists`, whichever client published it.
 * @throws BusError BUS_FULL and other refusals at once; BUS_TIMEOUT when the server acknowledges no write; what is transient after the deadline
 */
export async function publishOnce(
  bus: Bus,
  subject: string,
  payload: Uint8Array,
  options: PublishOnceOptions,
): Promise<PublishOnceResult> {
  const headers = headersOf(options);
  headers.set(EXPECTED, '0');
  if (options.lastSequence !== undefined) headers.set('Nats-Expected-Last-Sequence', String(options.lastSequence));
  let isRepeated = false;
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
      if (!TRANSIENT.has(error.code) || performance.now() >= endMs || isClosed) throw error;
      isRepeated = true;
      const waitMs = Math.min(backoffMs(tries), Math.max(1, endMs - performance.now()));
      await pause(waitMs, options.signal);
    }
  }
}

/** The sequence, or null when the bus has a message under this subject or id, or the stream has grown. @throws BusError */
async function publish(bus: Bus, subject: string, payload: Uint8Array, headers: MsgHdrs): Promise<number | null> {
  try {
    const ack = await apiRequest<PubAck>(bus, subject, payload, { headers });
    return ack.duplicate ? null : ack.seq;
  } catch (cause) {
    if (cause instanceof BusError && cause.code === 'BUS_CONFLICT') return null;
    throw cause;
  }
}
