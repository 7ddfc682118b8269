/**
 * Reads a stream to its end: what it holds when the read begins. Of the newest messages of each
 * subject, those that replace others meanwhile are read too.
 *
 * Invariants: messages arrive in stream order, each once, none missing. Reading affects no other
 * reader (consumeOrdered). A stream that is recreated meanwhile is an error. Bounds: constant
 * memory, and the subjects if only the newest message of each is read; and a silence: a server that
 * delivers nothing for `silenceMs`, and does not report the end, is an error. While onMessage is
 * pending (a pager at the end of a pipe), nothing is silence. Others of the process have their turn
 * between messages, however long the read is.
 */
import { Turns } from '@bailiff/service/turns';
import type { Bus } from '../connection/connect.ts';
import { BusError } from '../connection/errors.ts';
import { getNextMessage, type StreamMessage, sequenceAt, streamInfo } from './direct.ts';
import { consumeOrdered } from './ordered.ts';
import type { StartAt } from './ordered-options.ts';

/** Half a minute of reading for frames of violations, and 2.5 GB if every frame were full. */
export const MAX_MESSAGES = 100_000;

/** Messages that are read behind the end of a read of the newest ones, one by one. */
const MAX_BEHIND = 1_000;

type StreamState = Awaited<ReturnType<typeof streamInfo>>['state'];

export interface ReadToEndOptions {
  /** Default: all. */
  start?: StartAt | { timeMicros: number };
  /** Younger messages, by server time, are passed over; default: none. Not while following. */
  untilMicros?: number;
  filterSubjects?: readonly string[];
  headersOnly?: boolean;
  /** Ends at the first message if at least so many follow it; default: never. */
  maxMessages?: number;
  /** Default: three timeouts of the bus, because a reader replaces its consumer once or twice before. */
  silenceMs?: number;
  /** A promise applies backpressure. `stop` ends the read after this message. */
  onMessage: (message: StreamMessage, stop: () => void) => void | Promise<void>;
  /** Called once, at the end; then the read goes on until the signal aborts. */
  onFollow?: () => void;
  signal?: AbortSignal;
}

/** `stopped`: by onMessage. `too-many`: nothing was passed on. `aborted`: only with onFollow. */
export type ReadEnd = 'end' | 'stopped' | 'too-many' | 'aborted';

/**
 * @throws BusError BUS_NO_STREAM, BUS_TIMEOUT, BUS_PERMISSION, BUS_UNREACHABLE, BUS_CONFLICT; what
 * onMessage throws; the reason of the signal
 */
export async function readToEnd(bus: Bus, stream: string, options: ReadToEndOptions): Promise<ReadEnd> {
  return readState(bus, stream, options, (await streamInfo(bus, stream)).state);
}

async function readState(bus: Bus, stream: string, options: ReadToEndOptions, state: StreamState): Promise<ReadEnd> {
  if (state.messages === 0 && !options.onFollow) return 'end';
  return new Reading(bus, stream, options, state).run();
}

class Reading {
  readonly #bus: Bus;
  readonly #stream: string;
  readonly #options: ReadToEndOptions;
  readonly #lastSequence: number;
  readonly #start: StartAt;
  /** Subjects that were passed on, if only the newest message of each is read; else null. */
  readonly #subjects: Set<string> | null;
  /** Subjects of the whole stream when the read began. */
  readonly #subjectCount: number;
  readonly #fromMicros: number;
  readonly #silenceMs: number;
  readonly #over = new AbortController();
  readonly #turns = new Turns();
  #deadline: NodeJS.Timeout | undefined;
  #silent: BusError | null = null;
  #ended: ReadEnd | null = null;
  /** The newest sequence that was passed on. */
  #newest = 0;
  #isFirst = true;
  #isBusy = false;
  #isFollowing = false;

  constructor(bus: Bus, stream: string, options: ReadToEndOptions, state: StreamState) {
    this.#bus = bus;
    this.#stream = stream;
    this.#options = options;
    this.#lastSequence = state.last_seq;
    this.#subjectCount = state.num_subjects ?? Number.POSITIVE_INFINITY;
    const { start = 'all' } = options;
    this.#subjects = start === 'last-per-subject' ? new Set() : null;
    const isTimed = typeof start === 'object' && 'timeMicros' in start;
    this.#fromMicros = isTimed ? start.timeMicros : 0;
    this.#start = isTimed ? { timeMs: Math.floor(start.timeMicros / 1000) } : start;
    this.#silenceMs = options.silenceMs ?? 3 * bus.timeoutMs;
  }

