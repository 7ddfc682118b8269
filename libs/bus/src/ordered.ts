/**
 * Reading a stream in order and without a gap, by pull consumers that are thrown away and made again from the next sequence.
 *
 * Place in the path: VIOLATIONS → correlator, CONFIG_LOG → config-log.ts, buckets → kv.ts. Invariants: messages come in stream order,
 * each once, and after whatever happens (restart of the server, broken connection, deleted consumer) it goes on with the sequence after
 * the last one received. A stream that was deleted and made anew, or came back from an older backup, counts from below: it is another, its
 * owner is told (`onRemade`), and it is read from its beginning; what waited of the old one went with it. Besides what ends a pull session, two things end a consumer: a delivery that does not follow the last one, and
 * a heartbeat that tells of deliveries that did not arrive (a lost tail, which the client's own ordered consumer notices only when more
 * comes). Bounds: maxMessages asked for and queued; an asynchronous onMessage holds the next pull back.
 */

import type { StreamInfo } from '@nats-io/jetstream';
import { createInbox, type Msg, type MsgHdrs } from '@nats-io/nats-core';
import type { Bus } from './connect.ts';
import { streamInfo } from './direct.ts';
import { BusError, toBusError } from './errors.ts';
import { IMPORTED_API } from './permissions.ts';
import { contentOf } from './planted.ts';
import { type Delivery, PullSession } from './pull.ts';
import { DirectReader } from './read-direct.ts';
import { apiRequest } from './request.ts';
import { StreamPosition, TRANSIENT } from './stream-position.ts';
import { backoffMs, pause } from './wait.ts';

export interface StreamMessage {
  /** In the stream. */
  sequence: number;
  /** When the server stored it. */
  timestampMicros: number;
  subject: string;
  headers: MsgHdrs | undefined;
  data: Uint8Array;
  /** How many the stream holds after this one (under the filter) as the server knew when it sent it. */
  pending: number;
  /** An answer of the server that somebody had sent there (planted.ts). It comes without content, so that whoever reads it refuses it. */
  planted: boolean;
}

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
  onRemade?: () => void | Promise<void>;
  /** Ends the reading; the promise is then fulfilled. */
  signal: AbortSignal;
  /** Messages asked for at once. Default 500: with frames of 25 kB that is 12 MB in the server's buffer for us, which may hold 64. */
  maxMessages?: number;
  /** Only subjects and headers. */
  headersOnly?: boolean;
}

/** The server forgets a consumer that nobody pulls from. */
const INACTIVE_THRESHOLD_MS = 30_000;

interface ConsumerInfo {
  name: string;
  num_pending: number;
  delivered: { stream_seq: number };
}

/** A delivery as it is told to readers. */
export function streamMessage(message: Msg, delivery: Delivery): StreamMessage {
  return {
    sequence: delivery.streamSequence,
    timestampMicros: delivery.timestampMicros,
    subject: message.subject,
    ...contentOf(message, false),
    pending: delivery.pending,
  };
}

class OrderedReader {
  private readonly bus: Bus;
  private readonly stream: string;
  private readonly options: OrderedOptions;
  private readonly maxMessages: number;
  private readonly position: StreamPosition;
  private queue: StreamMessage[] = [];
  private busy = false;
  /** What the asynchronous onMessage is doing; settles without an error. */
  private working: Promise<void> = Promise.resolve();
  private failure: { error: unknown } | null = null;
  private session: PullSession | null = null;
  private deliverySequence = 0;

  constructor(bus: Bus, stream: string, options: OrderedOptions) {
    this.bus = bus;
    this.stream = stream;
    this.options = options;
    this.maxMessages = options.maxMessages ?? 500;
    this.position = new StreamPosition(options.start);
  }

  private get over(): boolean {
    return this.options.signal.aborted || this.failure !== null;
  }

  async run(): Promise<void> {
    const { signal } = this.options;
    for (let failures = 0; !this.over; ) {
      try {
        await this.bus.whenConnected(signal);
        const info = await this.open();
        if (this.over) break;
        failures = 0;
        const why = await this.read(info);
        if (!this.over) this.options.onRestart?.(why);
      } catch (cause) {
        if (this.over) break;
        const error = toBusError(cause, `consumer on ${this.stream}`);
        if (!TRANSIENT.has(error.code)) throw error;
        this.options.onRestart?.(error.message);
        await pause(backoffMs(failures), signal).catch(() => undefined);
        failures += 1;
      }
    }
    // Whoever ends the reading closes what the handler uses.
    await this.working;
    if (this.failure) throw this.failure.error;
  }

  /** One consumer's life. Answers why it ended. */
  private async read(info: ConsumerInfo): Promise<string> {
    this.position.received ??= info.delivered.stream_seq;
    this.deliverySequence = 0;
    if (info.num_pending === 0) this.idle();
    const handlers = {
      room: () => (this.busy ? 0 : this.maxMessages - this.queue.length),
      onDelivery: (message: Msg, delivery: Delivery) => this.onDelivery(message, delivery),
      onHeartbeat: (delivered: number) => {
        if (delivered > this.deliverySequence) this.session?.end('deliveries were lost');
        else this.idle();
      },
    };
    this.session = new PullSession(this.bus, this.stream, info.name, handlers, this.options.signal);
    if (this.failure) this.session.end('failed');
    const { why, error } = await this.session.ended;
    this.session = null;
    this.discard(info.name);
    if (error) throw error;
    return why;
  }

