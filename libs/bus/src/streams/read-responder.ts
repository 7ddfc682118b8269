/**
 * Responds to the direct gets of READERS, CONSOLE and EVIDENCE, which cannot reach the server. siem-relay
 * runs it.
 *
 * nats-server from 2.11 on serves a direct get while the stream can store nothing. One with
 * `multi_last` compares each of its filters with each subject of the stream, and one with `batch` and
 * `max_bytes` reads as much of the stream into memory. So a reader gets one message a request, by its
 * sequence, the next one under a filter, or the newest of a subject. Limits: MAX_READS_PER_WINDOW
 * requests of a stream in a second, and those of respondToRequests.
 *
 * The services of BATCH_ROLES read whole streams, so they get batches of up to MAX_BATCH messages and
 * MAX_BATCH_BYTES, one at a time for each stream, and UNITS_PER_WINDOW in a second. The server takes no
 * request from a client with the reply subject of an import, so messages pass through this process.
 */
import { pause } from '@bailiff/service/retry';
import type { Bus } from '../connection/connect.ts';
import { toBusError } from '../connection/errors.ts';
import type { Incoming } from '../connection/incoming.ts';
import { request, requestMany } from '../connection/request.ts';
import { type Response, respondToRequests, WINDOW_MS } from '../connection/request-responder.ts';
import {
  BATCH_ROLES,
  BATCH_STREAMS,
  batchSubject,
  MAX_BATCH,
  MAX_BATCH_BYTES,
  READ_STREAMS,
  readSubject,
  STATE_QUEUE,
} from '../topology/subjects.ts';

/** Of all readers together. At the end of a stream a reader asks a few times a second. */
export const MAX_READS_PER_WINDOW = 256;
/**
 * Of a role that reads in batches: its messages of a second, each of up to BYTES_PER_UNIT, so that it
 * leaves most of this process to others.
 */
export const UNITS_PER_WINDOW = 16_384;
const BYTES_PER_UNIT = 4_096;
/** Requests of such a role for a stream: a server that sends no batches gets one for each message. */
const MAX_BATCHES_PER_WINDOW = 4_096;
/** Such a reader has several requests on their way (direct-reader.ts). */
const MAX_WAITING = 64;
const MAX_WAIT_MS = 2_000;
/** The longest subject that a server stores. */
const MAX_FILTER_LENGTH = 4_096;

/** The fields of a direct get that cost the server about two milliseconds at most, in a full stream. */
interface Read {
  seq?: number;
  start_time?: string;
  next_by_subj?: string;
  last_by_subj?: string;
  batch?: number;
  max_bytes?: number;
}

const isText = (value: unknown) =>
  value === undefined || (typeof value === 'string' && value !== '' && value.length <= MAX_FILTER_LENGTH);

const isUpTo = (most: number, value: unknown) =>
  Number.isSafeInteger(value) && Number(value) > 0 && Number(value) <= most;

/** The query of a request; null if it has other fields, or values that are not cheap. */
export function cheapRead(data: Uint8Array, hasBatches = false): Read | null {
  let body: unknown;
  try {
    body = JSON.parse(Buffer.from(data).toString('utf8'));
  } catch {
    return null;
  }
  if (typeof body !== 'object' || body === null) return null;
  const { seq, start_time, next_by_subj, last_by_subj, batch, max_bytes, ...others } = body as Read;
  const isBatch = batch !== undefined || max_bytes !== undefined;
  // Both: without max_bytes, the server reads up to MAX_PENDING_BYTES.
  if (isBatch && !(hasBatches && isUpTo(MAX_BATCH, batch) && isUpTo(MAX_BATCH_BYTES, max_bytes))) return null;
  if (Object.keys(others).length > 0 || ![start_time, next_by_subj, last_by_subj].every(isText)) return null;
  if (seq !== undefined && !(Number.isSafeInteger(seq) && seq > 0)) return null;
  // The newest message of a subject, or of the stream.
  return last_by_subj !== undefined && last_by_subj !== '>' && /[*>]/.test(last_by_subj) ? null : (body as Read);
}

