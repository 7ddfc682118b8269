/**
 * Reading a stream in order and without a gap, by pull consumers that are thrown away and made again from the next sequence.
 *
 * Place in the path: VIOLATIONS → correlator, CONFIG_LOG → config-log.ts, buckets → kv.ts. Invariants: messages come in stream order,
 * each once, and after whatever happens (restart of the server, broken connection, deleted consumer) it goes on with the sequence after
 * the last one received. Three things end a consumer: a delivery that does not follow the last one, a heartbeat that tells of
 * deliveries that did not arrive (a lost tail, which the client's own ordered consumer notices only when more comes), and silence.
 * Bounds: maxMessages asked for and queued; an asynchronous onMessage holds the next pull back.
 */
import { createInbox, type Msg, type MsgHdrs, type Subscription } from '@nats-io/nats-core';
import type { Bus, BusStatus } from './connect.ts';
import { toBusError } from './errors.ts';
import { apiRequest } from './request.ts';
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
}

export type StartAt = 'all' | 'new' | { sequence: number } | { timeMs: number } | 'last-per-subject';

export interface OrderedOptions {
  filterSubjects?: readonly string[];
  start: StartAt;
  /** May be synchronous, which is several times faster. A throw or rejection ends the reading with that error. */
  onMessage: (message: StreamMessage) => void | Promise<void>;
  /** All that the stream held has been handled: after the last message, at the start when there is none, and with each heartbeat. */
  onIdle?: () => void;
  /** A consumer was given up, with why. */
  onRestart?: (why: string) => void;
  /** Ends the reading; the promise is then fulfilled. */
  signal: AbortSignal;
  /** Messages asked for at once. Default 500: with frames of 25 kB that is 12 MB in the server's buffer for us, which may hold 64. */
  maxMessages?: number;
  /** Only subjects and headers. */
  headersOnly?: boolean;
}

const EXPIRES_MS = 4_000;
const HEARTBEAT_MS = 1_000;
/** Heartbeats that may be missed. Counted by a timer that runs once a turn of the loop, so a busy process is not taken for silence. */
const MISSED_HEARTBEATS = 3;
/** The server forgets a consumer that nobody pulls from. */
const INACTIVE_THRESHOLD_MS = 30_000;
const nanos = (ms: number) => ms * 1_000_000;

interface ConsumerInfo {
  name: string;
  num_pending: number;
  delivered: { stream_seq: number };
}

/** What JetStream says of a delivery, from its reply subject. */
export interface Delivery {
  streamSequence: number;
  deliverySequence: number;
  timestampMicros: number;
  pending: number;
  deliveries: number;
}

/** `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<nanoseconds>.<pending>[.<token>]` */
export function parseDelivery(reply: string | undefined): Delivery | null {
  const tokens = reply?.split('.') ?? [];
  const at = tokens.length === 9 ? 4 : tokens.length >= 11 ? 6 : -1;
  if (at < 0 || tokens[0] !== '$JS' || tokens[1] !== 'ACK') return null;
  return {
    deliveries: Number(tokens[at]),
    streamSequence: Number(tokens[at + 1]),
    deliverySequence: Number(tokens[at + 2]),
    // Nanoseconds do not fit a number; microseconds do until the year 2255.
    timestampMicros: Number((tokens[at + 3] as string).slice(0, -3)),
    pending: Number(tokens[at + 4]),
  };
}

class OrderedReader {
  private readonly bus: Bus;
  private readonly stream: string;
  private readonly options: OrderedOptions;
  private readonly maxMessages: number;
  /** Last stream sequence received; null until the server has said where the start is. */
  private received: number | null = null;
  private queue: StreamMessage[] = [];
  private busy = false;
  /** What the asynchronous onMessage is doing; settles without an error. */
  private working: Promise<void> = Promise.resolve();
  private failure: unknown = null;
  private failed = false;

  private inbox = '';
  private consumer = '';
  private deliverySequence = 0;
  private outstanding = 0;
  private missed = 0;
  private endSession: ((why: string) => void) | null = null;

