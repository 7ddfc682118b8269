/**
 * One source stream → SIEM: reads it in order, renders each event in each format, publishes with ack, and only then moves the position.
 *
 * Place in the path: VIOLATIONS | VERDICTS | RESPONSES → here → SIEM. Invariants: nothing is skipped but what is counted (unreadable, refused by
 * the bus as too large, gone from the stream before it was read); a crash at any point repeats from the position with the same ids. Bounds:
 * MAX_IN_FLIGHT events unacknowledged, PULL_MESSAGES asked for: a slow bus holds the reading back.
 */
import {
  type Bus,
  BusError,
  consumeOrdered,
  FramePublisher,
  type Position,
  type SiemFormat,
  type StartAt,
  type StreamMessage,
  streamInfo,
  toBusError,
} from '@bailiff/bus';
import type { Clock } from '@bailiff/service';
import { type Place, render, type SiemEvent } from '@bailiff/siem';
import { type EventDecoder, eventsOf, type SourceName, UnreadableError } from './events-of.ts';
import { InOrder } from './in-order.ts';
import type { PositionKeeper } from './position.ts';

/** More gains nothing on one connection (docs/benchmarks.md). */
const MAX_IN_FLIGHT = 64;
/** A frame is up to 25 kB; what is asked for waits in this process. */
const PULL_MESSAGES = 100;
/** Between tries while the bus cannot say what it has. */
const RETRY_MS = 500;

export interface SourceReaderOptions {
  bus: Bus;
  stream: SourceName;
  formats: readonly SiemFormat[];
  startAt: 'all' | 'new';
  version: string;
  decoder: EventDecoder;
  position: PositionKeeper;
  clock: Clock;
  /** When VIOLATIONS was made, milliseconds since 1970: names the evidence of verdicts. */
  evidenceCreatedMs(): number;
  onPublished(format: SiemFormat, storedMicros: number, duplicate: boolean): void;
  onUnreadable(error: UnreadableError, message: StreamMessage): void;
  /** An event could not be rendered or is too large: a bug, told, and the event left out. */
  onRefused(error: Error, uid: string): void;
  onWarning(error: Error, text: string): void;
  signal: AbortSignal;
}

interface Done {
  sequence: number;
  storedMicros: number;
}

export class SourceReader {
  readonly #o: SourceReaderOptions;
  readonly #publisher: FramePublisher;
  readonly #under = new InOrder<Done>();
  #created = '';
  #start: StartAt | null = null;
  #received = 0;
  /** Newest message whose events are all on the bus. */
  position: Position = { sequence: 0, timestampMicros: 0 };
  #running: Promise<void> = Promise.resolve();
  /** Messages that the stream holds and that are not read yet. */
  pending = 0;
  messages = 0;
  /** Messages that the stream had let go before they were read. */
  lost = 0;
  remade = 0;
  caughtUp = false;

