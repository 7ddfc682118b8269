/**
 * Reads a stream in order by direct gets, for identities outside the core account. They must not
 * create a consumer, because its creator chooses the subject where JetStream delivers.
 *
 * It keeps the contract of consumeOrdered (ordered.ts). A server from 2.11 on sends BATCH messages
 * a request; an older one sends one, as it does to services that read by the API of JetStream
 * (direct.ts), so reading is slower. A lagging replica responds "not found",
 * and the next poll repeats the request. Limits: BATCH and BATCH_BYTES in memory; one batch at a
 * time; a new message is noticed within POLL_MS, at once after a full batch.
 *
 * On a slow line it requests less at once: the server ends a connection to which it cannot send within
 * WRITE_DEADLINE_S.
 */
import assert from 'node:assert';
import { pause } from '@bailiff/service/retry';
import type { StreamInfo } from '@nats-io/jetstream';
import { busBackoffMs } from '../connection/backoff.ts';
import { type Bus, reportRecreated } from '../connection/connect.ts';
import { BusError, isTransient } from '../connection/errors.ts';
import type { HeaderBlock } from '../connection/incoming.ts';
import { requestMany } from '../connection/request.ts';
import { readsByApi } from '../topology/identities.ts';
import { isUnder } from '../topology/subjects.ts';
import { getLastOf, getNextMessage, type StreamMessage, sequenceAt, sourcedMessage, streamInfo } from './direct.ts';
import type { OrderedOptions } from './ordered-options.ts';
import { ReadShare } from './read-share.ts';
import { StreamPosition } from './stream-position.ts';

const BATCH = 256;
const BATCH_BYTES = 1024 ** 2;
const POLL_MS = 200;
/** Concurrent requests for the newest message of a subject. */
const LAST_AT_ONCE = 32;
/** Concurrent requests for single messages: below MAX_PENDING_BYTES, at 1.4 MiB each. */
const SINGLE_AT_ONCE = 16;
/** Maximum number of subjects in one STREAM.INFO response. */
const SUBJECTS_PER_PAGE = 100_000;

export class DirectReader {
  readonly #bus: Bus;
  readonly #stream: string;
  readonly #options: OrderedOptions;
  readonly #filter: string;
  readonly #position: StreamPosition;
  readonly #share = new ReadShare();
  /** The server sends one message a request. */
  #single: boolean;
  /** How many of them are requested at once. */
  #width = SINGLE_AT_ONCE;
  /** Error of onMessage: ends the reading, also if it is one that the reader itself retries. */
  #failure: { error: unknown } | null = null;
  /** Upper bound of unread messages under the filter; such a server does not report it. */
  #left: number | null = null;

  constructor(bus: Bus, stream: string, options: OrderedOptions) {
    const { filterSubjects = [], start } = options;
    assert(filterSubjects.length <= 1, 'direct gets support one filter');
    this.#bus = bus;
    this.#stream = stream;
    this.#options = options;
    this.#filter = filterSubjects[0] ?? '>';
    this.#single = readsByApi(bus.user);
    this.#position = new StreamPosition(start);
  }

