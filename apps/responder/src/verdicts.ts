/** VERDICTS, read: in order and from the beginning at every start, because what is left to do is worked out anew from the streams. */
import {
  type Bus,
  BusError,
  consumeOrdered,
  deadLetter,
  getMessage,
  type Position,
  parseSubject,
  type RetryOptions,
  reasonOf,
  retryTransient,
  type StreamMessage,
} from '@bailiff/bus';
import { decodeWithLookup, type SchemaRegistry, type Verdict } from '@bailiff/schemas';
import type { PlacedVerdict } from './ports.ts';

const STREAM = 'VERDICTS';
/** Verdicts kept so that the jobs of a fresh one need not read it again; 1 kB each. */
const CACHE_SIZE = 2_048;

export interface VerdictStreamOptions {
  bus: Bus;
  registry: SchemaRegistry;
  /** Awaited: the next one is read when this one is taken. */
  onVerdict(placed: PlacedVerdict): Promise<void>;
  onUnreadable(reason: string): void;
  /** A dead letter, or a schema that is asked for, waits for the bus. */
  onWait: RetryOptions['onWait'];
  /** The stream was made anew: verdicts of before are gone, and their sequences name others. */
  onRemade(): void;
  clock: RetryOptions['clock'];
  signal: AbortSignal;
}

export class VerdictStream {
  readonly #options: VerdictStreamOptions;
  #cache = new Map<number, PlacedVerdict>();
  /** Newest verdict that was planned or set aside. */
  position: Position = { sequence: 0, timestampMicros: 0 };

  constructor(options: VerdictStreamOptions) {
    this.#options = options;
  }

  /** Reads until the signal aborts. `onCaughtUp` is called when all that was there at the start, or in a stream made anew, is taken. */
  async read(onCaughtUp: () => void): Promise<void> {
    const { bus, signal } = this.#options;
    const take = (message: StreamMessage) => retryTransient(bus, () => this.#decode(message), this.#options);
    let caughtUp = false;
    await consumeOrdered(bus, STREAM, {
      start: 'all',
      onMessage: async (message) => {
        // What cannot be read ends no reading, and is not passed over while the bus does not take its dead letter.
        const placed = await take(message);
        if (placed) {
          this.#keep(placed);
          await this.#options.onVerdict(placed);
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
        this.#options.onRemade();
      },
      signal,
    });
  }

  /** One verdict by its sequence; null when the stream no longer has it or it cannot be read. @throws BusError */
  async get(sequence: number): Promise<PlacedVerdict | null> {
    const known = this.#cache.get(sequence);
    if (known) return known;
    const message = await getMessage(this.#options.bus, STREAM, sequence);
    const placed = message && (await this.#decode(message));
    if (placed) this.#keep(placed);
    return placed;
  }

  #keep(placed: PlacedVerdict): void {
    this.#cache.set(placed.sequence, placed);
    const [oldest] = this.#cache.keys();
    if (this.#cache.size > CACHE_SIZE && oldest !== undefined) this.#cache.delete(oldest);
  }

  async #decode(message: StreamMessage): Promise<PlacedVerdict | null> {
    const { bus, registry, signal } = this.#options;
    try {
      const decoded = await decodeWithLookup(message.data, registry);
      if (decoded.name !== 'Verdict') throw new Error(`a ${decoded.name} where a Verdict was expected`);
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
 * The subject is what the bus's permissions were checked on, so the content must say the same; it also proves that the names are
 * Kubernetes names, which go into paths and subjects.
 */
function checkAddress(verdict: Verdict, subject: string): void {
  const parsed = parseSubject(subject);
  const same =
    parsed?.what === 'verdicts' &&
    parsed.verdictId === verdict.verdictId &&
    parsed.level === verdict.level &&
    parsed.namespace === (verdict.pod?.namespace ?? '') &&
    parsed.pod === (verdict.pod?.name ?? '');
  if (!same) throw new Error(`the verdict is not what its subject says: ${subject}`);
  if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(verdict.nodeName)) throw new Error('the node has no Kubernetes name');
}
