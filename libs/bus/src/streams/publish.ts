/**
 * Publishes frames without loss: a window of messages in flight, each resent until JetStream stored
 * it.
 *
 * `publish` resolves only with JetStream's ack. While the bus is disconnected, nothing is sent.
 * After a reconnect all unacknowledged messages are resent with their Nats-Msg-Id, so that the server
 * drops duplicates: RESENT_AT_ONCE at once, more a few milliseconds apart. A duplicate at the first sending is a collision: another message has
 * the id, and ours was dropped (`onCollision`). Limit: maxInFlight messages; beyond it `publish`
 * fails with BUS_CAPACITY, so that callers keep and count their own backlog.
 */
import { errors, type MsgHdrs, type Subscription } from '@nats-io/nats-core';
import { BUS_BACKOFF, busBackoffMs } from '../connection/backoff.ts';
import type { Bus, BusStatus } from '../connection/connect.ts';
import { BusError, toBusError } from '../connection/errors.ts';
import { type Incoming, subscribe } from '../connection/incoming.ts';
import {
  JETSTREAM_OFF,
  JETSTREAM_OFF_REMEDY,
  NOT_WRITING,
  NOT_WRITING_REMEDY,
} from '../connection/jetstream-health.ts';
import { ReplyInbox, randomToken } from '../connection/reply-inbox.ts';
import { refusal } from '../connection/request.ts';
import { SETUP_REMEDY } from '../topology/topology.ts';
import { headersOf, isAckOf, type PubAck, type PublishOptions } from './ack.ts';

export interface Published {
  sequence: number;
  /** JetStream already had the message (same Nats-Msg-Id within the duplicate window). */
  duplicate: boolean;
  /**
   * A duplicate at the first sending: JetStream has another message with this id and dropped this
   * one.
   */
  collision: boolean;
}

export interface FramePublisherOptions {
  /** Messages in flight. Default 64; more did not increase the measured throughput. */
  maxInFlight?: number;
  /** Time without an ack after which a message is resent. Default 5,000. */
  ackTimeoutMs?: number;
  onAck?: (published: Published & { msgId: string }) => void;
  /**
   * Another client uses the same message ids, and this message is not in the stream. `publish`
   * still resolves, because a resend would not help.
   */
  onCollision?: (collision: { msgId: string; subject: string; sequence: number }) => void;
  /** Called for each resend, with the reason. */
  onResend?: (again: { msgId: string; attempt: number; error: BusError }) => void;
}

/** More at once, with what else a collector sends then, are a flood for bus-auth (connection/node-pace.ts). */
const RESENT_AT_ONCE = 64;
const RESEND_EVERY_MS = 5;

interface InFlight {
  subject: string;
  payload: Uint8Array;
  headers: MsgHdrs;
  msgId: string;
  attempt: number;
  /** Next resend by performance.now(), unless an ack or a reconnect comes first. */
  dueMs: number;
  error: BusError | null;
  /** Time of the call, by performance.now(), and why the last attempt failed. */
  readonly sinceMs: number;
  lastError: BusError | null;
  resolve: (published: Published) => void;
  reject: (error: BusError) => void;
}

export class FramePublisher {
  readonly #bus: Bus;
  readonly #maxInFlight: number;
  readonly #ackTimeoutMs: number;
  readonly #options: FramePublisherOptions;
  readonly #inFlight = new Map<string, InFlight>();
  readonly #inbox: ReplyInbox;
  readonly #waiters: (() => void)[] = [];
  readonly #statusListener = (status: BusStatus) => this.#onStatus(status);
  #subscription: Subscription | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;
  /** Acknowledged messages, and resends. */
  acked = 0;
  resent = 0;
  /** Messages whose id the server had before they were sent. */
  collisions = 0;

