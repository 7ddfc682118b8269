/**
 * Frames: the one that is being filled, and those in flight to the bus. The next frame reuses the
 * violation objects of the last one: a frame is encoded within the call that publishes it, and new
 * objects would be most of the garbage in a flood. Only what an acknowledgement updates outlives
 * the call.
 *
 * Data path: flusher.ts → adapter → here → bus-link.ts. Limits: MAX_FRAME_VIOLATIONS, and the guard
 * gaps of a frame (limits.ts of @bailiff/schemas).
 */
import assert from 'node:assert/strict';
import {
  type GuardGap,
  LIST_LIMITS,
  type PreEncodedViolation,
  type Violation,
  type ViolationFrame,
} from '@bailiff/schemas';
import { within } from '@bailiff/service/retry';
import type { FramePart } from './source-shares.ts';

export const MAX_FRAME_VIOLATIONS = LIST_LIMITS.violations.items;

/**
 * Sequences per allocation: two system calls serve so many frames. Unused ones of a process that
 * ended are a gap, which means nothing to readers.
 */
export const SEQUENCE_BLOCK = 64;

/**
 * Sequences of frames, from a pinned map that outlives the process.
 * @param allocate reserves so many in the map and returns the first; durable before it returns
 */
export function frameSequences(allocate: (count: number) => bigint): () => number {
  let next = 0;
  let end = 0;
  return () => {
    if (next === end) {
      next = Number(allocate(SEQUENCE_BLOCK));
      end = next + SEQUENCE_BLOCK;
    }
    next += 1;
    return next - 1;
  };
}

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

/** Destination of frames. */
export interface FrameSink {
  /**
   * Resolves when the bus stored the frame; rejects if it never will. The sink encodes the frame
   * within the call: its violations are reused afterwards.
   */
  publish(frame: ViolationFrame, parts: readonly FramePart[]): Promise<void>;
  /** Whether a source may publish now (source-shares.ts); false: its counts wait. */
  hasShare(source: object): boolean;
  hasCapacity(): boolean;
  whenCapacity(): Promise<void>;
}

export interface FrameOptions {
  nodeName: string;
  bootId: string;
  version: string;
  sink: Pick<FrameSink, 'publish'>;
  /** Allocates a frame sequence; durable before it returns. */
  nextSequence(): number;
  clock: { nowMicros(): number };
}

export interface FrameEvents<S> {
  onAcked(contents: readonly Unacked<S>[]): void;
  onRejected(contents: readonly Unacked<S>[], error: Error): void;
}

export class FrameWriter<S extends { framesInFlight: number }> {
  readonly #options: FrameOptions;
  readonly #events: FrameEvents<S>;
  readonly #blank = Array.from({ length: MAX_FRAME_VIOLATIONS }, blankViolation);
  readonly #violations: Violation[] = [];
  #coverage: GuardGap[] = [];
  #unacked: Unacked<S>[] = [];
  readonly #inFlight = new Set<Promise<void>>();

  constructor(options: FrameOptions, events: FrameEvents<S>) {
    this.#options = options;
    this.#events = events;
  }

  /** Adds a violation for a cell; the caller fills it, then calls `sendIfFull`. */
  add(source: S, cell: number, count: number): PreEncodedViolation {
    assert(!this.#isFull, 'a full frame is sent before more is added');
    const violation = this.#blank[this.#violations.length] as PreEncodedViolation;
    this.#violations.push(violation);
    this.#unackedOf(source).cells.push(cell, count);
    return violation;
  }

  /** Adds a violation that user space found. */
  addFound(source: S, violation: Violation): void {
    this.#violations.push(violation);
    this.#unackedOf(source).found.push(violation);
    this.sendIfFull();
  }

  /** Adds the packets that an interface sent before it was guarded. */
  addUnguarded(source: S, gap: GuardGap): void {
    this.#coverage.push(gap);
    this.#unackedOf(source).hasUnguarded = true;
    this.sendIfFull();
  }

  #unackedOf(source: S): Unacked<S> {
    const last = this.#unacked.at(-1);
    if (last?.source === source) return last;
    const unacked: Unacked<S> = { source, cells: [], found: [], hasUnguarded: false };
    this.#unacked.push(unacked);
    return unacked;
  }

  get #isFull(): boolean {
    return this.#violations.length >= MAX_FRAME_VIOLATIONS || this.#coverage.length >= LIST_LIMITS.coverage.items;
  }

  sendIfFull(): void {
    if (this.#isFull) this.send();
  }

  /** Publishes the frame, unless it is empty, and begins the next. */
  send(): void {
    if (this.#unacked.length === 0) return;
    const { bootId, clock, nodeName, nextSequence, sink, version } = this.#options;
    const contents = this.#unacked;
    const frame = {
      nodeName,
      bootId,
      frameSequence: nextSequence(),
      publishedAt: clock.nowMicros(),
      collectorVersion: version,
      violations: this.#violations,
      coverage: this.#coverage,
    };
    const published = sink.publish(frame, contents.map(partOf));
    this.#violations.length = 0;
    this.#coverage = [];
    this.#unacked = [];
    for (const { source } of contents) source.framesInFlight += 1;
    const sent: Promise<void> = published
      .then(() => this.#events.onAcked(contents))
      .catch((error: Error) => this.#events.onRejected(contents, error))
      .finally(() => this.#inFlight.delete(sent));
    this.#inFlight.add(sent);
  }

  /**
   * Waits for the frames in flight, at most for the timeout.
   * @returns frames that are still in flight
   */
  async whenAcked(timeoutMs: number): Promise<number> {
    const remaining = () => this.#inFlight.size;
    return within(timeoutMs, Promise.all(this.#inFlight).then(remaining), remaining);
  }
}

/** How many violations of a frame a source has. */
const partOf = <S extends object>({ source, cells, found, hasUnguarded }: Unacked<S>): FramePart => ({
  source,
  violations: cells.length / 2 + found.length + (hasUnguarded ? 1 : 0),
});
