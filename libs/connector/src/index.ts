/**
 * Connects programs to Bailiff's bus: SIEM connectors (user `siem-reader`) and readers of stored messages
 * (user `reader`). Published as `@bailiff/connector`; docs/siem/README.md is its guide.
 */
import {
  type Bus,
  connectBus,
  consumeDurable,
  contentOf,
  filters,
  type Incoming,
  siemConsumer,
  subscribe,
} from '@bailiff/bus';
import { pause } from '@bailiff/service/retry';
import type {
  Connect,
  Connector,
  ConsumeOptions,
  Format,
  ReplayOptions,
  SiemEvent,
  StoredMessage,
  Stream,
} from './api.ts';
import { eventOf } from './event.ts';
import { replay } from './replay.ts';

export type * from './api.ts';

/** How long `close` waits for running handlers, so that what they did is acknowledged. */
const HANDLERS_MS = 5_000;

class BusConnector implements Connector {
  readonly #bus: Bus;
  readonly #end = new AbortController();
  readonly #consuming = new Set<Promise<void>>();
  readonly #counts = { dropped: 0, skipped: 0 };

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  get user(): string {
    return this.#bus.user;
  }
  get dropped(): number {
    return this.#counts.dropped;
  }
  get skipped(): number {
    return this.#counts.skipped;
  }

  events<F extends Format>(format: F): AsyncIterable<SiemEvent<F>> {
    return liveEvents(this.#bus, format, this.#counts);
  }

  consume<F extends Format>(
    format: F,
    handle: (event: SiemEvent<F>) => unknown,
    options: ConsumeOptions = {},
  ): Promise<void> {
    const signal = AbortSignal.any([this.#end.signal, ...(options.signal ? [options.signal] : [])]);
    const consuming = consumeEvents(this.#bus, format, handle, this.#counts, { ...options, signal });
    this.#consuming.add(consuming);
    const forget = () => this.#consuming.delete(consuming);
    consuming.then(forget, forget);
    return consuming;
  }

  replay<S extends Stream>(stream: S, options: ReplayOptions): AsyncIterable<StoredMessage<S>> {
    return replay(this.#bus, stream, options);
  }

  async close(): Promise<void> {
    this.#end.abort();
    const handled = new AbortController();
    const ended = Promise.allSettled(this.#consuming).then(() => handled.abort());
    await Promise.race([ended, pause(HANDLERS_MS, handled.signal)]);
    await this.#bus.drain();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

export const connect: Connect = async (options = {}) => {
  const { NATS_URL, NATS_USER, NATS_PASSWORD_FILE, NATS_CA_FILE } = process.env;
  const servers = options.servers ?? NATS_URL;
  const passwordFile = options.passwordFile ?? NATS_PASSWORD_FILE;
  if (!servers) throw new TypeError('no bus: set NATS_URL, or the option servers');
  if (!passwordFile) throw new TypeError('no password: set NATS_PASSWORD_FILE, or the option passwordFile');
  const caFile = options.caFile ?? NATS_CA_FILE;
  const bus = await connectBus({
    servers,
    passwordFile,
    user: options.user ?? NATS_USER ?? 'siem-reader',
    name: options.name ?? 'connector',
    ...(caFile ? { tls: { caFile } } : {}),
    ...(options.signal ? { signal: options.signal } : {}),
  });
  return new BusConnector(bus);
};

const MAX_EVENTS = 1_000;
const DEFAULT_EVENTS = 64;

/** Reads the durable consumer of a format (libs/bus/src/streams/durable.ts). */
function consumeEvents<F extends Format>(
  bus: Bus,
  format: F,
  handle: (event: SiemEvent<F>) => unknown,
  counts: { skipped: number },
  { signal = new AbortController().signal, maxEvents = DEFAULT_EVENTS, onError }: ConsumeOptions,
): Promise<void> {
  if (!(maxEvents >= 1 && maxEvents <= MAX_EVENTS)) throw new RangeError(`maxEvents: 1 to ${MAX_EVENTS}`);
  return consumeDurable(bus, 'SIEM', siemConsumer(format), {
    maxMessages: maxEvents,
    onMessage: (message, deliveries) => {
      const event = eventOf(format, message, deliveries);
      if (event) return handle(event);
      counts.skipped += 1;
      return undefined;
    },
    onFailed: (error) => {
      if (!onError) throw error;
      onError(error);
    },
    signal,
  });
}

/** At most 32 KiB each. */
const MAX_WAITING = 1_000;

/**
 * Events of a subscription. The client reads as fast as the bus sends, so what its reader has not taken
 * is bounded: beyond MAX_WAITING the oldest are dropped and counted.
 */
async function* liveEvents<F extends Format>(
  bus: Bus,
  format: F,
  counts: { dropped: number; skipped: number },
): AsyncGenerator<SiemEvent<F>> {
  const waiting: Incoming[] = [];
  let failure: Error | null = null;
  let isOver = false;
  let wake = () => {};
  const subscription = subscribe(bus, filters.siem({ format }), (error, message) => {
    failure ??= error;
    if (!error) waiting.push(message);
    if (waiting.length > MAX_WAITING) {
      waiting.shift();
      counts.dropped += 1;
    }
    wake();
  });
  void subscription.closed.then(() => {
    isOver = true;
    wake();
  });
  try {
    for (;;) {
      const message = waiting.shift();
      if (message) {
        const event = eventOf(format, { subject: message.subject, ...contentOf(message, false) }, 1);
        if (event) yield event;
        else counts.skipped += 1;
        continue;
      }
      if (failure) throw failure;
      if (isOver) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    subscription.unsubscribe();
  }
}
