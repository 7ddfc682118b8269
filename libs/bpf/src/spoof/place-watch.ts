/**
 * Detects changes of an interface's program chain with two small system calls per interface. The
 * kernel sends no notification of a change, and checking every pin is too expensive to do often.
 *
 * Data path: collector's timer → here → SpoofObject.verify() if a chain changed. Invariant: no
 * change between two checks is missed, because a chain's revision grows with each change and ids of
 * links and programs are not reused.
 */
import { ClsactFilter } from '../core/clsact.ts';
import { queryTcx, type TcxDirection } from '../core/tcx.ts';
import type { AttachMode } from './api.ts';
import { isInterfaceGone } from './detach.ts';
import { CLSACT_HANDLE, CLSACT_PRIORITY, DIRECTIONS, HOOK_OF } from './pins.ts';

function lookTcx(ifindex: number, direction: TcxDirection): string {
  const { revision, programs } = queryTcx(ifindex, direction);
  return `${revision}/${programs[0]?.linkId ?? 0}`;
}

function lookClsact(ifindex: number, direction: TcxDirection): string {
  const place = { priority: CLSACT_PRIORITY, handle: CLSACT_HANDLE, createdQdisc: false };
  return String(new ClsactFilter({ ifindex, direction, ...place }).programId());
}

export class PlaceWatch {
  readonly #look: (ifindex: number, direction: TcxDirection) => string;
  #seen = new Map<number, string>();

  constructor(mode: AttachMode) {
    this.#look = mode === 'tcx' ? lookTcx : lookClsact;
  }

  /**
   * Interfaces whose chain changed since the last check, or that are new. An interface that is gone
   * is left out.
   */
  changed(ifindexes: Iterable<number>): number[] {
    const now = new Map<number, string>();
    for (const ifindex of ifindexes) {
      try {
        now.set(ifindex, DIRECTIONS.map((direction) => this.#look(ifindex, HOOK_OF[direction])).join(' '));
      } catch (error) {
        if (!isInterfaceGone(error)) throw error;
      }
    }
    const before = this.#seen;
    this.#seen = now;
    return [...now].filter(([ifindex, look]) => before.get(ifindex) !== look).map(([ifindex]) => ifindex);
  }

  /** The next check reports all interfaces. */
  forget(): void {
    this.#seen.clear();
  }
}
