/**
 * Connector for ioredis that keeps an error listener on the socket. The client's own connector
 * removes its listener after the first error. A TLS handshake that is interrupted by a shutdown
 * causes a second error, an alert of the server, which would end the process.
 */
import net from 'node:net';
import tls from 'node:tls';
import { AbstractConnector, type RedisOptions } from 'ioredis';
import type { RedisTls } from './redis-options.ts';

/** The fields in use of the client's options. */
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
    // The client adds its listeners after this resolves, so the socket must not emit events before.
    await Promise.resolve();
    if (!this.connecting) throw new Error('Connection is closed.');
    const stream = this.#open();
    stream.once('error', (error) => {
      this.firstError = error;
    });
    // Later errors add no information to the first.
    stream.on('error', () => undefined);
    this.stream = stream;
    return stream;
  }

  /**
   * A certificate that does not fit its key, as while both are being replaced, gives a socket with
   * this error: the client tries again. An exception would end it for good.
   */
  #open(): net.Socket {
    const { path, port, host, family, tls: secure } = this.#options;
    const target = path ? { path } : { port, host, family };
    if (!secure) return net.connect(target);
    try {
      return tls.connect({ ...target, ...this.#newest(secure) });
    } catch (error) {
      this.firstError = error as Error;
      return new net.Socket().destroy();
    }
  }

  /**
   * The TLS files as they are now. While a file is being replaced it may be unreadable: then the
   * last content is used.
   */
  #newest({ renewed, ...given }: tls.ConnectionOptions & Pick<RedisTls, 'renewed'>): tls.ConnectionOptions {
    try {
      this.#last = renewed?.() ?? {};
    } catch {}
    return { ...given, ...this.#last };
  }
}
