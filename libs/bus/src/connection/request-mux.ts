/**
 * Sends requests and receives their responses on one subscription a connection.
 *
 * The client's own `request` reads the headers of every empty response, so that a stored message
 * with malformed headers would stop the connection (incoming.ts). Other clients do not know
 * the reply subject of a request (reply-inbox.ts). Limit: one entry a request until its response or
 * its timeout.
 */
import { errors, type MsgHdrs, type NatsConnection, type Payload, type Subscription } from '@nats-io/nats-core';
import type { BusStatus } from './bus-status.ts';
import { BusError, toBusError } from './errors.ts';
import { type Incoming, subscribe } from './incoming.ts';
import { ReplyInbox, randomToken } from './reply-inbox.ts';

export interface RequestOptions {
  headers?: MsgHdrs;
  timeoutMs?: number;
  /** Sent again while there is no response: for requests that change nothing. */
  repeats?: boolean;
}

/** How often it is sent within its timeout: one of three replicas hangs, and each time any of them is asked. */
const TIMES = 5;

/**
 * Sends now and, with `repeats`, again until the result is called: each time after a response to a ping. On a slow line
 * that arrives behind what the server has sent before, so that nothing is sent twice because it takes long.
 */
export function repeatedly(
  send: () => void,
  { nc, repeats, timeoutMs }: { nc: Pick<NatsConnection, 'rtt'>; repeats: boolean; timeoutMs: number },
): () => void {
  send();
  if (!repeats) return () => undefined;
  let left = TIMES - 1;
  let isPinging = false;
  let isOver = false;
  const again = async () => {
    isPinging = true;
    try {
      await nc.rtt();
      if (!isOver) send();
    } catch {
      // The connection is closed: the request ends by its status.
    }
    isPinging = false;
  };
  const timer = setInterval(() => {
    if (isPinging) return;
    if (left === 0) return clearInterval(timer);
    left -= 1;
    void again();
  }, timeoutMs / TIMES);
  return () => {
    isOver = true;
    clearInterval(timer);
  };
}

/** What a connection provides. */
export interface MuxConnection {
  readonly nc: NatsConnection;
  readonly inboxPrefix: string;
  readonly timeoutMs: number;
  readonly statusListeners: Set<(status: BusStatus) => void>;
}

interface Waiting {
  subject: string;
  settle(result: Incoming | BusError): void;
}

export class RequestMux {
  readonly #bus: MuxConnection;
  readonly #inbox: ReplyInbox;
  readonly #waiting = new Map<string, Waiting>();
  #subscription: Subscription | null = null;

  /** Subscribes with the first request. */
  constructor(bus: MuxConnection) {
    this.#bus = bus;
    this.#inbox = new ReplyInbox(bus.inboxPrefix);
    bus.statusListeners.add((status) => this.#onStatus(status));
  }

  /** @throws BusError as `request`; BUS_UNREACHABLE if the connection breaks before the response */
  send(subject: string, payload: Payload | undefined, options: RequestOptions): Promise<Incoming> {
    const token = randomToken();
    const timeoutMs = options.timeoutMs ?? this.#bus.timeoutMs;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => settle(new BusError('BUS_TIMEOUT', `${subject}: no response within ${timeoutMs} ms`)),
        timeoutMs,
      );
      let end: () => void = () => undefined;
      const settle = (result: Incoming | BusError) => {
        end();
        clearTimeout(timer);
        this.#waiting.delete(token);
        if (result instanceof BusError) reject(result);
        else resolve(result);
      };
      this.#waiting.set(token, { subject, settle });
      try {
        this.#subscribe();
        const { headers, repeats = false } = options;
        const reply = this.#inbox.subject(token);
        const publish = () => this.#bus.nc.publish(subject, payload, { reply, ...(headers ? { headers } : {}) });
        end = repeatedly(publish, { nc: this.#bus.nc, repeats, timeoutMs });
      } catch (cause) {
        settle(toBusError(cause, subject));
      }
    });
  }

  #subscribe(): void {
    this.#subscription ??= subscribe(this.#bus, this.#inbox.filter, (error, message) => {
      if (!error) return this.#onResponse(message);
      // A refused subscription no longer exists; the next request creates another.
      this.#subscription = null;
      this.#settleAll((subject) => toBusError(error, subject));
    });
  }

  #onResponse(message: Incoming): void {
    const waiting = this.#waiting.get(this.#inbox.tokenOf(message.subject));
    if (!waiting) return;
    const { headers } = message;
    // A stored message may begin with the same status. The server adds its source to it.
    const isRefused = headers?.code === 503 && message.data.length === 0 && headers.source().size === 0;
    waiting.settle(isRefused ? toBusError(new errors.NoRespondersError(waiting.subject), waiting.subject) : message);
  }

  #onStatus(status: BusStatus): void {
    if (status.type === 'disconnected' || status.type === 'closed') {
      this.#settleAll(
        (subject) => new BusError('BUS_UNREACHABLE', `${subject}: the connection broke before the response`),
      );
    } else if (status.type === 'error') {
      // A refused publish has no response; the server reports the subject in a connection error.
      const { cause } = status.error;
      if (!(cause instanceof errors.PermissionViolationError) || cause.operation !== 'publish') return;
      const refused = [...this.#waiting.values()].find(({ subject }) => subject === cause.subject);
      refused?.settle(toBusError(cause, refused.subject));
    }
  }

  #settleAll(error: (subject: string) => BusError): void {
    for (const { subject, settle } of [...this.#waiting.values()]) settle(error(subject));
  }
}
