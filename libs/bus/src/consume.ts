/**
 * Reading with acknowledgement: the responders' durable consumer.
 *
 * Place in the path: VERDICTS → responder. Invariants: a message ends in one of three ways, ack, nak with delay, or dead letter with
 * the reason and then term; the term is sent only after the dead letter is stored. Bounds: maxInFlight messages in work; deliveries up to
 * maxDeliveries, then a dead letter `max-deliveries`.
 */
import type { JsMsg } from '@nats-io/jetstream';
import type { Bus } from './connect.ts';
import { deadLetter } from './dead-letter.ts';
import { toBusError } from './errors.ts';
import type { StreamMessage } from './ordered.ts';
import { backoffMs, pause } from './wait.ts';

export { consumeOrdered, type OrderedOptions, type StartAt, type StreamMessage } from './ordered.ts';

export type Ending = 'ack' | { nakDelayMs: number } | { deadLetter: string; detail?: string };

export interface DurableMessage extends StreamMessage {
  /** 1 at the first delivery. */
  deliveries: number;
}

export interface DurableOptions {
  /** How the message ends. A throw or rejection is a nak after a backoff. */
  onMessage: (message: DurableMessage) => Promise<Ending>;
  onError?: (error: unknown, message: DurableMessage | null) => void;
  /** Messages in work at once, here. Default 32. */
  maxInFlight?: number;
  /** After this many deliveries a message is dead-lettered. Default 20. */
  maxDeliveries?: number;
  signal: AbortSignal;
}

async function settle(bus: Bus, stream: string, message: JsMsg, options: DurableOptions): Promise<void> {
  const { streamSequence, pending, deliveryCount } = message.info;
  const told: DurableMessage = {
    sequence: streamSequence,
    timestampMicros: Number(message.timestampNanos / 1000n),
    subject: message.subject,
    headers: message.headers,
    data: message.data,
    pending,
    deliveries: deliveryCount,
  };
  const bury = async (reason: string, detail: string) => {
    const { sequence, subject, data } = told;
    await deadLetter(bus, { stream, sequence, subject, reason, detail, data, signal: options.signal });
    message.term(reason);
  };
  try {
    const maxDeliveries = options.maxDeliveries ?? 20;
    if (told.deliveries > maxDeliveries)
      return await bury('max-deliveries', `given up after ${maxDeliveries} deliveries`);
    const ending = await options.onMessage(told);
    if (ending === 'ack') message.ack();
    else if ('nakDelayMs' in ending) message.nak(ending.nakDelayMs);
    else await bury(ending.deadLetter, ending.detail ?? '');
  } catch (error) {
    if (!options.signal.aborted) options.onError?.(error, told);
    message.nak(backoffMs(told.deliveries));
  }
}

/**
 * Works on a durable consumer that exists until the signal aborts; then waits for the messages in work.
 * @throws BusError BUS_PERMISSION, BUS_CLOSED, BUS_REFUSED; what time may heal is waited for
 */
export async function consumeDurable(
  bus: Bus,
  stream: string,
  durable: string,
  options: DurableOptions,
): Promise<void> {
  const { signal } = options;
  const maxInFlight = options.maxInFlight ?? 32;
  for (let failures = 0; !signal.aborted; failures += 1) {
    const inWork = new Set<Promise<void>>();
    try {
      await bus.whenConnected(signal);
      const consumer = await bus.js.consumers.get(stream, durable);
      // Never more asked for than may be in work: an unanswered message would only wait here while its ack_wait runs out.
      const messages = await consumer.consume({
        max_messages: maxInFlight,
        threshold_messages: maxInFlight - 1,
        expires: 4_000,
        idle_heartbeat: 1_000,
      });
      const stop = () => messages.stop();
      signal.addEventListener('abort', stop, { once: true });
      try {
        for await (const message of messages) {
          failures = 0;
          const work: Promise<void> = settle(bus, stream, message, options)
            .catch((error: unknown) => options.onError?.(error, null))
            .finally(() => inWork.delete(work));
          inWork.add(work);
          while (inWork.size >= maxInFlight) await Promise.race(inWork);
          if (signal.aborted) break;
        }
      } finally {
        signal.removeEventListener('abort', stop);
        messages.stop();
      }
    } catch (cause) {
      if (signal.aborted) break;
      const error = toBusError(cause, `${durable} on ${stream}`);
      if (!['BUS_NO_STREAM', 'BUS_TIMEOUT', 'BUS_UNREACHABLE'].includes(error.code)) throw error;
      options.onError?.(error, null);
      await pause(backoffMs(failures), signal).catch(() => undefined);
    } finally {
      await Promise.all(inWork);
    }
  }
}
