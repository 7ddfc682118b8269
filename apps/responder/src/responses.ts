/**
 * RESPONSES, read and written: every record on the stream goes into the ledger in order, and records of one's own are stored once.
 *
 * Each record is checked against its own id as it is read: a record whose id is not what its names hash to, or that cannot be decoded, is
 * dead-lettered and not believed.
 */
import { type Ledger, phaseGroupOf, responseIdOf } from '@bailiff/answer';
import {
  type Bus,
  BusError,
  cloudEventHeaders,
  consumeOrdered,
  deadLetter,
  lastSequence,
  publishOnce,
  type RetryOptions,
  reasonOf,
  responseSubject,
  retryTransient,
  type StreamMessage,
} from '@bailiff/bus';
import {
  cutTexts,
  type Decoded,
  decode,
  decodeWithLookup,
  encodeResponse,
  MAX_TEXT,
  type Response,
  type SchemaRegistry,
} from '@bailiff/schemas';
import type { Published, Reserved, ResponseLog } from './ports.ts';

const STREAM = 'RESPONSES';
/** What others wrote: errors of the API server, owner references. */
const { reason, ownerKind, ownerName, ownerUid, apiPath } = MAX_TEXT.Response;
const FOREIGN = { reason, ownerKind, ownerName, ownerUid, apiPath };
/** A record that the bus has not taken within this is tried again as a new try of its job. */
const PUBLISH_DEADLINE_MS = 5_000;
/** Longest wait for records that are on the stream to be folded. */
const CATCH_UP_MS = 5_000;

export interface ResponseStreamOptions {
  bus: Bus;
  ledger: Ledger;
  registry: SchemaRegistry;
  /** Called after each record is folded. */
  onFolded(taskId: string, response: Response): void;
  onUnreadable(reason: string): void;
  /** A dead letter, or a schema that is asked for, waits for the bus. */
  onWait: RetryOptions['onWait'];
  /** The stream was made anew; what was done stays known. */
  onRemade(): void;
  clock: RetryOptions['clock'];
  signal: AbortSignal;
}

export class ResponseStream implements ResponseLog {
  readonly #options: ResponseStreamOptions;
  #waiters: { sequence: number; resolve: () => void; reject: (error: BusError) => void }[] = [];

  constructor(options: ResponseStreamOptions) {
    this.#options = options;
  }

  /** Reads until the signal aborts. `onCaughtUp` is called once, when all that was there at the start is folded. */
  async read(onCaughtUp: () => void): Promise<void> {
    const { bus, ledger, signal } = this.#options;
    // What is at or below this is either delivered before the first idle moment or is no more (it was too old).
    let before = await retryTransient(bus, () => lastSequence(bus, STREAM), this.#options);
    let caughtUp = false;
    await consumeOrdered(bus, STREAM, {
      start: 'all',
      onMessage: (message) => this.#take(message),
      onIdle: () => {
        if (caughtUp) return;
        caughtUp = true;
        ledger.reached(before);
        this.#wake();
        onCaughtUp();
      },
      onRecreated: async () => {
        before = await lastSequence(bus, STREAM);
        caughtUp = false;
        ledger.startOver();
        const waiting = this.#waiters;
        this.#waiters = [];
        for (const { reject } of waiting) reject(new BusError('BUS_NO_STREAM', `${STREAM} was made anew`));
        this.#options.onRemade();
      },
      signal,
    });
  }

  publish(response: Response): Promise<Published> {
    return this.#store(response, undefined);
  }

  async reserve(response: Response, lastSequence: number): Promise<Reserved> {
    const result = await this.#store(response, lastSequence);
    if (result.outcome === 'stored') return result;
    // The bus does not report which condition failed. The ledger had no record of this id when the task was judged, so the stream has grown:
    // perhaps by a record of this very task. The ledger has it once it has caught up.
    return { outcome: 'moved' };
  }

  async caughtUp(): Promise<void> {
    const { bus, ledger } = this.#options;
    const sequence = await lastSequence(bus, STREAM);
    if (ledger.position >= sequence) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new BusError('BUS_TIMEOUT', `${STREAM} is read up to ${ledger.position} of ${sequence}`)),
        CATCH_UP_MS,
      );
    });
    const folded = new Promise<void>((resolve, reject) => this.#waiters.push({ sequence, resolve, reject }));
    try {
      await Promise.race([folded, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #store(response: Response, lastSequence: number | undefined) {
    const { bus, signal } = this.#options;
    return publishOnce(bus, responseSubject(response), encodeResponse(cutTexts(response, FOREIGN)), {
      msgId: response.responseId,
      headers: cloudEventHeaders({
        id: response.responseId,
        type: 'dev.bailiff.response.v1',
        source: '/responder',
        timeMicros: response.recordedAt,
        ...(response.podName === '' ? {} : { subject: `${response.podNamespace}/${response.podName}` }),
      }),
      deadlineMs: PUBLISH_DEADLINE_MS,
      stream: STREAM,
      isUnique: true,
      ...(lastSequence === undefined ? {} : { lastSequence }),
      ...(signal.aborted ? {} : { signal }),
    });
  }

  /** Synchronous for every schema that is known, which is several times faster. */
  #take(message: StreamMessage): void | Promise<void> {
    const { registry } = this.#options;
    try {
      return this.#fold(message, decode(message.data, registry));
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'UNKNOWN_FINGERPRINT') return this.#bury(message, error as Error);
    }
    return this.#lookUp(message);
  }

  async #lookUp(message: StreamMessage): Promise<void> {
    const { bus, registry, signal } = this.#options;
    let decoded: Decoded;
    try {
      decoded = await retryTransient(bus, () => decodeWithLookup(message.data, registry), this.#options);
    } catch (error) {
      // That the bus may not be asked for a schema is no fault of the message, and neither is a stop: the reading ends with it.
      if (error instanceof BusError || signal.aborted) throw error;
      return this.#bury(message, error as Error);
    }
    return this.#fold(message, decoded);
  }

  #fold(message: StreamMessage, decoded: Decoded): void | Promise<void> {
    const { sequence, timestampMicros } = message;
    if (decoded.name !== 'Response') return this.#bury(message, new Error(`a ${decoded.name}, not a Response`));
    const response = decoded.value;
    if (response.responseId !== responseIdOf(response, phaseGroupOf(response.phase))) {
      return this.#bury(message, new Error(`responseId ${response.responseId} is not of its own names`));
    }
    const taskId = this.#options.ledger.applyInOrder(response, { sequence, timestampMicros });
    this.#wake();
    this.#options.onFolded(taskId, response);
  }

  async #bury({ sequence, subject, data }: StreamMessage, error: Error): Promise<void> {
    const { bus, ledger, signal } = this.#options;
    const reason = reasonOf(error, 'not-a-response');
    const letter = { stream: STREAM, sequence, subject, reason, detail: error.message, data, signal };
    await retryTransient(bus, () => deadLetter(bus, letter), this.#options);
    this.#options.onUnreadable(reason);
    ledger.reached(sequence);
    this.#wake();
  }

  #wake(): void {
    const { position } = this.#options.ledger;
    const ready = this.#waiters.filter(({ sequence }) => sequence <= position);
    if (ready.length === 0) return;
    this.#waiters = this.#waiters.filter(({ sequence }) => sequence > position);
    for (const { resolve } of ready) resolve();
  }
}
