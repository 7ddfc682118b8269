/**
 * Acknowledged packets per interface generation and cell, in a pinned hash map that only user space
 * writes. It outlives the process like the counters do. After a kill, the difference between the
 * two is exactly what the bus does not have.
 */
import { existsSync, rmSync } from 'node:fs';
import path from 'node:path';
import { BpfMap, decodeCounterKey, encodeCounterKey, type IfaceKey, MAP_TYPE } from '@bailiff/bpf';
import { CELLS } from './cells.ts';

const KEY_BYTES = 8;
const VALUE_BYTES = CELLS * 8;

export class AckedMap {
  readonly #map: BpfMap;
  readonly #pin: string;
  /** Why the pinned map was replaced; empty: it was reused, or there was none. */
  readonly recreated: string;

  /**
   * Opens the pin in the directory, or creates it. The map has two entries per interface, like the
   * counters. A pin of another shape is replaced: its counts are published again, which readers
   * ignore.
   */
  constructor(pinDir: string, maxInterfaces: number) {
    // Beside the maps of the programs, so that whatever removes those removes this one.
    const pin = path.join(pinDir, 'maps', 'acked');
    this.#pin = pin;
    const maxEntries = maxInterfaces * 2;
    const old = existsSync(pin) ? BpfMap.openPinned(pin) : null;
    const differs = old ? difference(old.info, maxEntries) : '';
    this.recreated =
      differs === '' ? '' : `the pinned map acked has ${differs}: its acknowledged counts are published again`;
    if (old && differs === '') {
      this.#map = old;
      return;
    }
    old?.close();
    rmSync(pin, { force: true });
    const shape = { type: MAP_TYPE.hash, keySizeBytes: KEY_BYTES, valueSizeBytes: VALUE_BYTES };
    this.#map = BpfMap.create({ ...shape, name: 'acked', maxEntries });
    this.#map.pin(pin);
  }

  /** Pins the map again after its pin was removed. */
  repin(): void {
    if (!existsSync(this.#pin)) this.#map.pin(this.#pin);
  }

  keys(): IfaceKey[] {
    return this.#map.entries().map(([key]) => decodeCounterKey(key));
  }

  /** Packets by cell index; undefined: nothing was ever acknowledged. */
  read(key: IfaceKey): Float64Array | undefined {
    const value = this.#map.get(encodeCounterKey(key));
    if (!value) return undefined;
    return Float64Array.from({ length: CELLS }, (_, index) => value.readDoubleLE(index * 8));
  }

  write(key: IfaceKey, packets: Float64Array): void {
    this.#map.set(encodeCounterKey(key), Buffer.from(packets.buffer, packets.byteOffset, packets.byteLength));
  }

  delete(key: IfaceKey): void {
    this.#map.delete(encodeCounterKey(key));
  }

  close(): void {
    this.#map.close();
  }
}

function difference(info: BpfMap['info'], maxEntries: number): string {
  if (info.type !== MAP_TYPE.hash) return `type ${info.type}`;
  if (info.keySizeBytes !== KEY_BYTES) return `keys of ${info.keySizeBytes} bytes`;
  if (info.valueSizeBytes !== VALUE_BYTES) return `values of ${info.valueSizeBytes} bytes, not ${VALUE_BYTES}`;
  return info.maxEntries < maxEntries ? `room for ${info.maxEntries} entries, not ${maxEntries}` : '';
}
