/**
 * One pull session on a consumer (ordered.ts creates another when it ends).
 *
 * At most `room()` messages are requested and outstanding, in at most two pulls of MAX_PULL_BYTES
 * each. Nothing is pulled while the bus is disconnected. No callback throws into the client,
 * because an exception would stop it from reading the socket. A lost connection, missed heartbeats,
 * and any status about the consumer rather than the pull end the session. Statuses count on a reply
 * subject that other clients do not know, deliveries with the name of the consumer.
 */

import { onAbort } from '@bailiff/service/retry';
import type { Subscription } from '@nats-io/nats-core';
import type { Bus, BusStatus } from '../connection/connect.ts';
import { type BusError, toBusError } from '../connection/errors.ts';
import { type Incoming, subscribe } from '../connection/incoming.ts';
import { ReplyInbox, randomToken } from '../connection/reply-inbox.ts';

/** How long one pull waits for messages. */
const EXPIRES_MS = 4_000;
const HEARTBEAT_MS = 1_000;
/**
 * Missed heartbeats that end the session. A timer counts them once per turn of the event loop, so a
 * busy process does not count as silence.
 */
const MISSED_HEARTBEATS = 3;
/**
 * The largest message with its headers, or 60 ordinary frames. A blocked reader queues what it
 * requested, on each of its streams, and the server closes a connection with MAX_PENDING_BYTES.
 */
const MAX_PULL_BYTES = 1.5 * 1024 * 1024;
/** Status texts when a pull has used up its bytes, or its messages before its bytes. */
const USED_UP = /exceeds maxbytes|batch completed/i;
const nanos = (ms: number) => ms * 1_000_000;

/** Metadata of a delivery, from its reply subject. */
export interface Delivery {
  stream: string;
  consumer: string;
  streamSequence: number;
  deliverySequence: number;
  timestampMicros: number;
  pending: number;
  deliveries: number;
}

/**
 * `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<deliveries>.<stream seq>.<consumer
 * seq>.<nanoseconds>.<pending>[.<token>]`
 */
export function parseDelivery(reply: string): Delivery | null {
  const tokens = reply.split('.');
  const at = tokens.length === 9 ? 4 : tokens.length >= 11 ? 6 : -1;
  if (at < 0 || tokens[0] !== '$JS' || tokens[1] !== 'ACK') return null;
  return {
    stream: tokens[at - 2] as string,
    consumer: tokens[at - 1] as string,
    deliveries: Number(tokens[at]),
    streamSequence: Number(tokens[at + 1]),
    deliverySequence: Number(tokens[at + 2]),
    // Nanoseconds exceed Number.MAX_SAFE_INTEGER; microseconds fit until the year 2255.
    timestampMicros: Number((tokens[at + 3] as string).slice(0, -3)),
    pending: Number(tokens[at + 4]),
  };
}

export interface PullHandlers {
  /** How many messages may be outstanding now. */
  room(): number;
  /** Must not throw. */
  onDelivery(message: Incoming, delivery: Delivery): void;
  /**
   * The server has no more messages; it has delivered up to this consumer sequence. Must not throw.
   */
  onHeartbeat(deliverySequence: number): void;
}

export interface SessionEnd {
  why: string;
  /**
   * usable: it delivered until the connection broke or the server fell silent, and another session
   * may continue with it. silent: the same, but it delivered nothing in this session.
   */
  consumer: 'usable' | 'silent' | 'gone';
  /** An error that a new session would not heal: a refused subscription. */
  error: BusError | null;
}