  constructor(bus: Bus, options: FramePublisherOptions = {}) {
    this.#bus = bus;
    this.#options = options;
    this.#maxInFlight = options.maxInFlight ?? 64;
    this.#ackTimeoutMs = options.ackTimeoutMs ?? 5_000;
    this.#inbox = new ReplyInbox(bus.inboxPrefix);
    this.#subscribe();
    bus.statusListeners.add(this.#statusListener);
  }

  /** Messages without an ack. */
  get unacked(): number {
    return this.#inFlight.size;
  }

  /** How long the oldest of them waits, and why its last attempt failed; null without any. */
  get oldestUnacked(): { ageMs: number; error: BusError | null } | null {
    const [oldest] = this.#inFlight.values();
    return oldest ? { ageMs: performance.now() - oldest.sinceMs, error: oldest.error ?? oldest.lastError } : null;
  }

  /** Messages that may be published now. */
  get capacity(): number {
    return this.#closed ? 0 : this.#maxInFlight - this.#inFlight.size;
  }

  /** Resolves when there is capacity; rejects with BUS_CLOSED. */
  async whenCapacity(): Promise<void> {
    while (this.capacity <= 0) await this.#change();
  }

  /** Resolves when everything is acknowledged; rejects with BUS_CLOSED. */
  async whenFlushed(): Promise<void> {
    while (this.#inFlight.size > 0) await this.#change();
  }

  #change(): Promise<void> {
    if (this.#closed) return Promise.reject(new BusError('BUS_CLOSED', 'the publisher is closed'));
    return new Promise((resolve, reject) => {
      this.#waiters.push(() =>
        this.#closed ? reject(new BusError('BUS_CLOSED', 'the publisher is closed')) : resolve(),
      );
    });
  }

  #wake(): void {
    for (const waiter of this.#waiters.splice(0)) waiter();
  }

  /**
   * Sends until the message is stored. The payload must not be changed until then. Retries
   * everything that time may heal.
   * @throws BusError BUS_CAPACITY, BUS_TOO_LARGE, BUS_CLOSED
   */
  publish(subject: string, payload: Uint8Array, options: PublishOptions): Promise<Published> {
    if (this.#closed) return Promise.reject(new BusError('BUS_CLOSED', 'the publisher is closed'));
    if (this.capacity <= 0) {
      return Promise.reject(new BusError('BUS_CAPACITY', `${this.#maxInFlight} messages are in flight`));
    }
    return new Promise((resolve, reject) => {
      const token = randomToken();
      const headers = headersOf(options);
      const entry = {
        subject,
        payload,
        headers,
        msgId: options.msgId,
        attempt: 0,
        dueMs: 0,
        error: null,
        sinceMs: performance.now(),
        lastError: null,
        resolve,
        reject,
      };
      this.#inFlight.set(token, entry);
      this.#timer ??= setInterval(
        () => this.#sweep(),
        Math.max(20, Math.min(this.#ackTimeoutMs / 4, BUS_BACKOFF.baseMs)),
      );
      this.#send(token, entry);
    });
  }

  #send(token: string, entry: InFlight): void {
    entry.dueMs = performance.now() + this.#ackTimeoutMs;
    // The reconnect sends it.
    if (!this.#bus.connected) return;
    if (entry.attempt > 0) {
      this.resent += 1;
      const error = entry.error ?? this.#silence(entry);
      entry.lastError = error;
      this.#options.onResend?.({ msgId: entry.msgId, attempt: entry.attempt, error });
    }
    entry.attempt += 1;
    entry.error = null;
    try {
      this.#bus.nc.publish(entry.subject, entry.payload, { reply: this.#inbox.subject(token), headers: entry.headers });
    } catch (cause) {
      const error = toBusError(cause, entry.subject);
      if (error.code === 'BUS_TOO_LARGE') this.#settle(token, () => entry.reject(error));
      else entry.error = error;
    }
  }

  #silence({ subject }: InFlight): BusError {
    const silent = this.#bus.jetStream?.isNotWriting(subject);
    const why = silent ? `: ${NOT_WRITING}: ${NOT_WRITING_REMEDY}` : '';
    return new BusError('BUS_TIMEOUT', `${subject}: no ack in ${this.#ackTimeoutMs} ms${why}`);
  }

  #settle(token: string, how: () => void): void {
    this.#inFlight.delete(token);
    if (this.#inFlight.size === 0 && this.#timer) {
      clearInterval(this.#timer);
      this.#timer = null;
    }
    how();
    this.#wake();
  }

  #subscribe(): void {
    if (this.#bus.nc.isClosed()) return;
    this.#subscription = subscribe(this.#bus, this.#inbox.filter, (error, message) => {
      // A refused subscription no longer exists; the next reconnect creates another.
      if (error) this.#subscription = null;
      else this.#onResponse(message);
    });
  }

