/**
 * Delivers the events of SIEM to one output, at least once and in order, or in the order of each turn (batch.ts).
 *
 * consumeOrdered → batch → output, then the position advances (position.ts). Each output has a runner
 * with a consumer, a position and retries of its own, so one that is down delays only itself: it stops
 * reading while its batch is due, or full if it has turns, and the rest waits in SIEM. Events that SIEM deletes meanwhile are
 * counted. What the receiver refuses for good becomes a dead letter. A crash repeats events under the
 * same uid.
 */
import { type Bus, consumeOrdered, lifeName, type StreamMessage, streamInfo } from '@bailiff/bus';
import { clipReason, type OutputStatus } from '@bailiff/schemas';
import type { Cancel, Clock } from '@bailiff/service';
import { timeLimit } from '@bailiff/service/retry';
import type { Turns } from '@bailiff/service/turns';
import type { OutputReadings } from '../metrics.ts';
import type { PositionKeeper } from '../position.ts';
import type { Held } from './batch.ts';
import { Delivery } from './delivery.ts';
import { eventOf, inVersion } from './event.ts';
import type { Output, OutputEvent } from './output.ts';
import { retryDelayMs } from './retry.ts';

const PULL_MESSAGES = 100;
/** A day of events is read before the first delivery, so pulls are larger. */
const RESTORE_MESSAGES = 1_000;
/** Interval of looks whether a batch is due. */
const LOOK_EVERY_MS = 1_000;
/** With as many events delivered before older ones, no more is read. Those that are held can follow: a position lists MAX_HELD more. */
export const MAX_AHEAD = 2_000;

interface RunnerOptions {
  bus: Bus;
  output: Output;
  startAt: 'all' | 'new';
  position: PositionKeeper;
  clock: Clock;
  /** Shared by everything that works on messages. */
  turns: Turns;
  onWarning(error: Error, text: string): void;
  /** A message of SIEM that no relay wrote, which is skipped. */
  onForeign(): void;
  signal: AbortSignal;
}

export class OutputRunner {
  readonly #o: RunnerOptions;
  readonly #delivery: Delivery;
  #created = '';
  /** The start is known, and the output has what it needs of the events before. */
  #isOpen = false;
  /** Newest sequence that is delivered or dead-lettered, or that of the start. */
  #settled = 0;
  /** Newest sequence that was read. */
  #readTo = 0;
  /** Sequences after #settled that are delivered. */
  readonly #ahead = new Set<number>();
  /** Called when something more may be read ahead. */
  #onRoom: () => void = () => undefined;
  /** Serialises work on the batch and the receiver. */
  #turn: Promise<void> = Promise.resolve();
  #running: Promise<void> = Promise.resolve();
  /** Store time of the event that waits for the receiver to read. */
  #waitingMicros = 0;
  /** Everything has been read. */
  #isIdle = false;
  /** Newest sequence of SIEM at the last look, if everything was read then and nothing came since; otherwise 0. */
  #idleTo = 0;
  /** The output does not get the events up to this sequence that it has not read. */
  #knownTo = 0;
  /** A delivery waits for its turn. */
  #isLooking = false;
  read = 0;
  pending = 0;
  lost = 0;
  #lostAtMs = 0;

