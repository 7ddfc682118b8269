/**
 * What this kernel lets this process do, found by trying it: no version is read, no configuration guessed.
 *
 * Place in the path: collector start and `bailiff doctor` → here → node status with reason and remedy.
 * Invariants: a probe changes nothing that lasts; each answer is an errno name, or null when it worked.
 */

import { MAP_TYPE } from './bpf-map.ts';
import { errnoName, hintFor, lsmHintFor } from './errors.ts';
import { native } from './native.ts';

/** bpf_prog_type */
export const PROGRAM_TYPE = { schedCls: 3, cgroupSkb: 8, lsm: 29 } as const;

/** The helpers that the network programs call, of bpf_func_id. */
export const HELPER = {
  skbLoadBytes: 26,
  getSocketCookie: 46,
  skbCgroupId: 79,
  ktimeGetBootNs: 125,
  ringbufReserve: 131,
} as const;

export interface Probe {
  readonly feature: string;
  readonly available: boolean;
  /** Why not, as the kernel said it. */
  readonly errnoName: string | null;
  readonly hint: string | null;
}

function probe(
  feature: string,
  errno: number,
  hint: (errno: string) => string | null = (name) => hintFor('BPF_LOAD', name),
): Probe {
  if (errno === 0) return { feature, available: true, errnoName: null, hint: null };
  const name = errnoName(errno);
  return { feature, available: false, errnoName: name, hint: hint(name) };
}

/**
 * Atomics that return a value. The release that has them (5.12) is the first that takes pointers to global functions too: the network
 * programs pass some, and that cannot be asked for in a few instructions.
 */
export function probeAtomics(): Probe {
  const older = 'a kernel of 5.12 or later: the programs that judge packets do not load on an older one';
  return probe('atomics', native().probeAtomics(), (name) => (name === 'EINVAL' ? older : hintFor('BPF_LOAD', name)));
}

/** EINVAL: the kernel has no tcx (below 6.6). */
export function probeTcx(): Probe {
  return probe('tcx', native().probeTcx());
}

/** Loads a program that allows everything at an LSM hook and lets it go. EPERM here although root: the kernel refuses. */
export function probeLsm(hook = 'file_open'): Probe {
  return probe('bpf-lsm', native().probeLsm(hook), lsmHintFor);
}

export function probeMapType(type: keyof typeof MAP_TYPE): Probe {
  return probe(`map:${type}`, native().probeMapType(MAP_TYPE[type]));
}

export function probeProgramType(type: keyof typeof PROGRAM_TYPE): Probe {
  return probe(`program:${type}`, native().probeProgramType(PROGRAM_TYPE[type]));
}

export function probeHelper(program: keyof typeof PROGRAM_TYPE, helper: keyof typeof HELPER): Probe {
  return probe(`helper:${helper}`, native().probeHelper(PROGRAM_TYPE[program], HELPER[helper]));
}

/** Everything that the network half uses, and whether the runtime half could work. A few milliseconds. */
export function probeFeatures(): Probe[] {
  return [
    probeProgramType('schedCls'),
    probeAtomics(),
    probeTcx(),
    probeMapType('hash'),
    probeMapType('lpmTrie'),
    probeMapType('ringBuffer'),
    ...(Object.keys(HELPER) as (keyof typeof HELPER)[]).map((helper) => probeHelper('schedCls', helper)),
    probeLsm(),
  ];
}