  constructor(options: SourceReaderOptions) {
    this.#o = options;
    this.#publisher = new FramePublisher(options.bus, {
      maxInFlight: MAX_IN_FLIGHT,
      onResend: ({ error }) => options.onWarning(error, 'events wait until the bus takes them'),
    });
  }

  get createdMs(): number {
    return Date.parse(this.#created) || 0;
  }

  /** What the stream holds now, asked for from time to time: while the bus is slow to take events, no message tells. */
  observe({ last }: { last: number }): void {
    if (this.#received > 0) this.pending = Math.max(0, last - this.#received);
  }

  /** Age of the oldest message that is read and not wholly on the bus, while there is one. */
  lagMs(): number {
    const { oldest } = this.#under;
    return oldest ? Math.max(0, this.#o.clock.nowMs() - oldest.storedMicros / 1000) : 0;
  }

  /** Finds where to begin; then it is known when the stream was made. Ends early when told to stop. @throws BusError that nothing heals */
  async open(): Promise<void> {
    this.#start = await this.#whereToStart();
  }

  /** Begins; errors that nothing heals come to `onFatal`. Not before `open`. */
  start(onFatal: (error: Error) => void): void {
    this.#running = this.#run().catch((error: Error) => {
      if (!this.#o.signal.aborted) onFatal(error);
    });
  }

  /** After the signal: what is in flight is waited for, at most so long; then the position is written. */
  async stop(withinMs: number): Promise<void> {
    const { clock, position } = this.#o;
    await Promise.race([this.#publisher.whenFlushed().catch(() => undefined), clock.sleep(withinMs)]);
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
      onRestart: (why) => this.#o.onWarning(new Error(why), 'reading goes on with a new consumer'),
      onRecreated: async () => {
        this.remade += 1;
        this.#under.clear();
        this.#created = (await streamInfo(bus, stream)).created;
        this.#received = 0;
        this.position = { sequence: 0, timestampMicros: 0 };
      },
      signal,
    });
  }

  /** After the position, when it is of this stream; null when told to stop before the bus answered. */
  async #whereToStart(): Promise<StartAt | null> {
    const { bus, stream, position, startAt, signal, clock } = this.#o;
    while (!signal.aborted) {
      try {
        const [info, last] = await Promise.all([streamInfo(bus, stream), position.read()]);
        this.#created = info.created;
        if (last?.created === info.created && last.sequence <= info.state.last_seq) {
          this.#received = last.sequence;
          this.position = { sequence: last.sequence, timestampMicros: 0 };
          return { sequence: last.sequence + 1 };
        }
        // A position that is of another stream, or of one from before a restored backup: all that is here may be new.
        if (last !== null || startAt === 'all') return 'all';
        this.#received = info.state.last_seq;
        this.position = { sequence: info.state.last_seq, timestampMicros: 0 };
        position.move({ created: info.created, sequence: info.state.last_seq });
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
    this.pending = message.pending;
    this.messages += 1;
    if (this.#received > 0 && message.sequence > this.#received + 1) {
      this.lost += message.sequence - this.#received - 1;
    }
    this.#received = message.sequence;
    const events = await this.#read(message);
    if (this.#o.signal.aborted) return;
    const { sequence, timestampMicros: storedMicros } = message;
    const rendered = events.flatMap((event) => this.#render(event));
    const created = this.#created;
    const done = this.#under.add({ sequence, storedMicros }, rendered.length);
    const moveTo = (to: Done | null) => {
      if (!to || created !== this.#created) return;
      this.position = { sequence: to.sequence, timestampMicros: to.storedMicros };
      this.#o.position.move({ created, sequence: to.sequence });
    };
    for (const one of rendered) {
      await this.#publisher.whenCapacity();
      this.#publisher.publish(one.subject, one.payload, { msgId: one.msgId, headers: one.headers }).then(
        ({ duplicate }) => {
          this.#o.onPublished(one.format, storedMicros, duplicate);
          moveTo(done());
        },
        (error: BusError) => {
          // Closed: it was not published, and the position stays before it.
          if (error.code === 'BUS_CLOSED') return;
          this.#o.onRefused(error, one.msgId);
          moveTo(done());
        },
      );
    }
    moveTo(this.#under.advance());
  }

  /** Nothing for what cannot be read; waits while the bus cannot be asked for a schema. */
  async #read(message: StreamMessage): Promise<SiemEvent[]> {
    const { stream, decoder, signal, clock } = this.#o;
    const { sequence, timestampMicros: storedMicros, subject } = message;
    const place: Place = { stream, createdMs: this.createdMs, sequence, storedMicros };
    while (!signal.aborted) {
      try {
        const decoded = await decoder.decode(stream, message);
        const evidence = { ...place, stream: 'VIOLATIONS', createdMs: this.#o.evidenceCreatedMs() };
        return eventsOf(decoded, subject, place, evidence);
      } catch (error) {
        if (error instanceof UnreadableError) {
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

  #render(event: SiemEvent) {
    const { formats, version } = this.#o;
    return formats.flatMap((format) => {
      try {
        return [render(event, format, version)];
      } catch (error) {
        this.#o.onRefused(error as Error, event.origin.uid);
        return [];
      }
    });
  }
}
