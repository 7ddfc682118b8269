/** A network between a client and nats-server that loses no message, and delivers responses late. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface SilentOptions {
  /** What the client sends. */
  text: string;
  /** Which time that it sends it. Default 1 */
  nth?: number;
  silentMs: number;
}

/** Delivers a text of the client to the server, and from then on nothing to the client for a while, once. */
export async function silentAfter(target: number, { text, nth = 1, silentMs }: SilentOptions) {
  const sockets = new Set<Socket>();
  let seen = 0;
  let silences = 0;
  const server = createServer((client) => {
    const bus = connect(target, '127.0.0.1');
    for (const socket of [client, bus]) socket.on('error', () => undefined);
    sockets.add(client).add(bus);
    client.on('close', () => bus.destroy());
    client.on('data', (bytes) => {
      bus.write(bytes);
      if (silentMs === 0 || !bytes.includes(text)) return;
      seen += 1;
      if (seen !== nth) return;
      silences += 1;
      bus.pause();
      setTimeout(() => bus.resume(), silentMs).unref();
    });
    bus.on('data', (bytes) => client.write(bytes));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `nats://127.0.0.1:${(server.address() as AddressInfo).port}`,
    silences: () => silences,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
