/**
 * Opens a connection to Redis as the client's own connector does, but goes on hearing the socket's errors. The client's takes its listener
 * off after the first error of a socket: a handshake that is cut off by a stop has a second, an alert of the server, which ended the process.
 */
import net from 'node:net';
import tls from 'node:tls';
import { AbstractConnector, type RedisOptions } from 'ioredis';
import type { RedisTls } from './redis-options.ts';

/** Of what the client hands its connector: all of its options, with its defaults. */
type Options = Pick<RedisOptions, 'path' | 'host' | 'family' | 'tls'> & { port: number; disconnectTimeout: number };

export class RedisConnector extends AbstractConnector {
  readonly #options: Options;
  #last: tls.ConnectionOptions = {};

  constructor(options: unknown) {
    const own = options as Options;
    super(own.disconnectTimeout);
    this.#options = own;
  }

  async connect(): Promise<net.Socket> {
    this.connecting = true;
    // The client puts its listeners on after this has resolved: nothing of the socket may come before.
    await Promise.resolve();
    if (!this.connecting) throw new Error('Connection is closed.');
    const { path, port, host, family, tls: secure } = this.#options;
    const target = path ? { path } : { port, host, family };
    const stream = secure ? tls.connect({ ...target, ...this.#newest(secure) }) : net.connect(target);
    stream.once('error', (error) => {
      this.firstError = error;
    });
    // What comes after the first says nothing that the first has not.
    stream.on('error', () => undefined);
    this.stream = stream;
    return stream;
  }

  /** While a file is being replaced it cannot be read, perhaps: then what was read last is tried. */
  #newest({ renewed, ...given }: tls.ConnectionOptions & Pick<RedisTls, 'renewed'>): tls.ConnectionOptions {
    try {
      this.#last = renewed?.() ?? {};
    } catch {}
    return { ...given, ...this.#last };
  }
}
