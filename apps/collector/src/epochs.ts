/**
 * Exact counting. The kernel's counters only grow; this book remembers, per interface generation and cell, what was put into
 * a frame and what was acknowledged, and turns a reading into the cells that grew. Pure state, no I/O.
 *
 * A reading is `CounterTable.readInto`'s: numbers, no object a cell, because every interface is read again and again and almost no cell
 * has grown. Invariants: acked <= enqueued <= kernel. A frame that is never acknowledged costs nothing: its cells are reported again with
 * a larger cumulative value, and a reader takes the maximum.
 */
import assert from 'node:assert/strict';
import {
  ACTIONS,
  type Action,
  COUNTER_NUMBERS,
  IFACE_STATES,
  type IfaceState,
  VECTORS,
  type Vector,
} from '@bailiff/bpf';

/** What one of the kernel's counters counts. */
export interface CellName {
  vector: Vector;
  action: Action;
  state: IfaceState;
}

/** packets, skbs, bytes. */
const CELL_NUMBERS = 3;
/** Cells of an interface; the kernel has room for more vectors than there are. */
export const CELLS = COUNTER_NUMBERS / CELL_NUMBERS;

/** Names of the cells, by index. */
export const CELL_NAMES: readonly CellName[] = VECTORS.flatMap((vector) =>
  ACTIONS.flatMap((action) => IFACE_STATES.map((state) => ({ vector, action, state }))),
);
assert(CELL_NAMES.length <= CELLS);

const INDEX = new Map(CELL_NAMES.map(({ vector, action, state }, cell) => [`${vector}/${action}/${state}`, cell]));

/** Index of a cell by its names. */
export const cellOf = ({ vector, action, state }: CellName): number =>
  INDEX.get(`${vector}/${action}/${state}`) as number;

/** Packets of a cell in a reading. */
export const packetsOf = (counters: Float64Array, cell: number): number => counters[cell * CELL_NUMBERS] as number;
export const skbsOf = (counters: Float64Array, cell: number): number => counters[cell * CELL_NUMBERS + 1] as number;
export const bytesOf = (counters: Float64Array, cell: number): number => counters[cell * CELL_NUMBERS + 2] as number;

/** Packets that the program saw before anybody was known and let pass: once there is a binding they are its gap, no violations. */
export const isBeforeGuard = ({ state, action }: CellName): boolean => state === 'unknown' && action === 'audit';

const NOTHING: readonly number[] = [];

export class EpochBook {
  // Made with the first count: most interfaces never breach.
  #enqueued: Float64Array | null = null;
  #acked: Float64Array | null = null;
  /** Cells of which something is accounted for elsewhere. */
  readonly #forgiven = new Set<number>();

  /** @param acked packets by cell that an earlier process had acknowledged; they are not reported again until they grow */
  constructor(acked?: Float64Array) {
    if (!acked) return;
    assert.equal(acked.length, CELLS);
    this.#acked = acked.slice();
    this.#enqueued = acked.slice();
  }

  /** Cells of a reading that grew since they were last enqueued. Does not change the book. */
  grown(counters: Float64Array): readonly number[] {
    assert.equal(counters.length, COUNTER_NUMBERS);
    let result: number[] | null = null;
    for (let cell = 0; cell < CELL_NAMES.length; cell += 1) {
      const packets = packetsOf(counters, cell);
      const before = this.enqueued(cell);
      if (packets === before) continue;
      assert(packets > before, 'a kernel counter never shrinks');
      result ??= [];
      result.push(cell);
    }
    return result ?? NOTHING;
  }

  /**
   * Cells of a reading that a last word is about, whether they were said before or not. Of a cell that was forgiven there is none, unless
   * it grew since: a repeated cumulative value would bring what was forgiven onto the bus.
   */
  counted(counters: Float64Array): readonly number[] {
    return CELL_NAMES.map((_, cell) => cell).filter((cell) => {
      const packets = packetsOf(counters, cell);
      return packets > 0 && (packets !== this.enqueued(cell) || !this.#forgiven.has(cell));
    });
  }

  /** A frame that held the cell was not taken: what the bus does not have is to be enqueued again. */
  owe(cell: number): void {
    if (this.#enqueued) this.#enqueued[cell] = this.acked()[cell] as number;
  }

  /** Packets of a cell that are in frames. */
  enqueued(cell: number): number {
    return this.#enqueued ? (this.#enqueued[cell] as number) : 0;
  }

  /** The cell is in a frame now. */
  enqueue(cell: number, packets: number): void {
    this.#enqueued ??= new Float64Array(CELLS);
    this.#enqueued[cell] = Math.max(this.#enqueued[cell] as number, packets);
  }

  /** The bus has the cell. Frames may be acknowledged in any order. */
  ack(cell: number, packets: number): void {
    const acked = this.acked();
    acked[cell] = Math.max(acked[cell] as number, packets);
  }

  /** What was counted so far is accounted for elsewhere: never to be reported from here. */
  forgive(counters: Float64Array, which: (name: CellName) => boolean): void {
    for (const cell of this.grown(counters)) {
      if (!which(CELL_NAMES[cell] as CellName)) continue;
      const packets = packetsOf(counters, cell);
      this.enqueue(cell, packets);
      this.ack(cell, packets);
      this.#forgiven.add(cell);
    }
  }

  /** An earlier process forgave these cells; what it had acknowledged of them says how much. */
  forgave(which: (name: CellName) => boolean): void {
    const acked = this.acked();
    for (const [cell, name] of CELL_NAMES.entries())
      if ((acked[cell] as number) > 0 && which(name)) this.#forgiven.add(cell);
  }

  /** Packets by cell that the bus has: what a later process starts from. */
  acked(): Float64Array {
    this.#acked ??= new Float64Array(CELLS);
    return this.#acked;
  }

  /** Packets of a reading that the bus does not have. */
  unacked(counters: Float64Array): number {
    const acked = this.acked();
    return CELL_NAMES.reduce(
      (sum, _, cell) => sum + Math.max(0, packetsOf(counters, cell) - (acked[cell] as number)),
      0,
    );
  }

  /** True when all of a reading has been acknowledged. */
  settled(counters: Float64Array): boolean {
    for (let cell = 0; cell < CELL_NAMES.length; cell += 1) {
      const acked = this.#acked ? (this.#acked[cell] as number) : 0;
      if (packetsOf(counters, cell) > acked) return false;
    }
    return true;
  }
}
