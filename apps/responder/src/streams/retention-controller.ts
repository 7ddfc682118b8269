/**
 * Keeps what later decisions need while VERDICTS and RESPONSES delete their oldest messages.
 *
 * Each tick reads how far both streams reach back, and stores records of RESPONSES again that would
 * soon be deleted (`Ledger.needed`): open quarantines, effects that end, releases, open tasks, and
 * actions that budgets count. A copy is stored only if the stream still ends where the ledger ends,
 * so replicas store no record twice, and no copy follows the end of its task. Bounds: MAX_RENEWALS a
 * tick, of them a share for each namespace; the rest waits for the next tick.
 */
import {
  type Bus,
  BusError,
  completeSinceMicros,
  getMessage,
  isFull,
  isTrimmed,
  microsOf,
  type RetryOptions,
  retryTransient,
  storeCopy,
  streamInfo,
} from '@bailiff/bus';
import type { Ledger, NeededRecord } from '@bailiff/response';
import type { ResponseLog } from '../ports.ts';

const STREAM = 'RESPONSES';
/** Longest interval of ticks: a flood within all limits fills a quarter of RESPONSES in minutes. */
export const MAX_TICK_MS = 15_000;
/** Records stored again by one tick. */
const MAX_RENEWALS = 256;
/** Of them, of one namespace. */
const MAX_RENEWALS_PER_NAMESPACE = 64;
/** Attempts to store a copy while other records are stored. */
const MAX_ATTEMPTS = 8;
/** Records in this share of the stream, from its oldest on, are stored again. */
const OLD_SHARE = 1 / 4;
/** And records of a stream whose oldest has reached this share of the age limit. */
const AGED_SHARE = 3 / 4;

type StreamInfo = Awaited<ReturnType<typeof streamInfo>>;

export interface RetentionOptions {
  bus: Bus;
  ledger: Ledger;
  log: Pick<ResponseLog, 'caughtUp'>;
  /** VERDICTS has deleted everything before this sequence. */
  onVerdictsDeleted(firstSequence: number): void;
  /** A stream has begun to delete messages before their age limit, or has ended it. */
  onTrimmed(stream: string, keptMs: number | null): void;
  onRenewed(): void;
  /** A record that is still needed was deleted before it was stored again. */
  onLost(): void;
  /** The next tick retries. */
  onError(error: Error): void;
  onWait: RetryOptions['onWait'];
  clock: RetryOptions['clock'];
  signal: AbortSignal;
}

export class RetentionController {
  readonly #o: RetentionOptions;
  /** Streams that delete messages before their age limit. */
  readonly trimmed = new Set<string>();
  /** Sequences of deleted records that were counted. */
  #lost = new Set<number>();
  #working: Promise<void> | null = null;

  constructor(options: RetentionOptions) {
    this.#o = options;
  }

  /** Never rejects. One tick at a time. */
  tick(): Promise<void> {
    this.#working ??= this.#tick()
      .catch((error: Error) => {
        if (!this.#o.signal.aborted) this.#o.onError(error);
      })
      .finally(() => {
        this.#working = null;
      });
    return this.#working;
  }

  /**
   * Reads how far back RESPONSES reaches. Called after its records are read, and before the first
   * verdict is planned. @throws BusError that time does not heal
   */
  async begin(): Promise<void> {
    try {
      await retryTransient(this.#o.bus, () => this.#readResponses(), this.#o);
    } catch (error) {
      if (!this.#o.signal.aborted) throw error;
    }
  }

  async #readResponses(): Promise<StreamInfo> {
    const info = await streamInfo(this.#o.bus, STREAM);
    this.#o.ledger.completeSinceMicros = completeSinceMicros(info);
    this.#observe(info);
    return info;
  }

  async #tick(): Promise<void> {
    const { bus, onVerdictsDeleted } = this.#o;
    const verdicts = await streamInfo(bus, 'VERDICTS');
    this.#observe(verdicts);
    onVerdictsDeleted(verdicts.state.first_seq);
    const info = await this.#readResponses();
    if (isFull(info) || isAged(info)) await this.#renew(info);
  }

  #observe(info: StreamInfo): void {
    const { name } = info.config;
    const trims = isTrimmed(info);
    if (trims === this.trimmed.has(name)) return;
    if (trims) this.trimmed.add(name);
    else this.trimmed.delete(name);
    this.#o.onTrimmed(name, trims ? keptMs(info) : null);
  }

  /** The needed records before a sequence, within the bounds. */
  #due(firstSequence: number, beforeSequence: number): NeededRecord[] {
    const due = new Map<number, NeededRecord>();
    const byNamespace = new Map<string, number>();
    const lost = new Set<number>();
    for (const needed of this.#o.ledger.needed()) {
      const { sequence, namespace } = needed;
      if (sequence >= beforeSequence || due.has(sequence)) continue;
      if (sequence < firstSequence) {
        lost.add(sequence);
        continue;
      }
      const used = byNamespace.get(namespace) ?? 0;
      if (used >= MAX_RENEWALS_PER_NAMESPACE || due.size >= MAX_RENEWALS) continue;
      byNamespace.set(namespace, used + 1);
      due.set(sequence, needed);
    }
    for (const sequence of lost) if (!this.#lost.has(sequence)) this.#o.onLost();
    this.#lost = lost;
    return [...due.values()];
  }

  async #renew({ state: { first_seq: first, last_seq: last } }: StreamInfo): Promise<void> {
    const { ledger, log, signal } = this.#o;
    const before = first + Math.ceil((last - first + 1) * OLD_SHARE);
    for (const needed of this.#due(first, before)) {
      for (let attempt = 1; attempt <= MAX_ATTEMPTS && !signal.aborted; attempt += 1) {
        await log.caughtUp();
        // Another replica has stored it again, or its task has ended.
        if (!ledger.isNeeded(needed)) break;
        if (await this.#store(needed.sequence, ledger.position)) break;
      }
    }
  }

  /** Whether nothing is left to do. */
  async #store(sequence: number, lastSequence: number): Promise<boolean> {
    const { bus, onRenewed } = this.#o;
    const message = await getMessage(bus, STREAM, sequence);
    // The next tick counts it as lost.
    if (!message || message.injected) return true;
    try {
      await storeCopy(bus, message, lastSequence);
      onRenewed();
      return true;
    } catch (error) {
      if (error instanceof BusError && error.code === 'BUS_CONFLICT') return false;
      throw error;
    }
  }
}

/** Age of the oldest message. */
function keptMs({ state, ts = '' }: StreamInfo): number {
  return Math.max(0, (microsOf(ts) - microsOf(state.first_ts)) / 1000);
}

function isAged(info: StreamInfo): boolean {
  const { config, state } = info;
  return state.messages > 0 && config.max_age > 0 && keptMs(info) > (AGED_SHARE * config.max_age) / 1e6;
}
