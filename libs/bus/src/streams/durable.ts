/**
 * Reads a durable consumer that the set-up created, with ack after effect.
 *
 * Messages are handled one after the other. Each is acknowledged when its handler has ended; after a
 * rejection it comes again with a growing delay, and later messages do not wait for it. The server is
 * told to wait for those that were delivered and are not handled yet, so that a slow handler gets none
 * twice. Needs the rights to pull and to acknowledge only. Limits: maxMessages requested and queued;
 * the consumer's max_ack_pending, rejected messages included.
 */
import { backoffMs, pause } from '@bailiff/service/retry';
import { busBackoffMs } from '../connection/backoff.ts';
import type { Bus, BusStatus } from '../connection/connect.ts';
import type { BusError } from '../connection/errors.ts';
import type { Incoming } from '../connection/incoming.ts';
import type { StreamMessage } from './direct.ts';
import { streamMessage } from './ordered.ts';
import { type Delivery, PullSession } from './pull.ts';

/** A third of the shortest time after which the server delivers a message again (ack_wait). */
const WORKING_EVERY_MS = 10_000;
/** Until a message whose handler failed comes again; half of it is random. */
const AGAIN = { baseMs: 1_000, maxMs: 60_000 };

export interface DurableOptions {
  /** 1 to 1,000. */
  maxMessages: number;
  /** A rejection is reported to `onFailed`. @param deliveries of this message, from 1 */
  onMessage(message: StreamMessage, deliveries: number): unknown;
  /** Throws to end the reading. */
  onFailed(error: Error): void;
  signal: AbortSignal;
}

interface Held {
  message: StreamMessage;
  /** Takes the acknowledgement. */
  reply: string;
  deliveries: number;
}

/**
 * Resolves when the signal aborts or the bus is closed, and the running handler has ended. @throws BusError BUS_PERMISSION, and
 * what onFailed throws
 */
export function consumeDurable(bus: Bus, stream: string, consumer: string, options: DurableOptions): Promise<void> {
  return new DurableReader(bus, stream, consumer, options).run();
}

class DurableReader {
  readonly #bus: Bus;
  readonly #stream: string;
  readonly #consumer: string;
  readonly #o: DurableOptions;
  readonly #end = new AbortController();
  readonly #signal: AbortSignal;
  #queue: Held[] = [];
  #running: Held | null = null;
  #working: Promise<void> = Promise.resolve();
  #failure: { error: unknown } | null = null;
  #session: PullSession | null = null;

  constructor(bus: Bus, stream: string, consumer: string, options: DurableOptions) {
    this.#bus = bus;
    this.#stream = stream;
    this.#consumer = consumer;
    this.#o = options;
    this.#signal = AbortSignal.any([options.signal, this.#end.signal]);
  }

  async run(): Promise<void> {
    const bus = this.#bus;
    const refused = (status: BusStatus) => {
      if (status.type === 'error' && this.#isOurs(status.error)) this.#fail(status.error);
    };
    bus.statusListeners.add(refused);
    const timer = setInterval(() => this.#extend(), WORKING_EVERY_MS);
    try {
      await this.#pullUntilAborted();
      await this.#working;
    } finally {
      clearInterval(timer);
      bus.statusListeners.delete(refused);
    }
    // Another connector of the same consumer gets them at once.
    for (const { reply } of this.#queue) this.#answer(reply, '-NAK');
    // A connection that breaks now has the same effect as one that broke before.
    if (bus.connected) await bus.nc.flush().catch(() => undefined);
    if (this.#failure) throw this.#failure.error;
  }

  async #pullUntilAborted(): Promise<void> {
    const handlers = {
      room: () => this.#o.maxMessages - this.#queue.length,
      onDelivery: (message: Incoming, delivery: Delivery) => this.#take(message, delivery),
      onHeartbeat: () => undefined,
    };
    for (let failures = 0; !this.#signal.aborted; ) {
      try {
        await this.#bus.whenConnected(this.#signal);
        this.#session = new PullSession(this.#bus, this.#stream, this.#consumer, handlers, this.#signal);
        const { consumer, error } = await this.#session.ended;
        if (error) throw error;
        failures = consumer === 'usable' ? 0 : failures + 1;
        if (failures > 0) await pause(busBackoffMs(failures), this.#signal);
      } catch (error) {
        if (this.#bus.nc.isClosed()) this.#end.abort();
        else if (!this.#signal.aborted) this.#fail(error);
      }
    }
  }

  #take(message: Incoming, delivery: Delivery): void {
    const held = { message: streamMessage(message, delivery), reply: message.reply, deliveries: delivery.deliveries };
    this.#queue.push(held);
    if (!this.#running) this.#working = this.#handleAll();
  }

  /** Never rejects. */
  async #handleAll(): Promise<void> {
    while (!this.#signal.aborted) {
      const held = this.#queue.shift();
      if (!held) break;
      this.#running = held;
      const { message, reply, deliveries } = held;
      try {
        await this.#o.onMessage(message, deliveries);
        this.#answer(reply, '+ACK');
      } catch (cause) {
        const delay = Math.round(backoffMs(deliveries, AGAIN, Math.random())) * 1_000_000;
        this.#answer(reply, `-NAK ${JSON.stringify({ delay })}`);
        try {
          this.#o.onFailed(cause as Error);
        } catch (error) {
          this.#fail(error);
        }
      }
      this.#session?.pull();
    }
    this.#running = null;
  }

  #extend(): void {
    for (const held of [this.#running, ...this.#queue]) if (held) this.#answer(held.reply, '+WPI');
  }

  /** Without a connection nothing is sent: the server delivers the message again. */
  #answer(reply: string, text: string): void {
    if (this.#bus.connected) this.#bus.nc.publish(reply, text);
  }

  /** The server refuses to let this user pull. */
  #isOurs({ code, message }: BusError): boolean {
    return code === 'BUS_PERMISSION' && message.includes(`${this.#stream}.${this.#consumer}`);
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#end.abort();
  }
}
