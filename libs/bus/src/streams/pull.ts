/**
 * Pulling from a consumer until something ends it: one session of ordered.ts.
 *
 * Place in the path: server → here → handlers. Invariants: at most what `room()` allows is asked for and not yet here, in at most two pulls of
 * MAX_PULL_BYTES each; nothing is pulled
 * while the bus is away; no callback of ours ever throws into the client, where it would stop the reading of the socket. A broken
 * connection, silence, and any status that is about the consumer rather than the pull end the session; whoever made it makes another.
 */
import { createInbox, type Msg, type Subscription } from '@nats-io/nats-core';
import type { Bus, BusStatus } from '../connection/connect.ts';
import { type BusError, toBusError } from '../connection/errors.ts';
import { onAbort } from '../connection/wait.ts';

/** How long one pull waits for messages. */
const EXPIRES_MS = 4_000;
const HEARTBEAT_MS = 1_000;
/** Heartbeats that may be missed. Counted by a timer that runs once a turn of the loop, so a busy process is not taken for silence. */
const MISSED_HEARTBEATS = 3;
/**
 * Of the messages that one pull brings: sixteen of the largest, 640 ordinary frames. A reader that is held up queues what it asked for, and a message may
 * have 1 MiB.
 */
const MAX_PULL_BYTES = 16 * 1024 * 1024;
/** How the server ends a pull whose bytes are used up. */
const BYTES_USED_UP = /exceeds maxbytes/i;
const nanos = (ms: number) => ms * 1_000_000;

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

export interface PullHandlers {
  /** How many messages may be on their way at once now. */
  room(): number;
  /** Must not throw. */
  onDelivery(message: Msg, delivery: Delivery): void;
  /** The server has nothing more; it has delivered up to this consumer sequence. Must not throw. */
  onHeartbeat(deliverySequence: number): void;
}

export interface SessionEnd {
  why: string;
  /** What no new session would heal: a subscription that is not allowed. */
  error: BusError | null;
}

export class PullSession {
  private readonly bus: Bus;
  private readonly subject: string;
  private readonly handlers: PullHandlers;
  private readonly inbox: string;
  private readonly subscription: Subscription;
  private readonly monitor: NodeJS.Timeout;
  private readonly statusListener = (status: BusStatus) => {
    if (status.type === 'disconnected' || status.type === 'closed') this.end(status.type);
  };
  private readonly forget: () => void;
  private resolve: (end: SessionEnd) => void = () => undefined;
  private outstanding = 0;
  private missed = 0;
  private over = false;
  /** Fulfilled when the session has ended. */
  readonly ended: Promise<SessionEnd>;

  /** Starts pulling at once. */
  constructor(bus: Bus, stream: string, consumer: string, handlers: PullHandlers, signal: AbortSignal) {
    this.bus = bus;
    this.subject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`;
    this.handlers = handlers;
    this.ended = new Promise((resolve) => {
      this.resolve = resolve;
    });
    this.inbox = createInbox(bus.inboxPrefix);
    this.subscription = bus.nc.subscribe(this.inbox, {
      callback: (error, message) => {
        if (error) this.end('the subscription was refused', toBusError(error, this.inbox));
        else this.onMessage(message);
      },
    });
    this.monitor = setInterval(() => this.watch(), HEARTBEAT_MS);
    bus.statusListeners.add(this.statusListener);
    this.forget = onAbort(signal, () => this.end('aborted'));
    if (signal.aborted) this.end('aborted');
    else if (!bus.connected) this.end('disconnected');
    else this.pull();
  }

  /** Asks for as many as there is room for, once that is half of all. */
  pull(): void {
    const room = this.handlers.room();
    if (this.over || !this.bus.connected || this.outstanding * 2 > room || room <= this.outstanding) return;
    const batch = room - this.outstanding;
    this.outstanding = room;
    const limits = { batch, max_bytes: MAX_PULL_BYTES };
    const body = JSON.stringify({ ...limits, expires: nanos(EXPIRES_MS), idle_heartbeat: nanos(HEARTBEAT_MS) });
    this.bus.nc.publish(this.subject, body, { reply: this.inbox });
  }

  private watch(): void {
    this.missed += 1;
    if (this.outstanding > 0 && this.missed > MISSED_HEARTBEATS) this.end('heartbeats missed');
  }

  private onMessage(message: Msg): void {
    if (this.over) return;
    this.missed = 0;
    // A status comes on the inbox itself; a message that was stored with a status line comes on the subject of its stream.
    const code = message.subject === this.inbox ? (message.headers?.code ?? 0) : 0;
    if (code === 0) {
      const delivery = parseDelivery(message.reply);
      this.outstanding = Math.max(0, this.outstanding - 1);
      if (delivery) this.handlers.onDelivery(message, delivery);
      else this.end('a delivery without its sequence');
      this.pull();
      return;
    }
    const header = (name: string) => Number(message.headers?.get(name) || 0);
    if (code === 100) {
      this.handlers.onHeartbeat(header('Nats-Last-Consumer'));
      return;
    }
    this.outstanding = Math.max(0, this.outstanding - header('Nats-Pending-Messages'));
    const description = message.headers?.description ?? '';
    // 408 and 404 end a pull that was not filled; anything else (409, 503, 400) is about the consumer.
    if (code === 408 || code === 404 || (code === 409 && BYTES_USED_UP.test(description))) this.pull();
    else this.end(`${code} ${description}`.trim());
  }

  /** Ends it; what comes afterwards is dropped. */
  end(why: string, error: BusError | null = null): void {
    if (this.over) return;
    this.over = true;
    clearInterval(this.monitor);
    this.bus.statusListeners.delete(this.statusListener);
    this.forget();
    if (!this.bus.nc.isClosed()) this.subscription.unsubscribe();
    this.resolve({ why, error });
  }
}
