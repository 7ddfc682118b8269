/**
 * Reads a stream in order and without gaps, by pull consumers.
 *
 * After an interruption the consumer is used on, if it is still there and nothing was lost: another
 * one needs the server's queue of API requests, which a client may block. A new consumer starts
 * behind the last received sequence, so each message is delivered once. A stream that was recreated
 * or restored from an older backup is read from its beginning, after `onRecreated`. A missing
 * delivery ends a consumer. So does a heartbeat that reports another number of deliveries than
 * arrived (a lost tail). Limits: maxMessages requested and queued; an asynchronous
 * onMessage delays the next pull.
 */

import { pause } from '@bailiff/service/retry';
import type { StreamInfo } from '@nats-io/jetstream';
import { busBackoffMs } from '../connection/backoff.ts';
import { type Bus, reportRecreated } from '../connection/connect.ts';
import { BusError, isTransient, toBusError } from '../connection/errors.ts';
import type { Incoming } from '../connection/incoming.ts';
import { randomToken } from '../connection/reply-inbox.ts';
import { apiRequest } from '../connection/request.ts';
import { IMPORTED_API } from '../topology/identities.ts';
import { type StreamMessage, streamInfo } from './direct.ts';
import { DirectReader } from './direct-reader.ts';
import { contentOf } from './injected-reply.ts';
import type { OrderedOptions, StartAt } from './ordered-options.ts';
import { type Delivery, PullSession } from './pull.ts';
import { StreamPosition } from './stream-position.ts';

/** The server removes a consumer without pulls after this time. */
const INACTIVE_THRESHOLD_MS = 30_000;

interface ConsumerInfo {
  stream_name: string;
  name: string;
  num_pending: number;
  delivered: { stream_seq: number };
}

/** Converts a consumer delivery. */
export function streamMessage(message: Incoming, delivery: Delivery): StreamMessage {
  return {
    sequence: delivery.streamSequence,
    timestampMicros: delivery.timestampMicros,
    subject: message.subject,
    ...contentOf(message, false),
    pending: delivery.pending,
  };
}

class OrderedReader {
  readonly #bus: Bus;
  readonly #stream: string;
  readonly #options: OrderedOptions;
  readonly #maxMessages: number;
  readonly #position: StreamPosition;
  #queue: StreamMessage[] = [];
  #busy = false;
  /** The running asynchronous onMessage; never rejects. */
  #working: Promise<void> = Promise.resolve();
  #failure: { error: unknown } | null = null;
  #session: PullSession | null = null;
  /** The consumer in use, or that may be used on; null: another one is needed. */
  #consumer: string | null = null;
  #isUsable = false;
  #deliverySequence = 0;

  constructor(bus: Bus, stream: string, options: OrderedOptions) {
    this.#bus = bus;
    this.#stream = stream;
    this.#options = options;
    this.#maxMessages = options.maxMessages ?? 500;
    this.#position = new StreamPosition(options.start);
  }

