/**
 * Evidence of a window: the newest MAX_EVIDENCE violations that it counted, by stream sequence and
 * index. A verdict names them, and the process of each if it is known.
 *
 * Memory grows with use, up to 1 KB a window, because most windows count one or two violations.
 * Pieces are stored in rows of four. The rows of a window form a circular list: each contains the
 * next.
 */
import type { Evidence, EvidenceProcess, ProjectedViolation } from '@bailiff/schemas';
import { MAX_STRINGS, type StringInterner } from './string-interner.ts';
import { TypedRowPool } from './typed-row-pool.ts';

/** Limit of pieces in a verdict. */
export const MAX_EVIDENCE = 32;

// Layout of a piece: time, stream sequence, index * MAX_STRINGS + number of the vector, packets.
const STRIDE = 4;
// Layout of a row: pieces, number of the next row.
const PIECES = 4;
const NEXT = PIECES * STRIDE;
const WIDTH = NEXT + 1;
// Layout of the head in the window's row: pieces added since it was empty, row of the newest piece.
// The count wraps from twice MAX_EVIDENCE to once: `%` of a large number is slow.
const ADDED = 0;
const NEWEST = 1;
/** Numbers in the head. */
export const EVIDENCE_HEAD = 2;

/**
 * The process of the sampled operation, or the one that created the packet's socket; null if
 * unknown.
 */
export function processOf({ operation, sample }: ProjectedViolation): EvidenceProcess | null {
  if (operation !== null) {
    const { tgid, uid, comm, executable, parentExecutable, containerName, subject } = operation;
    return { tgid, uid, comm, executable, parentExecutable, containerName, operation: operation.operation, subject };
  }
  if (sample === null || sample.process === null) return null;
  const { tgid, uid, comm, executable, containerName } = sample.process;
  return { tgid, uid, comm, executable, parentExecutable: '', containerName, operation: '', subject: '' };
}

/** A decoded piece. `slot` is below MAX_EVIDENCE; the window stores the process under it. */
export interface Piece extends Omit<Evidence, 'process'> {
  slot: number;
}

/** The evidence of all windows. `page` and `head` locate the head of one window. */
export class EvidenceRows {
  readonly #rows = new TypedRowPool(WIDTH);

  /** Rows in use. */
  get used(): number {
    return this.#rows.used;
  }

  /** @returns the slot of the piece */
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
    const slot = added % MAX_EVIDENCE;
    const within = slot % PIECES;
    page[head + ADDED] = added === 2 * MAX_EVIDENCE - 1 ? MAX_EVIDENCE : added + 1;
    const row = within === 0 ? this.#advance(page, head, added) : (page[head + NEWEST] as number) | 0;
    const pieces = this.#rows.page(row);
    const at = this.#rows.offset(row) + within * STRIDE;
    pieces[at] = timeMicros;
    pieces[at + 1] = streamSequence;
    pieces[at + 2] = index * MAX_STRINGS + vector;
    pieces[at + 3] = packets;
    return slot;
  }

  /** Moves to the next row: a new one below MAX_EVIDENCE, then the one with the oldest pieces. */
  #advance(page: Float64Array, head: number, added: number): number {
    const newest = (page[head + NEWEST] as number) | 0;
    const row = added < MAX_EVIDENCE ? this.#rows.allocate() : this.#next(newest);
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

  /** Drops the evidence of a window. */
  clear(page: Float64Array, head: number): void {
    for (const row of this.#rowsInOrder(page, head)) this.#rows.free(row);
    page[head + ADDED] = 0;
  }

  /** Pieces not older than the time, oldest first. */
  since(page: Float64Array, head: number, timeMicros: number, vectors: StringInterner): Piece[] {
    const found: Piece[] = [];
    const rows = this.#rowsInOrder(page, head);
    const added = page[head + ADDED] as number;
    for (let number = Math.max(0, added - MAX_EVIDENCE); number < added; number++) {
      const slot = number % MAX_EVIDENCE;
      const row = rows[Math.floor(slot / PIECES)] as number;
      const pieces = this.#rows.page(row);
      const at = this.#rows.offset(row) + (slot % PIECES) * STRIDE;
      if ((pieces[at] as number) < timeMicros) continue;
      const packed = pieces[at + 2] as number;
      found.push({
        streamSequence: pieces[at + 1] as number,
        index: Math.floor(packed / MAX_STRINGS),
        vector: vectors.textOf(packed % MAX_STRINGS),
        packets: pieces[at + 3] as number,
        slot,
      });
    }
    return found;
  }

  #rowsInOrder(page: Float64Array, head: number): number[] {
    const added = page[head + ADDED] as number;
    const count = Math.ceil(Math.min(added, MAX_EVIDENCE) / PIECES);
    const newest = Math.floor(((added - 1) % MAX_EVIDENCE) / PIECES);
    const rows: number[] = [];
    for (let step = 0, row = page[head + NEWEST] as number; step < count; step++, row = this.#next(row))
      rows[(newest + step) % count] = row;
    return rows;
  }
}
