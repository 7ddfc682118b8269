/** What object.ts takes and reports. Kernel errors are BpfError, errors of this layer RuntimeError with a code. */

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
