/**
 * Delivers the events of SIEM to one output, in order and at least once.
 *
 * consumeOrdered → batch → output, then the position advances (position.ts). Each output has a runner
 * with a consumer, a position and retries of its own, so one that is down delays only itself: it stops
 * reading while its batch is due, and the rest waits in SIEM. Events that SIEM deletes meanwhile are
 * counted. What the receiver refuses for good becomes a dead letter. A crash repeats events under the
 * same uid.
 */
import { type Bus, consumeOrdered, deadLetter, parseSubject, type StreamMessage, streamInfo } from '@bailiff/bus';
import { clipReason, type OutputStatus } from '@bailiff/schemas';
import type { Cancel, Clock } from '@bailiff/service';
import type { OutputReadings } from '../metrics.ts';
import type { PositionKeeper } from '../position.ts';
import { Batch, type Held } from './batch.ts';
import { DeliveryError, type Output, type OutputEvent } from './output.ts';
import { nextStep, retryDelayMs } from './retry.ts';

const PULL_MESSAGES = 100;
/** Interval of looks whether a batch is due. */
const LOOK_EVERY_MS = 1_000;
/** Kept of a refused event in its dead letter, because SIEM has all of it. */
const LETTER_BYTES = 4_096;

export interface RunnerOptions {
  bus: Bus;
  output: Output;
  startAt: 'all' | 'new';
  position: PositionKeeper;
  clock: Clock;
  random?(): number;
  onWarning(error: Error, text: string): void;
  /** A message of SIEM that no relay wrote, which is skipped. */
  onForeign(): void;
  signal: AbortSignal;
}

/** Why events wait; null while deliveries succeed. */
export interface Failing {
  code: string;
  text: string;
  sinceMs: number;
}

export class OutputRunner {
  readonly #o: RunnerOptions;
  readonly #batch: Batch;
  #created = '';
  /** Newest sequence that is delivered or dead-lettered, or that of the start. */
  #settled = 0;
  /** Newest sequence that was read. */
  #readTo = 0;
  /** Serialises work on the batch and the receiver. */
  #turn: Promise<void> = Promise.resolve();
  #running: Promise<void> = Promise.resolve();
  /** Store time of the event that waits for the receiver to read. */
  #waitingMicros = 0;
  /** Everything has been read. */
  #isIdle = false;
  /** Events were written to a connection that broke. */
  #isBroken = false;
  /** A delivery by the timer waits for its turn. */
  #isLooking = false;
  #failuresInRow = 0;
  #refusalsInRow = 0;
  read = 0;
  delivered = 0;
  refused = 0;
  pending = 0;
  lost = 0;
  failures = 0;
  failing: Failing | null = null;
  /** Bus time of the newest delivered event, microseconds since 1970; 0 before the first. */
  deliveredMicros = 0;

