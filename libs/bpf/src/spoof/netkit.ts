/**
 * Finds frames that pods redirect past their guards on netkit: attaches note_peer, one for the node.
 * bpf/spoof/redirected.h explains it.
 *
 * Data path: object.ts → here → BpfProgram. Invariant: an older program is detached only when the new
 * one is attached, so no redirection is missed meanwhile. The kernel cannot replace the program of
 * such a link.
 */
import { existsSync, readFileSync, unlinkSync } from 'node:fs';
import type { BpfProgram } from '../core/bpf-program.ts';
import type { Probe } from '../core/feature-probe.ts';
import { isRefusal } from './offload.ts';
import { notePin } from './pins.ts';

const KERNEL_BTF = '/sys/kernel/btf/vmlinux';
/** Of the driver alone: other kernels have a `netkit_peer_dev` too, which returns nothing. */
const DRIVER_TYPE = 'netkit_link';

export const btfHasNetkit = (btf: Buffer): boolean => btf.includes(`\0${DRIVER_TYPE}\0`);

let isNetkit: boolean | null = null;

/** Whether the kernel has netkit devices, by its BTF. Reads it once: it has some megabytes. */
export function hasNetkit(): boolean {
  isNetkit ??= existsSync(KERNEL_BTF) && btfHasNetkit(readFileSync(KERNEL_BTF));
  return isNetkit;
}

function probeOf(errnoName: string | null): Probe {
  const available = errnoName === null;
  const hint =
    'on netkit, a pod with CAP_BPF and CAP_NET_ADMIN can send frames past the guard by bpf_redirect_peer: it needs fexit programs (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS). Refuse pods these capabilities, or apply the policy escape-guard';
  return { feature: 'netkit-redirect', available, errnoName, hint: available ? null : hint };
}

/** Attaches the program and pins its link. */
export function attachNotes(note: BpfProgram, pinDir: string): void {
  const pin = notePin(pinDir);
  using link = note.attach();
  if (existsSync(pin)) unlinkSync(pin);
  link.pin(pin);
}

/**
 * Attaching is the probe.
 * @param note null: the kernel refuses to load it
 * @param stays whether the program stays attached
 */
export function noteRedirections(note: BpfProgram | null, pinDir: string, stays: boolean): Probe {
  if (note === null) return probeOf('EINVAL');
  try {
    if (stays) attachNotes(note, pinDir);
    else note.attach().close();
    return probeOf(null);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return probeOf(error.errnoName);
  }
}
