/**
 * Forwards the events of one format from SIEM to syslog, in order, over one connection at a time.
 *
 * An event is delivered only when its connection ended in order (connection.ts); only then does the
 * position advance. After any other end, reading restarts after the position, so events may repeat
 * but none is lost. Limit: PULL_MESSAGES in this process, however slow the receiver is. The rest
 * waits in SIEM, and events that SIEM deletes meanwhile are counted.
 */
import {
  type Bus,
  consumeOrdered,
  filters,
  parseSubject,
  type SiemFormat,
  type StreamMessage,
  streamInfo,
} from '@bailiff/bus';
import { backoffMs, type Cancel, type Clock } from '@bailiff/service';
import type { PositionKeeper } from '../position.ts';
import { type Receiver, SyslogConnection } from './connection.ts';
import { type Facility, syslogFrame } from './message.ts';

const PULL_MESSAGES = 100;
/**
 * Messages on one connection before it is confirmed: the maximum that a broken connection repeats.
 */
export const MAX_UNCONFIRMED = 10_000;
const BACKOFF = { baseMs: 200, maxMs: 10_000 };

export interface ForwarderOptions {
  bus: Bus;
  format: SiemFormat;
  facility: Facility;
  receiver: Receiver;
  confirmMs: number;
  confirmTimeoutMs: number;
  startAt: 'all' | 'new';
  version: string;
  position: PositionKeeper;
  clock: Clock;
  onWarning(error: Error, text: string): void;
  signal: AbortSignal;
}

/** Events on the connection whose delivery is unknown. */
interface Unconfirmed {
  count: number;
  lastSequence: number;
  oldestMicros: number;
  sinceMs: number;
}

export class Forwarder {
  readonly #o: ForwarderOptions;
  #connection: SyslogConnection | null = null;
  #unconfirmed: Unconfirmed | null = null;
  #created = '';
  /** Newest delivered sequence, or that of the start; later ones are sent. */
  #confirmed = 0;
  /** Serialises operations on the connection. */
  #turn: Promise<void> = Promise.resolve();
  #running: Promise<void> = Promise.resolve();
  #waitingMicros = 0;
  /** Newest sequence that was written to a connection. */
  #sentTo = 0;
  /** Everything has been sent. */
  #idle = false;
  sent = 0;
  confirmed = 0;
  pending = 0;
  lost = 0;
  connections = 0;
  failures = 0;

  constructor(options: ForwarderOptions) {
    this.#o = options;
  }

