/**
 * What a window remembers of the violations it counted: the newest MAX_EVIDENCE, so that a verdict can name them by their place
 * in the stream, and which process did it where that is known. Grows with use up to that bound (1 KB, and as many processes), because most
 * windows see a violation or two in their life.
 *
 * Pieces lie in rows of four, and the rows of a window in a circle: each names the next one.
 */
import type { Evidence, EvidenceProcess, JudgedViolation } from '@bailiff/schemas';
import { type Interner, MAX_STRINGS } from './string-interner.ts';
import { RowPool } from './typed-row-pool.ts';

/** Pieces a verdict carries at most. */
export const MAX_EVIDENCE = 32;

// A piece: time, stream sequence, index in the frame * MAX_STRINGS + number of the vector, packets.
const STRIDE = 4;
// A row: pieces, then the number of the next row.
const PIECES = 4;
const NEXT = PIECES * STRIDE;
const WIDTH = NEXT + 1;
// What a window has in its own row: pieces since it was empty, and the row with the newest. When the circle was gone through twice the number begins
// again with once, so that it stays a small one: `%` of others takes long.
const ADDED = 0;
const NEWEST = 1;
/** Numbers that a window keeps for its evidence. */
export const EVIDENCE_HEAD = 2;
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

/** A piece as it is read back; where it lies among the MAX_EVIDENCE of its window, by which its process is found. */
export interface Piece extends Omit<Evidence, 'process'> {
  place: number;
}

/** The evidence of all windows. Every method is given where the head of a window's evidence lies. */
export class EvidenceRows {
  readonly #rows = new RowPool(WIDTH);

  /** Rows in use. */
  get used(): number {
    return this.#rows.used;
  }

  /** @returns the place of the piece */
  add(
    page: Float64Array,
    head: number,
    timeMicros: number,
    streamSequence: number,
    index: number,
    packets: number,
    vector: number,
  ): number {
    const added = (page[head + ADDED] as number) | 0;
    const place = added % MAX_EVIDENCE;
    const within = place % PIECES;
    page[head + ADDED] = added === 2 * MAX_EVIDENCE - 1 ? MAX_EVIDENCE : added + 1;
    const row = within === 0 ? this.#advance(page, head, added) : (page[head + NEWEST] as number) | 0;
    const pieces = this.#rows.page(row);
    const at = this.#rows.offset(row) + within * STRIDE;
    pieces[at] = timeMicros;
    pieces[at + 1] = streamSequence;
    pieces[at + 2] = index * MAX_STRINGS + vector;
    pieces[at + 3] = packets;
    return place;
  }

  /** To the next row: a new one as long as more may be remembered, else the one with the oldest. */
  #advance(page: Float64Array, head: number, added: number): number {
    const newest = (page[head + NEWEST] as number) | 0;
    const row = added < MAX_EVIDENCE ? this.#rows.take() : this.#next(newest);
    if (added < MAX_EVIDENCE) {
      this.#link(row, added === 0 ? row : this.#next(newest));
      if (added > 0) this.#link(newest, row);
    }
    page[head + NEWEST] = row;
    return row;
  }
  #next(row: number): number {
    return (this.#rows.page(row)[this.#rows.offset(row) + NEXT] as number) | 0;
  }
  #link(row: number, next: number): void {
    this.#rows.page(row)[this.#rows.offset(row) + NEXT] = next;
  }

  /** Forgets all of a window. */
  clear(page: Float64Array, head: number): void {
    for (const row of this.#rowsByPlace(page, head)) this.#rows.give(row);
    page[head + ADDED] = 0;
  }

  /** Pieces not older than the time, oldest first. */
  since(page: Float64Array, head: number, timeMicros: number, vectors: Interner): Piece[] {
    const found: Piece[] = [];
    const rows = this.#rowsByPlace(page, head);
    const added = page[head + ADDED] as number;
    for (let number = Math.max(0, added - MAX_EVIDENCE); number < added; number++) {
      const place = number % MAX_EVIDENCE;
      const row = rows[Math.floor(place / PIECES)] as number;
      const pieces = this.#rows.page(row);
      const at = this.#rows.offset(row) + (place % PIECES) * STRIDE;
      if ((pieces[at] as number) < timeMicros) continue;
      const what = pieces[at + 2] as number;
      found.push({
        streamSequence: pieces[at + 1] as number,
        index: Math.floor(what / MAX_STRINGS),
        vector: vectors.textOf(what % MAX_STRINGS),
        packets: pieces[at + 3] as number,
        place,
      });
    }
    return found;
  }

  #rowsByPlace(page: Float64Array, head: number): number[] {
    const added = page[head + ADDED] as number;
    const count = Math.ceil(Math.min(added, MAX_EVIDENCE) / PIECES);
    const newest = Math.floor(((added - 1) % MAX_EVIDENCE) / PIECES);
    const rows: number[] = [];
    for (let step = 0, row = page[head + NEWEST] as number; step < count; step++, row = this.#next(row))
      rows[(newest + step) % count] = row;
    return rows;
  }
}
