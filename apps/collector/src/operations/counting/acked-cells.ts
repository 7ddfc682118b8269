/**
 * Acknowledged count of each cell of rt_counters, in a pinned array that only user space writes. It
 * outlives the process like the counters do. After a kill, the difference between the two is
 * exactly what the bus does not have.
 */
import { existsSync, rmSync } from 'node:fs';
import path from 'node:path';
import { BpfMap, MAP_TYPE } from '@bailiff/bpf';

const VALUE_BYTES = 8;

export interface AckedCells {
  read(base: number, count: number): Float64Array;
  write(cell: number, value: number): void;
  zero(base: number, count: number): void;
  close(): void;
}

const keyOf = (cell: number): Buffer => {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(cell);
  return key;
};

const bytesOf = (value: number): Buffer => {
  const bytes = Buffer.alloc(VALUE_BYTES);
  bytes.writeDoubleLE(value);
  return bytes;
};

/** Opens the pin beside the runtime maps, or creates it. */
export function openAckedCells(pinDir: string, cells: number): AckedCells {
  const pin = path.join(pinDir, 'runtime/maps/rt_acked');
  let map = existsSync(pin) ? BpfMap.openPinned(pin) : null;
  if (map && (map.info.maxEntries !== cells || map.info.valueSizeBytes !== VALUE_BYTES)) {
    // A pin of another shape is replaced: its counts are published again, which readers ignore.
    map.close();
    rmSync(pin);
    map = null;
  }
  if (!map) {
    const shape = { type: MAP_TYPE.array, keySizeBytes: 4, valueSizeBytes: VALUE_BYTES };
    map = BpfMap.create({ ...shape, name: 'rt_acked', maxEntries: cells });
    map.pin(pin);
  }
  const opened = map;
  return {
    read: (base, count) =>
      Float64Array.from({ length: count }, (_, i) => (opened.get(keyOf(base + i)) as Buffer).readDoubleLE()),
    write: (cell, value) => opened.set(keyOf(cell), bytesOf(value)),
    zero: (base, count) => {
      for (let i = 0; i < count; i += 1) opened.set(keyOf(base + i), bytesOf(0));
    },
    close: () => opened.close(),
  };
}
