/**
 * Relays one source stream to SIEM: reads it in order, renders each event in each format, publishes
 * with ack, and then advances the position.
 *
 * Only counted messages are skipped: unreadable, repeated, too large for the bus, or deleted before
 * they were read. Violations beyond the share of their node get one event together; frames beyond it
 * are not decoded, because the events of all nodes wait meanwhile. After a crash,
 * events from the position on are repeated with the same ids. Limits: MAX_IN_FLIGHT unacknowledged
 * events and PULL_MESSAGES requested messages, so that a slow bus delays the reading.
 */
import {
  type Bus,
  BusError,
  consumeOrdered,
  FramePublisher,
  isCopy,
  lifeName,
  lifeOf,
  type Position,
  RepeatedFrames,
  type SiemFormat,
  type StartAt,
  type StreamMessage,
  streamInfo,
  toBusError,
  violationNode,
} from '@bailiff/bus';
import { announcedViolations, type ClusterIdentity, MAX_LIST } from '@bailiff/schemas';
import type { Clock } from '@bailiff/service';
import type { Turns } from '@bailiff/service/turns';
import {
  type OcsfVersion,
  type Origin,
  omissionEvent,
  type Place,
  type Rendered,
  render,
  type SiemEvent,
} from '@bailiff/siem';
import { type EventDecoder, eventsOf, type SourceName, UnreadableError } from './events-of.ts';
import { InOrder } from './in-order.ts';
import type { NodeShares } from './node-shares.ts';
import { Omissions, type Omitted } from './omissions.ts';
import type { PositionKeeper } from './position.ts';

/** More does not increase throughput on one connection (docs/benchmarks.md). */
const MAX_IN_FLIGHT = 64;
/** A frame has up to 25 kB; requested messages wait in this process. */
const PULL_MESSAGES = 100;
/** Wait between attempts to read the state of the stream. */
const RETRY_MS = 500;

export interface SourceReaderOptions {
  bus: Bus;
  stream: SourceName;
  formats: readonly SiemFormat[];
  ocsfVersion: OcsfVersion;
  startAt: 'all' | 'new';
  version: string;
  decoder: EventDecoder;
  position: PositionKeeper;
  shares: NodeShares;
  turns: Turns;
  clock: Clock;
  /**
   * Start of the life of VIOLATIONS with a sequence, milliseconds since 1970; part of the evidence uids of
   * verdicts.
   */
  evidenceCreatedMs(sequence: number): number;
  onPublished(format: SiemFormat, storedMicros: number, duplicate: boolean): void;
  /** The cluster of the bus, if it is known. */
  cluster(): ClusterIdentity | undefined;
  /** Violations beyond their node's share. */
  onOmitted(violations: number): void;
  onUnreadable(error: UnreadableError, message: StreamMessage): void;
  /** An event could not be rendered or is too large. This is a bug; the event is skipped. */
  onRefused(error: Error, uid: string): void;
  onWarning(error: Error, text: string): void;
  signal: AbortSignal;
}

/** A frame beyond the share of its node. */
interface NotDecoded {
  origin: Place & Pick<Origin, 'node'>;
  violations: number;
}

interface Done {
  sequence: number;
  storedMicros: number;
}

export class SourceReader {
  readonly #o: SourceReaderOptions;
  readonly #publisher: FramePublisher;
  readonly #under = new InOrder<Done>();
  #repeated = new RepeatedFrames();
  #omissions = new Omissions();
  #life: Parameters<typeof lifeOf>[0] = { created: '', config: {} };
  #start: StartAt | null = null;
  #received = 0;
  /** Newest message whose events are all stored. */
  position: Position = { sequence: 0, timestampMicros: 0 };
  #running: Promise<void> = Promise.resolve();
  /** Unread messages of the stream. */
  pending = 0;
  messages = 0;
  /** Messages that the stream deleted before they were read. */
  lost = 0;
  /** Frames that a collector had sent before. */
  repeated = 0;
  recreated = 0;
  caughtUp = false;