  constructor(options: RunnerOptions) {
    this.#o = options;
    this.#batch = new Batch(options.output.limits);
    options.output.onBroken = (error) => {
      if (!this.#isBroken) this.#fail(error);
      this.#isBroken = true;
      this.#deliverWhenDue();
    };
  }

  get name(): string {
    return this.#o.output.name;
  }

  /**
   * Updates the contents of SIEM. While the receiver delays reading, no message carries them. Events
   * of other formats count as lost if they are after the last one read.
   */
  observe({ first, last }: { first: number; last: number }): void {
    if (this.#created === '') return;
    if (this.#readTo > 0 && first > this.#readTo + 1) {
      this.lost += first - this.#readTo - 1;
      this.#readTo = first - 1;
    }
    this.pending = this.#isIdle ? 0 : Math.max(0, last - this.#readTo);
  }

  /** Every event up to this one is settled; Infinity if none is left. */
  get settledSequence(): number {
    return this.#isIdle && this.#batch.size === 0 ? Number.POSITIVE_INFINITY : this.#settled;
  }

  /** Age of the oldest event that is read but not delivered. */
  lagMs(): number {
    const micros = this.#batch.oldest?.storedMicros ?? this.#waitingMicros;
    return micros === 0 ? 0 : Math.max(0, this.#o.clock.nowMs() - micros / 1000);
  }

  /** Values for metrics. */
  readings(): OutputReadings {
    const { pending, lost, delivered, refused, failures, failing } = this;
    const counts = { pending, lost, delivered, refused, failures, messages: this.read };
    return { ...counts, lagSeconds: this.lagMs() / 1000, isFailing: failing !== null };
  }

  /** For the status of the instance. */
  status(): OutputStatus {
    const { name, pending, delivered, refused, lost, failing, deliveredMicros } = this;
    const isoOf = (ms: number) => new Date(ms).toISOString();
    return {
      ...{ name, pending, delivered, refused, lost, lagMs: Math.round(this.lagMs()) },
      deliveredAt: deliveredMicros > 0 ? isoOf(deliveredMicros / 1000) : '',
      ...(failing
        ? { failing: { code: failing.code, reason: clipReason(failing.text), since: isoOf(failing.sinceMs) } }
        : {}),
    };
  }

  start(onFatal: (error: Error) => void): void {
    this.#running = this.#run().catch((error: Error) => {
      if (!this.#o.signal.aborted) onFatal(error);
    });
  }

  /** Called after the signal: delivers what it holds if the receiver is quick. The next start repeats the rest. */
  async stop(withinMs: number): Promise<void> {
    const { output, onWarning, position } = this.#o;
    await this.#running;
    try {
      if (this.#batch.size > 0 && this.failing === null) await this.#deliverOnce(AbortSignal.timeout(withinMs));
    } catch (error) {
      onWarning(error as Error, `the last events of ${this.name} are not confirmed and will be sent again`);
    }
    output.close();
    await position.close();
  }

  async #run(): Promise<void> {
    const { signal, clock, onWarning } = this.#o;
    for (let failures = 1; !signal.aborted; ) {
      const before = this.read;
      try {
        if (this.#created === '') await this.#open();
        await this.#read();
      } catch (error) {
        if (signal.aborted) return;
        if ((error as { code?: string }).code === 'BUS_PERMISSION') throw error;
        onWarning(error as Error, `events for ${this.name} wait for the bus`);
        failures = this.read > before ? 1 : failures + 1;
        await clock.sleep(retryDelayMs(failures, this.#random()), signal);
      }
    }
  }

  /** Determines where to continue. @throws BusError */
  async #open(): Promise<void> {
    const { bus, position } = this.#o;
    const startAt = this.#o.output.startAt ?? this.#o.startAt;
    const [info, last] = await Promise.all([streamInfo(bus, 'SIEM'), position.read()]);
    const { created, state } = info;
    if (last?.created === created && last.sequence <= state.last_seq) this.#settled = last.sequence;
    else this.#settled = last === null && startAt === 'new' ? state.last_seq : 0;
    this.#created = created;
    this.#readTo = this.#settled;
    // Stored at once, so that a crash before the first event does not start later.
    position.move({ created, sequence: this.#settled });
  }

  /** Reads from the position until the signal. */
  async #read(): Promise<void> {
    const { bus, output, signal, clock } = this.#o;
    const every = Math.min(LOOK_EVERY_MS, output.limits.lingerMs);
    const timer: Cancel = clock.setRepeating(() => this.#deliverWhenDue(), Math.max(10, every));
    try {
      await consumeOrdered(bus, 'SIEM', {
        start: { sequence: this.#readTo + 1 },
        filterSubjects: output.filterSubjects,
        maxMessages: PULL_MESSAGES,
        onMessage: (message) => {
          // Set before the turn, because a delivery may delay it.
          this.#isIdle = false;
          this.pending = message.pending;
          return this.#inTurn(() => this.#take(message));
        },
        onIdle: () => {
          this.pending = 0;
          this.#isIdle = true;
        },
        onRecreated: ({ created }) => {
          this.#created = created;
          this.#settled = 0;
          this.#readTo = 0;
        },
        signal,
      });
    } finally {
      timer();
      this.#waitingMicros = 0;
    }
    await this.#turn;
  }

  /** Runs operations one after another, in call order. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  async #take(message: StreamMessage): Promise<void> {
    const { output, signal, clock } = this.#o;
    if (signal.aborted) return;
    const event = eventOf(message);
    // A server's response or trace can be stored under a subject of SIEM (docs/threat-model.md).
    if (message.injected || event.uid === '') return this.#o.onForeign();
    if (output.accepts?.(event) === false) return this.#skip(event);
    this.#waitingMicros = event.storedMicros;
    // A broken connection has lost what was written: it is delivered again first.
    if (this.#isBroken) await this.#deliver();
    if (signal.aborted) return;
    this.#batch.add({ event, created: this.#created }, clock.monotonicMs());
    await output.write?.(event, signal).catch((error: unknown) => {
      if (!signal.aborted && !this.#isBroken) this.#fail(error);
      this.#isBroken = true;
    });
    this.read += 1;
    this.#readTo = Math.max(this.#readTo, message.sequence);
    this.#waitingMicros = 0;
    if (this.#isDue()) await this.#deliver();
  }

  #skip({ sequence }: OutputEvent): void {
    this.#readTo = Math.max(this.#readTo, sequence);
    if (this.#batch.size > 0) return;
    this.#settled = sequence;
    this.#o.position.move({ created: this.#created, sequence });
  }

  #isDue(): boolean {
    return this.#batch.size > 0 && (this.#isBroken || this.#batch.isDue(this.#o.clock.monotonicMs()));
  }

  #deliverWhenDue(): void {
    if (this.#isLooking || !this.#isDue() || this.#o.signal.aborted) return;
    this.#isLooking = true;
    // #deliver does not reject.
    void this.#inTurn(async () => {
      this.#isLooking = false;
      if (this.#isDue()) await this.#deliver();
    });
  }

  /** Delivers the batch, however long that takes; returns early on shutdown. */
  async #deliver(): Promise<void> {
    const { signal } = this.#o;
    if (this.#isBroken && this.failing !== null) await this.#pause(null);
    while (this.#batch.size > 0 && !signal.aborted) {
      const held = this.#batch.next();
      try {
        await this.#deliverOnce(signal);
      } catch (error) {
        if (signal.aborted) return;
        const { step, waits } = nextStep(error, held.length, this.#refusalsInRow);
        if (step === 'retry' || waits) this.#fail(error);
        if (waits) await this.#pause(error);
        if (step === 'split') this.#batch.split(held.length);
        if (step === 'dead-letter' && !signal.aborted) await this.#refuse(held[0] as Held, error as DeliveryError);
      }
    }
    this.#isBroken = false;
  }

  async #deliverOnce(signal: AbortSignal): Promise<void> {
    const held = this.#batch.next();
    await this.#o.output.deliver(
      held.map(({ event }) => event),
      signal,
    );
    this.#settle(held);
    this.delivered += held.length;
    this.deliveredMicros = (held.at(-1) as Held).event.storedMicros;
    this.#failuresInRow = 0;
    this.#refusalsInRow = 0;
    this.failing = null;
  }

  #settle(held: readonly Held[]): void {
    this.#batch.remove(held.length);
    const last = held.findLast(({ created }) => created === this.#created);
    // Events of a recreated stream have no place in the new one.
    if (!last) return;
    this.#settled = last.event.sequence;
    this.#o.position.move({ created: this.#created, sequence: last.event.sequence });
  }

  /** Stores a dead letter, and skips the event. */
  async #refuse(held: Held, error: DeliveryError): Promise<void> {
    const { bus, signal, onWarning } = this.#o;
    const { sequence, subject, uid, data } = held.event;
    const reason = `${this.name}-refused`;
    const letter = { stream: 'SIEM', sequence, subject, reason, detail: `${uid}: ${error.message}`, data };
    try {
      await deadLetter(bus, { ...letter, maxBytes: LETTER_BYTES, signal });
    } catch (cause) {
      if (signal.aborted) return;
      this.#fail(cause);
      await this.#pause(cause);
      return;
    }
    this.#settle([held]);
    this.refused += 1;
    this.#refusalsInRow += 1;
    onWarning(error, `${this.name} refuses an event, which becomes a dead letter`);
  }

  #fail(error: unknown): void {
    const { clock, onWarning } = this.#o;
    const { code = 'UNEXPECTED', message } = error as Error & { code?: string };
    this.failures += 1;
    this.#failuresInRow += 1;
    this.failing = { code, text: message, sinceMs: this.failing?.sinceMs ?? clock.nowMs() };
    onWarning(error as Error, `events for ${this.name} wait`);
  }

  #pause(error: unknown): Promise<void> {
    const { clock, signal } = this.#o;
    const asked = error instanceof DeliveryError ? error.retryAfterMs : null;
    return clock.sleep(retryDelayMs(Math.max(1, this.#failuresInRow), this.#random(), asked), signal);
  }

  #random(): number {
    return this.#o.random?.() ?? Math.random();
  }
}

function eventOf({ subject, headers, data, sequence, timestampMicros }: StreamMessage): OutputEvent {
  const parsed = parseSubject(subject);
  const header = (name: string) => headers?.get(name) ?? '';
  return {
    sequence,
    subject,
    uid: header('Bailiff-Uid'),
    className: parsed?.what === 'siem' ? parsed.className : '',
    node: header('Bailiff-Node'),
    severity: Number(header('Bailiff-Severity')),
    timeMicros: Number(header('Bailiff-Time')) || timestampMicros,
    storedMicros: timestampMicros,
    data,
  };
}
