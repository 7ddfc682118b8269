/**
 * A loaded BPF program: runs it on test data, attaches it to tcx, clsact or the hook it was loaded
 * for, pins it.
 *
 * Place in the data path: bpf-object.ts or a pin → here → bpf-link.ts or clsact.ts.
 * Limits: a test run repeats at most MAX_REPEAT times (it blocks the loop) and returns at most
 * `dataOutBytes`.
 * Errors: BpfError BPF_PROGRAM, BPF_ATTACH, BPF_PIN, BPF_CLOSED. Interfaces are those of this
 * process's network namespace.
 */
import assert from 'node:assert/strict';
import { BpfLink } from './bpf-link.ts';
import { ClsactFilter, type ClsactOptions } from './clsact.ts';
import { type NativeProgram, type NativeProgramInfo, type NativeTestRun, native } from './native.ts';
import { NativeHandle } from './native-handle.ts';
import { attachTypeOf, type ChainHook, type TcxDirection, type TcxPosition, tcxPlace } from './tcx.ts';

const MAX_REPEAT = 10_000_000;
/** More than a program adds to the packet by encapsulation. */
const TEST_RUN_ROOM_BYTES = 256;

export interface TestRunOptions {
  /** The frame with its Ethernet header; the kernel needs at least 14 bytes. */
  readonly data: Uint8Array;
  /** A struct __sk_buff (ifindex, mark, …) for the program; default none. */
  readonly context?: Uint8Array;
  /** Default 1. */
  readonly repeat?: number;
  /**
   * Room for the packet after the run; ENOSPC if it does not fit. Default: the frame and 256 bytes.
   */
  readonly dataOutBytes?: number;
}

export interface AttachTcxOptions {
  readonly direction: ChainHook;
  /** Default `head`. */
  readonly position?: TcxPosition;
  /** Of queryTcx; ESTALE if the chain changed since. Default: any. */
  readonly expectedRevision?: bigint;
}

export class BpfProgram extends NativeHandle<NativeProgram> {
  readonly info: NativeProgramInfo;

  constructor(handle: NativeProgram) {
    super(handle);
    this.info = handle.info();
  }

  static openPinned(path: string): BpfProgram {
    return new BpfProgram(native().openPinnedProgram(path));
  }

  /** ENOENT if there is none. */
  static byId(id: number): BpfProgram {
    return new BpfProgram(native().openProgramById(id));
  }

  /** `durationNs` is the mean of one repetition. */
  testRun(options: TestRunOptions): NativeTestRun {
    const { data, context = null, repeat = 1, dataOutBytes = data.length + TEST_RUN_ROOM_BYTES } = options;
    assert(repeat >= 1 && repeat <= MAX_REPEAT, `repeat must lie in 1..${MAX_REPEAT}`);
    return this.native.testRun(data, context, repeat, dataOutBytes);
  }

  attachTcx(ifindex: number, options: AttachTcxOptions): BpfLink {
    const { direction, position = 'head', expectedRevision = 0n } = options;
    const { flags, relativeId } = tcxPlace(position);
    return new BpfLink(this.native.attachTcx(ifindex, attachTypeOf(direction), flags, relativeId, expectedRevision));
  }

  /** Creates the clsact qdisc if the interface has none. */
  attachClsact(ifindex: number, direction: TcxDirection, options: ClsactOptions = {}): ClsactFilter {
    const { priority = 0, handle = 0, replace = false } = options;
    const filter = this.native.attachClsact(ifindex, direction === 'ingress', priority, handle, replace);
    return new ClsactFilter({ ifindex, direction, ...filter });
  }

  /**
   * Attaches to the hook that the program was loaded for: LSM, tracepoint with BTF (`tp_btf/`),
   * fentry, fexit or iterator. The kernel cannot replace the program of such a link: attach the new
   * program, then close the old link. EINVAL for any other program.
   */
  attach(): BpfLink {
    return new BpfLink(this.native.attach());
  }

  pin(path: string): void {
    this.native.pin(path);
  }
}
