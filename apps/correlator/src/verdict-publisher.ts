/**
 * Publishes verdicts to VERDICTS in the order in which the engine emits them.
 *
 * Invariants: the first replica to publish a verdict wins; the bus rejects the second copy, which
 * is counted. A publish is retried until the bus stores it or rejects the message itself. VERDICTS
 * deletes its oldest when it is full, so a verdict of a frame that is older than all of them may
 * have been stored before, and is not stored again. Bounds: IN_FLIGHT publishes at once. At
 * MAX_QUEUED_VERDICTS the frame consumer stops reading.
 */
import {
  type Bus,
  BusError,
  type ClusterReader,
  cloudEventHeaders,
  publishOnce,
  readCompleteSince,
  verdictSubject,
} from '@bailiff/bus';
import { encodeVerdict, type Verdict } from '@bailiff/schemas';
import type { Clock } from '@bailiff/service';
import { retry } from '@bailiff/service/retry';

export const MAX_QUEUED_VERDICTS = 1_024;
const IN_FLIGHT = 32;
/** Pause after a temporary error: stream full, no leader. */
const RETRY_MS = 1_000;
/** A verdict of a younger frame cannot be deleted already. */
const RECENT_MICROS = 60_000_000;
/** How long the time is used since which VERDICTS is complete. Verdicts of a replay are many. */
const COMPLETE_SINCE_MS = 1_000;

/** Errors that the verdict itself causes: no retry. */
const FINAL = new Set(['BUS_TOO_LARGE', 'BUS_REFUSED', 'BUS_MESSAGE']);
/** Errors of this process's identity. */
const FATAL = new Set(['BUS_PERMISSION', 'BUS_AUTHENTICATION']);

export interface VerdictPublisherOptions {
  bus: Bus;
  cluster: Pick<ClusterReader, 'identity'>;
  clock: Clock;
  onPublished(verdict: Verdict, outcome: PublishOutcome, offered: Offered): void;
  /** Rejected for good. */
  onFailed(verdict: Verdict, error: Error): void;
  /** Failed for now; retried. */
  onRetry(error: Error): void;
  /** This process may not publish. */
  onFatal(error: Error): void;
  /** Aborted at the end of the shutdown: ends all publishing. */
  signal: AbortSignal;
}

/** `exists`: another replica was first. `expired`: it may have been stored and deleted before. */
export type PublishOutcome = 'stored' | 'exists' | 'expired';

/** What the publisher's owner knew about a verdict when it offered it. */
export interface Offered {
  /** Bus time of the frame that reached the threshold. */
  streamMicros: number;
  /** The frame was stored after the start. */
  isLive: boolean;
}

interface Queued {
  verdict: Verdict;
  offered: Offered;
}

export class VerdictPublisher {
  readonly #o: VerdictPublisherOptions;
  #queue: Queued[] = [];
  readonly #work = new Set<Promise<void>>();
  #reading: Promise<void> | null = null;
  #completeSince = { readAtMs: Number.NEGATIVE_INFINITY, micros: 0 };

  constructor(options: VerdictPublisherOptions) {
    this.#o = options;
  }

  get waiting(): number {
    return this.#queue.length + this.#work.size;
  }
  get hasRoom(): boolean {
    return this.#queue.length < MAX_QUEUED_VERDICTS;
  }

  /** Queues a verdict, even without room: the reader checks `hasRoom` before the next frame. */
  offer(verdict: Verdict, offered: Offered): void {
    this.#queue.push({ verdict, offered });
    this.#next();
  }

  async whenRoom(): Promise<void> {
    while (!this.hasRoom && this.#work.size > 0) await Promise.race(this.#work);
  }
  /** Resolves when every queued verdict is published or has failed. */
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

  async #publish({ verdict, offered }: Queued): Promise<void> {
    const { bus, clock, cluster, signal } = this.#o;
    const subject = verdictSubject(verdict);
    const payload = encodeVerdict(verdict);
    const headers = cloudEventHeaders({
      id: verdict.verdictId,
      type: 'dev.bailiff.verdict.v1',
      source: '/correlator',
      timeMicros: verdict.triggeredAt,
      subject: verdict.pod?.uid ?? verdict.nodeName,
      cluster: cluster.identity,
    });
    // Replicas publish the same payload. After a lost ack, each of them reports that it was first: alerts count that.
    const options = { headers, stream: 'VERDICTS', isUnique: true, signal };
    let isRepeated = false;
    const publish = async () => {
      const isExpired = await this.#mayBeDeleted(offered);
      const once = () => publishOnce(bus, subject, payload, { ...options, isRepeated });
      const outcome = isExpired ? 'expired' : (await once()).outcome;
      this.#o.onPublished(verdict, outcome, offered);
    };
    await retry(publish, {
      signal,
      waitMs: async (error) => {
        if (!(error instanceof BusError) || FINAL.has(error.code)) return null;
        if (FATAL.has(error.code)) this.#o.onFatal(error);
        this.#o.onRetry(error);
        isRepeated = true;
        await clock.sleep(RETRY_MS, signal);
        return 0;
      },
    });
  }

  /** Whether VERDICTS has deleted verdicts that are as old as the frame. @throws BusError */
  async #mayBeDeleted({ streamMicros }: Offered): Promise<boolean> {
    const { bus, clock } = this.#o;
    // A clock of this machine that is behind would make every frame a recent one.
    const nowMicros = bus.serverClock.nowMicros() || clock.nowMicros();
    if (nowMicros - streamMicros < RECENT_MICROS) return false;
    const isOld = clock.monotonicMs() - this.#completeSince.readAtMs > COMPLETE_SINCE_MS;
    if (isOld) await this.#readCompleteSince();
    return streamMicros < this.#completeSince.micros;
  }

  /** All verdicts that are published at once share a request. */
  #readCompleteSince(): Promise<void> {
    this.#reading ??= readCompleteSince(this.#o.bus, 'VERDICTS')
      .then((micros) => {
        this.#completeSince = { readAtMs: this.#o.clock.monotonicMs(), micros };
      })
      .finally(() => {
        this.#reading = null;
      });
    return this.#reading;
  }
}
