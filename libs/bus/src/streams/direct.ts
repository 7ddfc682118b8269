/**
 * Requests about a stream without a consumer: one message by sequence or subject, and the stream's
 * state. Services outside the core account have no direct gets (readsByApi).
 *
 * In a cluster a lagging replica may serve a direct get, so a writer that depends on the result
 * uses compare and set. The server appends the source of a message to the stored headers.
 */
import type { StreamInfo } from '@nats-io/jetstream';
import type { Bus } from '../connection/connect.ts';
import { BusError, toBusError } from '../connection/errors.ts';
import { HeaderBlock, type Incoming } from '../connection/incoming.ts';
import { apiRequest, request } from '../connection/request.ts';
import type { RequestOptions } from '../connection/request-mux.ts';
import { microsOf } from '../connection/server-clock.ts';
import { readsByApi } from '../topology/identities.ts';
import { isUnder } from '../topology/subjects.ts';
import { streamConfigs } from '../topology/topology.ts';
import { contentOf } from './injected-reply.ts';
import { isRestoring } from './stream-lives.ts';

export interface StreamMessage {
  /** Sequence in the stream. */
  sequence: number;
  /** When the server stored the message. */
  timestampMicros: number;
  subject: string;
  headers: HeaderBlock | undefined;
  data: Uint8Array;
  /** Number of later messages in the stream (under the filter) when the server sent this one. */
  pending: number;
  /** Not stored by a Bailiff client (injected-reply.ts). It has no content, so that readers refuse it. */
  injected: boolean;
}

type Info = StreamInfo & { ts?: string };

/**
 * State and configuration of a stream; `ts` is the server's time. One that is being restored counts as
 * absent (stream-lives.ts). @throws BusError BUS_NO_STREAM and what request throws
 */
export async function streamInfo(
  bus: Bus,
  stream: string,
  body?: unknown,
  options: RequestOptions = {},
): Promise<Info> {
  const info = await storedStreamInfo(bus, stream, body, options);
  if (!isRestoring(info.config)) return info;
  const remedy = 'if its restore ended early, repeat it with --replace, or open the stream with bailiff bus setup';
  throw new BusError('BUS_NO_STREAM', `${stream} is being restored: ${remedy}`);
}

/** As streamInfo(), also of a stream that is being restored. */
export async function storedStreamInfo(
  bus: Bus,
  stream: string,
  body?: unknown,
  options: RequestOptions = {},
): Promise<Info> {
  const subject = `${bus.apiPrefix}.STREAM.INFO.${stream}`;
  const info = await apiRequest<Info>(bus, subject, body, options);
  if (info.config.name !== stream)
    throw new BusError('BUS_TIMEOUT', `${subject}: a response about ${info.config.name}`);
  const serverMicros = microsOf(info.ts ?? '');
  if (!Number.isNaN(serverMicros)) bus.serverClock.set(serverMicros);
  return info;
}

/** As streamInfo(); null: the stream does not exist. */
export async function findStream(bus: Bus, stream: string, info = streamInfo): Promise<Info | null> {
  try {
    return await info(bus, stream);
  } catch (error) {
    if (toBusError(error, stream).code !== 'BUS_NO_STREAM') throw error;
    return null;
  }
}

/** A message that was read earlier and kept, as its readers got it. @param headers its header block */
export function keptMessage(
  kept: Pick<StreamMessage, 'sequence' | 'timestampMicros' | 'subject' | 'data'>,
  headers: Uint8Array | undefined,
): StreamMessage {
  const { sequence, timestampMicros, subject, data } = kept;
  const content = contentOf({ headers: headers && new HeaderBlock(headers), data }, false);
  return { sequence, timestampMicros, subject, pending: 0, ...content };
}

/** Newest sequence of a stream; 0 if it never held a message. @throws BusError */
export async function lastSequence(bus: Bus, stream: string): Promise<number> {
  return (await streamInfo(bus, stream)).state.last_seq;
}

/** A message with what the server says about its place in the stream. */
export interface SourcedMessage extends StreamMessage {
  /** Number of later messages under the filter; null outside a batch of a 2.11 or later server. */
  reportedPending: number | null;
  /** Sequence before this one: in the batch, or of the same subject for a push; null if unknown. */
  previous: number | null;
}

/** Parses a message from a direct get or a push; null if it is not from that stream. */
export function sourcedMessage(message: Incoming, stream: string): SourcedMessage | null {
  const source = message.headers?.source();
  if (source?.get('Nats-Stream') !== stream) return null;
  const sequence = Number(source.get('Nats-Sequence'));
  const timestampMicros = microsOf(source.get('Nats-Time-Stamp') ?? '');
  if (!Number.isSafeInteger(sequence) || sequence <= 0 || Number.isNaN(timestampMicros)) return null;
  const numberOf = (name: string) => (source.has(name) ? Number(source.get(name)) : null);
  return {
    sequence,
    timestampMicros,
    subject: source.get('Nats-Subject') ?? '',
    pending: 0,
    ...contentOf(message, true),
    reportedPending: numberOf('Nats-Num-Pending'),
    previous: numberOf('Nats-Last-Sequence'),
  };
}

interface Query {
  seq?: number;
  next_by_subj?: string;
  last_by_subj?: string;
}

/** `$JS.API.DIRECT.GET.<stream>`, with a subject for its newest message. */
const directSubject = (stream: string, subject?: string) =>
  `$JS.API.DIRECT.GET.${stream}${subject === undefined ? '' : `.${subject}`}`;

