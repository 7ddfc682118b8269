/**
 * What a window remembers of the violations it counted: the newest MAX_EVIDENCE, so that a verdict can name them by their place
 * in the stream. Grows with use up to that bound (about 1 KB), because most windows see a violation or two in their life.
 */
import type { Evidence } from '@bailiff/schemas';

/** Pieces a verdict carries at most. */
export const MAX_EVIDENCE = 32;

const STRIDE = 4;

export class EvidenceRing {
  // Time, stream sequence, index in the frame, packets; then the next one.
  #numbers: number[] = [];
  #vectors: string[] = [];
  #next = 0;
  /** All that was ever added. */
  total = 0;

  add(timeMicros: number, streamSequence: number, index: number, packets: number, vector: string): void {
    this.total++;
    if (this.#vectors.length < MAX_EVIDENCE) {
      this.#numbers.push(timeMicros, streamSequence, index, packets);
      this.#vectors.push(vector);
      return;
    }
    const at = this.#next * STRIDE;
    this.#numbers[at] = timeMicros;
    this.#numbers[at + 1] = streamSequence;
    this.#numbers[at + 2] = index;
    this.#numbers[at + 3] = packets;
    this.#vectors[this.#next] = vector;
    this.#next = (this.#next + 1) % MAX_EVIDENCE;
  }

  /** Forgets everything: the window stands empty. */
  clear(): void {
    this.#numbers.length = 0;
    this.#vectors.length = 0;
    this.#next = 0;
    this.total = 0;
  }

  /** Pieces not older than the time, oldest first. */
  since(timeMicros: number): Evidence[] {
    const pieces: Evidence[] = [];
    const held = this.#vectors.length;
    for (let i = 0; i < held; i++) {
      const place = (this.#next + i) % held;
      const at = place * STRIDE;
      if ((this.#numbers[at] as number) < timeMicros) continue;
      pieces.push({
        streamSequence: this.#numbers[at + 1] as number,
        index: this.#numbers[at + 2] as number,
        vector: this.#vectors[place] as string,
        packets: this.#numbers[at + 3] as number,
      });
    }
    return pieces;
  }
}
