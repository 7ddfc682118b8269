// Faults that tests switch on from outside: errors, delays, held and lost answers, dead watches, compaction.
//
// A fault is matched after authorisation and before anything is done. It is used up after `times` requests (default
// one). `when: 'after'` lets the request take effect and spoils only the answer, which is how a crash between an
// action and its record is played. Bounded: at most `maxFaults` wait at once.

import assert from 'node:assert/strict';
import { ApiError } from '../errors.ts';
import type { ResourceRequest } from './path.ts';

/** More than any test arms; more is a leak. */
export const maxFaults = 1000;

export interface FaultSpec {
  /** What it applies to; an absent field matches everything. */
  verb?: string;
  resource?: string;
  subresource?: string;
  namespace?: string;
  name?: string;
  user?: string;
  /** Requests that it hits; Infinity for ever. Default 1. */
  times?: number;
  /** Answer with this HTTP status (a Status object with the usual reason). */
  status?: number;
  reason?: string;
  message?: string;
  retryAfterSeconds?: number;
  /** Wait before anything else. */
  delayMs?: number;
  /** Close the connection without an answer. */
  drop?: boolean;
  /** Wait until `release()` is called on the handle. */
  hold?: boolean;
  /** Whether the request takes effect first. Default 'before'. */
  when?: 'before' | 'after';
}

export interface FaultHandle {
  /** Requests hit so far. */
  readonly hits: number;
  /** Lets held requests go on, now and later. */
  release(): void;
  /** Takes the fault away; held requests go on. */
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

  /** Waits as the fault says. */
  async wait(): Promise<void> {
    const { delayMs } = this.spec;
    if (delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, delayMs));
    if (this.spec.hold) await this.#released;
  }

  /** The answer that the fault gives, if it gives one. */
  error(): ApiError | undefined {
    const { status, reason, message, retryAfterSeconds } = this.spec;
    if (status === undefined) return undefined;
    const [usualReason, usualMessage] = usualReasons[status] ?? ['', `injected: ${status}`];
    const details = retryAfterSeconds === undefined ? undefined : { retryAfterSeconds };
    return new ApiError(status, reason ?? usualReason, message ?? usualMessage, details);
  }
}

export type { ArmedFault };

/** What the faults reach besides requests. */
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
  /** How an expired watch is told: as a real server of 1.32 does it, or by HTTP status. */
  expiredWatch: 'event' | 'status' = 'event';

  constructor(targets: FaultTargets) {
    this.#targets = targets;
  }

  /** Arms a fault. Asserts that there is room. */
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

  /** Takes all faults away and undoes stalled watches and expired tokens. */
  clear(): void {
    for (const fault of this.#armed) fault.release();
    this.#armed = [];
    this.expiredWatch = 'event';
    this.#targets.stallWatches(false);
    this.#targets.restoreTokens();
  }

  /** The fault for this request, counted as used; undefined when none applies. */
  take(request: ResourceRequest, user: string): ArmedFault | undefined {
    const fault = this.#armed.find((entry) => !entry.spent && entry.matches(request, user));
    if (fault === undefined) return undefined;
    fault.hits += 1;
    if (fault.spent) this.#armed = this.#armed.filter((entry) => entry !== fault || entry.spec.hold);
    return fault;
  }

  /** Ends every open watch by closing its connection; returns how many. */
  cutWatches(): number {
    return this.#targets.cutWatches();
  }

  /** While on, open watches stay open and are told nothing; what they miss stays missed. */
  stallWatches(on: boolean): void {
    this.#targets.stallWatches(on);
  }

  /** Forgets the history: older versions answer 410 from now on. */
  compact(): void {
    this.#targets.compact();
  }

  /** Tokens (of one user) answer 401 from now on. */
  expireTokens(user?: string): void {
    this.#targets.expireTokens(user);
  }

  restoreTokens(user?: string): void {
    this.#targets.restoreTokens(user);
  }
}
