/**
 * Reads pinned maps without loading programs: for `status`, beside a collector or without one.
 *
 * Data path: pin directory → here → offline commands. Nothing is written.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { BpfMap } from '../core/bpf-map.ts';
import { encodeU32 } from '../core/integers.ts';
import { SpoofError, type SpoofMaps } from './api.ts';
import { decodeMeta } from './encode.ts';
import { AbiValues } from './layout.gen.ts';
import { LATER_MAP_NAMES, MAP_NAMES, type RawMaps, spoofMaps } from './maps.ts';
import { mapsDir } from './pins.ts';

/** 0: the maps are being created, or there are none. */
export function readPinnedAbi(pinDir: string): number {
  const pin = path.join(mapsDir(pinDir), 'meta');
  if (!existsSync(pin)) return 0;
  using meta = BpfMap.openPinned(pin);
  return decodeMeta(meta.get(encodeU32(0))!).abi;
}

/** Maps of a pin directory. */
export interface PinnedMaps extends Disposable {
  readonly maps: SpoofMaps;
  close(): void;
}

/** Null if no maps are pinned there. Errors: ERR_SPOOF_ABI, ERR_SPOOF_PINS. */
export function openPinnedMaps(pinDir: string): PinnedMaps | null {
  const missing = MAP_NAMES.filter((name) => !existsSync(path.join(mapsDir(pinDir), name)));
  if (missing.length === MAP_NAMES.length) return null;
  // Check the ABI before missing maps: another ABI may have other maps. 0 means that the maps are
  // being created, or that `meta` is missing.
  const abi = readPinnedAbi(pinDir);
  if (abi !== 0 && abi !== AbiValues.BAILIFF_ABI) {
    const data = { pinned: abi, wanted: AbiValues.BAILIFF_ABI };
    throw new SpoofError('ERR_SPOOF_ABI', `pinned maps are of ABI ${data.pinned}, not ${data.wanted}`, data);
  }
  if (missing.length > 0) {
    throw new SpoofError('ERR_SPOOF_PINS', `pinned maps are missing: ${missing.join(', ')}`, { maps: missing });
  }
  if (abi === 0) return null;
  const open = (name: string) => {
    const pin = path.join(mapsDir(pinDir), name);
    return existsSync(pin) ? BpfMap.openPinned(pin) : null;
  };
  const raw = Object.fromEntries(
    [...MAP_NAMES, ...LATER_MAP_NAMES].map((name) => [name, open(name)]),
  ) as unknown as RawMaps;
  const close = () => {
    for (const map of Object.values(raw)) map?.close();
  };
  return { maps: spoofMaps(raw), close, [Symbol.dispose]: close };
}
