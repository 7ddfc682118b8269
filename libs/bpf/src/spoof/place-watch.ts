/**
 * Detects changes of an interface's program chain with two small system calls per interface. The
 * kernel sends no notification of a change, and checking every pin is too expensive to do often.
 *
 * Data path: collector's timer → here → SpoofObject.verify() if a chain changed. Invariant: no
 * change between two checks is missed, because a chain's revision grows with each change and ids of
 * links and programs are not reused.
 */
import { queryTcx, queryTcxIfAny } from '../core/tcx.ts';
import type { AttachMode, Direction } from './api.ts';
import { isInterfaceGone } from './detach.ts';
import { DIRECTIONS, filterOf, HOOK_OF, linkHook, NETKIT_DIRECTIONS } from './pins.ts';

/** The part of an interface that is watched. */
export interface Watched {
  readonly ifindex: number;
  readonly kind: string;
}

function lookAt({ ifindex, kind }: Watched, direction: Direction, mode: AttachMode): string {
  const hook = linkHook(kind, direction);
  if (mode === 'clsact' && hook !== 'netkit-peer' && direction !== 'redirected') {
    const state = filterOf({ ifindex, generation: 0, direction, mode }).state();
    return `${state?.programId}/${state?.isFirst}/${queryTcxIfAny(ifindex, HOOK_OF[direction]).revision}`;
  }
  const { revision, programs } = queryTcx(ifindex, hook);
  return `${revision}/${programs[0]?.linkId ?? 0}`;
}

export class PlaceWatch {
  readonly #mode: AttachMode;
  #seen = new Map<number, string>();

  constructor(mode: AttachMode) {
    this.#mode = mode;
  }

  /**
   * Interfaces whose chain changed since the last check, or that are new. An interface that is gone
   * is left out.
   */
  changed(interfaces: Iterable<Watched>): number[] {
    const now = new Map<number, string>();
    for (const one of interfaces) {
      try {
        const directions = one.kind === 'netkit' ? NETKIT_DIRECTIONS : DIRECTIONS;
        now.set(one.ifindex, directions.map((direction) => lookAt(one, direction, this.#mode)).join(' '));
      } catch (error) {
        if (!isInterfaceGone(error)) throw error;
      }
    }
    const before = this.#seen;
    this.#seen = now;
    return [...now].filter(([ifindex, look]) => before.get(ifindex) !== look).map(([ifindex]) => ifindex);
  }

  /** Number of programs that judge what the pod sends, at the primary end of a netkit pair. */
  fromPod(ifindex: number): number {
    return queryTcx(ifindex, 'netkit-peer').programs.length;
  }

  /** The next check reports all interfaces. */
  forget(): void {
    this.#seen.clear();
  }
}