  #onResponse(message: Incoming): void {
    const token = this.#inbox.tokenOf(message.subject);
    const entry = this.#inFlight.get(token);
    if (!entry) return;
    this.#bus.jetStream?.acknowledged(entry.subject);
    let error: BusError;
    if (message.headers?.code === 503) {
      // A stream that acknowledged before still exists, unless it was deleted.
      const gone = `${JETSTREAM_OFF} (${JETSTREAM_OFF_REMEDY}), or the stream was deleted`;
      const why = this.acked > 0 ? gone : SETUP_REMEDY;
      error = new BusError('BUS_NO_STREAM', `${entry.subject}: no stream captures this subject: ${why}`);
    } else {
      try {
        const ack = message.json<PubAck>();
        if (!ack.error) {
          // An ack of another stream is not the server's response: the message stays in flight.
          if (isAckOf(entry.subject, ack)) this.#onStored(token, entry, ack);
          return;
        }
        error = refusal(entry.subject, ack.error);
      } catch (cause) {
        error = new BusError('BUS_MESSAGE', `${entry.subject}: the ack is not JSON`, { cause });
      }
    }
    entry.error = error;
    entry.dueMs = performance.now() + busBackoffMs(entry.attempt - 1);
  }

  #onStored(token: string, entry: InFlight, ack: PubAck): void {
    const duplicate = ack.duplicate ?? false;
    const published = { sequence: ack.seq, duplicate, collision: duplicate && entry.attempt === 1 };
    this.acked += 1;
    this.#settle(token, () => entry.resolve(published));
    if (published.collision) {
      this.collisions += 1;
      this.#options.onCollision?.({ msgId: entry.msgId, subject: entry.subject, sequence: ack.seq });
    }
    this.#options.onAck?.({ ...published, msgId: entry.msgId });
  }

  #sweep(): void {
    if (!this.#bus.connected) return;
    const now = performance.now();
    for (const [token, entry] of this.#inFlight) {
      if (entry.dueMs > now) continue;
      if (entry.error === null) this.#bus.jetStream?.unacknowledged(entry.subject);
      this.#send(token, entry);
    }
  }

  #onStatus(status: BusStatus): void {
    if (status.type === 'connected') {
      if (!this.#subscription) this.#subscribe();
      const now = performance.now();
      for (const [index, [token, entry]] of [...this.#inFlight].entries()) {
        entry.error ??= new BusError('BUS_UNREACHABLE', `${entry.subject}: the connection broke before the ack`);
        entry.dueMs = now + (index - RESENT_AT_ONCE) * RESEND_EVERY_MS;
        if (index < RESENT_AT_ONCE) this.#send(token, entry);
      }
    } else if (status.type === 'error') this.#onServerError(status.error);
    else if (status.type === 'closed') this.close();
  }

  /** A refused publish has no response; the server reports the subject in a connection error. */
  #onServerError(error: BusError): void {
    if (!(error.cause instanceof errors.PermissionViolationError)) return;
    const { subject } = error.cause;
    for (const entry of this.#inFlight.values()) if (entry.subject === subject) entry.error = error;
  }

  /**
   * Rejects unacknowledged messages with BUS_CLOSED. Wait for whenFlushed first to lose nothing.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#bus.statusListeners.delete(this.#statusListener);
    if (this.#timer) clearInterval(this.#timer);
    if (!this.#bus.nc.isClosed()) this.#subscription?.unsubscribe();
    for (const entry of this.#inFlight.values()) entry.reject(new BusError('BUS_CLOSED', 'closed before the ack'));
    this.#inFlight.clear();
    this.#wake();
  }
}
