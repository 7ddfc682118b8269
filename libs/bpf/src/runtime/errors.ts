/** Errors of the runtime layer. Kernel errors are BpfError. */

export type RuntimeErrorCode =
  /** Pinned maps have another ABI. Call `detachRuntime` and open again. */
  | 'ERR_RUNTIME_ABI'
  /** The compiled object is missing because the build step did not run. */
  | 'ERR_RUNTIME_OBJECT'
  /** The pin directory is not on a bpffs. */
  | 'ERR_RUNTIME_BPFFS'
  /**
   * The kernel cannot run BPF programs at LSM hooks; `data.errnoName` and `data.hint` give the
   * reason. Network enforcement works without them.
   */
  | 'ERR_RUNTIME_UNAVAILABLE'
  /** A map is full; `data.map` names it. */
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
