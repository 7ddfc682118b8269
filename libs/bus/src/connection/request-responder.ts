/**
 * Responds to requests on a subject (NATS request and reply, nothing stored).
 *
 * A collector serves the responder's capture requests with it, and siem-relay the requests of
 * connectors. The subscription survives reconnects. Limits: one request is processed at a time and
 * MAX_WAITING wait, each for `maxWaitMs`; any other request receives `busy`. The server delivers
 * `maxPerWindow` requests of a subject within WINDOW_MS and refuses further ones itself (no
 * responders): one requester could otherwise keep this process from its work.
 */
import type { Bus } from './connect.ts';
import { type Incoming, subscribe } from './incoming.ts';

const MAX_WAITING = 8;
/** Far more than the users of captures and states request. */
export const MAX_PER_WINDOW = 64;
export const WINDOW_MS = 1_000;

export interface RequestResponder {
  /**
   * Stops accepting requests and responds `busy` to waiting ones. Resolves when the current one is
   * done.
   */
  close(): Promise<void>;
}

export interface RequestResponderOptions {
  subject: string;
  /** Queue group of the processes that share the requests. Default: none. */
  queue?: string;
  /** Default: MAX_PER_WINDOW. */
  maxPerWindow?: number;
  /** Must not reject: an error is a response too. */
  respond(request: Uint8Array): Promise<Response>;
  /** Response to a request that is not processed. */
  busy(): Response;
  /** Requests that waited longer are not processed, because the requester has given up. */
  maxWaitMs: number;
  monotonicMs(): number;
  /** Called with a bug in `respond`. */
  onError(error: Error): void;
}

/** A text, or a message with a header block that is sent as it is. */
export type Response = string | Uint8Array | { headerBlock: Uint8Array; data: Uint8Array };

export interface IncomingRequest {
  data: Uint8Array;
  respond(response: Response): void;
}

function send(request: Incoming, response: Response): void {
  if (typeof response === 'string' || response instanceof Uint8Array) request.respond(response);
  else request.respond(response.data, response.headerBlock);
}

export function respondToRequests(bus: Bus, options: RequestResponderOptions): RequestResponder {
  const turns = new RequestQueue(options);
  const { subject, queue, maxPerWindow: max = MAX_PER_WINDOW } = options;
  const onRequest = (error: Error | null, message: Incoming) => {
    // The status listeners of the bus report a refused subscription.
    if (error || message.reply === '') return;
    turns.add({ data: message.data, respond: (response) => send(message, response) });
  };
  // The server removes the subscription after `max` messages, so that more never arrive.
  const listen = () => subscribe(bus, subject, onRequest, { max, ...(queue ? { queue } : {}) });
  let subscription = listen();
  const renewing = setInterval(() => {
    if (subscription.getReceived() === 0 || bus.nc.isClosed()) return;
    const former = subscription;
    subscription = listen();
    // Not at once: requests that it has received already are on their way.
    if (!former.isClosed()) former.drain().catch(() => undefined);
  }, WINDOW_MS);
  renewing.unref();
  return {
    async close() {
      clearInterval(renewing);
      if (!bus.nc.isClosed()) subscription.unsubscribe();
      await turns.close();
    },
  };
}

/** Processes requests one at a time. */
export class RequestQueue {
  readonly #o: Omit<RequestResponderOptions, 'subject'>;
  readonly #waiting: { request: IncomingRequest; sinceMs: number }[] = [];
  #working: Promise<void> | null = null;

  constructor(options: Omit<RequestResponderOptions, 'subject'>) {
    this.#o = options;
  }

  add(request: IncomingRequest): void {
    if (this.#working === null) this.#work(request);
    else if (this.#waiting.length < MAX_WAITING) this.#waiting.push({ request, sinceMs: this.#o.monotonicMs() });
    else request.respond(this.#o.busy());
  }

  async close(): Promise<void> {
    for (const { request } of this.#waiting.splice(0)) request.respond(this.#o.busy());
    await this.#working;
  }

  #work(request: IncomingRequest): void {
    const { respond, onError } = this.#o;
    this.#working = respond(request.data)
      .then((text) => request.respond(text))
      .catch(onError)
      .then(() => {
        this.#working = null;
        this.#next();
      });
  }

  #next(): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (this.#o.monotonicMs() - next.sinceMs <= this.#o.maxWaitMs) {
        this.#work(next.request);
        return;
      }
      next.request.respond(this.#o.busy());
    }
  }
}
