/**
 * A filter at a clsact qdisc, for kernels without tcx, or on request.
 *
 * Invariants: interface, side, priority and handle identify a filter. It outlives the process, so
 * construct this class with the same numbers to use a filter of an earlier process. Detaching never
 * removes a qdisc that existed before, or that has another filter. A filter that another process
 * adds between the check and the removal is lost.
 */
import { type NativeClsactState, native } from './native.ts';
import type { TcxDirection } from './tcx.ts';

export interface ClsactOptions {
  /** Lower values run first, and of one value the newest filter. Default 0: the kernel chooses. */
  readonly priority?: number;
  /** Default 0: the kernel chooses. */
  readonly handle?: number;
  /**
   * Replace a filter with the same priority and handle atomically; otherwise EEXIST. Default false.
   */
  readonly replace?: boolean;
}

export interface ClsactPlace {
  readonly ifindex: number;
  readonly direction: TcxDirection;
  readonly priority: number;
  readonly handle: number;
  /** The qdisc was created for the filter, so it may be removed with it. Default false. */
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

  /** The attached program and its place; null if the filter, its qdisc or the interface is gone. */
  state(): NativeClsactState | null {
    return native().queryClsact(this.ifindex, this.direction === 'ingress', this.priority, this.handle);
  }

  /** The attached program; null as for `state`. */
  programId(): number | null {
    return this.state()?.programId ?? null;
  }

  /** False if the filter was gone already. */
  detach(): boolean {
    const ingress = this.direction === 'ingress';
    return native().detachClsact(this.ifindex, ingress, this.priority, this.handle, this.createdQdisc);
  }
}
