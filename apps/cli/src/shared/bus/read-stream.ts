/**
 * Reading a stretch of a stream and stopping: everything since a time, the newest if that is more than a bound, then either the end or
 * whatever comes.
 *
 * Invariants: messages come in order, none is left out of the stretch that was promised; when the stretch was cut at its old end, the result says so.
 * Bounds: MAX_MESSAGES of the stream are looked at; silence for SILENCE_MS is an error.
 */
import { type Bus, BusError, consumeOrdered, type StartAt, type StreamMessage, streamInfo } from '@bailiff/bus';

/** Messages that one command looks at: half a minute of reading for frames of violations, and 2.5 GB if every one were full. */
export const MAX_MESSAGES = 100_000;
/** A server that has delivered nothing for this long, and has not said that there is nothing, will not. */
export const SILENCE_MS = 15_000;

export interface ReadOptions {
  /** Server time, milliseconds; 0 = everything. */
  sinceMs: number;
  filterSubjects?: readonly string[];
  onMessage: (message: StreamMessage) => void | Promise<void>;
  /** Go on when the end is reached, until the signal aborts. */
  follow?: boolean;
  /** Once, when what was there has been handed on. */
  onCaughtUp?: () => void;
  signal: AbortSignal;
  /** For tests. */
  maxMessages?: number;
}

export interface ReadResult {
  /** Messages handed on. */
  count: number;
  /** Older ones were in the stretch and were not looked at. */
  cut: boolean;
  /** Server time of the newest message in the stream, whatever its subject; null when it is empty. */
  newestMs: number | null;
}

/** Reads. @throws BusError BUS_NO_STREAM, BUS_TIMEOUT, BUS_PERMISSION, BUS_UNREACHABLE; what onMessage throws */
export async function readStream(bus: Bus, stream: string, options: ReadOptions): Promise<ReadResult> {
  const info = await streamInfo(bus, stream);
  const { messages, last_seq: lastSequence, last_ts: lastTime } = info.state;
  const newestMs = messages > 0 ? Date.parse(lastTime) : null;
  const maxMessages = options.maxMessages ?? MAX_MESSAGES;
  const start: StartAt = options.sinceMs <= 0 ? 'all' : { timeMs: options.sinceMs };
  const first = await pass(bus, stream, { ...options, start, lastSequence, maxPending: maxMessages });
  if (first.ended !== 'too-many') return { count: first.count, cut: false, newestMs };
  // Sequences that a filter leaves out or a limit has removed only make it fewer: never above the bound, and the newest are all there.
  const newest = { sequence: lastSequence - maxMessages + 1 };
  const second = await pass(bus, stream, { ...options, start: newest, lastSequence, maxPending: null });
  return { count: second.count, cut: true, newestMs };
}

interface PassOptions extends ReadOptions {
  start: StartAt;
  lastSequence: number;
  /** Give up at the first message when more than this follow it; null = no. */
  maxPending: number | null;
}

type Ended = 'end' | 'too-many' | 'stopped';

async function pass(bus: Bus, stream: string, options: PassOptions): Promise<{ count: number; ended: Ended }> {
  const { sinceMs, lastSequence, follow = false } = options;
  const end = new AbortController();
  let ended: Ended = 'stopped';
  let count = 0;
  let seen = 0;
  let caughtUp = false;
  let silent: BusError | null = null;
  const finish = (how: Ended) => {
    ended = how;
    end.abort();
  };
  const reachEnd = () => {
    if (caughtUp) return;
    caughtUp = true;
    clearInterval(watchdog);
    options.onCaughtUp?.();
    if (!follow) finish('end');
  };
  let lastSeen = -1;
  // A reader of ours that is slow (a pager at the other end of the pipe) is no silence of the server.
  let busy = false;
  const watchdog = setInterval(() => {
    if (lastSeen === seen && !busy) {
      silent = new BusError('BUS_TIMEOUT', `${stream}: nothing more came within ${SILENCE_MS / 1000} s`);
      end.abort();
    }
    lastSeen = seen;
  }, SILENCE_MS / 2);
  const handOn = async (result: Promise<void>, atEnd: boolean) => {
    busy = true;
    await result;
    busy = false;
    if (atEnd) reachEnd();
  };
  const onMessage = (message: StreamMessage): void | Promise<void> => {
    // The consumer may have handed on more before it heard that it was ended.
    if (end.signal.aborted) return;
    if (seen === 0 && options.maxPending !== null && message.pending >= options.maxPending) return finish('too-many');
    seen += 1;
    const timeMs = message.timestampMicros / 1000;
    const atEnd = !follow && message.sequence >= lastSequence;
    if (timeMs < sinceMs) return atEnd ? reachEnd() : undefined;
    count += 1;
    const result = options.onMessage(message);
    if (result instanceof Promise) return handOn(result, atEnd);
    if (atEnd) reachEnd();
  };
  try {
    await consumeOrdered(bus, stream, {
      start: options.start,
      ...(options.filterSubjects ? { filterSubjects: options.filterSubjects } : {}),
      onMessage,
      onIdle: reachEnd,
      signal: AbortSignal.any([end.signal, options.signal]),
    });
  } finally {
    clearInterval(watchdog);
  }
  if (silent) throw silent;
  if (!follow && !end.signal.aborted) throw options.signal.reason as Error;
  return { count, ended };
}
