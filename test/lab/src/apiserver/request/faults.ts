/**
 * Faults injected by tests: errors, delays, held and lost responses, broken watches, compaction. A
 * fault is matched after authorization and before the request is handled. It ends after `times`
 * requests (default one). With `when: 'after'` the request takes effect and only the response
 * fails, like a crash between an action and its record. Bounded: at most `maxFaults` pending
 * faults.
 */
import assert from 'node:assert/strict';
import { ApiError } from '../errors.ts';
import type { ResourceRequest } from './path.ts';

/** More than any test needs; more is a leak. */
export const maxFaults = 1000;

export interface FaultSpec {
  /** Filters; an absent field matches everything. */
  verb?: string;
  resource?: string;
  subresource?: string;
  namespace?: string;
  name?: string;
  user?: string;
  /** Number of affected requests; Infinity without limit. Default 1. */
  times?: number;
  /** Respond with this HTTP status (a Status object with the usual reason). */
  status?: number;
  reason?: string;
  message?: string;
  retryAfterSeconds?: number;
  /** Wait before the other steps. */
  delayMs?: number;
  /** Close the connection without a response. */
  drop?: boolean;
  /** Wait until `release()` is called on the handle. */
  hold?: boolean;
  /** Whether the request takes effect first. Default 'before'. */
  when?: 'before' | 'after';
}

export interface FaultHandle {
  /** Affected requests so far. */
  readonly hits: number;
  /** Releases held requests, now and later. */
  release(): void;
  /** Removes the fault; held requests continue. */
  remove(): void;
}

const usualReasons: { [status: number]: [string, string] } = {
  400: ['BadRequest', 'injected: bad request'],
  401: ['Unauthorized', 'Unauthorized'],
  403: ['Forbidden', 'injected: forbidden'],
  404: ['NotFound', 'injected: not found'],
  409: [
    'Conflict',
    'Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version and try again',
  ],
  410: ['Expired', 'injected: too old resource version'],
  422: ['Invalid', 'injected: invalid'],
  429: ['TooManyRequests', 'Too many requests, please try again later.'],
  500: ['InternalError', 'Internal error occurred: injected'],
  503: ['ServiceUnavailable', 'the server is currently unable to handle the request'],
  504: ['Timeout', 'Timeout: request did not complete within the allotted timeout'],
};

class ArmedFault implements FaultHandle {
  readonly spec: FaultSpec;
  hits = 0;
  #released: Promise<void>;
  #release: () => void = () => {};
  readonly #onRemove: (fault: ArmedFault) => void;

  constructor(spec: FaultSpec, onRemove: (fault: ArmedFault) => void) {
    this.spec = spec;
    this.#onRemove = onRemove;
    this.#released = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  get spent(): boolean {
    return this.hits >= (this.spec.times ?? 1);
  }

  matches(request: ResourceRequest, user: string): boolean {
    const { spec } = this;
    const same = (wanted: string | undefined, value: string) => wanted === undefined || wanted === value;
    return (
      same(spec.verb, request.verb) &&
      same(spec.resource, request.resource) &&
      same(spec.subresource, request.subresource) &&
      same(spec.namespace, request.namespace) &&
      same(spec.name, request.name) &&
      same(spec.user, user)
    );
  }

  release(): void {
    this.#release();
  }

  remove(): void {
    this.#onRemove(this);
    this.release();
  }

  /** Waits as specified. */
  async wait(): Promise<void> {
    const { delayMs } = this.spec;
    if (delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, delayMs));
    if (this.spec.hold) await this.#released;
  }

  /** The error of the fault, if it has one. */
  error(): ApiError | undefined {
    const { status, reason, message, retryAfterSeconds } = this.spec;
    if (status === undefined) return undefined;
    const [usualReason, usualMessage] = usualReasons[status] ?? ['', `injected: ${status}`];
    const details = retryAfterSeconds === undefined ? undefined : { retryAfterSeconds };
    return new ApiError(status, reason ?? usualReason, message ?? usualMessage, details);
  }
}

export type { ArmedFault };

/** Targets of faults besides requests. */
export interface FaultTargets {
  cutWatches(): number;
  stallWatches(on: boolean): void;
  compact(): void;
  expireTokens(user?: string): void;
  restoreTokens(user?: string): void;
}

export class Faults {
  readonly #targets: FaultTargets;
  #armed: ArmedFault[] = [];
  /** Signal of an expired watch: an event, as in 1.32, or an HTTP status. */
  expiredWatch: 'event' | 'status' = 'event';

  constructor(targets: FaultTargets) {
    this.#targets = targets;
  }

  /** Adds a fault. Asserts that there is room. */
  inject(spec: FaultSpec): FaultHandle {
    assert(this.#armed.length < maxFaults, 'too many faults are armed');
    const fault = new ArmedFault(spec, (gone) => {
      this.#armed = this.#armed.filter((entry) => entry !== gone);
    });
    this.#armed.push(fault);
    return fault;
  }

  /** Faults that are not used up. */
  pending(): number {
    return this.#armed.filter((fault) => !fault.spent).length;
  }

  /** Removes all faults, resumes stalled watches and restores tokens. */
  clear(): void {
    for (const fault of this.#armed) fault.release();
    this.#armed = [];
    this.expiredWatch = 'event';
    this.#targets.stallWatches(false);
    this.#targets.restoreTokens();
  }

  /** The fault for this request, counted as used; undefined if none matches. */
  take(request: ResourceRequest, user: string): ArmedFault | undefined {
    const fault = this.#armed.find((entry) => !entry.spent && entry.matches(request, user));
    if (fault === undefined) return undefined;
    fault.hits += 1;
    if (fault.spent) this.#armed = this.#armed.filter((entry) => entry !== fault || entry.spec.hold);
    return fault;
  }

  /** Closes the connection of every open watch; returns their number. */
  cutWatches(): number {
    return this.#targets.cutWatches();
  }

  /** While on, open watches receive no events; missed events are not sent later. */
  stallWatches(on: boolean): void {
    this.#targets.stallWatches(on);
  }

  /** Drops the history: older versions return 410 from now on. */
  compact(): void {
    this.#targets.compact();
  }

  /** Tokens (of one user) return 401 from now on. */
  expireTokens(user?: string): void {
    this.#targets.expireTokens(user);
  }

  restoreTokens(user?: string): void {
    this.#targets.restoreTokens(user);
  }
}