const NOTHING = new Uint8Array();
const status = (text: string): Response => ({ headerBlock: Buffer.from(`NATS/1.0 ${text}\r\n\r\n`), data: NOTHING });

/** Where requests come from, and what they may ask for. */
interface Source {
  subject: string;
  stream: string;
  maxPerWindow: number;
  /** What is left of the messages of this second; null: no batches. */
  budget: ReadBudget | null;
}

/** @returns a function that ends it */
export function respondToReads(
  bus: Bus,
  monotonicMs: () => number,
  onError: (error: Error) => void,
  maxPerWindow = MAX_READS_PER_WINDOW,
): () => Promise<void> {
  const over = new AbortController();
  const single = READ_STREAMS.map((stream): Source => {
    return { subject: readSubject(stream), stream, maxPerWindow, budget: null };
  });
  const batches = BATCH_ROLES.flatMap((role) => {
    const budget = new ReadBudget(monotonicMs);
    return BATCH_STREAMS[role].map((stream): Source => {
      return { subject: batchSubject(role, stream), stream, maxPerWindow: MAX_BATCHES_PER_WINDOW, budget };
    });
  });
  const responders = [...single, ...batches].map(({ subject, stream, budget, ...limits }) =>
    respondToRequests(bus, {
      subject,
      queue: STATE_QUEUE,
      respond: (data, send) => read(bus, { stream, data, budget, send, signal: over.signal }),
      busy: () => status('503 Busy'),
      maxWaitMs: MAX_WAIT_MS,
      ...limits,
      ...(budget ? { maxWaiting: MAX_WAITING } : {}),
      monotonicMs,
      onError,
    }),
  );
  return async () => {
    over.abort();
    await Promise.all(responders.map((responder) => responder.close()));
  };
}

interface Reading {
  stream: string;
  data: Uint8Array;
  budget: ReadBudget | null;
  send: (response: Response) => void;
  signal: AbortSignal;
}

/** The response to a read, or the last one of a batch. */
async function read(bus: Bus, { stream, data, budget, send, signal }: Reading): Promise<Response> {
  const query = cheapRead(data, budget !== null);
  if (query === null) return status('408 Bad Request');
  const subject = `$JS.API.DIRECT.GET.${stream}`;
  try {
    await budget?.wait(signal);
    if (query.batch === undefined) {
      const found = await request(bus, subject, JSON.stringify(query));
      budget?.spend(found);
      return copyOf(found);
    }
    let last = status('503 Busy');
    await requestMany(bus, subject, query, signal, (found) => {
      budget?.spend(found);
      // A server before 2.11 sends one message, without a count of those that follow.
      const isLast = (found.headers?.code ?? 0) > 0 || found.headers?.source().has('Nats-Num-Pending') !== true;
      if (isLast) last = copyOf(found);
      else send(copyOf(found));
      return isLast;
    });
    return last;
  } catch (cause) {
    return status(`503 ${toBusError(cause, stream).code}`);
  }
}

const copyOf = ({ headerBlock, data }: Incoming): Response => ({ headerBlock: headerBlock ?? NOTHING, data });

/** How much of this process a role uses in a second. */
class ReadBudget {
  readonly #monotonicMs: () => number;
  #endMs = 0;
  #left = 0;

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  spend({ data }: Incoming): void {
    this.#left -= 1 + Math.floor(data.length / BYTES_PER_UNIT);
  }

  /** Resolves when something is left. */
  async wait(signal: AbortSignal): Promise<void> {
    if (this.#left <= 0) await pause(Math.max(0, this.#endMs - this.#monotonicMs()), signal);
    if (this.#monotonicMs() < this.#endMs && this.#left > 0) return;
    this.#endMs = this.#monotonicMs() + WINDOW_MS;
    this.#left = UNITS_PER_WINDOW;
  }
}
