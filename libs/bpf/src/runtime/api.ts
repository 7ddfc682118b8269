/**
 * Interface of the LSM programs to the collector: programs, their maps, and the hooks of this
 * kernel.
 *
 * Data path: collector → this interface → object.ts (the kernel) or a fake in unit tests.
 * Invariants: once attached, pods stay under their policies through close, crash and restart. One
 * process at a time may write with a pin directory; readers may run beside it. Kernel errors are
 * BpfError. Errors of this layer are RuntimeError with a code.
 */
import type { RuntimeMaps } from './maps.ts';

export interface RuntimeProgram {
  /** `handle_mmap_file` */
  readonly name: string;
  /** `lsm/mmap_file` */
  readonly section: string;
  /** Null if attached. Otherwise the reason, which is that the kernel lacks the hook. */
  readonly missing: string | null;
  /**
   * Number of instructions after verification, and of those that the verifier processed. 0 if
   * missing.
   */
  readonly instructions: number;
  readonly verifiedInstructions: number;
}

export interface RuntimeObject extends Disposable {
  readonly maps: RuntimeMaps;
  /** Every program of the object. */
  readonly programs: readonly RuntimeProgram[];
  /** True if pinned maps were found and adopted. */
  readonly reused: boolean;
  /** Number of links that already ran the same programs and were kept. */
  readonly keptLinks: number;
  /** Why decisions about opens are not cached; null: they are. */
  readonly cacheProblem: string | null;
  readonly pinDir: string;
  /** As PinnedRuntimeMaps.recordTasks(). */
  recordTasks(): number[];
  /** Closes descriptors only. Idempotent. */
  close(): void;
}

export interface OpenRuntimeOptions {
  /**
   * A directory on a bpffs, used by this node alone. The packet programs may use the same one:
   * names do not collide.
   */
  readonly pinDir: string;
  /**
   * Pin of the ring buffer, shared with the packet programs. Created if missing. Default
   * `<pinDir>/maps/samples`.
   */
  readonly samplesPin?: string;
  /** Default: this package's build/bpf/runtime.bpf.o. */
  readonly objectPath?: string;
  /** Inode number of the mount namespace of container runtimes. Default: that of process 1. */
  readonly hostMountNs?: number;
  /** Size of the ring if this layer creates it; a power of two. Default 1 MiB. */
  readonly ringSizeBytes?: number;
  /**
   * Tasks of pods that the maps have room for. Default: as many tasks as the kernel allows, at most
   * 131,072. About 200 bytes each, allocated when the maps are created.
   */
  readonly maxTasks?: number;
}
