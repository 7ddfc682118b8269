/**
 * Names of the cells that the kernel counts per interface, and the ledger of one interface
 * generation (counter-ledger.ts). A reading is the one of `CounterTable.readInto`. Pure.
 */
import assert from 'node:assert/strict';
import {
  COUNTER_NUMBERS,
  IFACE_STATES,
  type IfaceState,
  PACKET_ACTIONS,
  type PacketAction,
  VECTORS,
  type Vector,
} from '@bailiff/bpf';
import { RECEIVED_VECTORS } from '@bailiff/vocabulary';
import { CounterLedger } from '../../publishing/counter-ledger.ts';

/** Name of one kernel counter. */
export interface CellName {
  vector: Vector;
  action: PacketAction;
  state: IfaceState;
}

/** packets, skbs, bytes. */
const CELL_NUMBERS = 3;
/** Cells of an interface; the kernel has room for more vectors than exist. */
export const CELLS = COUNTER_NUMBERS / CELL_NUMBERS;

/** Names of the cells, by index. */
export const CELL_NAMES: readonly CellName[] = VECTORS.flatMap((vector) =>
  PACKET_ACTIONS.flatMap((action) => IFACE_STATES.map((state) => ({ vector, action, state }))),
);
assert(CELL_NAMES.length <= CELLS);

const INDEX = new Map(CELL_NAMES.map(({ vector, action, state }, cell) => [`${vector}/${action}/${state}`, cell]));

/** Index of a cell by its name. */
export const cellOf = ({ vector, action, state }: CellName): number =>
  INDEX.get(`${vector}/${action}/${state}`) as number;

export const packetsOf = (counters: Float64Array, cell: number): number => counters[cell * CELL_NUMBERS] as number;
export const skbsOf = (counters: Float64Array, cell: number): number => counters[cell * CELL_NUMBERS + 1] as number;
export const bytesOf = (counters: Float64Array, cell: number): number => counters[cell * CELL_NUMBERS + 2] as number;

/** Frames from the pod that the programs of the host side dropped. */
export function droppedFromPod(counters: Float64Array): number {
  const others: readonly Vector[] = [...RECEIVED_VECTORS, 'guard-bypass'];
  return CELL_NAMES.reduce(
    (sum, { vector, action }, cell) =>
      action === 'drop' && !others.includes(vector) ? sum + skbsOf(counters, cell) : sum,
    0,
  );
}

/**
 * Whether a cell counts packets that passed while the interface was unbound. After the binding they
 * are unguarded packets, not violations.
 */
export const isBeforeGuard = ({ state, action }: CellName): boolean => state === 'unknown' && action === 'audit';

export class EpochLedger extends CounterLedger {
  /** @param acked packets by cell that an earlier process had acknowledged */
  constructor(acked?: Float64Array) {
    super({ cells: CELLS, counted: CELL_NAMES.length, stride: CELL_NUMBERS }, acked);
  }

  /**
   * Excludes the counts so far of these cells: they are published elsewhere, never as violations.
   */
  exclude(counters: Float64Array, which: (name: CellName) => boolean): void {
    for (const cell of this.grown(counters)) {
      if (!which(CELL_NAMES[cell] as CellName)) continue;
      const packets = packetsOf(counters, cell);
      this.enqueue(cell, packets);
      this.ack(cell, packets);
      this.excluded.add(cell);
    }
  }

  /** Restores the exclusions of an earlier process: the acknowledged value is the excluded part. */
  restoreExcluded(which: (name: CellName) => boolean): void {
    const acked = this.acked();
    for (const [cell, name] of CELL_NAMES.entries())
      if ((acked[cell] as number) > 0 && which(name)) this.excluded.add(cell);
  }
}