  /** A consumer on the stream that was read before, or on the one that has taken its place. */
  private async open(): Promise<ConsumerInfo> {
    const { bus, stream } = this;
    if (this.position.isNew) {
      // Asked first: if the stream is recreated in between, the next look finds another time and errs on the safe side.
      const [info, first] = await Promise.all([streamInfo(bus, stream), this.create()]);
      this.position.begin(info);
      return first;
    }
    const found = await streamInfo(bus, stream);
    if (this.position.isRecreated(found)) await this.startOver(found);
    const consumer = await this.create();
    if (!this.position.isSameLife(await streamInfo(bus, stream))) {
      throw new BusError('BUS_NO_STREAM', `${stream} was recreated just now`);
    }
    return consumer;
  }

  private async startOver(info: StreamInfo): Promise<void> {
    // Messages of a stream that is gone; the one in work is waited for, so that the owner is called between two messages.
    this.queue = [];
    while (this.busy) await this.working;
    this.options.onRestart?.('the stream was recreated');
    if (!this.over) await this.options.onRemade?.();
    this.position.beginRecreated(info);
  }

  private create(): Promise<ConsumerInfo> {
    const { headersOnly } = this.options;
    const { start, received } = this.position;
    // The server wants a filter with last-per-subject, be it everything.
    const filterSubjects = this.options.filterSubjects ?? (start === 'last-per-subject' ? ['>'] : []);
    // The name is random, and so is a capability: nobody else may list names, and who does not know it cannot touch it.
    const name = createInbox('o').slice(2);
    const config = {
      name,
      ack_policy: 'none',
      mem_storage: true,
      num_replicas: 1,
      replay_policy: 'instant',
      inactive_threshold: INACTIVE_THRESHOLD_MS * 1_000_000,
      ...startConfig(received, start),
      ...(filterSubjects.length === 1 ? { filter_subject: filterSubjects[0] } : {}),
      ...(filterSubjects.length > 1 ? { filter_subjects: filterSubjects } : {}),
      ...(headersOnly ? { headers_only: true } : {}),
    };
    const filter = filterSubjects.length === 1 ? `.${filterSubjects[0]}` : '';
    const subject = `$JS.API.CONSUMER.CREATE.${this.stream}.${name}${filter}`;
    return apiRequest(this.bus, subject, { stream_name: this.stream, config });
  }

  /** Best effort: what is not deleted here the server forgets after INACTIVE_THRESHOLD_MS. */
  private discard(consumer: string): void {
    if (!this.bus.connected || this.bus.nc.isClosed()) return;
    apiRequest(this.bus, `$JS.API.CONSUMER.DELETE.${this.stream}.${consumer}`).catch(() => undefined);
  }

  private onDelivery(message: Msg, delivery: Delivery): void {
    if (this.failure) return;
    if (delivery.deliverySequence !== this.deliverySequence + 1) {
      this.session?.end('a delivery is missing');
      return;
    }
    this.deliverySequence = delivery.deliverySequence;
    const next = streamMessage(message, delivery);
    this.position.take(next);
    if (this.busy || this.queue.length > 0) this.queue.push(next);
    else this.handle(next);
  }

  private handle(message: StreamMessage): void {
    try {
      const result = this.options.onMessage(message);
      if (result instanceof Promise) this.wait(message, result);
      else if (message.pending === 0) this.idle();
    } catch (error) {
      this.fail(error);
    }
  }

  private wait(message: StreamMessage, result: Promise<void>): void {
    this.busy = true;
    this.working = result.then(
      () => {
        this.busy = false;
        if (message.pending === 0) this.idle();
        this.drainQueue();
      },
      (error: unknown) => this.fail(error),
    );
  }

  private drainQueue(): void {
    const waiting = this.queue;
    let at = 0;
    this.queue = [];
    while (at < waiting.length && !this.busy && !this.over) this.handle(waiting[at++] as StreamMessage);
    this.queue = [...waiting.slice(at), ...this.queue];
    this.session?.pull();
  }

  private idle(): void {
    if (this.busy || this.queue.length > 0) return;
    try {
      this.options.onIdle?.(this.position.received ?? 0);
    } catch (error) {
      this.fail(error);
    }
  }

  private fail(error: unknown): void {
    this.failure ??= { error };
    this.session?.end('failed');
  }
}

function startConfig(received: number | null, start: StartAt): Record<string, unknown> {
  if (received !== null) return { deliver_policy: 'by_start_sequence', opt_start_seq: received + 1 };
  if (start === 'all' || start === 'new') return { deliver_policy: start };
  if (start === 'last-per-subject') return { deliver_policy: 'last_per_subject' };
  if ('sequence' in start) {
    return { deliver_policy: 'by_start_sequence', opt_start_seq: Math.max(1, start.sequence) };
  }
  return { deliver_policy: 'by_start_time', opt_start_time: new Date(start.timeMs).toISOString() };
}

/**
 * Reads a stream in order until the signal aborts: by consumers in the core account, by direct gets outside it. @throws what onMessage throws; BusError BUS_PERMISSION, BUS_CLOSED, BUS_REFUSED.
 * What time may heal (no connection, no stream yet) is waited for.
 */
export function consumeOrdered(bus: Bus, stream: string, options: OrderedOptions): Promise<void> {
  const Reader = bus.apiPrefix === IMPORTED_API ? DirectReader : OrderedReader;
  return new Reader(bus, stream, options).run();
}
