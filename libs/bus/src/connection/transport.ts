/**
 * The TCP and TLS side of one connection to the bus: the client's transport, except that its socket
 * always ends.
 *
 * connect.ts uses it. The client's own transport forgets a socket that is not logged in yet: an
 * attempt against a server that accepts connections and stays silent would leave a socket, for
 * minutes or for ever, and the process could not end. A disconnect waits until everything is
 * written, which never happens if the server reads nothing. The client's version is pinned exactly;
 * transport.test.ts detects changes.
 */
import { createConnection, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { onAbort, within } from '@bailiff/service/retry';
import { errors, type NatsConnection } from '@nats-io/nats-core';
import { hasWsProtocol, NatsConnectionImpl, setTransportFactory } from '@nats-io/nats-core/internal';
import type { NodeConnectionOptions } from '@nats-io/transport-node';
import { NodeTransport, nodeResolveHost } from '@nats-io/transport-node/lib/node_transport.js';

/** Options of the client, and what this transport adds to them. */
export interface TransportOptions extends NodeConnectionOptions {
  /** Ends the attempts of the first connect. Its owner never aborts it after that. */
  attempt?: AbortSignal;
  /**
   * Opens the byte stream to the server instead of TCP, such as through a port-forward. TLS on it
   * verifies the host name of the URL, which is not resolved.
   */
  dial?: Dial;
  /** Called with the error of each attempt that failed, its login included. */
  onFailed?: (error: unknown) => void;
}

export type Dial = (signal: AbortSignal | undefined) => Promise<Duplex>;

/** A name that is not resolved within this time counts as unreachable. */
const RESOLVE_MS = 5_000;
/** A forced disconnect discards what is not written within this time. */
const FLUSH_MS = 1_000;

export class Transport extends NodeTransport {
  /** From the first packet of the handshake on; the TLS socket is on top of it. */
  #tcp: Duplex | null = null;
  #dial: (() => Promise<Duplex>) | null = null;
  #onFailed: TransportOptions['onFailed'];

  override async connect(server: Parameters<NodeTransport['connect']>[0], options: TransportOptions): Promise<void> {
    const { attempt, dial } = options;
    this.#onFailed = options.onFailed;
    attempt?.throwIfAborted();
    if (dial) this.#dial = () => dial(attempt);
    // An attempt goes on after this, until the server has accepted the login.
    const forget = onAbort(attempt, () => this.#destroy());
    void this.closed().then(forget);
    try {
      await super.connect(dial ? { ...server, tlsName: server.hostname } : server, options);
    } catch (error) {
      forget();
      this.#destroy();
      throw error;
    }
  }

  override async dial({ hostname, port }: { hostname: string; port: number }): Promise<Socket> {
    if (this.#dial) {
      const stream = await this.#dial();
      this.#tcp = stream;
      // The client only reads, writes and wraps it in TLS, which every Duplex allows.
      return stream as Socket;
    }
    const socket = createConnection(port, hostname);
    this.#tcp = socket;
    socket.setNoDelay(true);
    return new Promise((resolve, reject) => {
      let failure: Error | undefined;
      socket.once('connect', () => {
        socket.removeAllListeners();
        resolve(socket);
      });
      socket.once('error', (error) => {
        failure = error;
      });
      socket.once('close', () => reject(failure));
    });
  }

  /** The client closes with an error what it could not connect or log in. */
  override async close(error?: Error): Promise<void> {
    if (error) this.#onFailed?.(error);
    await super.close(error);
    this.#destroy();
  }

  override discard(): void {
    super.discard();
    this.#destroy();
  }

  override disconnect(): void {
    super.disconnect();
    setTimeout(() => this.#destroy(), FLUSH_MS).unref();
  }

  #destroy(): void {
    const socket = this.#tcp;
    if (socket === null || socket.destroyed) return;
    // A reset that arrives now must not become an uncaught error.
    socket.on('error', () => undefined);
    socket.destroy();
  }
}

/** The look-up itself cannot be aborted. @throws Error of the resolver, or after RESOLVE_MS */
function resolveHost(name: string): Promise<string[]> {
  return within(RESOLVE_MS, nodeResolveHost(name), () => {
    throw new errors.ConnectionError(`${name} was not resolved within ${RESOLVE_MS} ms`);
  });
}

/** Connects by this transport. @throws as the client's own `connect` */
export function connectClient(options: TransportOptions): Promise<NatsConnection> {
  if (hasWsProtocol(options)) {
    return Promise.reject(errors.InvalidArgumentError.format('servers', 'are websockets, which are not supported'));
  }
  setTransportFactory({ factory: () => new Transport(), dnsResolveFn: resolveHost });
  // A dialled stream always leads to the same Service: the addresses that servers advertise are not used.
  const own = options.dial ? { resolve: false, ignoreClusterUpdates: true } : {};
  return NatsConnectionImpl.connect({ ...options, ...own });
}