export class PullSession {
  readonly #bus: Bus;
  readonly #stream: string;
  readonly #consumer: string;
  readonly #handlers: PullHandlers;
  readonly #reply: string;
  readonly #subscription: Subscription;
  readonly #monitor: NodeJS.Timeout;
  readonly #statusListener = (status: BusStatus) => {
    if (status.type === 'disconnected' || status.type === 'closed') this.#interrupt(status.type);
  };
  readonly #forget: () => void;
  #resolve: (end: SessionEnd) => void = () => undefined;
  #outstanding = 0;
  #missed = 0;
  /** Something has arrived. */
  #isActive = false;
  #over = false;
  /** Resolves when the session has ended. */
  readonly ended: Promise<SessionEnd>;

  /** Starts pulling at once. */
  constructor(bus: Bus, stream: string, consumer: string, handlers: PullHandlers, signal: AbortSignal) {
    this.#bus = bus;
    this.#stream = stream;
    this.#consumer = consumer;
    this.#handlers = handlers;
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    const inbox = new ReplyInbox(bus.inboxPrefix);
    this.#reply = inbox.subject(randomToken());
    this.#subscription = subscribe(bus, inbox.filter, (error, message) => {
      if (error) this.end('the subscription was refused', toBusError(error, inbox.filter));
      else this.#onMessage(message);
    });
    this.#monitor = setInterval(() => this.#watch(), HEARTBEAT_MS);
    bus.statusListeners.add(this.#statusListener);
    this.#forget = onAbort(signal, () => this.end('aborted'));
    if (signal.aborted) this.end('aborted');
    else if (!bus.connected) this.#interrupt('disconnected');
    else this.pull();
  }

  /** Requests more messages once at least half of the room is free. */
  pull(): void {
    const room = this.#handlers.room();
    if (this.#over || !this.#bus.connected || this.#outstanding * 2 > room || room <= this.#outstanding) return;
    const batch = room - this.#outstanding;
    this.#outstanding = room;
    const limits = { batch, max_bytes: MAX_PULL_BYTES };
    const body = JSON.stringify({ ...limits, expires: nanos(EXPIRES_MS), idle_heartbeat: nanos(HEARTBEAT_MS) });
    const subject = `${this.#bus.apiPrefix}.CONSUMER.MSG.NEXT.${this.#stream}.${this.#consumer}`;
    this.#bus.nc.publish(subject, body, { reply: this.#reply });
  }

  #watch(): void {
    this.#missed += 1;
    if (this.#outstanding > 0 && this.#missed > MISSED_HEARTBEATS) this.#interrupt('heartbeats missed');
  }

  #onMessage(message: Incoming): void {
    if (this.#over) return;
    // A status arrives on the reply subject, a message on the subject of its stream.
    if (message.subject === this.#reply) {
      this.#onStatus(message, message.headers?.code ?? 0);
      return;
    }
    const delivery = parseDelivery(message.reply);
    // Anything else was sent here by another client.
    if (delivery?.stream !== this.#stream || delivery.consumer !== this.#consumer) return;
    this.#isActive = true;
    this.#missed = 0;
    this.#outstanding = Math.max(0, this.#outstanding - 1);
    this.#handlers.onDelivery(message, delivery);
    this.pull();
  }

  #onStatus(message: Incoming, code: number): void {
    this.#isActive = true;
    this.#missed = 0;
    const header = (name: string) => Number(message.headers?.get(name) || 0);
    if (code === 100) {
      this.#handlers.onHeartbeat(header('Nats-Last-Consumer'));
      return;
    }
    this.#outstanding = Math.max(0, this.#outstanding - header('Nats-Pending-Messages'));
    const description = message.headers?.description ?? '';
    // 408 and 404 end an unfilled pull, these 409 a used one. Any other status (409, 503, 400) concerns the consumer.
    if (code === 408 || code === 404 || (code === 409 && USED_UP.test(description))) this.pull();
    else this.end(`${code} ${description}`.trim());
  }

  /** Ends the session, and leaves the consumer for another one. */
  #interrupt(why: string): void {
    this.end(why, null, this.#isActive ? 'usable' : 'silent');
  }

  /** Ends the session; later messages are dropped. */
  end(why: string, error: BusError | null = null, consumer: SessionEnd['consumer'] = 'gone'): void {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#monitor);
    this.#bus.statusListeners.delete(this.#statusListener);
    this.#forget();
    if (!this.#bus.nc.isClosed()) this.#subscription.unsubscribe();
    this.#resolve({ why, error, consumer });
  }
}
