/** Errors of the runtime half that are not the kernel's (those are BpfError). */

export type RuntimeErrorCode =
  /** Pinned maps are of another ABI: `detachRuntime` and open afresh. */
  | 'ERR_RUNTIME_ABI'
  /** The compiled object is missing: the build step did not run. */
  | 'ERR_RUNTIME_OBJECT'
  /** The pin directory is not on a bpffs. */
  | 'ERR_RUNTIME_BPFFS'
  /** The kernel runs no BPF programs at LSM hooks; `data.errnoName` and `data.hint` say why. The network half works without. */
  | 'ERR_RUNTIME_UNAVAILABLE'
  /** A map is full; `data.map` says which. */
  | 'ERR_RUNTIME_MAP_FULL';

export class RuntimeError extends Error {
  readonly code: RuntimeErrorCode;
  readonly data: Readonly<Record<string, unknown>>;
  constructor(code: RuntimeErrorCode, message: string, data: Readonly<Record<string, unknown>> = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'RuntimeError';
    this.code = code;
    this.data = data;
  }
}
