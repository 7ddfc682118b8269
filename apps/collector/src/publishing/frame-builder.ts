/**
 * The frame that is being filled. Its violations are objects that are used again for the next frame: a frame is encoded within the call
 * that publishes it, and at a hundred thousand violations a second such objects would be most of the garbage. What outlives the call is
 * only what the frame's acknowledgement settles. Bounds: MAX_FRAME_VIOLATIONS and the gaps that a frame may have (limits.ts of @bailiff/schemas).
 */
import assert from 'node:assert/strict';
import { type GuardGap, LIST_LIMITS, type ToldViolation, type Violation } from '@bailiff/schemas';
import { blankViolation } from './violations.ts';

export const MAX_FRAME_VIOLATIONS = LIST_LIMITS.violations.items;

/** What a frame owes one speaker once it is acknowledged. */
export interface Owed<S> {
  speaker: S;
  /** Cell and packets in turn; empty when the frame only holds what user space found, or the gap. */
  cells: number[];
  /** What user space found, in the order in which it was found. */
  found: Violation[];
  /** The frame tells what passed before this interface was guarded. */
  gap: boolean;
}

export class FrameBuilder<S> {
  readonly #blank = Array.from({ length: MAX_FRAME_VIOLATIONS }, blankViolation);
  readonly violations: Violation[] = [];
  coverage: GuardGap[] = [];
  #owed: Owed<S>[] = [];

  get isFull(): boolean {
    return this.violations.length >= MAX_FRAME_VIOLATIONS || this.coverage.length >= LIST_LIMITS.coverage.items;
  }

  get isEmpty(): boolean {
    return this.violations.length === 0 && this.coverage.length === 0;
  }

  /** Room for what a speaker's cell says; the caller fills it. */
  add(speaker: S, cell: number, packets: number): ToldViolation {
    assert(!this.isFull, 'a full frame is sent before more is added');
    const violation = this.#blank[this.violations.length] as ToldViolation;
    this.violations.push(violation);
    this.#owedTo(speaker).cells.push(cell, packets);
    return violation;
  }

  /** A violation that user space found. */
  addFound(speaker: S, violation: Violation): void {
    assert(!this.isFull, 'a full frame is sent before more is added');
    this.violations.push(violation);
    this.#owedTo(speaker).found.push(violation);
  }

  /** What passed before an interface was guarded. */
  addGap(speaker: S, gap: GuardGap): void {
    this.coverage.push(gap);
    this.#owedTo(speaker).gap = true;
  }

  #owedTo(speaker: S): Owed<S> {
    const last = this.#owed.at(-1);
    if (last?.speaker === speaker) return last;
    const owed: Owed<S> = { speaker, cells: [], found: [], gap: false };
    this.#owed.push(owed);
    return owed;
  }

  /** After the frame was published: begins the next one. @returns what the published one owes */
  clear(): readonly Owed<S>[] {
    const owed = this.#owed;
    this.violations.length = 0;
    this.coverage = [];
    this.#owed = [];
    return owed;
  }
}
