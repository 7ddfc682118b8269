/**
 * A BPF link: what ties a program to its hook.
 *
 * Invariants: an open or pinned link keeps its program attached; when the last of both goes, so does the attachment. A
 * link that is only held by a garbage-collected object is therefore detached at some later time: pin it, or keep it.
 * Errors: BpfError BPF_LINK, BPF_PIN, BPF_CLOSED.
 */
import { type NativeLink, type NativeProgram, native } from './native.ts';
import { type TcxDirection, tcxDirection } from './tcx.ts';

export interface LinkInfo {
  readonly linkId: number;
  readonly programId: number;
  /** 0 when the interface is gone, or after detach. */
  readonly ifindex: number;
  /** Null for links that are not tcx. */
  readonly direction: TcxDirection | null;
}

/** What a link needs of a BpfProgram. Declared here because bpf-program.ts imports this file. */
interface ProgramHandle {
  readonly native: NativeProgram;
}

export class BpfLink implements Disposable {
  readonly native: NativeLink;

  constructor(handle: NativeLink) {
    this.native = handle;
  }

  static openPinned(path: string): BpfLink {
    return new BpfLink(native().openPinnedLink(path));
  }

  /** As it is now. */
  info(): LinkInfo {
    const { linkId, programId, ifindex, attachType } = this.native.info();
    return { linkId, programId, ifindex, direction: tcxDirection(attachType) };
  }

  /** Tag of the program that runs at the hook, as `BpfProgram.info` has it; empty when none does. Needs no privilege. */
  programTag(): string {
    return this.native.programTag();
  }

  /**
   * Replaces the program in one step: no packet passes unjudged. With `oldProgram` only if that one runs now (EPERM
   * otherwise). ENOLINK when the interface is gone.
   */
  update(newProgram: ProgramHandle, oldProgram: ProgramHandle | null = null): void {
    this.native.update(newProgram.native, oldProgram?.native ?? null);
  }

  /** Takes the program off; the link and its pin stay, attached to nothing. */
  detach(): void {
    this.native.detach();
  }

  pin(path: string): void {
    this.native.pin(path);
  }

  close(): void {
    this.native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
