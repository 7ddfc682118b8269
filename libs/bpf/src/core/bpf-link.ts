/**
 * A BPF link: attaches a program to its hook.
 *
 * Invariants: an open or pinned link keeps its program attached. When the last descriptor and pin
 * are gone, the program is detached. A link that only a garbage-collected object holds is therefore
 * detached at some later time: pin it, or keep it.
 * Errors: BpfError BPF_LINK, BPF_PIN, BPF_CLOSED.
 */
import { type NativeLink, type NativeProgram, native } from './native.ts';
import { NativeHandle } from './native-handle.ts';
import { type ChainHook, hookOfType } from './tcx.ts';

export interface LinkInfo {
  readonly linkId: number;
  readonly programId: number;
  /** 0 if the interface is gone, or after detach. `netkit-peer`: of the other end, in its namespace. */
  readonly ifindex: number;
  /** Null for links that are neither tcx nor netkit. */
  readonly hook: ChainHook | null;
}

/** What a link needs of a BpfProgram. Declared here because bpf-program.ts imports this file. */
interface ProgramHandle {
  readonly native: NativeProgram;
}

export class BpfLink extends NativeHandle<NativeLink> {
  static openPinned(path: string): BpfLink {
    return new BpfLink(native().openPinnedLink(path));
  }

  /** The current state. */
  info(): LinkInfo {
    const { linkId, programId, ifindex, attachType } = this.native.info();
    return { linkId, programId, ifindex, hook: hookOfType(attachType) };
  }

  /**
   * Tag of the attached program, as in `BpfProgram.info`; empty if none is attached. Needs no
   * privilege.
   */
  programTag(): string {
    return this.native.programTag();
  }

  /**
   * Replaces the program atomically: no packet passes unchecked. With `oldProgram` only if that one
   * is attached now (EPERM otherwise). ENOLINK if the interface is gone.
   */
  update(newProgram: ProgramHandle, oldProgram: ProgramHandle | null = null): void {
    this.native.update(newProgram.native, oldProgram?.native ?? null);
  }

  /** Detaches the program; the link and its pin stay without a program. */
  detach(): void {
    this.native.detach();
  }

  pin(path: string): void {
    this.native.pin(path);
  }
}