  constructor(options: RunnerOptions) {
    this.#o = options;
    const delivery = new Delivery({ ...options, onSettled: (held) => this.#settle(held) });
    this.#delivery = delivery;
    options.output.onBroken = (error) => {
      if (!delivery.isBroken) delivery.fail(error);
      delivery.isBroken = true;
      this.#deliverWhenDue();
    };
  }

  get name(): string {
    return this.#o.output.name;
  }

  /**
   * Updates the contents of SIEM. While the receiver delays reading, no message carries them. Events
   * of other outputs count as lost if they are after the last one read, and after the last time that none waited.
   */
  observe({ first, last }: { first: number; last: number }): void {
    if (this.#created === '') return;
    if (Math.max(this.#readTo, this.#knownTo) > 0) this.#countLost(first);
    // Twice, because an event that SIEM has at a look may still be on its way.
    if (this.#idleTo > this.#knownTo) {
      this.#knownTo = this.#idleTo;
      this.#storePosition();
    }
    this.#idleTo = this.#isIdle && this.#delivery.batch.size === 0 ? last : 0;
    this.pending = this.#isIdle ? 0 : Math.max(0, last - this.#readTo);
  }

  /** @param first sequence that SIEM still has */
  #countLost(first: number): void {
    const read = Math.max(this.#readTo, this.#knownTo);
    if (first <= read + 1) return;
    const delivered = [...this.#ahead].filter((sequence) => sequence > read && sequence < first).length;
    this.lost += first - read - 1 - delivered;
    this.#lostAtMs = this.#o.clock.nowMs();
    this.#readTo = first - 1;
  }

  /** Every event up to this one is settled; Infinity if none is left. */
  get settledSequence(): number {
    return this.#isIdle && this.#delivery.batch.size === 0 ? Number.POSITIVE_INFINITY : this.#settled;
  }

  /** Events that the output has not delivered: those that it has not read, and those that it reads ahead. */
  get undelivered(): number {
    return this.pending + (this.#o.output.turnOf ? this.#delivery.batch.size : 0);
  }

  /** Age of the oldest event that is read but not delivered. */
  lagMs(): number {
    const micros = this.#delivery.batch.oldest?.storedMicros ?? this.#waitingMicros;
    return micros === 0 ? 0 : Math.max(0, this.#o.clock.nowMs() - micros / 1000);
  }

  /** Values for metrics. */
  readings(): OutputReadings {
    const { undelivered: pending, lost, read: messages } = this;
    const { delivered, refused, failures, failing } = this.#delivery;
    const counts = { pending, lost, delivered, refused, failures, messages };
    return { ...counts, lagSeconds: this.lagMs() / 1000, isFailing: failing !== null };
  }

  /** For the status of the instance. */
  status(): OutputStatus {
    const { name, undelivered: pending, lost } = this;
    const { delivered, refused, failing, deliveredMicros } = this.#delivery;
    const isoOf = (ms: number) => new Date(ms).toISOString();
    return {
      name,
      pending,
      delivered,
      refused,
      lost,
      lagMs: Math.round(this.lagMs()),
      ...(lost > 0 ? { lostAt: isoOf(this.#lostAtMs) } : {}),
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
      const { batch, failing } = this.#delivery;
      using limit = timeLimit(withinMs);
      if (batch.size > 0 && failing === null) await this.#delivery.deliverOnce(limit.signal);
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
        if (!this.#isOpen) await this.#open();
        await this.#read();
      } catch (error) {
        if (signal.aborted) return;
        if ((error as { code?: string }).code === 'BUS_PERMISSION') throw error;
        onWarning(error as Error, `events for ${this.name} wait for the bus`);
        failures = this.read > before ? 1 : failures + 1;
        await clock.sleep(retryDelayMs(failures, Math.random()), signal);
      }
    }
  }

  /** Determines where to continue. @throws BusError */
  async #open(): Promise<void> {
    const { bus, position } = this.#o;
    const startAt = this.#o.output.startAt ?? this.#o.startAt;
    const [info, last] = await Promise.all([streamInfo(bus, 'SIEM'), position.read()]);
    const [created, { state }] = [lifeName(info), info];
    // Not again after a restore that failed: what is lost would count twice.
    if (created !== this.#created) {
      this.#ahead.clear();
      if (last?.created === created && last.sequence <= state.last_seq) {
        this.#settled = last.sequence;
        this.#knownTo = last.known ?? 0;
        for (const sequence of last.ahead ?? []) this.#ahead.add(sequence);
        // What SIEM deleted before counts as lost only once an output waits for it.
      } else this.#settled = last === null && startAt === 'new' ? state.last_seq : Math.max(0, state.first_seq - 1);
      this.#readTo = this.#settled;
      // What the relay of before held, and no look at SIEM finds once reading has begun behind it.
      if (last?.created === created) {
        this.#countLost(state.first_seq);
        this.#settled = this.#readTo;
      }
      this.#created = created;
    }
    // Stored at once, so that a crash before the first event does not start later.
    this.#storePosition();
    if (this.#settled > 0) await this.#restore();
    this.#isOpen = true;
  }

  /** Gives the output what it may need of the events before the position. */
  async #restore(): Promise<void> {
    const { bus, output, turns, signal } = this.#o;
    if (!output.restore || output.restoreMs === undefined) return;
    const done = new AbortController();
    await consumeOrdered(bus, 'SIEM', {
      start: { timeMs: Math.floor(bus.serverClock.nowMicros() / 1000) - output.restoreMs },
      filterSubjects: output.filterSubjects,
      maxMessages: RESTORE_MESSAGES,
      onMessage: async (message) => {
        await turns.due();
        const event = eventOf(message);
        if (message.sequence > this.#settled) done.abort();
        else if (!message.injected && event.uid !== '') output.restore?.(event);
      },
      onIdle: () => done.abort(),
      signal: AbortSignal.any([signal, done.signal]),
    });
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
          this.#idleTo = 0;
          this.pending = message.pending;
          return output.turnOf ? this.#takeAhead(message) : this.#inTurn(() => this.#take(message));
        },
        onIdle: () => {
          this.pending = 0;
          this.#isIdle = true;
        },
        onRecreated: (life) => {
          this.#created = lifeName(life);
          this.#settled = 0;
          this.#readTo = 0;
          this.#idleTo = 0;
          this.#knownTo = 0;
          this.#ahead.clear();
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
    await this.#o.turns.due();
    const { output, signal } = this.#o;
    const delivery = this.#delivery;
    const event = this.#eventFor(message);
    if (event === null) return;
    this.#waitingMicros = event.storedMicros;
    // A broken connection has lost what was written: it is delivered again first.
    if (delivery.isBroken) await delivery.deliver();
    if (signal.aborted) return;
    this.#hold(event, '');
    await output.write?.(event, signal).catch((error: unknown) => {
      if (!signal.aborted && !delivery.isBroken) delivery.fail(error);
      delivery.isBroken = true;
    });
    this.#waitingMicros = 0;
    if (delivery.isDue) await delivery.deliver();
  }

  /** Reads on while the receiver has not confirmed earlier events, so that each namespace has its turn. */
  async #takeAhead(message: StreamMessage): Promise<void> {
    await this.#o.turns.due();
    const { output, signal } = this.#o;
    const event = this.#eventFor(message);
    if (event === null) return;
    this.#hold(event, output.turnOf?.(event) ?? '');
    this.#deliverWhenDue();
    while (!signal.aborted && (this.#delivery.batch.isFull || this.#ahead.size >= MAX_AHEAD))
      await new Promise<void>((resolve) => {
        this.#onRoom = resolve;
      });
  }

  /** The event to deliver; null if the output does not get it. */
  #eventFor(message: StreamMessage): OutputEvent | null {
    const { output, signal, onForeign } = this.#o;
    if (signal.aborted) return null;
    const stored = eventOf(message);
    // A server's response or trace can be stored under a subject of SIEM (docs/threat-model.md).
    if (message.injected || stored.uid === '') onForeign();
    else if (output.accepts?.(stored) === false || this.#ahead.has(stored.sequence)) this.#skip(stored);
    else return inVersion(stored, output.ocsfVersion);
    return null;
  }

  #hold(event: OutputEvent, turn: string): void {
    const { batch } = this.#delivery;
    // The output does not get the events between the last one delivered and this one.
    if (batch.size === 0) this.#settled = event.sequence - 1;
    batch.add({ event, created: this.#created }, turn, this.#o.clock.monotonicMs());
    this.read += 1;
    this.#readTo = Math.max(this.#readTo, event.sequence);
  }

  #skip({ sequence }: OutputEvent): void {
    this.#readTo = Math.max(this.#readTo, sequence);
    if (this.#delivery.batch.size === 0) this.#advance();
  }

  #settle(held: readonly Held[]): void {
    // Events of a recreated stream have no place in the new one.
    const ofThisLife = held.filter(({ created }) => created === this.#created);
    for (const { event } of ofThisLife) this.#ahead.add(event.sequence);
    if (ofThisLife.length > 0) this.#advance();
    this.#onRoom();
  }

  /** Everything before the oldest event that is held is settled. */
  #advance(): void {
    const oldest = this.#delivery.batch.oldestOf(this.#created);
    this.#settled = oldest === null ? this.#readTo : oldest.sequence - 1;
    for (const sequence of this.#ahead) if (sequence <= this.#settled) this.#ahead.delete(sequence);
    this.#storePosition();
  }

  #storePosition(): void {
    const ahead = this.#ahead.size > 0 ? { ahead: [...this.#ahead] } : {};
    this.#o.position.move({ created: this.#created, sequence: this.#settled, known: this.#knownTo, ...ahead });
  }

  #deliverWhenDue(): void {
    const { output, signal } = this.#o;
    const delivery = this.#delivery;
    if (this.#isLooking || signal.aborted || !(delivery.isDue || output.tick)) return;
    this.#isLooking = true;
    void this.#inTurn(async () => {
      this.#isLooking = false;
      if (delivery.isDue) await delivery.deliver();
      else await delivery.tick();
      // Also after the signal, which ends a delivery without room.
      this.#onRoom();
    });
  }
}
