/**
 * Chooses the packet object that this kernel can load: with the check of checksum offload, or
 * without.
 *
 * Data path: object.ts → here → BpfObject. The first object reads fields of the kernel's sk_buff.
 * It needs the kernel's BTF and, below Linux 6.2, a helper that lockdown mode confidentiality
 * refuses. Loading it is the probe; the status shows the result. Invariant: if a kernel refuses
 * both, the error is that of the first.
 */
import { existsSync, readFileSync } from 'node:fs';
import { BpfError } from '../core/errors.ts';
import type { Probe } from '../core/feature-probe.ts';

const FEATURE = 'checksum-offload';
const REMEDY =
  'the vector checksum-offload is not judged: it needs a kernel with BTF (CONFIG_DEBUG_INFO_BTF) and, in lockdown mode confidentiality, Linux 6.2 or later';
/** Transient errors, which say nothing about the kernel. */
const PASSING: readonly string[] = ['ENOMEM', 'EAGAIN', 'EINTR', 'EMFILE', 'ENFILE'];

/** Whether the kernel refuses the programs, as opposed to a passing shortage. */
export const isRefusal = (error: unknown): error is BpfError =>
  error instanceof BpfError && !PASSING.includes(error.errnoName);

export interface LoadedImage<T> {
  readonly loaded: T;
  readonly image: Buffer;
  readonly offload: Probe;
}

/** Path of the object without the check, which is in the same directory. */
export const withoutOffload = (objectPath: string): string => objectPath.replace(/(\.bpf)?\.o$/, '-no-offload$&');

/** Loads the object, or the one without the check if the kernel refuses it. */
export function loadByOffload<T>(objectPath: string, load: (image: Buffer) => T): LoadedImage<T> {
  const image = readFileSync(objectPath);
  try {
    return { loaded: load(image), image, offload: { feature: FEATURE, available: true, errnoName: null, hint: null } };
  } catch (error) {
    const other = withoutOffload(objectPath);
    if (!isRefusal(error) || !existsSync(other)) throw error;
    try {
      const { errnoName } = error;
      const plain = readFileSync(other);
      return {
        loaded: load(plain),
        image: plain,
        offload: { feature: FEATURE, available: false, errnoName, hint: REMEDY },
      };
    } catch {
      throw error;
    }
  }
}
