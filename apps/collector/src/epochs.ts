/**
 * Exact counting. The kernel's counters only grow; this book remembers, per interface generation and cell, what was put into
 * a frame and what was acknowledged, and turns a reading into the cells that grew. Pure state, no I/O.
 *
 * Invariants: acked <= enqueued <= kernel. A frame that is never acknowledged costs nothing: its cells are reported again with a
 * larger cumulative value, and a reader takes the maximum.
 */
import assert from 'node:assert/strict';
import {
  ACTIONS,
  type Action,
  type CounterCell,
  IFACE_STATES,
  type IfaceState,
  VECTORS,
  type Vector,
} from '@bailiff/bpf';

/** One cell of the kernel's counters: (vector, action, state). */
export interface Cell {
  vector: Vector;
  action: Action;
  state: IfaceState;
  packets: number;
  skbs: number;
  bytes: number;
}
type CellName = Pick<Cell, 'vector' | 'action' | 'state'>;

/** Vectors that the kernel has room for. */
const VECTOR_SLOTS = 24;
/** Cells of an interface. */
export const CELLS = VECTOR_SLOTS * ACTIONS.length * IFACE_STATES.length;
assert(VECTORS.length <= VECTOR_SLOTS);

export const cellIndex = (cell: CellName): number =>
  (VECTORS.indexOf(cell.vector) * ACTIONS.length + ACTIONS.indexOf(cell.action)) * IFACE_STATES.length +
  IFACE_STATES.indexOf(cell.state);

/** A kernel cell as numbers: 2^53 packets are 200 years at a million a second. */
export function toCell(cell: CounterCell): Cell {
  return { ...cell, packets: Number(cell.packets), skbs: Number(cell.skbs), bytes: Number(cell.bytes) };
}

export interface Growth extends Cell {
  /** Packets since the last violation of this cell was put into a frame. */
  grown: number;
}

export class EpochBook {
  readonly #enqueued = new Float64Array(CELLS);
  readonly #acked = new Float64Array(CELLS);

  /** @param acked packets by cell that an earlier process had acknowledged; they are not reported again until they grow */
  constructor(acked?: ArrayLike<number>) {
    if (acked) {
      assert.equal(acked.length, CELLS);
      this.#acked.set(Array.from(acked));
      this.#enqueued.set(this.#acked);
    }
  }

  /** Cells that grew since they were last enqueued. Does not change the book. */
  grown(cells: Iterable<Cell>): Growth[] {
    const result: Growth[] = [];
    for (const cell of cells) {
      const before = this.#enqueued[cellIndex(cell)] as number;
      assert(
        cell.packets >= before || cell.packets >= (this.#acked[cellIndex(cell)] as number),
        'a kernel counter never shrinks',
      );
      if (cell.packets > before) result.push({ ...cell, grown: cell.packets - before });
    }
    return result;
  }

  /** The cells are in a frame now. */
  enqueue(cells: Iterable<CellName & { packets: number }>): void {
    for (const cell of cells)
      this.#enqueued[cellIndex(cell)] = Math.max(this.#enqueued[cellIndex(cell)] as number, cell.packets);
  }

  /** The bus has them. Frames may be acknowledged in any order. */
  ack(cells: Iterable<CellName & { packets: number }>): void {
    for (const cell of cells)
      this.#acked[cellIndex(cell)] = Math.max(this.#acked[cellIndex(cell)] as number, cell.packets);
  }

  /** What was counted so far is accounted for elsewhere: never to be reported from here. */
  forgive(cells: Iterable<CellName & { packets: number }>): void {
    const list = [...cells];
    this.enqueue(list);
    this.ack(list);
  }

  /** Packets by cell that the bus has: what a later process starts from. */
  acked(): Float64Array {
    return this.#acked;
  }

  /** True when all that was read has been acknowledged. */
  settled(cells: Iterable<Cell>): boolean {
    for (const cell of cells) if (cell.packets > (this.#acked[cellIndex(cell)] as number)) return false;
    return true;
  }
}