/** Code of the API. */
const NO_MESSAGE = 10037;

/** Response of the API. */
interface Stored {
  message: { subject: string; seq: number; hdrs?: string; data?: string; time: string };
}

/** Subjects of the messages of each stream, its own and those of its sources. */
const SUBJECTS = new Map(
  streamConfigs().map(({ name, subjects = [], sources = [] }) => {
    const sourced = sources.flatMap(({ subject_transforms = [] }) => subject_transforms.map(({ dest }) => dest));
    return [name, [...subjects, ...sourced]];
  }),
);

/**
 * Any client of the account that knows an inbox can direct the response of its own request there, so
 * the message must be the requested one.
 */
async function get(
  bus: Bus,
  stream: string,
  query: Query,
  isRequested: (found: StreamMessage) => boolean,
  subject = directSubject(stream),
): Promise<StreamMessage | null> {
  const notRequested = () =>
    new BusError('BUS_MESSAGE', `${subject}: the response is not the requested message of ${stream}`);
  if (readsByApi(bus.user)) {
    const stored = await getStored(bus, stream, query);
    if (stored && !isRequested(stored)) throw notRequested();
    return stored;
  }
  const isOfSubject = subject !== directSubject(stream);
  const payload = isOfSubject ? undefined : JSON.stringify(query);
  const message = await request(bus, subject, payload, { repeats: bus.repeatsReads ?? false });
  const found = sourcedMessage(message, stream);
  if (found && isRequested(found)) return found;
  const { code = 0, description = '' } = message.headers ?? {};
  if (code === 404) return null;
  if (code !== 0) throw new BusError('BUS_REFUSED', `${subject}: ${code} ${description}`);
  throw notRequested();
}

/**
 * The same by a request to the API of JetStream, for identities that may not send direct gets. The stream stores
 * meanwhile, and the server refuses batches and lists of filters. The response has the stored header block as it
 * is, but not the name of the stream, so the subject of the message decides.
 */
async function getStored(bus: Bus, stream: string, query: Query): Promise<StreamMessage | null> {
  const subject = `${bus.apiPrefix}.STREAM.MSG.GET.${stream}`;
  let message: Stored['message'];
  try {
    ({ message } = await apiRequest<Stored>(bus, subject, query));
  } catch (cause) {
    if (cause instanceof BusError && cause.apiCode === NO_MESSAGE) return null;
    throw cause;
  }
  const timestampMicros = microsOf(message.time);
  const isOfStream = (SUBJECTS.get(stream) ?? []).some((filter) => isUnder(filter, message.subject));
  if (!isOfStream || !Number.isSafeInteger(message.seq) || Number.isNaN(timestampMicros)) {
    throw new BusError('BUS_MESSAGE', `${subject}: the response is not a message of ${stream}`);
  }
  const headers = message.hdrs === undefined ? undefined : new HeaderBlock(Buffer.from(message.hdrs, 'base64'));
  const content = contentOf({ headers, data: Buffer.from(message.data ?? '', 'base64') }, false);
  return { sequence: message.seq, timestampMicros, subject: message.subject, pending: 0, ...content };
}

/** A message by its sequence; null if the stream does not hold it. @throws BusError */
export function getMessage(bus: Bus, stream: string, sequence: number): Promise<StreamMessage | null> {
  return get(bus, stream, { seq: sequence }, (found) => found.sequence === sequence);
}

/** Newest message on a subject; null if there is none. @throws BusError */
export function getLastMessage(bus: Bus, stream: string, subject: string): Promise<StreamMessage | null> {
  const isRequested = (found: StreamMessage) => found.subject === subject;
  return get(bus, stream, { last_by_subj: subject }, isRequested, directSubject(stream, subject));
}

/** As getLastMessage, with permission to read the whole stream. @throws BusError */
export function getLastOf(bus: Bus, stream: string, subject: string): Promise<StreamMessage | null> {
  return get(bus, stream, { last_by_subj: subject }, (found) => found.subject === subject);
}

/** Newest message of a stream; null if it holds none. @throws BusError */
export function getNewest(bus: Bus, stream: string): Promise<StreamMessage | null> {
  return get(bus, stream, { last_by_subj: '>' }, () => true);
}

/**
 * First message at or after a sequence under a subject filter; null if there is none. @throws
 * BusError
 */
export function getNextMessage(
  bus: Bus,
  stream: string,
  sequence: number,
  filter: string,
): Promise<StreamMessage | null> {
  const query = { seq: sequence, next_by_subj: filter };
  const isRequested = (found: StreamMessage) => found.sequence >= sequence && isUnder(filter, found.subject);
  return get(bus, stream, query, isRequested);
}

/**
 * First sequence whose message was stored at or after a time; behind the last one if there is none. Bisection, because
 * older servers have no request for it.
 * @param next the first message at a sequence or behind it
 * @throws what `next` throws
 */
export async function sequenceAt(
  next: (sequence: number) => Promise<StreamMessage | null>,
  micros: number,
  { first_seq, last_seq }: Pick<Info['state'], 'first_seq' | 'last_seq'>,
): Promise<number> {
  let [low, high] = [first_seq, last_seq + 1];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const found = await next(middle);
    if (found === null || found.timestampMicros >= micros) high = middle;
    else low = found.sequence + 1;
  }
  return low;
}
