/**
 * Answering questions that are put on a subject, request and reply: nothing is stored, and who gave up waiting is not answered.
 *
 * Place in the path: a collector answers the responder's captures by it; who asks uses request.ts. The subscription stands through
 * reconnects. Bounds: one question at a time is worked on, MAX_WAITING wait for their turn, each for `maxWaitMs`; what is beyond either is
 * answered by `busy`.
 */
import type { Bus } from './connect.ts';

const MAX_WAITING = 8;

export interface RequestResponder {
  /** No question is taken any more, those that wait are answered by `busy`; resolves when the one under way is answered. */
  close(): Promise<void>;
}

export interface RequestResponderOptions {
  subject: string;
  /** Never rejects: what goes wrong is an answer too. */
  respond(question: Uint8Array): Promise<string | Uint8Array>;
  /** The answer to a question whose turn does not come. */
  busy(): string | Uint8Array;
  /** Who asks gives up after a time: a question that has waited longer is not worked on when its turn comes. */
  maxWaitMs: number;
  monotonicMs(): number;
  /** A bug in `answer`. */
  onError(error: Error): void;
}

export interface IncomingRequest {
  data: Uint8Array;
  respond(answer: string | Uint8Array): void;
}

export function respondToRequests(bus: Bus, options: RequestResponderOptions): RequestResponder {
  const turns = new RequestQueue(options);
  const subscription = bus.nc.subscribe(options.subject, {
    callback: (error, message) => {
      // A refused subscription is told by the bus's status listeners.
      if (error || message.reply === undefined || message.reply === '') return;
      turns.add({ data: message.data, respond: (answer) => message.respond(answer) });
    },
  });
  return {
    async close() {
      subscription.unsubscribe();
      await turns.close();
    },
  };
}

/** One question after another. */
export class RequestQueue {
  readonly #o: Omit<RequestResponderOptions, 'subject'>;
  readonly #waiting: { question: IncomingRequest; sinceMs: number }[] = [];
  #working: Promise<void> | null = null;

  constructor(options: Omit<RequestResponderOptions, 'subject'>) {
    this.#o = options;
  }

  add(question: IncomingRequest): void {
    if (this.#working === null) this.#work(question);
    else if (this.#waiting.length < MAX_WAITING) this.#waiting.push({ question, sinceMs: this.#o.monotonicMs() });
    else question.respond(this.#o.busy());
  }

  async close(): Promise<void> {
    for (const { question } of this.#waiting.splice(0)) question.respond(this.#o.busy());
    await this.#working;
  }

  #work(question: IncomingRequest): void {
    const { respond, onError } = this.#o;
    this.#working = respond(question.data)
      .then((text) => question.respond(text))
      .catch(onError)
      .then(() => {
        this.#working = null;
        this.#next();
      });
  }

  #next(): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (this.#o.monotonicMs() - next.sinceMs <= this.#o.maxWaitMs) {
        this.#work(next.question);
        return;
      }
      next.question.respond(this.#o.busy());
    }
  }
}
