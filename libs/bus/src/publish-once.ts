/**
 * Publishing what may exist only once: the first message of a subject is stored, every other is refused by the bus.
 *
 * Place in the path: correlator and responder → VERDICTS, RESPONSES, DEAD_LETTERS. Invariant: however many replicas publish, and however
 * often each repeats it after a lost ack, the subject holds one message as long as the stream keeps it. No memory is needed for it here.
 */
import { headersOf, type PubAck, type PublishOptions } from './ack.ts';
import type { Bus } from './connect.ts';
import { toBusError } from './errors.ts';
import { apiRequest } from './request.ts';
import { backoffMs, pause } from './wait.ts';

export type Once = { outcome: 'stored'; sequence: number } | { outcome: 'exists'; sequence?: number };

export interface PublishOnceOptions extends PublishOptions {
  /** Stored only while this is the newest sequence of the whole stream. When it is not, the outcome is `exists` without a sequence. */
  lastSequence?: number;
  /** Ends the retries; then the last error is thrown. */
  signal?: AbortSignal;
  /** How long it is tried while the bus is away or silent. Default 30,000. */
  deadlineMs?: number;
}

/** What time may heal. */
const TRANSIENT = new Set(['BUS_TIMEOUT', 'BUS_UNREACHABLE', 'BUS_NO_STREAM']);

/**
 * Stores the first message of a subject. A second one, by whomever, is `exists`; so is a retry whose first try had been stored
 * without an ack. @throws BusError BUS_FULL and other refusals at once; what is transient only after the deadline
 */
export async function publishOnce(
  bus: Bus,
  subject: string,
  payload: Uint8Array,
  options: PublishOnceOptions,
): Promise<Once> {
  const headers = headersOf(options);
  headers.set('Nats-Expected-Last-Subject-Sequence', '0');
  if (options.lastSequence !== undefined) headers.set('Nats-Expected-Last-Sequence', String(options.lastSequence));
  const endMs = performance.now() + (options.deadlineMs ?? 30_000);
  for (let attempt = 0; ; attempt += 1) {
    options.signal?.throwIfAborted();
    try {
      const ack = await apiRequest<PubAck>(bus, subject, payload, { headers });
      return ack.duplicate ? { outcome: 'exists', sequence: ack.seq } : { outcome: 'stored', sequence: ack.seq };
    } catch (cause) {
      const error = toBusError(cause, subject);
      if (error.code === 'BUS_CONFLICT') return { outcome: 'exists' };
      if (!TRANSIENT.has(error.code) || performance.now() >= endMs) throw error;
      const waitMs = Math.min(backoffMs(attempt), Math.max(1, endMs - performance.now()));
      await pause(waitMs, options.signal);
    }
  }
}
