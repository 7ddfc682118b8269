/**
 * Notices that somebody touched the programs of an interface, for two small system calls an interface: the kernel tells nobody of a
 * change of a tcx chain or of a filter, so whoever must know has to look, and looking at every pin is too dear to do often.
 *
 * Place in the path: collector's timer → here → SpoofObject.verify() only when something changed. Invariant: a change between two looks
 * is never missed: a chain's revision grows with each change and link and program ids are given out once.
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

  /** Which of these interfaces look different from the last time, or are looked at for the first time. One that is gone looks like nothing. */
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

  /** The next look counts as the first. */
  forget(): void {
    this.#seen.clear();
  }
}
