/**
 * Frame consumer: decodes the messages of VIOLATIONS and passes the frames to the engine. A message
 * that cannot be decoded becomes a dead letter with the reason. A message beyond the share of its
 * node is skipped before it is decoded.
 *
 * Invariant: frames reach the engine in stream order, each after the configuration and the pod
 * lists are complete up to SETTLE_MICROS before it. Normally everything is synchronous. The reader
 * waits only for a lagging input, for the lookup of an unknown schema, or for room in the verdict
 * queue.
 */
import { BusError, reasonOf, type StreamMessage, violationNode } from '@bailiff/bus';
import { type CorrelationEngine, SETTLE_MICROS } from '@bailiff/correlation';
import {
  decodeProjectedFrame,
  decodeWithLookup,
  type ProjectedFrame,
  type ProjectedFrameRegistry,
  SchemaError,
} from '@bailiff/schemas';
import type { Clock } from '@bailiff/service';
import type { DeadLetters } from './dead-letters.ts';
import type { SkippedMessages } from './skipped-messages.ts';

/** Progress of an input stream that must be complete up to a time before a frame is processed. */
export interface InputWatermark {
  isCompleteTo(timeMicros: number): boolean;
  whenCompleteTo(timeMicros: number): Promise<void>;
}

export interface FrameConsumerOptions {
  engine: CorrelationEngine;
  registry: ProjectedFrameRegistry;
  inputs: readonly InputWatermark[];
  deadLetters: DeadLetters;
  skipped: SkippedMessages;
  room: { readonly hasRoom: boolean; whenRoom(): Promise<void> };
  /** The engine threw on a frame, which is a bug. The frame becomes a dead letter. */
  onBug(error: Error, sequence: number): void;
  clock: Clock;
  signal: AbortSignal;
}

/** Interval of schema lookups while the bus is unavailable. */
const RETRY_MS = 500;
/**
 * How long a message may wait for its schema while the bus does not serve schemas. The messages of
 * all nodes wait with it.
 */
const LOOKUP_MS = 10_000;
/** After such a wait, further unknown schemas are not waited for. */
const LOOKUP_PAUSE_MS = 60_000;

const NOT_OURS = 'not of a Bailiff client: a server response that was sent here, or malformed headers';

/** Bound of the cache of parsed subjects; a full cache is cleared. */
const MAX_SUBJECTS = 16_384;

export class FrameConsumer {
  readonly #o: FrameConsumerOptions;
  readonly #nodeOf = new Map<string, string>();
  /** The message in work, for dead letters of its violations. */
  #current: StreamMessage | null = null;
  #noLookupUntilMs = Number.NEGATIVE_INFINITY;
  /** Newest sequence that was processed or dead-lettered. */
  handled = 0;
  /** When the bus stored it; 0 if unknown. */
  handledMicros = 0;
  /** Newest frame received, and when the bus stored it. */
  received = 0;
  receivedMicros = 0;
  /** Frames on the bus after the newest received. */
  pending = 0;
  frames = 0;
  unreadable = 0;
  /** Messages beyond the share of their node. */
  overShare = 0;
  /** Times that a frame waited for an input or for room. */
  waits = 0;

  constructor(options: FrameConsumerOptions) {
    this.#o = options;
  }