  /**
   * Updates the contents of SIEM. While the receiver delays sending, no message carries them.
   * Events of other formats are counted if they are after the last one sent.
   */
  observe({ first, last }: { first: number; last: number }): void {
    if (this.#created === '') return;
    if (this.#sentTo > 0 && first > this.#sentTo + 1) {
      this.lost += first - this.#sentTo - 1;
      this.#sentTo = first - 1;
    }
    this.pending = this.#idle ? 0 : Math.max(0, last - this.#sentTo);
  }

  /** The receiver has confirmed every event up to this one; Infinity if none is left. */
  get confirmedSequence(): number {
    return this.#idle ? Number.POSITIVE_INFINITY : this.#confirmed;
  }

  /** Age of the oldest event that is read but not delivered. */
  lagMs(): number {
    const micros = this.#unconfirmed?.oldestMicros ?? this.#waitingMicros;
    return micros === 0 ? 0 : Math.max(0, this.#o.clock.nowMs() - micros / 1000);
  }

  start(onFatal: (error: Error) => void): void {
    this.#running = this.#run().catch((error: Error) => {
      if (!this.#o.signal.aborted) onFatal(error);
    });
  }

  /**
   * Called after the signal: confirms what was sent if the receiver is quick. The next start sends
   * the rest again.
   */
  async stop(withinMs: number): Promise<void> {
    await this.#running;
    try {
      if (this.#connection) await this.#confirm(withinMs, AbortSignal.timeout(withinMs));
    } catch (error) {
      this.#o.onWarning(error as Error, 'the last events are not confirmed and will be sent again');
    }
    this.#drop();
    await this.#o.position.close();
  }

  async #run(): Promise<void> {
    const { signal, clock } = this.#o;
    let failures = 0;
    while (!signal.aborted) {
      const before = this.confirmed;
      try {
        if (this.#created === '') await this.#open();
        await this.#session();
      } catch (error) {
        if (signal.aborted) return;
        if ((error as { code?: string }).code === 'BUS_PERMISSION') throw error;
        this.failures += 1;
        this.#o.onWarning(error as Error, 'events for syslog wait');
        this.#drop();
        failures = this.confirmed > before ? 0 : failures + 1;
        await clock.sleep(backoffMs(failures + 1, BACKOFF), signal);
      }
    }
  }

  /** Determines where to continue. @throws BusError */
  async #open(): Promise<void> {
    const { bus, position, startAt } = this.#o;
    const [info, last] = await Promise.all([streamInfo(bus, 'SIEM'), position.read()]);
    const { created, state } = info;
    if (last?.created === created && last.sequence <= state.last_seq) this.#confirmed = last.sequence;
    else this.#confirmed = last === null && startAt === 'new' ? state.last_seq : 0;
    this.#created = created;
    // Stored at once, so that a crash before the first event does not start later.
    position.move({ created, sequence: this.#confirmed });
  }

  /** One reading from the position until a failure. */
  async #session(): Promise<void> {
    const { bus, format, signal, confirmMs, clock } = this.#o;
    const broken = new AbortController();
    const any = AbortSignal.any([signal, broken.signal]);
    const breakOff = (error: Error) => broken.abort(error);
    this.#sentTo = this.#confirmed;
    this.#idle = false;
    const timer: Cancel = clock.setRepeating(() => this.#confirmWhenDue(any, breakOff), Math.min(1_000, confirmMs));
    try {
      await consumeOrdered(bus, 'SIEM', {
        start: { sequence: this.#confirmed + 1 },
        filterSubjects: [filters.siem({ format })],
        maxMessages: PULL_MESSAGES,
        onMessage: (message) => {
          // Set before the turn, because a pending confirmation delays it.
          this.#idle = false;
          this.pending = message.pending;
          return this.#inTurn(() => this.#send(message, any, breakOff));
        },
        onIdle: () => {
          this.pending = 0;
          this.#idle = true;
        },
        onRecreated: () => {
          this.#created = '';
          breakOff(new Error('SIEM was recreated'));
        },
        signal: any,
      });
    } finally {
      timer();
      this.#waitingMicros = 0;
    }
    await this.#turn;
    if (broken.signal.aborted && !signal.aborted) throw broken.signal.reason as Error;
  }

  /** Runs operations one after another, in call order. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  async #send(message: StreamMessage, signal: AbortSignal, breakOff: (error: Error) => void): Promise<void> {
    if (signal.aborted) return;
    const { confirmTimeoutMs, clock, receiver } = this.#o;
    this.#waitingMicros = message.timestampMicros;
    if (!this.#connection) {
      this.#connection = await SyslogConnection.open(receiver, signal);
      this.#connection.onBroken = breakOff;
      this.connections += 1;
    }
    await this.#connection.write(this.#frameOf(message), signal);
    this.sent += 1;
    this.#sentTo = Math.max(this.#sentTo, message.sequence);
    this.#unconfirmed ??= {
      count: 0,
      lastSequence: 0,
      oldestMicros: message.timestampMicros,
      sinceMs: clock.monotonicMs(),
    };
    this.#unconfirmed.count += 1;
    this.#unconfirmed.lastSequence = message.sequence;
    this.#waitingMicros = 0;
    if (this.#isDue()) await this.#confirm(confirmTimeoutMs, signal);
  }

  #frameOf({ subject, headers, data, timestampMicros }: StreamMessage): Buffer {
    const parsed = parseSubject(subject);
    const header = (name: string) => headers?.get(name) ?? '';
    return syslogFrame({
      facility: this.#o.facility,
      severity: Number(header('Bailiff-Severity')),
      timeMicros: Number(header('Bailiff-Time')) || timestampMicros,
      host: header('Bailiff-Node'),
      procId: String(process.pid),
      messageId: parsed?.what === 'siem' ? parsed.className : '',
      version: this.#o.version,
      text: data,
    });
  }

  #isDue(): boolean {
    const { confirmMs, clock } = this.#o;
    const waiting = this.#unconfirmed;
    if (waiting === null) return false;
    return waiting.count >= MAX_UNCONFIRMED || clock.monotonicMs() - waiting.sinceMs >= confirmMs;
  }

  #confirmWhenDue(signal: AbortSignal, breakOff: (error: Error) => void): void {
    if (!this.#isDue() || signal.aborted) return;
    this.#inTurn(async () => {
      if (this.#isDue() && !signal.aborted) await this.#confirm(this.#o.confirmTimeoutMs, signal);
    }).catch(breakOff);
  }

  async #confirm(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const connection = this.#connection;
    const waiting = this.#unconfirmed;
    if (!connection || !waiting) return;
    await connection.confirm(timeoutMs, signal);
    this.#connection = null;
    this.#unconfirmed = null;
    this.#confirmed = waiting.lastSequence;
    this.confirmed += waiting.count;
    this.#o.position.move({ created: this.#created, sequence: waiting.lastSequence });
  }

  #drop(): void {
    this.#connection?.destroy();
    this.#connection = null;
    this.#unconfirmed = null;
  }
}