  constructor(bus: Bus, stream: string, options: OrderedOptions) {
    this.bus = bus;
    this.stream = stream;
    this.options = options;
    this.maxMessages = options.maxMessages ?? 500;
  }

  async run(): Promise<void> {
    const { signal } = this.options;
    for (let failures = 0; !signal.aborted && !this.failed; ) {
      try {
        await this.bus.whenConnected(signal);
        const why = await this.session(() => {
          failures = 0;
        });
        if (!signal.aborted && !this.failed) this.options.onRestart?.(why);
      } catch (cause) {
        if (signal.aborted || this.failed) break;
        const error = toBusError(cause, `consumer on ${this.stream}`);
        if (!['BUS_NO_STREAM', 'BUS_TIMEOUT', 'BUS_UNREACHABLE', 'BUS_FULL'].includes(error.code)) throw error;
        this.options.onRestart?.(error.message);
        await pause(backoffMs(failures), signal).catch(() => undefined);
        failures += 1;
      }
    }
    // Whoever ends the reading closes what the handler uses.
    await this.working;
    if (this.failed) throw this.failure;
  }

  /** One consumer's life. Answers why it ended. */
  private async session(onCreated: () => void): Promise<string> {
    const { signal } = this.options;
    let subscription: Subscription | null = null;
    let monitor: NodeJS.Timeout | null = null;
    const aborted = () => this.endSession?.('aborted');
    const listener = (status: BusStatus) => {
      if (status.type === 'disconnected' || status.type === 'closed') this.endSession?.(status.type);
    };
    const ended = new Promise<string>((resolve) => {
      this.endSession = resolve;
    });
    this.inbox = createInbox(this.bus.inboxPrefix);
    this.consumer = '';
    this.deliverySequence = 0;
    this.outstanding = 0;
    this.missed = 0;
    try {
      signal.addEventListener('abort', aborted, { once: true });
      this.bus.statusListeners.add(listener);
      subscription = this.bus.nc.subscribe(this.inbox, {
        callback: (error, message) => (error ? this.fail(toBusError(error, this.inbox)) : this.onProtocol(message)),
      });
      const info = await this.create();
      onCreated();
      this.consumer = info.name;
      this.received ??= info.delivered.stream_seq;
      if (info.num_pending === 0 && this.queue.length === 0 && !this.busy) this.idle();
      monitor = setInterval(() => this.watch(), HEARTBEAT_MS);
      this.pull();
      return await ended;
    } finally {
      this.endSession = null;
      if (monitor) clearInterval(monitor);
      signal.removeEventListener('abort', aborted);
      this.bus.statusListeners.delete(listener);
      if (!this.bus.nc.isClosed()) subscription?.unsubscribe();
      this.discard();
    }
  }

