/**
 * The cells that the kernel counts of an interface, by name, and the book of one interface generation (count-book.ts). A reading is
 * `CounterTable.readInto`'s. Pure.
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
import { CountBook } from './counter-ledger.ts';

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

export class EpochBook extends CountBook {
  /** @param acked packets by cell that an earlier process had acknowledged */
  constructor(acked?: Float64Array) {
    super({ cells: CELLS, counted: CELL_NAMES.length, stride: CELL_NUMBERS }, acked);
  }

  /** What was counted so far is accounted for elsewhere: never to be reported from here. */
  forgive(counters: Float64Array, which: (name: CellName) => boolean): void {
    for (const cell of this.grown(counters)) {
      if (!which(CELL_NAMES[cell] as CellName)) continue;
      const packets = packetsOf(counters, cell);
      this.enqueue(cell, packets);
      this.ack(cell, packets);
      this.forgiven.add(cell);
    }
  }

  /** An earlier process forgave these cells; what it had acknowledged of them says how much. */
  forgave(which: (name: CellName) => boolean): void {
    const acked = this.acked();
    for (const [cell, name] of CELL_NAMES.entries())
      if ((acked[cell] as number) > 0 && which(name)) this.forgiven.add(cell);
  }
}
