/**
 * Opens a connection to Redis as the client's own connector does, but goes on hearing the socket's errors. The client's takes its listener
 * off after the first error of a socket: a handshake that is cut off by a stop has a second, an alert of the server, which ended the process.
 */
import net from 'node:net';
import tls from 'node:tls';
import { AbstractConnector, type RedisOptions } from 'ioredis';

/** How long a connection that was ended may take to close before it is destroyed; the client's default. */
const DISCONNECT_TIMEOUT_MS = 2_000;

/** What the client hands its connector: all of its options. */
type Options = Pick<RedisOptions, 'path' | 'port' | 'host' | 'family' | 'tls' | 'disconnectTimeout'>;

export class RedisConnector extends AbstractConnector {
  readonly #options: Options;

  constructor(options: unknown) {
    const own = options as Options;
    super(own.disconnectTimeout ?? DISCONNECT_TIMEOUT_MS);
    this.#options = own;
  }

  async connect(): Promise<net.Socket> {
    this.connecting = true;
    // The client puts its listeners on after this has resolved: nothing of the socket may come before.
    await Promise.resolve();
    if (!this.connecting) throw new Error('Connection is closed.');
    const { path, port, host, family, tls: secure } = this.#options;
    const target = path ? { path } : { port: port ?? 6379, host, family };
    const stream = secure ? tls.connect({ ...target, ...secure }) : net.connect(target);
    stream.once('error', (error) => {
      this.firstError = error;
    });
    // What comes after the first says nothing that the first has not.
    stream.on('error', () => undefined);
    this.stream = stream;
    return stream;
  }
}
