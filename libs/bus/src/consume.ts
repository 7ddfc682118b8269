/**
 * Reading with acknowledgement: the responders' durable consumer.
 *
 * Place in the path: VERDICTS → responder. Invariants: a message ends in one of three ways, ack, nak with delay, or dead letter with the
 * reason and then term; the term is sent only after the dead letter is stored. A message in work is kept alive, so that only a
 * responder that died gives it to another, and soon. Bounds: maxInFlight messages asked for and in work; maxDeliveries, then a dead
 * letter `max-deliveries`.
 */
import type { Msg } from '@nats-io/nats-core';
import type { Bus } from './connect.ts';
import { deadLetter } from './dead-letter.ts';
import { toBusError } from './errors.ts';
import { type StreamMessage, streamMessage } from './ordered.ts';
import { type Delivery, PullSession } from './pull.ts';
import { apiRequest } from './request.ts';
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

/** What time may heal. */
const TRANSIENT = new Set(['BUS_NO_STREAM', 'BUS_TIMEOUT', 'BUS_UNREACHABLE']);
const NANOS_PER_MS = 1_000_000;

interface ConsumerInfo {
  config: { ack_wait?: number };
}

class DurableWorker {
  private readonly bus: Bus;
  private readonly stream: string;
  private readonly durable: string;
  private readonly options: DurableOptions;
  private readonly maxInFlight: number;
  private readonly inWork = new Set<Promise<void>>();
  private session: PullSession | null = null;
  /** Often enough that the server does not give a message in work to another. */
  private keepAliveMs = 1_000;

  constructor(bus: Bus, stream: string, durable: string, options: DurableOptions) {
    this.bus = bus;
    this.stream = stream;
    this.durable = durable;
    this.options = options;
    this.maxInFlight = options.maxInFlight ?? 32;
  }

  async run(): Promise<void> {
    const { signal } = this.options;
    try {
      for (let failures = 0; !signal.aborted; ) {
        try {
          await this.bus.whenConnected(signal);
          await this.work();
          failures = 0;
        } catch (cause) {
          if (signal.aborted) break;
          const error = toBusError(cause, `${this.durable} on ${this.stream}`);
          if (!TRANSIENT.has(error.code)) throw error;
          this.options.onError?.(error, null);
          await pause(backoffMs(failures), signal).catch(() => undefined);
          failures += 1;
        }
      }
    } finally {
      await Promise.all(this.inWork);
    }
  }

  private async work(): Promise<void> {
    const info = await apiRequest<ConsumerInfo>(this.bus, `$JS.API.CONSUMER.INFO.${this.stream}.${this.durable}`);
    this.keepAliveMs = Math.max(100, (info.config.ack_wait ?? 0) / NANOS_PER_MS / 3);
    const handlers = {
      room: () => this.maxInFlight - this.inWork.size,
      onDelivery: (message: Msg, delivery: Delivery) => this.take(message, delivery),
      onHeartbeat: () => undefined,
    };
    this.session = new PullSession(this.bus, this.stream, this.durable, handlers, this.options.signal);
    const { error } = await this.session.ended;
    this.session = null;
    if (error) throw error;
  }

  private take(message: Msg, delivery: Delivery): void {
    const told = { ...streamMessage(message, delivery), deliveries: delivery.deliveries };
    const keepAlive = setInterval(() => this.answer(message, '+WPI'), this.keepAliveMs);
    const work: Promise<void> = this.settle(message, told)
      .catch((error: unknown) => this.options.onError?.(error, told))
      .finally(() => {
        clearInterval(keepAlive);
        this.inWork.delete(work);
        this.session?.pull();
      });
    this.inWork.add(work);
  }

  private async settle(message: Msg, told: DurableMessage): Promise<void> {
    const maxDeliveries = this.options.maxDeliveries ?? 20;
    let ending: Ending;
    try {
      ending =
        told.deliveries > maxDeliveries
          ? { deadLetter: 'max-deliveries', detail: `given up after ${maxDeliveries} deliveries` }
          : await this.options.onMessage(told);
      if (typeof ending === 'object' && 'deadLetter' in ending) await this.bury(told, ending.deadLetter, ending.detail);
    } catch (error) {
      this.options.onError?.(error, told);
      ending = { nakDelayMs: backoffMs(told.deliveries) };
    }
    // An ending that is sent to a broken connection is lost; after the reconnect the server still takes it.
    await this.bus.whenConnected(this.options.signal).catch(() => undefined);
    if (ending === 'ack') this.answer(message, '+ACK');
    else if ('nakDelayMs' in ending) {
      this.answer(message, `-NAK {"delay":${Math.round(ending.nakDelayMs * NANOS_PER_MS)}}`);
    } else this.answer(message, `+TERM ${ending.deadLetter}`);
  }

  private async bury(told: DurableMessage, reason: string, detail = ''): Promise<void> {
    const { sequence, subject, data } = told;
    const { signal } = this.options;
    await deadLetter(this.bus, { stream: this.stream, sequence, subject, reason, detail, data, signal });
  }

  private answer(message: Msg, text: string): void {
    if (this.bus.connected && !this.bus.nc.isClosed()) message.respond(text);
  }
}

/**
 * Works on a durable consumer that exists until the signal aborts; then waits for the messages in work.
 * @throws BusError BUS_PERMISSION, BUS_CLOSED, BUS_REFUSED; what time may heal is waited for
 */
export function consumeDurable(bus: Bus, stream: string, durable: string, options: DurableOptions): Promise<void> {
  return new DurableWorker(bus, stream, durable, options).run();
}
