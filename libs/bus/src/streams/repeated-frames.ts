/**
 * Recognises frames that a collector sent again after a lost ack. VIOLATIONS holds both copies,
 * because the server forgets message ids early (SHORT_DUPLICATE_WINDOW_MS).
 *
 * A reader of single violations skips the second copy. Counts need no such check, because they are
 * cumulative. The id of a frame ends with 64 random bits, so no client can use it before its
 * collector. Bounds: RECENT ids of 8 bytes a subject, MAX_SUBJECTS subjects. The copy of an older
 * frame is not recognised.
 */
import type { StreamMessage } from './direct.ts';

/** Twice the window of a publisher, which sends all of it again after a reconnect. */
const RECENT = 128;
/** Two subjects a node. A full table is cleared. */
const MAX_SUBJECTS = 16_384;
/** A longer id is not of a collector. */
const MAX_ID_LENGTH = 512;

interface Ring {
  readonly hashes: Float64Array;
  next: number;
}

export class RepeatedFrames {
  readonly #subjects = new Map<string, Ring>();

  /** Whether a frame was seen before. Call it once for each message. */
  isRepeated({ subject, headers }: Pick<StreamMessage, 'subject' | 'headers'>): boolean {
    const id = headers?.get('Nats-Msg-Id') ?? '';
    if (id === '' || id.length > MAX_ID_LENGTH) return false;
    let ring = this.#subjects.get(subject);
    if (!ring) {
      if (this.#subjects.size >= MAX_SUBJECTS) this.#subjects.clear();
      ring = { hashes: new Float64Array(RECENT), next: 0 };
      this.#subjects.set(subject, ring);
    }
    const hash = hashOf(id);
    if (ring.hashes.includes(hash)) return true;
    ring.hashes[ring.next] = hash;
    ring.next = (ring.next + 1) % RECENT;
    return false;
  }
}

/** 53 bits of two FNV-1a hashes, never 0. */
function hashOf(text: string): number {
  let [low, high] = [0x811c9dc5, 0x01000193];
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    low = Math.imul(low ^ code, 0x01000193);
    high = Math.imul(high ^ code, 0x85ebca6b);
  }
  return (high & 0x1f_ffff) * 2 ** 32 + (low >>> 0) + 1;
}
