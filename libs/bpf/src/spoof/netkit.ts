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
const FUNCTION = 'netkit_peer_dev';

/** Whether the kernel has netkit devices, by its BTF. */
export function hasNetkit(): boolean {
  return existsSync(KERNEL_BTF) && readFileSync(KERNEL_BTF).includes(`\0${FUNCTION}\0`);
}

function probeOf(errnoName: string | null): Probe {
  const available = errnoName === null;
  const hint =
    'on netkit, a pod with CAP_BPF and CAP_NET_ADMIN can send frames past the guard by bpf_redirect_peer: it needs fexit programs (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS). Refuse pods these capabilities, or apply the policy escape-guard';
  return { feature: 'netkit-redirect', available, errnoName, hint: available ? null : hint };
}

/**
 * Attaches the program and pins its link.
 * @param note null: the kernel refuses to load it
 */
export function noteRedirections(note: BpfProgram | null, pinDir: string): Probe {
  if (note === null) return probeOf('EINVAL');
  const pin = notePin(pinDir);
  try {
    using link = note.attach();
    if (existsSync(pin)) unlinkSync(pin);
    link.pin(pin);
    return probeOf(null);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return probeOf(error.errnoName);
  }
}
