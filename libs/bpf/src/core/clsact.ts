/**
 * A filter at a clsact qdisc: how a program is attached where the kernel has no tcx, or when asked for.
 *
 * Invariants: a filter is named by interface, side, priority and handle; it outlives this process, so one that an earlier
 * process made is addressed by constructing this class with those numbers. Detaching never removes a qdisc at which
 * another filter hangs, nor one that was there before; a user who adds a filter between the look and the removal loses it.
 */
import { native } from './native.ts';
import type { TcxDirection } from './tcx.ts';

export interface ClsactOptions {
  /** Lower runs first. Default 0: the kernel chooses. */
  readonly priority?: number;
  /** Default 0: the kernel chooses. */
  readonly handle?: number;
  /** Take the place of a filter with the same priority and handle, atomically; else EEXIST. Default false. */
  readonly replace?: boolean;
}

export interface ClsactPlace {
  readonly ifindex: number;
  readonly direction: TcxDirection;
  readonly priority: number;
  readonly handle: number;
  /** This qdisc was made for the filter, so it may go with it. Default false. */
  readonly createdQdisc?: boolean;
}

export class ClsactFilter {
  readonly ifindex: number;
  readonly direction: TcxDirection;
  readonly priority: number;
  readonly handle: number;
  readonly createdQdisc: boolean;

  constructor(place: ClsactPlace) {
    this.ifindex = place.ifindex;
    this.direction = place.direction;
    this.priority = place.priority;
    this.handle = place.handle;
    this.createdQdisc = place.createdQdisc ?? false;
  }

  /** The program that is there now; null when the filter, its qdisc or the interface is gone. */
  programId(): number | null {
    return native().queryClsact(this.ifindex, this.direction === 'ingress', this.priority, this.handle);
  }

  /** False when the filter was gone already. */
  detach(): boolean {
    const ingress = this.direction === 'ingress';
    return native().detachClsact(this.ifindex, ingress, this.priority, this.handle, this.createdQdisc);
  }
}
