/**
 * Reads a stream from a time to its end, or on with `follow`. When the range exceeds a bound, only
 * its newest messages are read and the result says `cut`.
 *
 * Invariants: messages arrive in order, and none of the range is missing.
 * Bounds: MAX_MESSAGES per read. Three times the timeout of the bus without a message is an error.
 */
import { type Bus, BusError, consumeOrdered, type StartAt, type StreamMessage, streamInfo } from '@bailiff/bus';

/** Half a minute of reading for frames of violations, and 2.5 GB if every frame were full. */
export const MAX_MESSAGES = 100_000;
/**
 * A server that delivers nothing for this long, and does not report the end, is considered stuck.
 * Longer than a request, because a reader replaces its consumer once or twice before.
 */
export const silenceMsOf = ({ timeoutMs }: Pick<Bus, 'timeoutMs'>): number => 3 * timeoutMs;

export interface ReadOptions {
  /** Server time, milliseconds; 0 = everything. */
  sinceMs: number;
  filterSubjects?: readonly string[];
  onMessage: (message: StreamMessage) => void | Promise<void>;
  /** Continue at the end, until the signal aborts. */
  follow?: boolean;
  /** Called once, after the last stored message was passed on. */
  onCaughtUp?: () => void;
  signal: AbortSignal;
  /** For tests. */
  maxMessages?: number;
}

export interface ReadResult {
  /** Messages passed on. */
  count: number;
  /** Older messages of the range were not read. */
  cut: boolean;
  /** Server time of the stream's newest message, of any subject; null if the stream is empty. */
  newestMs: number | null;
}

/**
 * @throws BusError BUS_NO_STREAM, BUS_TIMEOUT, BUS_PERMISSION, BUS_UNREACHABLE; what onMessage
 * throws
 */
export async function readStream(bus: Bus, stream: string, options: ReadOptions): Promise<ReadResult> {
  const info = await streamInfo(bus, stream);
  const { messages, last_seq: lastSequence, last_ts: lastTime } = info.state;
  const newestMs = messages > 0 ? Date.parse(lastTime) : null;
  const maxMessages = options.maxMessages ?? MAX_MESSAGES;
  const start: StartAt = options.sinceMs <= 0 ? 'all' : { timeMs: options.sinceMs };
  const first = await pass(bus, stream, { ...options, start, lastSequence, maxPending: maxMessages });
  if (first.ended !== 'too-many') return { count: first.count, cut: false, newestMs };
  // Filtered and expired sequences only reduce the count: the bound holds, and the newest messages
  // are complete.
  const newest = { sequence: lastSequence - maxMessages + 1 };
  const second = await pass(bus, stream, { ...options, start: newest, lastSequence, maxPending: null });
  return { count: second.count, cut: true, newestMs };
}

interface PassOptions extends ReadOptions {
  start: StartAt;
  lastSequence: number;
  /** Stop at the first message if at least this many follow it; null = never. */
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
  // A slow reader (a pager at the end of the pipe) does not count as silence of the server.
  let busy = false;
  const silenceMs = silenceMsOf(bus);
  const watchdog = setInterval(() => {
    if (lastSeen === seen && !busy) {
      silent = new BusError('BUS_TIMEOUT', `${stream}: no message within ${silenceMs / 1000} s`);
      end.abort();
    }
    lastSeen = seen;
  }, silenceMs / 2);
  const passOn = async (result: Promise<void>, atEnd: boolean) => {
    busy = true;
    await result.finally(() => {
      busy = false;
    });
    if (atEnd) reachEnd();
  };
  const onMessage = (message: StreamMessage): void | Promise<void> => {
    // The consumer may deliver buffered messages after it was stopped.
    if (end.signal.aborted) return;
    if (seen === 0 && options.maxPending !== null && message.pending >= options.maxPending) return finish('too-many');
    seen += 1;
    const timeMs = message.timestampMicros / 1000;
    const atEnd = !follow && message.sequence >= lastSequence;
    if (timeMs < sinceMs) return atEnd ? reachEnd() : undefined;
    count += 1;
    const result = options.onMessage(message);
    if (result instanceof Promise) return passOn(result, atEnd);
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
