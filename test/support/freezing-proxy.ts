/**
 * A TCP proxy whose server side goes silent after a number of bytes, as a server that hangs in the
 * middle of a response: the connection stays open, and nothing more arrives.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export class FreezingProxy implements AsyncDisposable {
  /** Bytes that reach the clients of one connection; Infinity = all. */
  readonly #afterBytes: number;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((client) => this.#accept(client));
  readonly #target: number;
  /** Bytes that the server sent. */
  received = 0;
  /** Open connections of clients. */
  open = 0;

  private constructor(target: number, afterBytes: number) {
    this.#target = target;
    this.#afterBytes = afterBytes;
  }

  static async start(targetPort: number, afterBytes = Number.POSITIVE_INFINITY): Promise<FreezingProxy> {
    const proxy = new FreezingProxy(targetPort, afterBytes);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Whether a client was denied bytes. */
  get frozen(): boolean {
    return this.received > this.#afterBytes;
  }

  #accept(client: Socket): void {
    const server = connect(this.#target, '127.0.0.1');
    let left = this.#afterBytes;
    this.open += 1;
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
    }
    client.on('close', () => {
      this.open -= 1;
      server.destroy();
    });
    client.on('data', (bytes) => server.write(bytes));
    server.on('data', (bytes) => {
      this.received += bytes.length;
      if (left > 0) client.write(bytes.subarray(0, Math.min(left, bytes.length)));
      left -= bytes.length;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
