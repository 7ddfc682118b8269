/**
 * Kernel features, found by trying them: no version is compared, no configuration is read.
 *
 * Place in the data path: collector start and `bailiff doctor` → here → node status with reason and
 * remedy.
 * Invariants: a probe changes nothing permanently. Each result is an errno name, or null if it
 * worked.
 */

import { MAP_TYPE } from './bpf-map.ts';
import { errnoName, hintFor, lsmHintFor } from './errors.ts';
import { native } from './native.ts';

/** bpf_prog_type */
export const PROGRAM_TYPE = { schedCls: 3, cgroupSkb: 8, lsm: 29 } as const;

/** Helpers that the packet programs call, as in bpf_func_id. */
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
  /** The kernel's reason. */
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
 * Atomics that return a value. They came with 5.12, which is also the first release with pointers
 * to global functions. The packet programs pass such pointers, and a short program cannot probe
 * that.
 */
export function probeAtomics(): Probe {
  const older = 'a kernel of 5.12 or later: the programs that judge packets do not load on an older one';
  return probe('atomics', native().probeAtomics(), (name) => (name === 'EINVAL' ? older : hintFor('BPF_LOAD', name)));
}

/** EINVAL: the kernel has no tcx (below 6.6). */
export function probeTcx(): Probe {
  return probe('tcx', native().probeTcx());
}

/**
 * Loads a program that allows everything at an LSM hook, and closes it. EPERM for root means that
 * the kernel refuses LSM programs.
 */
export function probeLsm(hook = 'file_open'): Probe {
  return probe('bpf-lsm', native().probeLsm(hook), lsmHintFor);
}

/**
 * Names of the LSM hooks that the kernel has. Reads all of the kernel's BTF. Errors: BpfError
 * (ENOENT: a kernel without BTF).
 */
export function lsmHooks(): string[] {
  return native().lsmHooks();
}

/** Whether a program can attach to a function of the kernel itself, not of a module. */
export function hasKernelFunction(name: string): boolean {
  return native().hasKernelFunction(name);
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

/**
 * All features of the packet programs, and whether LSM programs can run. Takes a few milliseconds.
 */
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
