/**
 * Stored messages from a sequence or a time, one request each. siem-relay responds to them, 256 a second
 * for all readers together: a request beyond that is repeated. A time is found by bisection, which needs
 * about 30 requests, because older servers have none for it.
 */
import {
  type Bus,
  BusError,
  getNewest,
  getNextMessage,
  type StreamMessage,
  schemaLookup,
  sequenceAt,
} from '@bailiff/bus';
import { decodeWithLookup, SchemaRegistry } from '@bailiff/schemas';
import { backoffMs, pause } from '@bailiff/service/retry';
import type { ReplayOptions, StoredMessage, Stream, Values } from './api.ts';

const SCHEMAS: Readonly<Record<Stream, string>> = {
  VIOLATIONS: 'ViolationFrame',
  VERDICTS: 'Verdict',
  RESPONSES: 'Response',
};
const AGAIN = { baseMs: 200, maxMs: 5_000 };
/** Requests for one message; the bus is then considered unavailable. */
const MAX_ATTEMPTS = 10;

export async function* replay<S extends Stream>(
  bus: Bus,
  stream: S,
  { from, signal = new AbortController().signal }: ReplayOptions,
): AsyncGenerator<StoredMessage<S>> {
  const registry = new SchemaRegistry(schemaLookup(bus), Date.now);
  const reader = new Reader(bus, stream, signal);
  const last = await reader.get(() => getNewest(bus, stream));
  if (!last) return;
  const range = { first_seq: 1, last_seq: last.sequence };
  const next = (at: number) => reader.next(at);
  let sequence = 'time' in from ? await sequenceAt(next, from.time.getTime() * 1000, range) : from.sequence;
  while (sequence <= last.sequence && !signal.aborted) {
    const message = await reader.next(sequence);
    if (!message) return;
    sequence = message.sequence + 1;
    yield await decoded(stream, message, registry, reader);
  }
}

class Reader {
  readonly #bus: Bus;
  readonly #stream: Stream;
  readonly #signal: AbortSignal;

  constructor(bus: Bus, stream: Stream, signal: AbortSignal) {
    this.#bus = bus;
    this.#stream = stream;
    this.#signal = signal;
  }

  next(sequence: number): Promise<StreamMessage | null> {
    return this.get(() => getNextMessage(this.#bus, this.#stream, Math.max(1, sequence), '>'));
  }

  /** @throws BusError; the signal's reason */
  async get<T>(request: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      this.#signal.throwIfAborted();
      try {
        return await request();
      } catch (error) {
        // Also of a server or relay that restarts, and of a relay that is asked too often.
        const mayHeal = error instanceof BusError && !['BUS_PERMISSION', 'BUS_CLOSED'].includes(error.code);
        if (!mayHeal || attempt >= MAX_ATTEMPTS) throw error;
        await pause(backoffMs(attempt, AGAIN), this.#signal);
      }
    }
  }
}

async function decoded<S extends Stream>(
  stream: S,
  message: StreamMessage,
  registry: SchemaRegistry,
  reader: Reader,
): Promise<StoredMessage<S>> {
  const { sequence, timestampMicros, subject, data } = message;
  const place = { stream, sequence, storedMs: Math.floor(timestampMicros / 1000), subject };
  try {
    const { name, value } = await reader.get(() => decodeWithLookup(data, registry, subject));
    if (name === SCHEMAS[stream]) return { ...place, value: value as Values[S], problem: '' };
    return { ...place, value: null, problem: `a ${name} in ${stream}` };
  } catch (error) {
    if (error instanceof BusError) throw error;
    return { ...place, value: null, problem: (error as Error).message };
  }
}
