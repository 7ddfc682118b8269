/**
 * A receiver of webhooks, alerts or logs by HTTP on loopback. It can be killed and started again on
 * its port, and responds as a test says.
 */
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export interface Received {
  path: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
  atMs: number;
}
export interface Reply {
  status: number;
  headers?: Record<string, string>;
  body?: string | Buffer;
  /** The response waits for it. */
  after?: Promise<unknown>;
}

export class HttpReceiver implements AsyncDisposable {
  /** Requests that were read completely, in order; also those that were not accepted. */
  readonly requests: Received[] = [];
  /** Requests with a response of success. */
  readonly accepted: Received[] = [];
  reply: (request: Received, index: number) => Reply = () => ({ status: 200 });
  onAccepted: (request: Received) => void = () => undefined;
  connections = 0;
  port = 0;
  #server: Server | null = null;
  readonly #sockets = new Set<Socket>();

  async start(): Promise<this> {
    const server = createServer(
      (request, response) => void this.#answer(request, response).catch(() => response.destroy()),
    );
    server.on('connection', (socket: Socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket)).on('error', () => undefined);
    });
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(this.port, '127.0.0.1', resolve));
    this.port = (server.address() as AddressInfo).port;
    this.#server = server;
    return this;
  }

  url(path = '/'): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  /** Resets every connection and frees the port, like a process that was killed. */
  async kill(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (!server) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const { url: path = '', headers } = request;
    const received = { path, headers, body: Buffer.concat(chunks), atMs: performance.now() };
    const { status, headers: more = {}, body = '', after } = this.reply(received, this.requests.push(received) - 1);
    await after;
    // A killed receiver has not accepted what it cannot answer.
    if (response.destroyed || request.socket.destroyed) return;
    if (status < 300) {
      this.accepted.push(received);
      this.onAccepted(received);
    }
    response.writeHead(status, more).end(body);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}