  /**
   * Age of the frame in work while it waits or more frames follow; otherwise 0. Compares the clock
   * of the bus with that of this process.
   */
  lagMs(): number {
    if (this.pending === 0 && this.received === this.handled) return 0;
    return Math.max(0, (this.#o.clock.nowMicros() - this.receivedMicros) / 1000);
  }

  /** The message of a sequence if it is in work. */
  current(sequence: number): StreamMessage | null {
    return this.#current?.sequence === sequence ? this.#current : null;
  }

  /** The stream has no unprocessed frame up to this sequence. */
  advanceTo(sequence: number): void {
    if (sequence <= this.handled) return;
    this.handled = sequence;
    this.received = sequence;
    this.handledMicros = 0;
  }

  /** Processes a message. The promise, if any, must resolve before the next one. */
  take(message: StreamMessage): void | Promise<void> {
    this.pending = message.pending;
    this.received = message.sequence;
    this.receivedMicros = message.timestampMicros;
    const node = this.#node(message.subject);
    const position = { sequence: message.sequence, timestampMicros: message.timestampMicros, node: node ?? '' };
    if (!this.#o.engine.hasShare(position, message.data.length)) return this.#skip(message, position.node);
    if (node === null) return this.#setAside(message, '', 'bad-subject', message.subject);
    if (message.injected) return this.#setAside(message, node, 'planted', NOT_OURS);
    let frame: ProjectedFrame;
    try {
      frame = decodeProjectedFrame(message.data, this.#o.registry);
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
      if (error.code === 'UNKNOWN_FINGERPRINT') return this.#lookUp(message, node);
      return this.#unreadable(message, node, error);
    }
    return this.#process(message, node, frame);
  }

  /** @param frame SchemaError: the frame exceeds a limit, which counts against its node */
  #process(message: StreamMessage, node: string, frame: ProjectedFrame | SchemaError): void | Promise<void> {
    const settled = message.timestampMicros - SETTLE_MICROS;
    for (const input of this.#o.inputs) if (!input.isCompleteTo(settled)) return this.#wait(message, node, frame);
    if (!this.#o.room.hasRoom) return this.#wait(message, node, frame);
    this.#processNow(message, node, frame);
  }

  async #wait(message: StreamMessage, node: string, frame: ProjectedFrame | SchemaError): Promise<void> {
    this.waits++;
    const settled = message.timestampMicros - SETTLE_MICROS;
    await Promise.all([...this.#o.inputs.map((input) => input.whenCompleteTo(settled)), this.#o.room.whenRoom()]);
    this.#processNow(message, node, frame);
  }

  #processNow(message: StreamMessage, node: string, frame: ProjectedFrame | SchemaError): void {
    this.#current = message;
    const { sequence, timestampMicros } = message;
    const { engine } = this.#o;
    try {
      if (frame instanceof SchemaError) {
        this.unreadable++;
        this.#o.skipped.add(node, 'field-too-long');
        engine.rejectFrame({ sequence, timestampMicros, node }, frame.message);
      } else {
        this.frames++;
        engine.processFrame({ sequence, timestampMicros, node }, frame);
      }
    } catch (error) {
      // The stream delivers a frame again after each restart: one bad frame must not block the
      // others.
      this.#o.onBug(error as Error, sequence);
      this.#setAside(message, node, 'judge-error', (error as Error).message);
    }
    this.#current = null;
    this.handled = sequence;
    this.handledMicros = timestampMicros;
  }

  async #lookUp(message: StreamMessage, node: string): Promise<void> {
    const { registry, clock, signal } = this.#o;
    const patienceMs = clock.monotonicMs() < this.#noLookupUntilMs ? 0 : LOOKUP_MS;
    let endMs = clock.monotonicMs() + patienceMs;
    for (;;) {
      try {
        const decoded = await decodeWithLookup(message.data, registry, node);
        if (decoded.name === 'ViolationFrame') return await this.#process(message, node, decoded.value);
        throw new SchemaError('WRONG_SCHEMA', `expected a ViolationFrame, found a ${decoded.name}`);
      } catch (error) {
        if (error instanceof SchemaError) return await this.#unreadable(message, node, error);
        if (!(error instanceof BusError) || error.code === 'BUS_PERMISSION' || error.code === 'BUS_CLOSED') throw error;
        // Without the bus there are no messages of other nodes either.
        if (error.code === 'BUS_UNREACHABLE') endMs = clock.monotonicMs() + patienceMs;
        else if (clock.monotonicMs() >= endMs) {
          this.#noLookupUntilMs = clock.monotonicMs() + LOOKUP_PAUSE_MS;
          return this.#setAside(message, node, 'unknown-fingerprint', `its schema cannot be read: ${error.message}`);
        }
        await clock.sleep(RETRY_MS, signal);
        signal.throwIfAborted();
      }
    }
  }

  #unreadable(message: StreamMessage, node: string, error: SchemaError): void | Promise<void> {
    if (error.code === 'FIELD_TOO_LONG') return this.#process(message, node, error);
    this.#setAside(message, node, reasonOf(error, 'not-a-frame'), error.message);
  }

  #skip({ sequence, timestampMicros }: StreamMessage, node: string): void {
    this.overShare++;
    this.#o.skipped.add(node, 'over-share');
    this.handled = sequence;
    this.handledMicros = timestampMicros;
  }

  #setAside(message: StreamMessage, node: string, reason: string, detail: string): void {
    this.unreadable++;
    this.#o.skipped.add(node, reason);
    const { deadLetters, engine } = this.#o;
    const hasLetter = engine.chargeUnreadable(node);
    this.handled = message.sequence;
    this.handledMicros = message.timestampMicros;
    if (hasLetter) deadLetters.add({ sequence: message.sequence, reason, detail, indexes: [], message });
    else deadLetters.dropped++;
  }

  #node(subject: string): string | null {
    const known = this.#nodeOf.get(subject);
    if (known !== undefined) return known;
    const node = violationNode(subject);
    if (node === null) return null;
    if (this.#nodeOf.size >= MAX_SUBJECTS) this.#nodeOf.clear();
    this.#nodeOf.set(subject, node);
    return node;
  }
}