  /** Reads until the signal aborts. @throws as consumeOrdered */
  async run(): Promise<void> {
    const { signal, onRestart } = this.#options;
    for (let failures = 0; !signal.aborted; ) {
      try {
        await this.#bus.whenConnected(signal);
        const before = this.#position.received ?? 0;
        await this.#readToEnd();
        failures = 0;
        const { received } = this.#position;
        if (!signal.aborted) this.#options.onIdle?.(received ?? 0);
        // Of a stream that grows fast, there is more already.
        if ((received ?? 0) - before < BATCH) await pause(POLL_MS, signal);
      } catch (cause) {
        if (this.#failure) throw this.#failure.error;
        if (signal.aborted) return;
        if (!(cause instanceof BusError) || !isTransient(cause)) throw cause;
        this.#share.reduce();
        onRestart?.(cause.message);
        await pause(busBackoffMs(failures), signal);
        failures += 1;
      }
    }
  }

  async #readToEnd(): Promise<void> {
    const info = await streamInfo(this.#bus, this.#stream);
    if (this.#position.isNew) this.#position.begin(info);
    else if (this.#position.isRecreated(info)) await this.#startOver(info);
    if (this.#position.received === null) await this.#start(info);
    while (!this.#over && (this.#position.received ?? 0) < info.state.last_seq) {
      const next = (this.#position.received ?? 0) + 1;
      const messages = await this.#share.measure(() => (this.#single ? this.#singles(next, info) : this.#batch(next)));
      for (const message of messages) await this.#handle(message, info);
      if (messages.length === 0) return;
    }
  }

  get #over(): boolean {
    return this.#options.signal.aborted;
  }

  async #startOver(info: StreamInfo): Promise<void> {
    this.#options.onRestart?.('the stream was recreated');
    reportRecreated(this.#bus, this.#stream);
    await this.#options.onRecreated?.(info);
    this.#position.beginRecreated(info);
  }

  async #handle(message: StreamMessage, info: StreamInfo): Promise<void> {
    if (this.#over) return;
    this.#position.take(message);
    const pending = message.pending >= 0 ? message.pending : await this.#countLeft(message.sequence, info);
    const data = this.#options.headersOnly ? message.data.subarray(0, 0) : message.data;
    try {
      const result = this.#options.onMessage({ ...message, data, pending });
      if (result instanceof Promise) await result;
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }

  /** Upper bound of the messages behind a sequence. */
  async #countLeft(sequence: number, { state, config }: StreamInfo): Promise<number> {
    const behind = Math.max(0, state.last_seq - sequence);
    if (isWhole(this.#filter, config.subjects)) return behind;
    this.#left ??= (await this.#subjects()).reduce((sum, [, messages]) => sum + messages, 0);
    this.#left = Math.max(0, this.#left - 1);
    return Math.min(behind, this.#left);
  }

  /** Sets the position before the first message. */
  async #start(info: StreamInfo): Promise<void> {
    const { start } = this.#position;
    if (start === 'last-per-subject') await this.#readLast(info);
    else if (start === 'all') this.#position.received = 0;
    else if (start === 'new') this.#position.received = info.state.last_seq;
    else if ('sequence' in start) this.#position.received = Math.max(0, start.sequence - 1);
    else {
      const next = (sequence: number) => getNextMessage(this.#bus, this.#stream, sequence, '>');
      this.#position.received = (await sequenceAt(next, start.timeMs * 1000, info.state)) - 1;
    }
  }

  /**
   * Handles the newest message of each subject, in stream order. Messages newer than `info` are
   * read afterwards.
   */
  async #readLast(info: StreamInfo): Promise<void> {
    const subjects = (await this.#subjects()).map(([subject]) => subject);
    const found: StreamMessage[] = [];
    for (let at = 0; at < subjects.length && !this.#over; ) {
      const page = subjects.slice(at, at + this.#share.of(LAST_AT_ONCE));
      at += page.length;
      const read = () => Promise.all(page.map((subject) => getLastOf(this.#bus, this.#stream, subject)));
      const messages = await this.#share.measure(read);
      found.push(...messages.flatMap((message) => (message && message.sequence <= info.state.last_seq ? message : [])));
    }
    found.sort((a, b) => a.sequence - b.sequence);
    for (const [index, message] of found.entries()) {
      await this.#handle({ ...message, pending: found.length - index - 1 }, info);
    }
    if (!this.#over) this.#position.received = info.state.last_seq;
  }

  /** Subjects under the filter with the number of their messages. */
  async #subjects(): Promise<[string, number][]> {
    const subjects: [string, number][] = [];
    let offset = 0;
    for (;;) {
      const { state } = await streamInfo(this.#bus, this.#stream, {
        subjects_filter: this.#filter,
        offset,
      });
      const page = Object.entries(state.subjects ?? {});
      // A stored subject may contain wildcards, which a direct get would treat as a filter.
      subjects.push(...page.filter(([subject]) => !/(^|\.)[*>](\.|$)/.test(subject)));
      if (page.length < SUBJECTS_PER_PAGE) return subjects;
      offset += page.length;
    }
  }

  /**
   * Messages from a sequence on, each by its own request. If a message is gone or not under the filter,
   * several requests return its successor: then fewer are sent at once, as after large messages.
   */
  async #singles(sequence: number, { state }: StreamInfo): Promise<StreamMessage[]> {
    const count = Math.min(this.#share.of(SINGLE_AT_ONCE), this.#width, state.last_seq - sequence + 1);
    const requests = Array.from({ length: count }, (_, index) =>
      getNextMessage(this.#bus, this.#stream, sequence + index, this.#filter),
    );
    const responses = await Promise.all(requests);
    // A server that lags has none where another one has the next: nothing behind it is taken before it.
    const none = responses.indexOf(null);
    const found = (none < 0 ? responses : responses.slice(0, none)) as StreamMessage[];
    const messages = found
      .filter((message, index) => message.sequence !== found[index - 1]?.sequence)
      .map((message) => ({ ...message, pending: -1 }));
    const largest = Math.max(1, ...messages.map(({ data }) => data.length));
    const width = messages.length < count ? messages.length : 2 * this.#width;
    this.#width = Math.max(1, Math.min(width, SINGLE_AT_ONCE, Math.floor(BATCH_BYTES / largest)));
    return messages;
  }

  /** Next messages from a sequence on; empty if the responding server has none. @throws BusError */
  async #batch(sequence: number): Promise<StreamMessage[]> {
    const { of } = this.#share;
    const body = { seq: sequence, next_by_subj: this.#filter, batch: of(BATCH), max_bytes: of(BATCH_BYTES) };
    const messages: StreamMessage[] = [];
    const subject = `$JS.API.DIRECT.GET.${this.#stream}`;
    await requestMany(this.#bus, subject, body, this.#options.signal, (response) => {
      const message = sourcedMessage(response, this.#stream);
      if (!message) return isEnd(response.headers, subject);
      const { previous, reportedPending } = message;
      const last = messages.at(-1)?.sequence;
      const isNext = last === undefined ? message.sequence >= sequence : message.sequence > last;
      if (!isNext || !isUnder(this.#filter, message.subject)) {
        throw new BusError('BUS_TIMEOUT', `${this.#stream}: a message that was not requested`);
      }
      if (last !== undefined && previous !== null && previous !== last) {
        throw new BusError('BUS_TIMEOUT', `${this.#stream}: a message of the batch is missing`);
      }
      messages.push({ ...message, pending: reportedPending ?? -1 });
      this.#single = reportedPending === null;
      return this.#single;
    });
    return messages;
  }
}

/** Whether a filter selects all messages of a stream that a Bailiff client stored. */
function isWhole(filter: string, subjects: readonly string[] = []): boolean {
  if (filter === '>') return true;
  const [prefix] = subjects.flatMap((subject) => (subject.endsWith('.>') ? subject.slice(0, -1) : []));
  return prefix !== undefined && filter.startsWith(prefix) && /^[*>.]+$/.test(filter.slice(prefix.length));
}

/**
 * Whether a status ends a batch: 204 after its last message, 404 without messages. @throws BusError
 * for any other status
 */
function isEnd(headers: HeaderBlock | undefined, subject: string): true {
  const { code = 0, description = '' } = headers ?? {};
  if (code === 204 || code === 404) return true;
  throw new BusError(code === 503 ? 'BUS_NO_STREAM' : 'BUS_REFUSED', `${subject}: ${code} ${description}`);
}
