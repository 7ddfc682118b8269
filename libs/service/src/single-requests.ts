/**
 * Passes node:http one request of a connection at a time, and ends a connection that sends more before the
 * response. The parser of node:http reads all that has arrived: 64 kB hold 2,400 requests, which take 1.7 MB
 * until the event loop closes the connection. 512 of them at once took 1 GB.
 *
 * A header is passed on when it is complete, and no longer than `maxHeaderBytes`. A body needs a length: without
 * one, only the parser knows where the next request begins, and 64 kB hold 11,000 chunks. Browsers and proxies
 * send nothing before the response, and bodies with a length.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { PeerCertificate, TLSSocket } from 'node:tls';

const HEAD_END = '\r\n\r\n';

/** @param event with which the server receives its connections: `secureConnection` with TLS */
export function onSingleRequests(
  server: Server,
  maxHeaderBytes: number,
  event: 'connection' | 'secureConnection' = 'connection',
): void {
  // The listener of node:http, which attaches its parser.
  const parse = server.listeners(event).at(-1) as (connection: Duplex) => void;
  server.removeListener(event, parse);
  server.on(event, (socket: Socket) => parse.call(server, new SingleRequests(socket, maxHeaderBytes)));
  server.on('request', ({ socket }, response) => {
    if (socket instanceof SingleRequests) response.once('finish', () => socket.nextRequest());
  });
}

/** What node:http and its users read of a socket. */
class SingleRequests extends Duplex {
  readonly #socket: Socket;
  readonly #maxHeaderBytes: number;
  #head: Buffer = Buffer.alloc(0);
  /** Of the body that is read. */
  #bytesLeft = 0;
  #isReadingHead = true;

  constructor(socket: Socket, maxHeaderBytes: number) {
    super();
    this.#socket = socket;
    this.#maxHeaderBytes = maxHeaderBytes;
    socket.on('data', (data) => this.#take(data));
    socket.once('end', () => this.push(null));
    socket.on('timeout', () => this.emit('timeout'));
    socket.on('error', (error) => this.destroy(error));
    socket.once('close', () => this.destroy());
  }

  get remoteAddress(): string | undefined {
    return this.#socket.remoteAddress;
  }
  get remotePort(): number | undefined {
    return this.#socket.remotePort;
  }
  get localPort(): number | undefined {
    return this.#socket.localPort;
  }
  get authorized(): boolean {
    return (this.#socket as Partial<TLSSocket>).authorized === true;
  }
  getPeerCertificate(): PeerCertificate {
    return (this.#socket as TLSSocket).getPeerCertificate();
  }
  setTimeout(ms: number): this {
    this.#socket.setTimeout(ms);
    return this;
  }

  /** After `connection: close`. */
  destroySoon(): void {
    this.once('finish', () => this.destroy());
    this.end();
  }

  /** The response to the last request was sent. */
  nextRequest(): void {
    this.#isReadingHead = true;
  }

  #take(data: Buffer): void {
    const rest = this.#takeBody(data);
    if (rest.length === 0) return;
    if (!this.#isReadingHead) return void this.#socket.destroy();
    const searchFrom = Math.max(0, this.#head.length - HEAD_END.length);
    this.#head = Buffer.concat([this.#head, rest]);
    const end = this.#head.indexOf(HEAD_END, searchFrom);
    const length = end === -1 ? this.#head.length : end + HEAD_END.length;
    if (length > this.#maxHeaderBytes) return void this.#refuse('431 Request Header Fields Too Large');
    if (end === -1) return;
    const [head, body] = [this.#head.subarray(0, length), this.#head.subarray(length)];
    this.#head = Buffer.alloc(0);
    this.#isReadingHead = false;
    const bodyBytes = bodyBytesOf(head.toString('latin1'));
    if (bodyBytes === null) return void this.#refuse('411 Length Required');
    this.#bytesLeft = bodyBytes;
    this.#pass(head);
    const after = this.#takeBody(body);
    if (after.length > 0) this.#socket.destroy();
  }

  /** @returns what follows the body */
  #takeBody(data: Buffer): Buffer {
    const length = Math.min(this.#bytesLeft, data.length);
    this.#bytesLeft -= length;
    if (length > 0) this.#pass(data.subarray(0, length));
    return data.subarray(length);
  }

  #pass(data: Buffer): void {
    if (!this.push(data)) this.#socket.pause();
  }

  #refuse(status: string): void {
    this.#isReadingHead = false;
    this.#socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
    this.#socket.destroySoon();
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(data: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(data, done);
  }

  override _final(done: () => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}

/** Bytes of the body. Null: the parser could find another end of the request. */
function bodyBytesOf(head: string): number | null {
  if (/(?:^|[^\r])\n/.test(head) || /^transfer-encoding[ \t]*:/im.test(head)) return null;
  const lengths = [...head.matchAll(/^content-length[ \t]*:(.*)$/gim)];
  if (lengths.length === 0) return 0;
  const [, length] = /^[ \t]*(\d{1,9})[ \t]*$/.exec(lengths[0]?.[1] ?? '') ?? [];
  return lengths.length === 1 && length !== undefined ? Number(length) : null;
}
