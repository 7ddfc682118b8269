/**
 * Reads RESPONSES in order into the ledger, and publishes records, each stored once.
 *
 * A record that cannot be decoded, or whose id is not the hash of its own fields, is dead-lettered
 * and not applied.
 */

import {
  type Bus,
  BusError,
  type ClusterReader,
  cloudEventHeaders,
  completeSinceMicros,
  consumeOrdered,
  deadLetter,
  firstStoredMicros,
  lastSequence,
  publishOnce,
  type RetryOptions,
  reasonOf,
  responseSubject,
  retryTransient,
  type StreamMessage,
  streamEnd,
} from '@bailiff/bus';
import { type Ledger, phaseGroupOf, responseIdOf } from '@bailiff/response';
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
import { RecentMap } from '@bailiff/service';
import { within } from '@bailiff/service/retry';
import type { Published, Reserved, ResponseLog } from '../ports.ts';

const STREAM = 'RESPONSES';
/** Fields with text of others (API server errors, owner references), which is cut to its limit. */
const { reason, ownerKind, ownerName, ownerUid, claimedOwnerUid, apiPath } = MAX_TEXT.Response;
const EXTERNAL_TEXTS = { reason, ownerKind, ownerName, ownerUid, claimedOwnerUid, apiPath };
/** Timeout of a publish; the job then repeats it with its next attempt. */
const PUBLISH_DEADLINE_MS = 5_000;
/** Timeout of `caughtUp`. */
const CATCH_UP_MS = 5_000;
/** Sent records that are remembered until the stream delivers them. */
const MAX_SENT = 10_000;

export interface ResponseStreamOptions {
  bus: Bus;
  cluster: Pick<ClusterReader, 'identity'>;
  ledger: Ledger;
  registry: SchemaRegistry;
  onUnreadable(reason: string): void;
  /** The stream has the end of a task that this process has sent, also if the ack was lost. */
  onStored(response: Response): void;
  /** A dead letter or a schema lookup waits for the bus. */
  onWait: RetryOptions['onWait'];
  clock: RetryOptions['clock'];
  signal: AbortSignal;
}

export interface ResponseHandlers {
  /** Called after each record is applied. */
  onApplied(taskId: string, response: Response): void;
  /** The records that exist at the start are applied; called again for a recreated stream. */
  onCaughtUp(): void;
}

export class ResponseStream implements ResponseLog {
  readonly #options: ResponseStreamOptions;
  #onApplied: ResponseHandlers['onApplied'] = () => {};
  readonly #sent = new RecentMap<string, true>(MAX_SENT);
  #waiters: { sequence: number; resolve: () => void; reject: (error: BusError) => void }[] = [];

  constructor(options: ResponseStreamOptions) {
    this.#options = options;
  }

