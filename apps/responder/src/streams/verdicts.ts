/**
 * Reads VERDICTS in order, from the beginning at every start, because the streams determine the
 * open tasks. An unreadable message becomes a dead letter. Bound: CACHE_SIZE decoded verdicts.
 */
import {
  type Bus,
  BusError,
  consumeOrdered,
  deadLetter,
  getLastMessage,
  getMessage,
  type Position,
  parseSubject,
  type RetryOptions,
  reasonOf,
  retryTransient,
  type StreamMessage,
  verdictSubject,
} from '@bailiff/bus';
import { decodeWithLookup, type Response, type SchemaRegistry, type Verdict } from '@bailiff/schemas';
import { RecentMap } from '@bailiff/service';
import type { StoredVerdict } from '../ports.ts';

const STREAM = 'VERDICTS';
/** Decoded verdicts, so that the jobs of a new verdict do not read it again; 1 kB each. */
const CACHE_SIZE = 2_048;

export interface VerdictStreamOptions {
  bus: Bus;
  registry: SchemaRegistry;
  onUnreadable(reason: string): void;
  /** A dead letter or a schema lookup waits for the bus. */
  onWait: RetryOptions['onWait'];
  clock: RetryOptions['clock'];
  signal: AbortSignal;
}

export interface VerdictHandlers {
  /** Awaited before the next verdict is read. */
  onVerdict(placed: StoredVerdict): Promise<void>;
  /** The verdicts that exist at the start are read; called again for a recreated stream. */
  onCaughtUp(): void;
  /** The stream was recreated: earlier verdicts are gone, and sequences restart. */
  onRecreated(): void;
}

export class VerdictStream {
  readonly #options: VerdictStreamOptions;
  readonly #cache = new RecentMap<number, StoredVerdict>(CACHE_SIZE);
  /** Newest verdict that was planned or dead-lettered. */
  position: Position = { sequence: 0, timestampMicros: 0 };

  constructor(options: VerdictStreamOptions) {
    this.#options = options;
  }

  /** Reads until the signal aborts. */
  async read({ onVerdict, onCaughtUp, onRecreated }: VerdictHandlers): Promise<void> {
    const { bus, signal } = this.#options;
    const take = (message: StreamMessage) => retryTransient(bus, () => this.#decode(message), this.#options);
    let caughtUp = false;
    await consumeOrdered(bus, STREAM, {
      start: 'all',
      onMessage: async (message) => {
        // An unreadable message does not end the loop, but waits until the bus has its dead letter.
        const placed = await take(message);
        if (placed) {
          this.#cache.set(placed.sequence, placed);
          await onVerdict(placed);
        }
        const { sequence, timestampMicros } = message;
        this.position = { sequence, timestampMicros };
      },
      onIdle: (sequence) => {
        if (sequence > this.position.sequence) this.position = { sequence, timestampMicros: 0 };
        if (caughtUp) return;
        caughtUp = true;
        onCaughtUp();
      },
      onRecreated: () => {
        caughtUp = false;
        this.position = { sequence: 0, timestampMicros: 0 };
        this.#cache.clear();
        onRecreated();
      },
      signal,
    });
  }

  /**
   * The verdict of a sequence; null if the stream no longer has it or it is unreadable.
   * @throws BusError
   */
  async get(sequence: number): Promise<StoredVerdict | null> {
    const known = this.#cache.get(sequence);
    if (known) return known;
    const message = await getMessage(this.#options.bus, STREAM, sequence);
    const placed = message && (await this.#decode(message));
    if (placed) this.#cache.set(placed.sequence, placed);
    return placed;
  }

  /** The verdict of a record; null likewise. @throws BusError */
  async find({ verdictId, level, podNamespace, podName }: Response): Promise<StoredVerdict | null> {
    const pod = podName === '' ? null : { namespace: podNamespace, name: podName };
    const message = await getLastMessage(this.#options.bus, STREAM, verdictSubject({ verdictId, level, pod }));
    return message && (await this.#decode(message));
  }

  async #decode(message: StreamMessage): Promise<StoredVerdict | null> {
    const { bus, registry, signal } = this.#options;
    try {
      const decoded = await decodeWithLookup(message.data, registry);
      if (decoded.name !== 'Verdict') throw new Error(`expected a Verdict, found a ${decoded.name}`);
      checkAddress(decoded.value, message.subject);
      return { verdict: decoded.value, sequence: message.sequence, atMicros: message.timestampMicros };
    } catch (error) {
      if (error instanceof BusError) throw error;
      const reason = reasonOf(error, 'not-a-verdict');
      const { sequence, subject, data } = message;
      const detail = (error as Error).message;
      await deadLetter(bus, { stream: STREAM, sequence, subject, reason, detail, data, signal });
      this.#options.onUnreadable(reason);
      return null;
    }
  }
}

/**
 * Checks the verdict against its subject, which the bus permissions cover. It also ensures that the
 * names are Kubernetes names, because they become parts of paths and subjects.
 */
function checkAddress(verdict: Verdict, subject: string): void {
  const parsed = parseSubject(subject);
  const same =
    parsed?.what === 'verdicts' &&
    parsed.verdictId === verdict.verdictId &&
    parsed.level === verdict.level &&
    parsed.namespace === (verdict.pod?.namespace ?? '') &&
    parsed.pod === (verdict.pod?.name ?? '');
  if (!same) throw new Error(`the verdict does not match its subject: ${subject}`);
  if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(verdict.nodeName)) throw new Error('nodeName is not a Kubernetes name');
}
