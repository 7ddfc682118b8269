/**
 * The frame that is being filled. The next frame reuses its violation objects: a frame is encoded
 * within the call that publishes it, and new objects would be most of the garbage in a flood. Only
 * what an acknowledgement updates outlives the call.
 *
 * Limits: MAX_FRAME_VIOLATIONS, and the guard gaps of a frame (limits.ts of @bailiff/schemas).
 */
import assert from 'node:assert/strict';
import { type GuardGap, LIST_LIMITS, type PreEncodedViolation, type Violation } from '@bailiff/schemas';
import type { FramePart } from './source-shares.ts';

export const MAX_FRAME_VIOLATIONS = LIST_LIMITS.violations.items;

/** Fields that only violations of runtime policies use. */
export const NO_POLICY = { operation: null, policy: '', policyRevision: 0, severity: '', tags: [], message: '' };

/** A violation object that is filled again for each frame. */
export function blankViolation(): PreEncodedViolation {
  return {
    kind: 'spoof',
    vector: 'ipv4-source',
    action: 'drop',
    state: 'unknown',
    counterEpoch: '',
    cumulativePackets: 0,
    cumulativeSkbs: 0,
    cumulativeBytes: 0,
    count: 0,
    suppressed: 0,
    firstSeenAt: 0,
    lastSeenAt: 0,
    final: false,
    interfaceName: '',
    ifindex: 0,
    generation: 0,
    pod: null,
    sample: null,
    detail: '',
    ...NO_POLICY,
    encodedCounter: null,
    encodedOwner: null,
  };
}

/** What one frame contains of one source. */
export interface Unacked<S> {
  source: S;
  /**
   * Cell and count in turn; empty if the frame contains only found violations or unguarded packets.
   */
  cells: number[];
  /** Violations that user space found, in the order of discovery. */
  found: Violation[];
  /** Whether it contains the unguarded packets of the interface. */
  hasUnguarded: boolean;
}

export class FrameBuilder<S extends object> {
  readonly #blank = Array.from({ length: MAX_FRAME_VIOLATIONS }, blankViolation);
  readonly violations: Violation[] = [];
  coverage: GuardGap[] = [];
  #unacked: Unacked<S>[] = [];

  get isFull(): boolean {
    return this.violations.length >= MAX_FRAME_VIOLATIONS || this.coverage.length >= LIST_LIMITS.coverage.items;
  }

  get isEmpty(): boolean {
    return this.violations.length === 0 && this.coverage.length === 0;
  }

  /** Adds a violation for a cell; the caller fills it. */
  add(source: S, cell: number, count: number): PreEncodedViolation {
    assert(!this.isFull, 'a full frame is sent before more is added');
    const violation = this.#blank[this.violations.length] as PreEncodedViolation;
    this.violations.push(violation);
    this.#unackedOf(source).cells.push(cell, count);
    return violation;
  }

  /** Adds a violation that user space found. */
  addFound(source: S, violation: Violation): void {
    assert(!this.isFull, 'a full frame is sent before more is added');
    this.violations.push(violation);
    this.#unackedOf(source).found.push(violation);
  }

  /** Adds the packets that an interface sent before it was guarded. */
  addUnguarded(source: S, gap: GuardGap): void {
    this.coverage.push(gap);
    this.#unackedOf(source).hasUnguarded = true;
  }

  #unackedOf(source: S): Unacked<S> {
    const last = this.#unacked.at(-1);
    if (last?.source === source) return last;
    const unacked: Unacked<S> = { source, cells: [], found: [], hasUnguarded: false };
    this.#unacked.push(unacked);
    return unacked;
  }

  /** How many violations of the frame each source has. */
  parts(): FramePart[] {
    return this.#unacked.map(({ source, cells, found, hasUnguarded }) => ({
      source,
      violations: cells.length / 2 + found.length + (hasUnguarded ? 1 : 0),
    }));
  }

  /** Begins the next frame after publishing. @returns the contents of the published one */
  clear(): readonly Unacked<S>[] {
    const unacked = this.#unacked;
    this.violations.length = 0;
    this.coverage = [];
    this.#unacked = [];
    return unacked;
  }
}