  /** Reads until the signal aborts. */
  async read({ onApplied, onCaughtUp }: ResponseHandlers): Promise<void> {
    const { bus, ledger, signal } = this.#options;
    this.#onApplied = onApplied;
    // A record up to this sequence is delivered before the first idle call, or has expired.
    let before = await retryTransient(bus, () => lastSequence(bus, STREAM), this.#options);
    let caughtUp = false;
    await consumeOrdered(bus, STREAM, {
      start: 'all',
      onMessage: (message) => this.#take(message),
      onIdle: () => {
        if (caughtUp) return;
        caughtUp = true;
        ledger.advanceTo(before);
        this.#wake();
        onCaughtUp();
      },
      onRecreated: async () => {
        before = await lastSequence(bus, STREAM);
        caughtUp = false;
        ledger.streamRecreated();
        const waiting = this.#waiters;
        this.#waiters = [];
        for (const { reject } of waiting)
          reject(new BusError('BUS_NO_STREAM', `${STREAM} was deleted and created again`));
      },
      signal,
    });
  }

  publish(response: Response): Promise<Published> {
    if (response.phase !== 'started') this.#sent.set(response.responseId, true);
    return this.#store(response, undefined);
  }

  async reserve(response: Response, lastSequence: number): Promise<Reserved> {
    const result = await this.#store(response, lastSequence);
    if (result.outcome === 'stored') return result;
    // The bus does not report which condition failed. The ledger had no record of this id, so
    // another record was stored since, perhaps one of this task. The caller must catch up.
    return { outcome: 'moved' };
  }

  async caughtUp(): Promise<void> {
    const { bus, ledger } = this.#options;
    const { sequence, info } = await streamEnd(bus, STREAM);
    if (info) ledger.completeSinceMicros = completeSinceMicros(info);
    if (ledger.position >= sequence) return;
    const applied = new Promise<void>((resolve, reject) => this.#waiters.push({ sequence, resolve, reject }));
    await within(CATCH_UP_MS, applied, () => {
      throw new BusError('BUS_TIMEOUT', `${STREAM} is read up to ${ledger.position} of ${sequence}`);
    });
  }

  #store(response: Response, lastSequence: number | undefined) {
    const { bus, cluster, signal } = this.#options;
    return publishOnce(bus, responseSubject(response), encodeResponse(cutTexts(response, EXTERNAL_TEXTS)), {
      headers: cloudEventHeaders({
        id: response.responseId,
        type: 'dev.bailiff.response.v1',
        source: '/responder',
        timeMicros: response.recordedAt,
        cluster: cluster.identity,
        ...(response.podName === '' ? {} : { subject: `${response.podNamespace}/${response.podName}` }),
      }),
      deadlineMs: PUBLISH_DEADLINE_MS,
      stream: STREAM,
      isUnique: true,
      ...(lastSequence === undefined ? {} : { lastSequence }),
      ...(signal.aborted ? {} : { signal }),
    });
  }

  /** Synchronous for known schemas, which is several times faster. */
  #take(message: StreamMessage): void | Promise<void> {
    const { registry } = this.#options;
    try {
      return this.#apply(message, decode(message.data, registry));
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'UNKNOWN_FINGERPRINT')
        return this.#deadLetter(message, error as Error);
    }
    return this.#lookUp(message);
  }

  async #lookUp(message: StreamMessage): Promise<void> {
    const { bus, registry, signal } = this.#options;
    let decoded: Decoded;
    try {
      decoded = await retryTransient(bus, () => decodeWithLookup(message.data, registry), this.#options);
    } catch (error) {
      // A failed lookup or a shutdown is not the message's fault, and ends the loop.
      if (error instanceof BusError || signal.aborted) throw error;
      return this.#deadLetter(message, error as Error);
    }
    return this.#apply(message, decoded);
  }

  #apply(message: StreamMessage, decoded: Decoded): void | Promise<void> {
    const { sequence } = message;
    if (decoded.name !== 'Response') return this.#deadLetter(message, new Error(`a ${decoded.name}, not a Response`));
    const response = decoded.value;
    if (response.responseId !== responseIdOf(response, phaseGroupOf(response.phase))) {
      return this.#deadLetter(message, new Error(`responseId ${response.responseId} is not the hash of its fields`));
    }
    const place = { sequence, timestampMicros: firstStoredMicros(message) };
    const taskId = this.#options.ledger.applyInOrder(response, place);
    if (this.#sent.delete(response.responseId)) this.#options.onStored(response);
    this.#wake();
    this.#onApplied(taskId, response);
  }

  async #deadLetter({ sequence, subject, data }: StreamMessage, error: Error): Promise<void> {
    const { bus, ledger, signal } = this.#options;
    const reason = reasonOf(error, 'not-a-response');
    const letter = { stream: STREAM, sequence, subject, reason, detail: error.message, data, signal };
    await retryTransient(bus, () => deadLetter(bus, letter), this.#options);
    this.#options.onUnreadable(reason);
    ledger.advanceTo(sequence);
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