  constructor(options: SourceReaderOptions) {
    this.#o = options;
    this.#publisher = new FramePublisher(options.bus, {
      maxInFlight: MAX_IN_FLIGHT,
      onResend: ({ error }) => options.onWarning(error, 'events wait for the bus'),
    });
  }

  createdMs(sequence: number): number {
    return lifeOf(this.#life, sequence) || 0;
  }

  /**
   * Updates the stream's contents. While the bus is slow to accept events, no message carries them.
   */
  observe({ last }: { last: number }): void {
    if (this.#received > 0) this.pending = Math.max(0, last - this.#received);
  }

  /**
   * Publishes the omissions that are due. Called regularly: after a flood, no message may follow.
   * @throws BusError BUS_CLOSED
   */
  async publishOmissions(): Promise<void> {
    await this.#publishOmissions(this.#omissions.take(this.#o.clock.nowMicros()));
  }

  /** Age of the oldest message that is read but not completely relayed; 0 without one. */
  lagMs(): number {
    const { oldest } = this.#under;
    return oldest ? Math.max(0, this.#o.clock.nowMs() - oldest.storedMicros / 1000) : 0;
  }

  /**
   * Determines the start, and the creation time of the stream. Returns early on shutdown. @throws
   * BusError that time does not heal
   */
  async open(): Promise<void> {
    this.#start = await this.#whereToStart();
  }

  /** Starts reading after `open`. Errors that time does not heal go to `onFatal`. */
  start(onFatal: (error: Error) => void): void {
    this.#running = this.#run().catch((error: Error) => {
      if (!this.#o.signal.aborted) onFatal(error);
    });
  }

  /**
   * Called after the signal: waits for events in flight, up to a limit, and writes the position.
   */
  async stop(withinMs: number): Promise<void> {
    const { clock, position } = this.#o;
    const flushed = this.#publishOmissions(this.#omissions.take()).then(() => this.#publisher.whenFlushed());
    await Promise.race([flushed.catch(() => undefined), clock.sleep(withinMs)]);
    this.#publisher.close();
    await this.#running;
    await position.close();
  }

  async #run(): Promise<void> {
    const { bus, stream, signal } = this.#o;
    const start = this.#start;
    if (start === null) return;
    await consumeOrdered(bus, stream, {
      start,
      maxMessages: PULL_MESSAGES,
      onMessage: (message) => this.#onMessage(message),
      onIdle: () => {
        this.pending = 0;
        this.caughtUp = true;
      },
      onRestart: (why) => this.#o.onWarning(new Error(why), 'reading continues with a new consumer'),
      onRecreated: (life) => {
        this.recreated += 1;
        this.#under.clear();
        this.#repeated = new RepeatedFrames();
        this.#omissions = new Omissions();
        this.#life = life;
        this.#received = 0;
        this.position = { sequence: 0, timestampMicros: 0 };
      },
      signal,
    });
  }

  /** Start after the stored position, if it belongs to this stream; null on shutdown. */
  async #whereToStart(): Promise<StartAt | null> {
    const { bus, stream, position, startAt, signal, clock } = this.#o;
    while (!signal.aborted) {
      try {
        const [info, last] = await Promise.all([streamInfo(bus, stream), position.read()]);
        this.#life = info;
        const created = lifeName(info);
        if (last?.created === created && last.sequence <= info.state.last_seq) {
          this.#received = last.sequence;
          this.position = { sequence: last.sequence, timestampMicros: 0 };
          return { sequence: last.sequence + 1 };
        }
        // The position belongs to another stream or to one from before a restored backup: every
        // message may be new.
        if (last !== null || startAt === 'all') return 'all';
        this.#received = info.state.last_seq;
        this.position = { sequence: info.state.last_seq, timestampMicros: 0 };
        position.move({ created, sequence: info.state.last_seq });
        return { sequence: info.state.last_seq + 1 };
      } catch (cause) {
        const error = toBusError(cause, stream);
        if (error.code === 'BUS_PERMISSION' || error.code === 'BUS_CLOSED') throw error;
        this.#o.onWarning(error, 'the stream cannot be read yet');
        await clock.sleep(RETRY_MS, signal);
      }
    }
    return null;
  }

  async #onMessage(message: StreamMessage): Promise<void> {
    await this.#o.turns.due();
    this.pending = message.pending;
    this.messages += 1;
    if (this.#received > 0 && message.sequence > this.#received + 1) {
      this.lost += message.sequence - this.#received - 1;
    }
    this.#received = message.sequence;
    // A copy has an event already, with the place of the original. A node could set its header in VIOLATIONS.
    const read = this.#o.stream === 'RESPONSES' && isCopy(message) ? [] : await this.#read(message);
    if (this.#o.signal.aborted) return;
    const { sequence, timestampMicros: storedMicros } = message;
    const events = Array.isArray(read) ? read : [];
    const rendered = events.flatMap((event) => this.#renderShared(event));
    const omitted = Array.isArray(read) ? events.length - rendered.length : read.violations;
    const life = this.#life;
    const created = lifeName(life);
    const moveTo = (to: Done | null) => {
      if (!to || life !== this.#life) return;
      this.position = { sequence: to.sequence, timestampMicros: to.storedMicros };
      this.#o.position.move({ created, sequence: to.sequence });
    };
    const messages = rendered.flat();
    const complete = this.#under.add({ sequence, storedMicros }, messages.length + (omitted > 0 ? 1 : 0));
    const done = () => moveTo(complete());
    const origin = Array.isArray(read) ? events[0]?.origin : read.origin;
    if (omitted > 0 && origin) {
      this.#o.onOmitted(omitted);
      this.#omissions.add(origin, omitted, done);
    }
    for (const one of messages) await this.#publish(one, storedMicros, done);
    moveTo(this.#under.advance());
    await this.#publishOmissions(this.#omissions.take(storedMicros));
  }

  /** Resolves when the event is on its way. @param done called when it is stored */
  async #publish(one: Rendered, storedMicros: number, done: () => void): Promise<void> {
    await this.#publisher.whenCapacity();
    this.#publisher.publish(one.subject, one.payload, { msgId: one.msgId, headers: one.headers }).then(
      ({ duplicate }) => {
        this.#o.onPublished(one.format, storedMicros, duplicate);
        done();
      },
      (error: BusError) => {
        // Closed before the publish, so the position stays before this event.
        if (error.code === 'BUS_CLOSED') return;
        this.#o.onRefused(error, one.msgId);
        done();
      },
    );
  }

  async #publishOmissions(due: readonly Omitted[]): Promise<void> {
    for (const { node, place, lastSequence, untilMicros, events, done } of due) {
      const value = {
        events,
        firstSequence: place.sequence,
        lastSequence,
        sinceMicros: place.storedMicros,
        untilMicros,
      };
      const rendered = this.#render(omissionEvent(value, node, place));
      let left = rendered.length;
      const doneOne = () => {
        left -= 1;
        if (left <= 0) for (const complete of done) complete();
      };
      if (left === 0) doneOne();
      for (const one of rendered) await this.#publish(one, untilMicros, doneOne);
    }
  }

  /** The event in each format; [] if it has no share. */
  #renderShared(event: SiemEvent): Rendered[][] {
    const { shares } = this.#o;
    if (event.kind !== 'violation') return [this.#render(event)];
    const { origin, value } = event;
    if (!shares.has(origin.node, value, origin.storedMicros)) return [];
    const rendered = this.#render(event);
    const bytes = rendered.reduce((sum, { payload }) => sum + payload.length, 0);
    shares.charge(origin.node, value, bytes / Math.max(1, rendered.length));
    return [rendered];
  }

  /** Empty for an unreadable message and for a repeated frame. Waits while a schema cannot be looked up. */
  async #read(message: StreamMessage): Promise<SiemEvent[] | NotDecoded> {
    const { stream, decoder, signal, clock } = this.#o;
    const { sequence, timestampMicros: storedMicros, subject } = message;
    if (stream === 'VIOLATIONS' && this.#repeated.isRepeated(message)) {
      this.repeated += 1;
      return [];
    }
    const place: Place = {
      stream,
      createdMs: this.createdMs(sequence),
      sequence,
      storedMicros,
      cluster: this.#o.cluster(),
    };
    const skipped = stream === 'VIOLATIONS' ? this.#skip(message, place) : null;
    if (skipped) return skipped;
    // A frame announces its first block only, so that an encoder of a node's own choice can have more violations.
    const charge = (violations: number) => {
      if (stream !== 'VIOLATIONS') return;
      const announced = announcedViolations(message.data) ?? 0;
      this.#o.shares.chargeDecoded(violationNode(subject) ?? '', violations - announced);
    };
    while (!signal.aborted) {
      try {
        const decoded = await decoder.decode(stream, message);
        const events = eventsOf(decoded, subject, place, this.#o.evidenceCreatedMs);
        charge(events.length);
        return events;
      } catch (error) {
        if (error instanceof UnreadableError) {
          // It may have been read to its end.
          charge(MAX_LIST.ViolationFrame.violations.items);
          this.#o.onUnreadable(error, message);
          return [];
        }
        if (!(error instanceof BusError)) throw error;
        this.#o.onWarning(error, 'a schema cannot be looked up yet');
        await clock.sleep(RETRY_MS, signal);
      }
    }
    return [];
  }

  /** A frame that its node has no share for; null: it is decoded. */
  #skip(message: StreamMessage, place: Place): NotDecoded | null {
    const node = violationNode(message.subject) ?? '';
    const violations = announcedViolations(message.data);
    const frame = { bytes: message.data.length, violations: violations ?? 0 };
    if (this.#o.shares.decodes(node, frame, message.timestampMicros)) return null;
    if (violations === null) this.#o.onUnreadable(new UnreadableError('OVER_SHARE'), message);
    return { origin: { ...place, node }, violations: frame.violations };
  }

  #render(event: SiemEvent): Rendered[] {
    const { formats, ocsfVersion, version } = this.#o;
    return formats.flatMap((format) => {
      try {
        return [render(event, format, version, ocsfVersion)];
      } catch (error) {
        this.#o.onRefused(error as Error, event.origin.uid);
        return [];
      }
    });
  }
}