  async run(): Promise<ReadEnd> {
    const { filterSubjects, headersOnly = false, signal } = this.#options;
    this.#deadline = setTimeout(() => this.#onDeadline(), this.#silenceMs);
    try {
      await consumeOrdered(this.#bus, this.#stream, {
        start: this.#start,
        ...(filterSubjects ? { filterSubjects } : {}),
        headersOnly,
        onMessage: (message) => this.#onMessage(message),
        onIdle: () => this.#reachEnd(),
        onRecreated: () => {
          if (this.#isFollowing) return;
          throw new BusError('BUS_CONFLICT', `${this.#stream} was recreated while it was read`);
        },
        signal: signal ? AbortSignal.any([this.#over.signal, signal]) : this.#over.signal,
      });
    } finally {
      clearTimeout(this.#deadline);
    }
    if (this.#silent) throw this.#silent;
    if (this.#ended === 'end' && this.#subjects) return this.#readBehind(this.#subjects);
    if (this.#ended) return this.#ended;
    if (this.#options.onFollow) return 'aborted';
    throw signal?.reason as Error;
  }

  /**
   * A subject that is written again meanwhile lies behind the end, because the stream has no longer
   * the message that the server would deliver, and its count of what remains may lag. Ends when each
   * subject was read: whoever writes one without pause does not prolong it.
   */
  async #readBehind(subjects: Set<string>): Promise<ReadEnd> {
    const { filterSubjects: [filter = '>'] = [], onMessage, signal } = this.#options;
    let end: ReadEnd = 'end';
    for (let step = 0; step < MAX_BEHIND && end === 'end' && subjects.size < this.#subjectCount; step += 1) {
      const message = await getNextMessage(this.#bus, this.#stream, this.#newest + 1, filter);
      signal?.throwIfAborted();
      if (!message) break;
      this.#passed(message);
      await onMessage(message, () => {
        end = 'stopped';
      });
    }
    return end;
  }

  #onMessage(message: StreamMessage): void | Promise<void> {
    // The consumer may deliver buffered messages after it was stopped.
    if (this.#over.signal.aborted) return;
    const { maxMessages = Number.POSITIVE_INFINITY, untilMicros = Number.POSITIVE_INFINITY } = this.#options;
    if (!this.#isFollowing) {
      this.#deadline?.refresh();
      if (this.#isFirst && message.pending >= maxMessages) return this.#finish('too-many');
      this.#isFirst = false;
      // The newest value of a key may be younger than the read: the one that it replaced is gone.
      if (message.sequence > this.#lastSequence && !this.#subjects) this.#reachEnd();
      if (this.#ended !== null) return;
    }
    // Of a server whose clock was ahead, messages of the range follow others that are younger.
    const { timestampMicros } = message;
    const isBeyond = timestampMicros > untilMicros && !this.#isFollowing;
    if (timestampMicros < this.#fromMicros || isBeyond) return this.#afterMessage(message);
    this.#passed(message);
    const done = this.#options.onMessage(message, () => this.#finish('stopped'));
    const due = done ?? this.#turns.due();
    if (due instanceof Promise) return this.#whenDone(message, due);
    this.#afterMessage(message);
  }

  #passed({ sequence, subject }: StreamMessage): void {
    this.#newest = sequence;
    this.#subjects?.add(subject);
  }

  async #whenDone(message: StreamMessage, work: Promise<void>): Promise<void> {
    this.#isBusy = true;
    try {
      await work;
    } finally {
      this.#isBusy = false;
    }
    this.#afterMessage(message);
  }

  #afterMessage({ sequence, pending }: StreamMessage): void {
    const isLast = this.#subjects ? pending === 0 : sequence >= this.#lastSequence;
    if (isLast && !this.#isFollowing) this.#reachEnd();
  }

  #reachEnd(): void {
    const { onFollow, signal } = this.#options;
    if (!onFollow) {
      if (!signal?.aborted) this.#finish('end');
      return;
    }
    if (this.#isFollowing) return;
    this.#isFollowing = true;
    clearTimeout(this.#deadline);
    onFollow();
  }

  #finish(how: ReadEnd): void {
    this.#ended ??= how;
    this.#over.abort();
  }

  #onDeadline(): void {
    if (this.#isBusy) {
      this.#deadline?.refresh();
      return;
    }
    this.#silent = new BusError('BUS_TIMEOUT', `${this.#stream}: no message within ${this.#silenceMs / 1000} s`);
    this.#over.abort();
  }
}

export interface ReadNewestOptions extends Omit<ReadToEndOptions, 'start'> {
  /** Server time, milliseconds; 0 = everything. */
  sinceMs: number;
}

export interface ReadResult {
  /** Older messages of the range were not read. */
  cut: boolean;
  /** Server time of the stream's newest message, of any subject; null if the stream is empty. */
  newestMs: number | null;
}

/**
 * Reads a stream from a time to its end, or until a time. Of a range with more than `maxMessages` (default
 * MAX_MESSAGES), only the newest are read. @throws as readToEnd
 */
export async function readNewest(bus: Bus, stream: string, options: ReadNewestOptions): Promise<ReadResult> {
  const { sinceMs, maxMessages = MAX_MESSAGES, ...rest } = options;
  const { state } = await streamInfo(bus, stream);
  const newestMs = state.messages > 0 ? Date.parse(state.last_ts) : null;
  const start = sinceMs <= 0 ? 'all' : { timeMicros: sinceMs * 1000 };
  const end = await readState(bus, stream, { ...rest, start, maxMessages }, state);
  if (end !== 'too-many') return { cut: false, newestMs };
  let isEmpty = true;
  const onMessage: ReadToEndOptions['onMessage'] = (message, stop) => {
    isEmpty = false;
    return rest.onMessage(message, stop);
  };
  // Filtered and expired sequences only reduce the count: the bound holds, and the newest messages
  // are complete.
  const read = (sequence: number, lastSequence: number) =>
    readState(bus, stream, { ...rest, onMessage, start: { sequence } }, { ...state, last_seq: lastSequence });
  await read(state.last_seq - maxMessages + 1, state.last_seq);
  if (!isEmpty || rest.untilMicros === undefined || rest.onFollow) return { cut: true, newestMs };
  // The range ends before the newest messages of the stream.
  const next = (sequence: number) => getNextMessage(bus, stream, sequence, '>');
  const first = await sequenceAt(next, sinceMs * 1000, state);
  const last = (await sequenceAt(next, rest.untilMicros + 1, state)) - 1;
  const from = Math.max(first, last - maxMessages + 1);
  if (from <= last) await read(from, last);
  return { cut: from > first, newestMs };
}
