/**
 * Reads every message of a stream from a sequence or a time to the stream's current end.
 *
 * Invariants: messages arrive in stream order, each once, none missing. Reading affects no other
 * reader (consumeOrdered). A stream that is recreated meanwhile is an error. Bounds: constant
 * memory. Three times the timeout of the bus without a message is an error.
 */
import { type Bus, BusError, consumeOrdered, type StreamMessage, streamInfo } from '@bailiff/bus';
import { silenceMsOf } from './read-stream.ts';

export interface StreamRange {
  start: { sequence: number } | { timeMicros: number };
  /** Server time of the last message in the range; Infinity = to the end. */
  untilMicros: number;
  filterSubjects?: readonly string[];
  headersOnly?: boolean;
  /** A promise applies backpressure. While it is pending, silence is not counted. */
  onMessage(message: StreamMessage): void | Promise<void>;
  signal: AbortSignal;
}

/** `end`: everything was read. `interrupted`: the signal aborted. */
export type RangeEnd = 'end' | 'interrupted';

/**
 * @throws BusError BUS_NO_STREAM, BUS_TIMEOUT, BUS_PERMISSION, BUS_UNREACHABLE; what onMessage
 * throws
 */
export async function readRange(bus: Bus, stream: string, range: StreamRange): Promise<RangeEnd> {
  const { start, untilMicros, signal } = range;
  const { state } = await streamInfo(bus, stream);
  if (state.messages === 0) return 'end';
  const fromMicros = 'timeMicros' in start ? start.timeMicros : 0;
  const end = new AbortController();
  let reached = false;
  const finish = () => {
    reached = true;
    end.abort();
  };
  const silence = new SilenceWatch(stream, silenceMsOf(bus), (error) => end.abort(error));
  const onMessage = (message: StreamMessage): void | Promise<void> => {
    // The consumer may deliver buffered messages after it was stopped.
    if (end.signal.aborted) return;
    silence.received();
    if (message.sequence > state.last_seq || message.timestampMicros > untilMicros) return finish();
    const last = message.sequence === state.last_seq;
    if (message.timestampMicros < fromMicros) return last ? finish() : undefined;
    const done = range.onMessage(message);
    if (done instanceof Promise)
      return silence.while(done).then(() => (last && !signal.aborted ? finish() : undefined));
    if (last) finish();
  };
  try {
    await consumeOrdered(bus, stream, {
      start: 'sequence' in start ? start : { timeMs: Math.floor(start.timeMicros / 1000) },
      ...(range.filterSubjects ? { filterSubjects: range.filterSubjects } : {}),
      ...(range.headersOnly ? { headersOnly: true } : {}),
      onMessage,
      onIdle: finish,
      onRecreated: () => {
        throw new BusError('BUS_CONFLICT', `${stream} was recreated while it was read`);
      },
      signal: AbortSignal.any([end.signal, signal]),
    });
  } finally {
    silence.stop();
  }
  if (silence.error) throw silence.error;
  return reached ? 'end' : 'interrupted';
}

/** Fails a read for which the server delivers nothing for some time. */
class SilenceWatch {
  readonly #timer: NodeJS.Timeout;
  #count = 0;
  #lastCount = -1;
  #busy = false;
  error: BusError | null = null;

  constructor(stream: string, silenceMs: number, onSilence: (error: BusError) => void) {
    this.#timer = setInterval(() => {
      if (this.#lastCount === this.#count && !this.#busy) {
        this.error = new BusError('BUS_TIMEOUT', `${stream}: no message within ${silenceMs / 1000} s`);
        onSilence(this.error);
      }
      this.#lastCount = this.#count;
    }, silenceMs / 2);
  }
  received(): void {
    this.#count += 1;
  }
  /** A slow reader does not count as silence of the server. */
  async while(work: Promise<void>): Promise<void> {
    this.#busy = true;
    await work.finally(() => {
      this.#busy = false;
    });
    this.#count += 1;
  }
  stop(): void {
    clearInterval(this.#timer);
  }
}
