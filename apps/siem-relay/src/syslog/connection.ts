/**
 * One connection to a syslog receiver.
 *
 * Syslog has no acknowledgement, but an orderly TCP close serves as one. If the receiver closes
 * without an error after we ended the stream, it has read everything (RFC 5425, 4.4; RFC 6587
 * receivers do so too). Any other end is an error. Writing stops while the receiver does not read.
 * Limit: one message beyond the socket's buffer.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';
import { timeLimit } from '@bailiff/service/retry';
import { sharedLookup } from '../outputs/shared-lookup.ts';

/**
 * SYSLOG_CONNECT: no connection. SYSLOG_BROKEN: the connection broke. SYSLOG_UNCONFIRMED: the
 * receiver did not close in time.
 */
export type SyslogErrorCode = 'SYSLOG_CONNECT' | 'SYSLOG_BROKEN' | 'SYSLOG_UNCONFIRMED';

export class SyslogError extends Error {
  readonly code: SyslogErrorCode;
  constructor(code: SyslogErrorCode, message: string, cause?: Error) {
    super(message, { cause });
    this.name = 'SyslogError';
    this.code = code;
  }
}

export interface Receiver {
  host: string;
  port: number;
  transport: 'tcp' | 'tls';
  caFile: string;
  certFile: string;
  keyFile: string;
  /** Empty: the host. */
  serverName: string;
}

const CONNECT_TIMEOUT_MS = 10_000;
/** Lets the kernel detect a vanished peer. */
const KEEP_ALIVE_MS = 15_000;

/** `host:port`, `[v6]:port` */
export function parseAddress(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(':');
  return { host: address.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port: Number(address.slice(at + 1)) };
}

/** Files are read at each connection, so that renewed ones need no restart. */
function dial({ host, port, transport, caFile, certFile, keyFile, serverName }: Receiver): net.Socket {
  if (transport === 'tcp') return net.connect({ host, port, noDelay: true, lookup: sharedLookup });
  const name = serverName || host;
  return tls.connect({
    host,
    port,
    noDelay: true,
    lookup: sharedLookup,
    minVersion: 'TLSv1.2',
    ...(net.isIP(name) ? {} : { servername: name }),
    checkServerIdentity: (_, certificate) => tls.checkServerIdentity(name, certificate),
    ...(caFile ? { ca: readFileSync(caFile) } : {}),
    ...(certFile ? { cert: readFileSync(certFile), key: readFileSync(keyFile) } : {}),
  } as tls.ConnectionOptions);
}

export class SyslogConnection {
  readonly #socket: net.Socket;
  #error: Error | null = null;
  #ended = false;
  /** Called once if the connection breaks before it was asked to end. */
  onBroken: (error: SyslogError) => void = () => undefined;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.on('error', (error) => {
      this.#error ??= error;
    });
    socket.on('close', () => {
      if (!this.#ended) this.onBroken(this.#broken());
    });
    // A receiver sends nothing, but reading is needed to see its end.
    socket.resume();
  }

  /** @throws SyslogError SYSLOG_CONNECT; the signal's reason when it aborts first */
  static async open(receiver: Receiver, signal: AbortSignal): Promise<SyslogConnection> {
    const { host, port, transport } = receiver;
    let socket: net.Socket | undefined;
    try {
      socket = dial(receiver);
      using limit = timeLimit(CONNECT_TIMEOUT_MS, signal);
      await once(socket, transport === 'tls' ? 'secureConnect' : 'connect', { signal: limit.signal });
    } catch (error) {
      socket?.on('error', () => undefined).destroy();
      signal.throwIfAborted();
      const cause = error as Error;
      throw new SyslogError(
        'SYSLOG_CONNECT',
        `cannot connect to ${host}:${port} by ${transport}: ${cause.message}`,
        cause,
      );
    }
    return new SyslogConnection(socket);
  }

  #broken(): SyslogError {
    const why = this.#error?.message ?? 'closed by the receiver';
    return new SyslogError('SYSLOG_BROKEN', `the connection broke: ${why}`, this.#error ?? undefined);
  }

  /** Resolves when there is room for more. @throws SyslogError SYSLOG_BROKEN */
  async write(frame: Buffer, signal: AbortSignal): Promise<void> {
    const socket = this.#socket;
    if (socket.closed || socket.destroyed || socket.writableEnded) throw this.#broken();
    if (socket.write(frame)) return;
    const settled = new AbortController();
    const options = { signal: AbortSignal.any([signal, settled.signal]) };
    try {
      await Promise.race([once(socket, 'drain', options), once(socket, 'close', options)]);
    } catch {
      signal.throwIfAborted();
      throw this.#broken();
    } finally {
      settled.abort();
    }
    if (socket.destroyed) throw this.#broken();
  }

  /**
   * Ends the stream and waits until the receiver has read everything and closed. @throws
   * SyslogError SYSLOG_BROKEN | SYSLOG_UNCONFIRMED; the signal's reason
   */
  async confirm(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const socket = this.#socket;
    // If the receiver closed first, what it has read is unknown.
    if (socket.destroyed || socket.readableEnded) throw this.#broken();
    this.#ended = true;
    let endSeen = false;
    socket.once('end', () => {
      endSeen = true;
    });
    try {
      using limit = timeLimit(timeoutMs, signal);
      const closed = once(socket, 'close', { signal: limit.signal });
      socket.end();
      await closed;
    } catch (error) {
      socket.destroy();
      signal.throwIfAborted();
      if (this.#error) throw this.#broken();
      throw new SyslogError('SYSLOG_UNCONFIRMED', `the receiver did not close within ${timeoutMs} ms`, error as Error);
    }
    if (this.#error || !endSeen) throw this.#broken();
  }

  destroy(): void {
    this.#ended = true;
    this.#socket.destroy();
  }
}
