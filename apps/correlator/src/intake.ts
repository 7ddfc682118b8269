/**
 * Messages of VIOLATIONS → frames → the fold. What cannot be read becomes a dead letter with the reason, never a crash.
 *
 * Invariants: frames reach the fold in the order of the stream, each after the configuration and the pods' lists are known up to a settling
 * time before it. In the ordinary case all is synchronous; the reader is held back only while a log lags, an unknown schema is looked
 * up, or the verdicts have no room.
 */
import { BusError, parseSubject, reasonOf, type StreamMessage } from '@bailiff/bus';
import { type Fold, SETTLE_MICROS } from '@bailiff/judge';
import {
  decodeJudgedFrame,
  decodeWithLookup,
  type JudgedFrame,
  type JudgedRegistry,
  SchemaError,
} from '@bailiff/schemas';
import type { Clock } from '@bailiff/service';
import type { DeadLetters } from './dead-letters.ts';

/** A log that must be known up to a time before a frame is judged. */
export interface Gate {
  isCompleteTo(timeMicros: number): boolean;
  whenCompleteTo(timeMicros: number): Promise<void>;
}

export interface IntakeOptions {
  fold: Fold;
  registry: JudgedRegistry;
  gates: readonly Gate[];
  deadLetters: DeadLetters;
  room: { readonly hasRoom: boolean; whenRoom(): Promise<void> };
  /** The fold threw on a frame: a bug, told, and the frame set aside. */
  onBug(error: Error, sequence: number): void;
  clock: Clock;
  signal: AbortSignal;
}

/** Between tries to look a schema up while the bus is away. */
const RETRY_MS = 500;

/** Nodes whose subjects are remembered as read; above it all are read anew. */
const MAX_SUBJECTS = 16_384;

export class Intake {
  readonly #o: IntakeOptions;
  readonly #nodeOf = new Map<string, string>();
  /** The message that is being worked on, for what the fold refuses of it. */
  #current: StreamMessage | null = null;
  /** Newest sequence that was folded or set aside, and when the bus stored it; 0: not known. */
  handled = 0;
  handledMicros = 0;
  /** Newest frame received, and when the bus stored it. */
  received = 0;
  receivedMicros = 0;
  /** Frames on the bus after the newest received. */
  pending = 0;
  frames = 0;
  unreadable = 0;
  /** Times that a frame had to wait for a log or for room. */
  waits = 0;

  constructor(options: IntakeOptions) {
    this.#o = options;
  }

  /** How long the frame in work has lain on the bus, while it waits or more come after it; otherwise 0. By two clocks: the bus's and ours. */
  lagMs(): number {
    if (this.pending === 0 && this.received === this.handled) return 0;
    return Math.max(0, (this.#o.clock.nowMicros() - this.receivedMicros) / 1000);
  }

  /** The message of a sequence when it is the one being worked on. */
  current(sequence: number): StreamMessage | null {
    return this.#current?.sequence === sequence ? this.#current : null;
  }

  /** The stream holds no frame up to this sequence that is to be judged. */
  reached(sequence: number): void {
    if (sequence <= this.handled) return;
    this.handled = sequence;
    this.received = sequence;
    this.handledMicros = 0;
  }

  take(message: StreamMessage): void | Promise<void> {
    this.pending = message.pending;
    this.received = message.sequence;
    this.receivedMicros = message.timestampMicros;
    const node = this.#node(message.subject);
    if (node === null) return this.#setAside(message, 'bad-subject', message.subject);
    if (message.injected) return this.#setAside(message, 'planted', 'an answer of the server that was sent here');
    let frame: JudgedFrame;
    try {
      frame = decodeJudgedFrame(message.data, this.#o.registry);
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
      if (error.code === 'UNKNOWN_FINGERPRINT') return this.#lookUp(message, node);
      return this.#unreadable(message, node, error);
    }
    return this.#fold(message, node, frame);
  }

  /** @param frame an error: the message is none, and that counts against its node */
  #fold(message: StreamMessage, node: string, frame: JudgedFrame | SchemaError): void | Promise<void> {
    const settled = message.timestampMicros - SETTLE_MICROS;
    for (const gate of this.#o.gates) if (!gate.isCompleteTo(settled)) return this.#wait(message, node, frame);
    if (!this.#o.room.hasRoom) return this.#wait(message, node, frame);
    this.#foldNow(message, node, frame);
  }

  async #wait(message: StreamMessage, node: string, frame: JudgedFrame | SchemaError): Promise<void> {
    this.waits++;
    const settled = message.timestampMicros - SETTLE_MICROS;
    await Promise.all([...this.#o.gates.map((gate) => gate.whenCompleteTo(settled)), this.#o.room.whenRoom()]);
    this.#foldNow(message, node, frame);
  }

  #foldNow(message: StreamMessage, node: string, frame: JudgedFrame | SchemaError): void {
    this.#current = message;
    const { sequence, timestampMicros } = message;
    const { fold } = this.#o;
    try {
      if (frame instanceof SchemaError) {
        this.unreadable++;
        fold.invalid({ sequence, timestampMicros, node }, frame.message);
      } else {
        this.frames++;
        fold.frame({ sequence, timestampMicros, node }, frame);
      }
    } catch (error) {
      // One frame must not stop the judgement of all others for as long as the stream keeps it.
      this.#o.onBug(error as Error, sequence);
      this.#setAside(message, 'judge-error', (error as Error).message);
    }
    this.#current = null;
    this.handled = sequence;
    this.handledMicros = timestampMicros;
  }

  async #lookUp(message: StreamMessage, node: string): Promise<void> {
    const { registry, clock, signal } = this.#o;
    for (;;) {
      try {
        const decoded = await decodeWithLookup(message.data, registry);
        if (decoded.name === 'ViolationFrame') return await this.#fold(message, node, decoded.value);
        throw new SchemaError('WRONG_SCHEMA', `a ${decoded.name} where a ViolationFrame was expected`);
      } catch (error) {
        if (error instanceof SchemaError) return await this.#unreadable(message, node, error);
        if (!(error instanceof BusError) || error.code === 'BUS_PERMISSION' || error.code === 'BUS_CLOSED') throw error;
        await clock.sleep(RETRY_MS, signal);
        signal.throwIfAborted();
      }
    }
  }

  #unreadable(message: StreamMessage, node: string, error: SchemaError): void | Promise<void> {
    if (error.code === 'FIELD_TOO_LONG') return this.#fold(message, node, error);
    this.#setAside(message, reasonOf(error, 'not-a-frame'), error.message);
  }

  #setAside(message: StreamMessage, reason: string, detail: string): void {
    this.unreadable++;
    this.handled = message.sequence;
    this.handledMicros = message.timestampMicros;
    this.#o.deadLetters.add({ sequence: message.sequence, reason, detail, indexes: [], message });
  }

  #node(subject: string): string | null {
    const known = this.#nodeOf.get(subject);
    if (known !== undefined) return known;
    const parsed = parseSubject(subject);
    if (parsed?.what !== 'violations') return null;
    if (this.#nodeOf.size >= MAX_SUBJECTS) this.#nodeOf.clear();
    this.#nodeOf.set(subject, parsed.node);
    return parsed.node;
  }
}