  private create(): Promise<ConsumerInfo> {
    const { start, headersOnly } = this.options;
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
      inactive_threshold: nanos(INACTIVE_THRESHOLD_MS),
      ...startConfig(this.received, start),
      ...(filterSubjects.length === 1 ? { filter_subject: filterSubjects[0] } : {}),
      ...(filterSubjects.length > 1 ? { filter_subjects: filterSubjects } : {}),
      ...(headersOnly ? { headers_only: true } : {}),
    };
    const filter = filterSubjects.length === 1 ? `.${filterSubjects[0]}` : '';
    return apiRequest(this.bus, `$JS.API.CONSUMER.CREATE.${this.stream}.${name}${filter}`, {
      stream_name: this.stream,
      config,
    });
  }

  /** Best effort: what is not deleted here the server forgets after INACTIVE_THRESHOLD_MS. */
  private discard(): void {
    if (this.consumer === '' || !this.bus.connected || this.bus.nc.isClosed()) return;
    apiRequest(this.bus, `$JS.API.CONSUMER.DELETE.${this.stream}.${this.consumer}`).catch(() => undefined);
  }

  private pull(): void {
    const batch = this.maxMessages - this.outstanding - this.queue.length;
    if (batch <= 0 || this.consumer === '' || !this.endSession || !this.bus.connected) return;
    this.outstanding += batch;
    const body = JSON.stringify({ batch, expires: nanos(EXPIRES_MS), idle_heartbeat: nanos(HEARTBEAT_MS) });
    this.bus.nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${this.stream}.${this.consumer}`, body, { reply: this.inbox });
  }

  private watch(): void {
    this.missed += 1;
    if (this.outstanding > 0 && this.missed > MISSED_HEARTBEATS) this.endSession?.('heartbeats missed');
  }

  /** Never throws: an exception in a subscription's callback would stop the client from reading its socket. */
  private onProtocol(message: Msg): void {
    this.missed = 0;
    const code = message.headers?.code ?? 0;
    if (code === 0) {
      this.onDelivery(message);
      return;
    }
    const header = (name: string) => Number(message.headers?.get(name) || 0);
    if (code === 100) {
      if (header('Nats-Last-Consumer') > this.deliverySequence) this.endSession?.('deliveries were lost');
      else if (!this.busy && this.queue.length === 0) this.idle();
      return;
    }
    this.outstanding = Math.max(0, this.outstanding - header('Nats-Pending-Messages'));
    // 408 and 404 end a pull that was not filled; anything else (409, 503, 400) is about the consumer.
    if (code !== 408 && code !== 404) this.endSession?.(`${code} ${message.headers?.description ?? ''}`.trim());
    else if (this.outstanding <= this.maxMessages / 2) this.pull();
  }

  private onDelivery(message: Msg): void {
    const delivery = parseDelivery(message.reply);
    if (!this.endSession || this.failed) return;
    if (!delivery || delivery.deliverySequence !== this.deliverySequence + 1) {
      this.endSession(delivery ? 'a delivery is missing' : 'a delivery without its sequence');
      return;
    }
    this.deliverySequence = delivery.deliverySequence;
    this.received = delivery.streamSequence;
    this.outstanding = Math.max(0, this.outstanding - 1);
    const next: StreamMessage = {
      sequence: delivery.streamSequence,
      timestampMicros: delivery.timestampMicros,
      subject: message.subject,
      headers: message.headers,
      data: message.data,
      pending: delivery.pending,
    };
    if (this.busy || this.queue.length > 0) this.queue.push(next);
    else this.handle(next);
    if (!this.busy && this.outstanding <= this.maxMessages / 2) this.pull();
  }

  private handle(message: StreamMessage): void {
    try {
      const result = this.options.onMessage(message);
      if (!(result instanceof Promise)) {
        this.handled(message);
        return;
      }
      this.busy = true;
      this.working = result.then(
        () => {
          this.busy = false;
          this.handled(message);
          this.drainQueue();
        },
        (error: unknown) => this.fail(error),
      );
    } catch (error) {
      this.fail(error);
    }
  }

  private handled(message: StreamMessage): void {
    if (message.pending === 0 && this.queue.length === 0) this.idle();
  }

  private drainQueue(): void {
    const waiting = this.queue;
    let at = 0;
    this.queue = [];
    while (at < waiting.length && !this.busy && !this.failed && !this.options.signal.aborted) {
      this.handle(waiting[at++] as StreamMessage);
    }
    this.queue = [...waiting.slice(at), ...this.queue];
    if (!this.busy && this.outstanding <= this.maxMessages / 2) this.pull();
  }

  private idle(): void {
    try {
      this.options.onIdle?.();
    } catch (error) {
      this.fail(error);
    }
  }

  private fail(error: unknown): void {
    if (this.failed) return;
    this.failed = true;
    this.failure = error;
    this.endSession?.('failed');
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
 * Reads a stream in order until the signal aborts. @throws what onMessage throws; BusError BUS_PERMISSION, BUS_CLOSED, BUS_REFUSED.
 * What time may heal (no connection, no stream yet) is waited for.
 */
export function consumeOrdered(bus: Bus, stream: string, options: OrderedOptions): Promise<void> {
  return new OrderedReader(bus, stream, options).run();
}
