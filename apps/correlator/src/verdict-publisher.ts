/**
 * Verdicts → VERDICTS, in the order in which they were given, each until the bus has it.
 *
 * Invariants: whoever publishes first wins, and the second copy is refused by the bus and counted; a verdict is given up only when the bus refuses it for
 * what it is. Bounds: IN_FLIGHT at once; when MAX_QUEUED wait there is no room, and the reader stops reading.
 */
import { type Bus, BusError, cloudEventHeaders, publishOnce, verdictSubject } from '@bailiff/bus';
import { encodeVerdict, type Verdict } from '@bailiff/schemas';
import type { Clock } from '@bailiff/service';

export const MAX_QUEUED_VERDICTS = 1_024;
const IN_FLIGHT = 32;
/** Between tries that the bus refuses for a reason that may pass (full, no leader). */
const RETRY_MS = 1_000;

/** Refusals that say something of this verdict or this process and not of the moment. */
const FINAL = new Set(['BUS_TOO_LARGE', 'BUS_REFUSED', 'BUS_MESSAGE']);
const FATAL = new Set(['BUS_PERMISSION', 'BUS_AUTHENTICATION']);

export interface VerdictPublisherOptions {
  bus: Bus;
  clock: Clock;
  onPublished(verdict: Verdict, outcome: 'stored' | 'exists', streamMicros: number): void;
  /** Refused for what it is. */
  onFailed(verdict: Verdict, error: Error): void;
  /** Tried again. */
  onRetry(error: Error): void;
  /** This process may not publish at all. */
  onFatal(error: Error): void;
  /** Aborted when nothing may be published any more. */
  signal: AbortSignal;
}

interface Queued {
  verdict: Verdict;
  streamMicros: number;
}

export class VerdictPublisher {
  readonly #o: VerdictPublisherOptions;
  #queue: Queued[] = [];
  readonly #work = new Set<Promise<void>>();

  constructor(options: VerdictPublisherOptions) {
    this.#o = options;
  }

  get waiting(): number {
    return this.#queue.length + this.#work.size;
  }
  get hasRoom(): boolean {
    return this.#queue.length < MAX_QUEUED_VERDICTS;
  }

  /** Takes a verdict, also when there is no room: the reader looks before it reads on. */
  offer(verdict: Verdict, streamMicros: number): void {
    this.#queue.push({ verdict, streamMicros });
    this.#next();
  }

  async whenRoom(): Promise<void> {
    while (!this.hasRoom && this.#work.size > 0) await Promise.race(this.#work);
  }
  /** Resolves when all that was offered is on the bus or given up. */
  async whenPublished(): Promise<void> {
    while (this.#work.size > 0) await Promise.race(this.#work);
  }

  #next(): void {
    while (this.#work.size < IN_FLIGHT && !this.#o.signal.aborted) {
      const queued = this.#queue.shift();
      if (!queued) return;
      const work: Promise<void> = this.#publish(queued)
        .catch((error: Error) => {
          if (!this.#o.signal.aborted) this.#o.onFailed(queued.verdict, error);
        })
        .finally(() => {
          this.#work.delete(work);
          this.#next();
        });
      this.#work.add(work);
    }
  }

  async #publish({ verdict, streamMicros }: Queued): Promise<void> {
    const { bus, clock, signal } = this.#o;
    const subject = verdictSubject(verdict);
    const payload = encodeVerdict(verdict);
    const headers = cloudEventHeaders({
      id: verdict.verdictId,
      type: 'dev.bailiff.verdict.v1',
      source: '/correlator',
      timeMicros: verdict.triggeredAt,
      subject: verdict.pod?.uid ?? verdict.nodeName,
    });
    for (;;) {
      try {
        const { outcome } = await publishOnce(bus, subject, payload, {
          msgId: verdict.verdictId,
          headers,
          stream: 'VERDICTS',
          signal,
        });
        return this.#o.onPublished(verdict, outcome, streamMicros);
      } catch (error) {
        if (!(error instanceof BusError) || FINAL.has(error.code)) throw error;
        if (FATAL.has(error.code)) this.#o.onFatal(error);
        this.#o.onRetry(error);
        await clock.sleep(RETRY_MS, signal);
        signal.throwIfAborted();
      }
    }
  }
}