  get #over(): boolean {
    return this.#options.signal.aborted || this.#failure !== null;
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    for (let failures = 0; !this.#over; ) {
      try {
        await this.#bus.whenConnected(signal);
        if (!this.#isUsable) await this.#replaceConsumer();
        if (this.#over) break;
        failures = 0;
        const why = await this.#read();
        if (!this.#over && !this.#isUsable) this.#options.onRestart?.(why);
      } catch (cause) {
        if (this.#over) break;
        const error = toBusError(cause, `consumer on ${this.#stream}`);
        if (!isTransient(error)) throw error;
        this.#options.onRestart?.(error.message);
        this.#isUsable = this.#consumer !== null;
        await pause(busBackoffMs(failures), signal);
        failures += 1;
      }
    }
    if (this.#consumer !== null) this.#discard(this.#consumer);
    // The caller may close what the handler uses as soon as the reading ends.
    await this.#working;
    if (this.#failure) throw this.#failure.error;
  }

  async #replaceConsumer(): Promise<void> {
    const former = this.#consumer;
    const info = await this.#open();
    if (former !== null) this.#discard(former);
    this.#consumer = info.name;
    this.#isUsable = true;
    this.#position.received ??= info.delivered.stream_seq;
    this.#deliverySequence = 0;
    if (info.num_pending === 0) this.#idle();
  }

  /** Reads until a session ends. Returns the reason. */
  async #read(): Promise<string> {
    const name = this.#consumer as string;
    const handlers = {
      room: () => (this.#busy ? 0 : this.#maxMessages - this.#queue.length),
      onDelivery: (message: Incoming, delivery: Delivery) => this.#onDelivery(message, delivery),
      onHeartbeat: (delivered: number) => {
        if (delivered === this.#deliverySequence) this.#idle();
        else this.#session?.end('deliveries were lost');
      },
    };
    this.#session = new PullSession(this.#bus, this.#stream, name, handlers, this.#options.signal);
    if (this.#failure) this.#session.end('failed');
    const { why, error, consumer } = await this.#session.ended;
    this.#session = null;
    this.#isUsable = consumer === 'usable';
    if (consumer === 'gone') {
      this.#discard(name);
      this.#consumer = null;
    }
    if (error) throw error;
    return why;
  }

  /** Creates a consumer on the same stream, or on the recreated one. */
  async #open(): Promise<ConsumerInfo> {
    const bus = this.#bus;
    const stream = this.#stream;
    if (this.#position.isNew) {
      // Info is requested first: if the stream is recreated in between, the next check sees another
      // creation time and reads again.
      const [info, first] = await Promise.all([streamInfo(bus, stream), this.#create()]);
      this.#position.begin(info);
      return first;
    }
    const found = await streamInfo(bus, stream);
    if (this.#position.isRecreated(found)) await this.#startOver(found);
    const consumer = await this.#create();
    if (!this.#position.isSameLife(await streamInfo(bus, stream))) {
      throw new BusError('BUS_NO_STREAM', `${stream} was recreated just now`);
    }
    return consumer;
  }

  async #startOver(info: StreamInfo): Promise<void> {
    // Drops messages of the old stream, and waits for the running handler, so that `onRecreated`
    // runs between two messages.
    this.#queue = [];
    while (this.#busy) await this.#working;
    this.#options.onRestart?.('the stream was recreated');
    if (!this.#over) {
      reportRecreated(this.#bus, this.#stream);
      await this.#options.onRecreated?.(info);
    }
    this.#position.beginRecreated(info);
  }

  async #create(): Promise<ConsumerInfo> {
    const { headersOnly } = this.#options;
    const { start, received } = this.#position;
    // The server requires a filter with last-per-subject, even for all subjects.
    const filterSubjects = this.#options.filterSubjects ?? (start === 'last-per-subject' ? ['>'] : []);
    // A random name is a capability: other identities cannot list names, and cannot access a
    // consumer without its name.
    const name = randomToken();
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
    const subject = `$JS.API.CONSUMER.CREATE.${this.#stream}.${name}${filter}`;
    const created = await apiRequest<ConsumerInfo>(this.#bus, subject, { stream_name: this.#stream, config });
    if (created.name === name && created.stream_name === this.#stream) return created;
    throw new BusError('BUS_TIMEOUT', `${subject}: a response about ${created.stream_name}/${created.name}`);
  }

  /** Best effort: the server removes the consumer after INACTIVE_THRESHOLD_MS. */
  #discard(consumer: string): void {
    if (!this.#bus.connected || this.#bus.nc.isClosed()) return;
    apiRequest(this.#bus, `$JS.API.CONSUMER.DELETE.${this.#stream}.${consumer}`).catch(() => undefined);
  }

  #onDelivery(message: Incoming, delivery: Delivery): void {
    if (this.#failure) return;
    if (delivery.deliverySequence !== this.#deliverySequence + 1) {
      this.#session?.end('a delivery is missing');
      return;
    }
    this.#deliverySequence = delivery.deliverySequence;
    const next = streamMessage(message, delivery);
    this.#bus.serverClock.observe(next.timestampMicros);
    this.#position.take(next);
    if (this.#busy || this.#queue.length > 0) this.#queue.push(next);
    else this.#handle(next);
  }

  #handle(message: StreamMessage): void {
    try {
      const result = this.#options.onMessage(message);
      if (result instanceof Promise) this.#wait(message, result);
      else if (message.pending === 0) this.#idle();
    } catch (error) {
      this.#fail(error);
    }
  }

  #wait(message: StreamMessage, result: Promise<void>): void {
    this.#busy = true;
    this.#working = result.then(
      () => {
        this.#busy = false;
        if (message.pending === 0) this.#idle();
        this.#drainQueue();
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #drainQueue(): void {
    const waiting = this.#queue;
    let at = 0;
    this.#queue = [];
    while (at < waiting.length && !this.#busy && !this.#over) this.#handle(waiting[at++] as StreamMessage);
    this.#queue = [...waiting.slice(at), ...this.#queue];
    this.#session?.pull();
  }

  #idle(): void {
    if (this.#busy || this.#queue.length > 0) return;
    try {
      this.#options.onIdle?.(this.#position.received ?? 0);
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#session?.end('failed');
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
 * Reads a stream in order until the signal aborts: by consumers in the core account, by direct gets
 * outside it. Retries errors that time may heal (no connection, no stream yet).
 * @throws what onMessage throws; BusError BUS_PERMISSION, BUS_CLOSED, BUS_REFUSED
 */
export function consumeOrdered(bus: Bus, stream: string, options: OrderedOptions): Promise<void> {
  const Reader = bus.apiPrefix === IMPORTED_API ? DirectReader : OrderedReader;
  return new Reader(bus, stream, options).run();
}
