/**
 * Dead letters of VIOLATIONS: written for rejected frames and violations, and read at start as
 * prior refusals, so that a replay refuses the same violations.
 *
 * Invariant: all replicas together write one letter per frame and reason. Bounds:
 * MAX_QUEUED_LETTERS are queued; beyond it letters are dropped and counted, so that a flood does
 * not delay valid frames. The queue keeps MAX_QUEUED_BYTES of frames and reads others again from
 * the stream. A node has a share of bytes of letters, LETTER_BYTES_AT_ONCE; beyond it a letter has only
 * the beginning of its frame, which stays in VIOLATIONS, so that the letters of others stay.
 */
import {
  type Bus,
  consumeOrdered,
  deadLetter,
  filters,
  getMessage,
  MAX_LETTER_BYTES,
  readCompleteSince,
  refusalOf,
  retryTransient,
  violationNode,
} from '@bailiff/bus';
import { NodeTokens, PriorRefusals } from '@bailiff/correlation';
import type { Clock } from '@bailiff/service';

const STREAM = 'VIOLATIONS';
export const MAX_QUEUED_LETTERS = 4_096;
/** Total of the frames in the queue, which may have 1 MiB each. */
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;
const IN_FLIGHT = 8;
/**
 * Frames in the letters of a node: at most 59 MiB a day, a quarter of DEAD_LETTERS. All letters of a
 * day without frames take 8 MB.
 */
export const LETTER_BYTES_AT_ONCE = 16 * 1024 * 1024;
export const LETTER_BYTES_PER_SECOND = 512;
/** Kept of a frame beyond them: the fingerprint of its schema, and its first fields. */
const CUT_BYTES = 64;
const SWEEP_EVERY = 1_024;

export interface Letter {
  sequence: number;
  reason: string;
  detail: string;
  /** Rejected violations; empty = the whole frame. */
  indexes: readonly number[];
  /** The frame if it is in memory; otherwise it is read again from the stream. */
  message: { subject: string; data: Uint8Array } | null;
}

/** Reads the refusals since a time. @throws BusError */
export async function readPriorRefusals(
  bus: Bus,
  sinceMicros: number,
  untilMicros: number,
  signal: AbortSignal,
): Promise<PriorRefusals> {
  const refusals = new PriorRefusals(untilMicros);
  const end = new AbortController();
  await consumeOrdered(bus, 'DEAD_LETTERS', {
    filterSubjects: [filters.deadLetters({ stream: STREAM })],
    // A letter is younger than its frame.
    start: sinceMicros === 0 ? 'all' : { timeMs: Math.floor(sinceMicros / 1000) },
    headersOnly: true,
    onMessage: (message) => {
      const refusal = refusalOf(message);
      if (refusal) refusals.add(refusal);
    },
    onIdle: () => end.abort(),
    signal: AbortSignal.any([end.signal, signal]),
  });
  signal.throwIfAborted();
  // Afterwards: letters may have been deleted meanwhile.
  refusals.completeSinceMicros = await readCompleteSince(bus, 'DEAD_LETTERS');
  return refusals;
}

export interface DeadLettersOptions {
  bus: Bus;
  clock: Pick<Clock, 'sleep' | 'nowMicros'>;
  priorRefusals: PriorRefusals;
  onWritten(reason: string): void;
  /** A letter was dropped, or is retried because the bus rejects it for now. */
  onError(error: Error): void;
  /** Aborted at the end of the shutdown: ends all writes. */
  signal: AbortSignal;
}

export class DeadLetters {
  readonly #o: DeadLettersOptions;
  #queue: Letter[] = [];
  /** Total of the frames in the queue. */
  #queuedBytes = 0;
  readonly #work = new Set<Promise<void>>();
  readonly #bytes = new NodeTokens({
    burst: LETTER_BYTES_AT_ONCE,
    perSecond: LETTER_BYTES_PER_SECOND,
    mostDebt: LETTER_BYTES_AT_ONCE,
  });
  #written = 0;
  /** Also of refusals beyond the share of their node. */
  dropped = 0;
  /** Letters with only the beginning of their frame. */
  cut = 0;

  constructor(options: DeadLettersOptions) {
    this.#o = options;
  }

  get waiting(): number {
    return this.#queue.length + this.#work.size;
  }

  add(letter: Letter): void {
    if (this.#o.priorRefusals.has(letter.sequence, letter.reason)) return;
    if (this.#queue.length >= MAX_QUEUED_LETTERS) {
      this.dropped++;
      return;
    }
    const bytes = letter.message?.data.length ?? 0;
    const fits = this.#queuedBytes + bytes <= MAX_QUEUED_BYTES;
    this.#queuedBytes += fits ? bytes : 0;
    this.#queue.push(fits ? letter : { ...letter, message: null });
    this.#next();
  }

  /** Drops the queue: its frames are from a stream that no longer exists. */
  clear(): void {
    this.dropped += this.#queue.length;
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  /** Resolves when every added letter is written or dropped. */
  async whenWritten(): Promise<void> {
    while (this.#work.size > 0) await Promise.race(this.#work);
  }

  #next(): void {
    while (this.#work.size < IN_FLIGHT && !this.#o.signal.aborted) {
      const letter = this.#queue.shift();
      if (!letter) return;
      this.#queuedBytes -= letter.message?.data.length ?? 0;
      const work: Promise<void> = this.#write(letter)
        .catch((error: Error) => {
          if (this.#o.signal.aborted) return;
          this.dropped++;
          this.#o.onError(error);
        })
        .finally(() => {
          this.#work.delete(work);
          this.#next();
        });
      this.#work.add(work);
    }
  }

  async #write({ sequence, reason, detail, indexes, message }: Letter): Promise<void> {
    const { bus, clock, signal, onError, onWritten } = this.#o;
    let hasShare: boolean | null = null;
    const write = async () => {
      const frame = message ?? (await getMessage(bus, STREAM, sequence));
      hasShare ??= this.#takeBytes(frame);
      const about = `[${indexes.join(',')}] ${detail}`;
      const subject = frame?.subject ?? '';
      const data = frame?.data ?? new Uint8Array();
      await deadLetter(bus, {
        stream: STREAM,
        sequence,
        subject,
        reason,
        detail: about,
        data,
        maxBytes: hasShare ? MAX_LETTER_BYTES : CUT_BYTES,
        signal,
      });
    };
    await retryTransient(bus, write, { clock, onWait: onError, signal });
    onWritten(reason);
  }

  #takeBytes(frame: { subject: string; data: Uint8Array } | null): boolean {
    if (!frame) return true;
    const nowMicros = this.#o.clock.nowMicros();
    if (this.#written++ % SWEEP_EVERY === 0) this.#bytes.sweep(nowMicros);
    const node = violationNode(frame.subject) ?? '';
    const has = this.#bytes.has(node, nowMicros);
    if (has) this.#bytes.charge(node, Math.min(frame.data.length, MAX_LETTER_BYTES));
    else this.cut++;
    return has;
  }
}
