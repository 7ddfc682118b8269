/**
 * What the bus has acknowledged, per interface generation and cell: a pinned hash that only user space writes. It outlives the
 * process as the counters do, so that after a kill the difference between the two is exactly what is still owed to the bus.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { BpfMap, type IfaceKey, MAP_TYPE } from '@bailiff/bpf';
import { CELLS } from './epochs.ts';

const KEY_BYTES = 8;
const VALUE_BYTES = CELLS * 8;

export class AckedMap {
  readonly #map: BpfMap;

  /** Opens the pin in the directory, or makes it. One entry a generation: twice the interfaces, as the counters have. */
  constructor(pinDir: string, maxInterfaces: number) {
    // Beside the maps of the programs, so that whoever removes those removes this.
    const pin = path.join(pinDir, 'maps', 'acked');
    if (existsSync(pin)) {
      this.#map = BpfMap.openPinned(pin);
    } else {
      this.#map = BpfMap.create({
        type: MAP_TYPE.hash,
        name: 'acked',
        keySizeBytes: KEY_BYTES,
        valueSizeBytes: VALUE_BYTES,
        maxEntries: maxInterfaces * 2,
      });
      this.#map.pin(pin);
    }
  }

  #key(key: IfaceKey): Buffer {
    const buffer = Buffer.alloc(KEY_BYTES);
    buffer.writeUInt32LE(key.ifindex, 0);
    buffer.writeUInt32LE(key.generation, 4);
    return buffer;
  }

  /** Packets by cell index; undefined when nothing was ever acknowledged. */
  read(key: IfaceKey): Float64Array | undefined {
    const value = this.#map.get(this.#key(key));
    if (!value) return undefined;
    return Float64Array.from({ length: CELLS }, (_, index) => value.readDoubleLE(index * 8));
  }

  write(key: IfaceKey, packets: Float64Array): void {
    this.#map.set(this.#key(key), Buffer.from(packets.buffer, packets.byteOffset, packets.byteLength));
  }

  delete(key: IfaceKey): void {
    this.#map.delete(this.#key(key));
  }

  close(): void {
    this.#map.close();
  }
}
