/**
 * A stretch of a stream, from a sequence or a time to the end that the stream has now: every message of it, however many.
 *
 * Invariants: messages come in the order of the stream, each once, none is left out; the reader has a consumer of its own on the server that keeps no
 * place, asks for no acknowledgement and is forgotten with it, so nobody else's reading is touched. A stream that is made anew in
 * the meantime is an error. Bounds: memory does not grow with the stretch; silence for SILENCE_MS is an error.
 */
import { type Bus, BusError, consumeOrdered, type StreamMessage, streamInfo } from '@bailiff/bus';
import { SILENCE_MS } from './read-stream.ts';

export interface Stretch {
  start: { sequence: number } | { timeMicros: number };
  /** Server time of the last message that belongs to it; Infinity = to the end. */
  untilMicros: number;
  filterSubjects?: readonly string[];
  headersOnly?: boolean;
  /** A promise holds the reading back; while it is pending nothing counts as silence. */
  onMessage(message: StreamMessage): void | Promise<void>;
  signal: AbortSignal;
}

/** Whether all of it was read; `interrupted` by the signal. */
export type StretchEnd = 'end' | 'interrupted';

/** Reads it. @throws BusError BUS_NO_STREAM, BUS_TIMEOUT, BUS_PERMISSION, BUS_UNREACHABLE; what onMessage throws */
export async function readStretch(bus: Bus, stream: string, stretch: Stretch): Promise<StretchEnd> {
  const { start, untilMicros, signal } = stretch;
  const { state } = await streamInfo(bus, stream);
  if (state.messages === 0) return 'end';
  const fromMicros = 'timeMicros' in start ? start.timeMicros : 0;
  const end = new AbortController();
  let reached = false;
  const finish = () => {
    reached = true;
    end.abort();
  };
  const silence = new SilenceWatch((error) => end.abort(error));
  const onMessage = (message: StreamMessage): void | Promise<void> => {
    // The consumer may have handed on more before it heard that it was ended.
    if (end.signal.aborted) return;
    silence.heard();
    if (message.sequence > state.last_seq || message.timestampMicros > untilMicros) return finish();
    const last = message.sequence === state.last_seq;
    if (message.timestampMicros < fromMicros) return last ? finish() : undefined;
    const done = stretch.onMessage(message);
    if (done instanceof Promise)
      return silence.while(done).then(() => (last && !signal.aborted ? finish() : undefined));
    if (last) finish();
  };
  try {
    await consumeOrdered(bus, stream, {
      start: 'sequence' in start ? start : { timeMs: Math.floor(start.timeMicros / 1000) },
      ...(stretch.filterSubjects ? { filterSubjects: stretch.filterSubjects } : {}),
      ...(stretch.headersOnly ? { headersOnly: true } : {}),
      onMessage,
      onIdle: finish,
      onRecreated: () => {
        throw new BusError('BUS_CONFLICT', `${stream} was made anew while it was read`);
      },
      signal: AbortSignal.any([end.signal, signal]),
    });
  } finally {
    silence.stop();
  }
  if (silence.error) throw silence.error;
  return reached ? 'end' : 'interrupted';
}

/** A server that has delivered nothing for SILENCE_MS, and has not said that there is nothing, will not. */
class SilenceWatch {
  readonly #timer: NodeJS.Timeout;
  #heard = 0;
  #before = -1;
  #busy = false;
  error: BusError | null = null;

  constructor(onSilence: (error: BusError) => void) {
    this.#timer = setInterval(() => {
      if (this.#before === this.#heard && !this.#busy) {
        this.error = new BusError('BUS_TIMEOUT', `nothing more came within ${SILENCE_MS / 1000} s`);
        onSilence(this.error);
      }
      this.#before = this.#heard;
    }, SILENCE_MS / 2);
  }
  heard(): void {
    this.#heard += 1;
  }
  /** A reader of ours that is slow is no silence of the server. */
  async while(work: Promise<void>): Promise<void> {
    this.#busy = true;
    await work;
    this.#busy = false;
    this.#heard += 1;
  }
  stop(): void {
    clearInterval(this.#timer);
  }
}
