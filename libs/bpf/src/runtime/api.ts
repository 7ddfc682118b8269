/**
 * What the runtime half offers to the collector: programs at LSM hooks, their maps, and what of them this kernel has.
 *
 * Place in the path: collector → this interface → runtime-object.ts (real kernel) or a fake in unit tests.
 * Invariants: once attached, pods stay under their policies through close, crash and restart. One process at a time uses a
 * pin directory for writing; reading beside it is safe. Kernel errors are BpfError; what this layer refuses is RuntimeError by code.
 */
import type { RuntimeMaps } from './maps.ts';

export interface RuntimeProgram {
  /** `handle_mmap_file` */
  readonly name: string;
  /** `lsm/mmap_file` */
  readonly section: string;
  /** Null: attached. Else why not: the kernel lacks the hook. */
  readonly missing: string | null;
  /** As the verifier left them, and those it went through; 0 when missing. */
  readonly instructions: number;
  readonly verifiedInstructions: number;
}

export interface RuntimeObject extends Disposable {
  readonly maps: RuntimeMaps;
  /** Every program of the object. */
  readonly programs: readonly RuntimeProgram[];
  /** True when pinned maps were found and taken over. */
  readonly reused: boolean;
  /** Links that were kept because they run these very programs. */
  readonly keptLinks: number;
  readonly pinDir: string;
  /** Closes descriptors only. Idempotent. */
  close(): void;
}

export interface OpenRuntimeOptions {
  /** A directory on a bpffs, this node's alone; the spoof half's may be the same: names do not meet. */
  readonly pinDir: string;
  /** Pin of the ring buffer, shared with the spoof half; made if it is not there. Default `<pinDir>/maps/samples`. */
  readonly samplesPin?: string;
  /** Default: this package's build/bpf/runtime.bpf.o. */
  readonly objectPath?: string;
  /** Inode number of the mount namespace of container runtimes. Default: that of process 1. */
  readonly hostMountNs?: number;
  /** Bytes of the ring when it is made here; a power of two. Default 1 MiB. */
  readonly ringSizeBytes?: number;
}
