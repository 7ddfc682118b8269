/**
 * Connects programs to Bailiff's bus: SIEM connectors (user `siem-reader`) and readers of stored messages
 * (user `reader`). Published as `@bailiff/connector`; docs/siem/README.md is its guide.
 */
import { type Bus, connectBus } from '@bailiff/bus';
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
import { consumeEvents } from './durable.ts';
import { liveEvents } from './live.ts';
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
