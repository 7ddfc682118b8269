/**
 * What a window remembers of the violations it counted: the newest MAX_EVIDENCE, so that a verdict can name them by their place
 * in the stream, and which process did it where that is known. Grows with use up to that bound (1 KB, and as many processes), because most
 * windows see a violation or two in their life.
 */
import type { Evidence, EvidenceProcess, JudgedViolation } from '@bailiff/schemas';

/** Pieces a verdict carries at most. */
export const MAX_EVIDENCE = 32;

const STRIDE = 4;
/** Bound of a vocabulary: all vectors and any number of policy rules that a cluster could have; later words are the first one. */
const MAX_WORDS = 65_536;

/** Numbers for words that come again and again. */
export class Vocabulary {
  readonly #numbers = new Map<string, number>();
  readonly #words: string[] = [];

  numberOf(word: string): number {
    const known = this.#numbers.get(word);
    if (known !== undefined) return known;
    if (this.#words.length >= MAX_WORDS) return 0;
    this.#numbers.set(word, this.#words.length);
    return this.#words.push(word) - 1;
  }
  word(number: number): string {
    return this.#words[number] as string;
  }
}

/** Who did it: the process of the sampled operation, or the one that made the packet's socket; null when nobody saw. */
export function processOf({ operation, sample }: JudgedViolation): EvidenceProcess | null {
  if (operation !== null) {
    const { tgid, uid, comm, executable, parentExecutable, containerName, subject } = operation;
    return { tgid, uid, comm, executable, parentExecutable, containerName, operation: operation.operation, subject };
  }
  if (sample === null || sample.process === null) return null;
  const { tgid, uid, comm, executable, containerName } = sample.process;
  return { tgid, uid, comm, executable, parentExecutable: '', containerName, operation: '', subject: '' };
}

export class EvidenceRing {
  // Time, stream sequence, index in the frame * MAX_WORDS + number of the vector, packets; then the next one.
  readonly #numbers: number[] = [];
  #next = 0;
  /** By place of the piece; made with the first process: most pieces have none. */
  #processes: (EvidenceProcess | null)[] | null = null;

  add(
    timeMicros: number,
    streamSequence: number,
    index: number,
    packets: number,
    vector: number,
    process: EvidenceProcess | null = null,
  ): void {
    const numbers = this.#numbers;
    if (process !== null) this.#processes ??= [];
    if (this.#processes)
      this.#processes[(numbers.length < MAX_EVIDENCE * STRIDE ? numbers.length : this.#next) / STRIDE] = process;
    const place = index * MAX_WORDS + vector;
    if (numbers.length < MAX_EVIDENCE * STRIDE) {
      numbers.push(timeMicros, streamSequence, place, packets);
      return;
    }
    const at = this.#next;
    numbers[at] = timeMicros;
    numbers[at + 1] = streamSequence;
    numbers[at + 2] = place;
    numbers[at + 3] = packets;
    this.#next = at + STRIDE === MAX_EVIDENCE * STRIDE ? 0 : at + STRIDE;
  }

  /** Forgets everything: the window stands empty. */
  clear(): void {
    this.#numbers.length = 0;
    this.#next = 0;
    this.#processes = null;
  }

  /** Pieces not older than the time, oldest first. */
  since(timeMicros: number, vocabulary: Vocabulary): Evidence[] {
    const pieces: Evidence[] = [];
    const numbers = this.#numbers;
    for (let i = 0; i < numbers.length; i += STRIDE) {
      const at = (this.#next + i) % numbers.length;
      if ((numbers[at] as number) < timeMicros) continue;
      const place = numbers[at + 2] as number;
      pieces.push({
        streamSequence: numbers[at + 1] as number,
        index: Math.floor(place / MAX_WORDS),
        vector: vocabulary.word(place % MAX_WORDS),
        packets: numbers[at + 3] as number,
        process: this.#processes?.[at / STRIDE] ?? null,
      });
    }
    return pieces;
  }
}
