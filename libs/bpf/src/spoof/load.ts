/**
 * Loads the packet programs over the pinned maps.
 *
 * Data path: object.ts → here → bpf-object.ts. Invariants: a pinned map of another shape is an error,
 * and nothing changes. Programs that a kernel lacks the hook for are left out.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { BpfMap } from '../core/bpf-map.ts';
import { BpfObject } from '../core/bpf-object.ts';
import type { BpfProgram } from '../core/bpf-program.ts';
import { type AttachMode, type OpenSpoofOptions, SpoofError } from './api.ts';
import { LATER_MAP_NAMES, MAP_NAMES, type MapName, type RawMaps } from './maps.ts';
import { hasNetkit } from './netkit.ts';
import { isRefusal } from './offload.ts';
import { mapsDir, NOTE_PROGRAM, PROGRAM_OF } from './pins.ts';

/** Default size of the maps in maps.h. */
export const DEFAULT_MAX_INTERFACES = 512;
export const DEFAULT_RING_SIZE_BYTES = 1 << 20;

/** Maps whose size depends on the number of interfaces. */
const PER_INTERFACE: readonly MapName[] = ['ifaces', 'addresses', 'counters', 'seen', 'buckets', 'probe_ports'];

export interface Loaded {
  readonly raw: RawMaps;
  /** `pod-end`, `redirected`: null if this kernel cannot run it. */
  readonly programs: Readonly<Record<'in' | 'out', BpfProgram> & Record<'pod-end' | 'redirected', BpfProgram | null>>;
  /** Beside `redirected`. */
  readonly note: BpfProgram | null;
}

function refuseOtherShape(object: BpfObject, dir: string): void {
  for (const { name, ...wanted } of object.maps()) {
    const pin = path.join(dir, name);
    if (!existsSync(pin)) continue;
    using map = BpfMap.openPinned(pin);
    const { type, keySizeBytes, valueSizeBytes } = map.info;
    if (type === wanted.type && keySizeBytes === wanted.keySizeBytes && valueSizeBytes === wanted.valueSizeBytes) {
      object.setMapMaxEntries(name, map.info.maxEntries);
      continue;
    }
    throw new SpoofError('ERR_SPOOF_ABI', `pinned map ${name} has another shape`, { map: name, pin });
  }
}

/** Sets the sizes of new maps. Pinned maps keep theirs. */
function sizeMaps(object: BpfObject, options: OpenSpoofOptions): void {
  const maxInterfaces = options.maxInterfaces ?? DEFAULT_MAX_INTERFACES;
  assert(Number.isInteger(maxInterfaces) && maxInterfaces > 0, 'maxInterfaces is a positive integer');
  for (const { name, maxEntries } of object.maps()) {
    if ((PER_INTERFACE as readonly string[]).includes(name)) {
      object.setMapMaxEntries(name, (maxEntries / DEFAULT_MAX_INTERFACES) * maxInterfaces);
    }
  }
  object.setMapMaxEntries('samples', options.ringSizeBytes ?? DEFAULT_RING_SIZE_BYTES);
}

/**
 * Loads the object over the pinned maps, and creates and pins the missing ones.
 * @param forNetkit with the programs that find redirections past the guard
 */
function loadWith(forNetkit: boolean, image: Buffer, options: OpenSpoofOptions, mode: AttachMode): Loaded {
  const { pinDir } = options;
  using object = BpfObject.open(image, 'spoof');
  object.setMapAutocreate('.bss', false);
  for (const name of [...MAP_NAMES, ...LATER_MAP_NAMES]) object.setMapPinPath(name, path.join(mapsDir(pinDir), name));
  sizeMaps(object, options);
  refuseOtherShape(object, mapsDir(pinDir));
  const has = (wanted: string) => object.programs().some(({ name }) => name === wanted);
  const optional = (wanted: string, isLoaded: boolean) => {
    if (!has(wanted)) return null;
    object.setProgramAutoload(wanted, isLoaded);
    return isLoaded ? wanted : null;
  };
  const podEnd = optional(PROGRAM_OF['pod-end'], mode === 'tcx');
  const redirected = optional(PROGRAM_OF.redirected, forNetkit);
  const note = optional(NOTE_PROGRAM, forNetkit);
  object.load();
  return {
    raw: Object.fromEntries(
      [...MAP_NAMES, ...LATER_MAP_NAMES].map((name) => [name, object.map(name)]),
    ) as unknown as RawMaps,
    programs: {
      in: object.program(PROGRAM_OF.in),
      out: object.program(PROGRAM_OF.out),
      'pod-end': podEnd === null ? null : object.program(podEnd),
      redirected: redirected === null ? null : object.program(redirected),
    },
    note: note === null ? null : object.program(note),
  };
}

/** As loadWith, without the programs for netkit if the kernel has no netkit or refuses them. */
export function load(image: Buffer, options: OpenSpoofOptions, mode: AttachMode): Loaded {
  if (!hasNetkit()) return loadWith(false, image, options, mode);
  try {
    return loadWith(true, image, options, mode);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return loadWith(false, image, options, mode);
  }
}

export function closeLoaded({ raw, programs, note }: Loaded): void {
  for (const map of Object.values(raw)) map?.close();
  for (const program of [...Object.values(programs), note]) program?.close();
}
