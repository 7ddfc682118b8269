/**
 * Dead letters of VIOLATIONS: written for what cannot be judged, and read at a start as precedents, so that a claim which was refused is
 * refused again when its frame is replayed after the pod's list has changed.
 *
 * Invariants: a frame has one dead letter a reason, whoever writes it; its detail begins with the violations it is about, `[0,3] …`, `[]` for
 * the whole frame. Bounds: MAX_QUEUED_LETTERS wait and IN_FLIGHT are being written; beyond that they are dropped and counted, because a
 * node that floods with rubbish must not hold up what is sound. Frames that wait take MAX_QUEUED_BYTES; the others are read again from the stream. Precedents are bounded by what the stream keeps (50,000).
 */
import { type Bus, consumeOrdered, deadLetter, filters, getMessage, parseSubject, retryTransient } from '@bailiff/bus';
import { PrecedentBook } from '@bailiff/judge';
import type { Clock } from '@bailiff/service';

const STREAM = 'VIOLATIONS';
export const MAX_QUEUED_LETTERS = 4_096;
/** Of the frames in the queue, which may have 1 MiB each. */
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;
const IN_FLIGHT = 8;

export interface Letter {
  sequence: number;
  reason: string;
  detail: string;
  /** Of the violations in the frame; empty = all of it. */
  indexes: readonly number[];
  /** The frame, when it is at hand; otherwise it is read again. */
  message: { subject: string; data: Uint8Array } | null;
}

/** Reads what was refused since a time. @throws BusError */
export async function readPrecedents(
  bus: Bus,
  sinceMicros: number,
  untilMicros: number,
  signal: AbortSignal,
): Promise<PrecedentBook> {
  const book = new PrecedentBook(untilMicros);
  const end = new AbortController();
  await consumeOrdered(bus, 'DEAD_LETTERS', {
    filterSubjects: [filters.deadLetters({ stream: STREAM })],
    // A letter is written after its frame was stored.
    start: sinceMicros === 0 ? 'all' : { timeMs: Math.floor(sinceMicros / 1000) },
    headersOnly: true,
    onMessage: ({ subject, headers, injected }) => {
      const parsed = parseSubject(subject);
      if (parsed?.what === 'deadletters' && !injected)
        book.add(parsed.sequence, parsed.reason, headers?.get('Bailiff-Detail') ?? '');
    },
    onIdle: () => end.abort(),
    signal: AbortSignal.any([end.signal, signal]),
  });
  signal.throwIfAborted();
  return book;
}

export interface DeadLettersOptions {
  bus: Bus;
  clock: Pick<Clock, 'sleep'>;
  precedents: PrecedentBook;
  onWritten(reason: string): void;
  /** Given up, or tried again because the bus does not take it now. */
  onError(error: Error): void;
  /** Aborted when nothing may be written any more. */
  signal: AbortSignal;
}

export class DeadLetters {
  readonly #o: DeadLettersOptions;
  #queue: Letter[] = [];
  /** Of the frames in it. */
  #queuedBytes = 0;
  readonly #work = new Set<Promise<void>>();
  dropped = 0;

  constructor(options: DeadLettersOptions) {
    this.#o = options;
  }

  get waiting(): number {
    return this.#queue.length + this.#work.size;
  }

  add(letter: Letter): void {
    if (this.#o.precedents.has(letter.sequence, letter.reason)) return;
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

  /** Drops what waits: its frames are of a stream that is no more. */
  forget(): void {
    this.dropped += this.#queue.length;
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  /** Resolves when all that was added is written or given up. */
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
    const write = async () => {
      const frame = message ?? (await getMessage(bus, STREAM, sequence));
      const about = `[${indexes.join(',')}] ${detail}`;
      const subject = frame?.subject ?? '';
      const data = frame?.data ?? new Uint8Array();
      await deadLetter(bus, { stream: STREAM, sequence, subject, reason, detail: about, data, signal });
    };
    await retryTransient(bus, write, { clock, onWait: onError, signal });
    onWritten(reason);
  }
}
