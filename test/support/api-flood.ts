/**
 * Sends requests without pause over several connections, by the protocol itself: a client library
 * would be slower than the server.
 */
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { inboxPrefixOf } from '@bailiff/bus';

const CONNECTIONS = 4;
/** Requests of a connection until it waits for the server. */
const BURST = 20_000;
/** Characters of responses that are kept. */
const KEPT = 10_000;

export interface Flood extends AsyncDisposable {
  /** The first responses. */
  received(): string;
}

/** Sends until it is disposed of. @param user one of `testUsers` */
export async function flood(
  port: number,
  user: string,
  request: { subject: string; body?: string },
  connections = CONNECTIONS,
): Promise<Flood> {
  const { subject, body = '' } = request;
  let received = '';
  let isOver = false;
  const open = async (index: number) => {
    const socket = connectTcp(port, '127.0.0.1');
    socket.on('error', () => undefined).on('close', () => socket.emit('pong'));
    await once(socket, 'data');
    const login = { verbose: false, headers: true, no_responders: true, user, pass: `password-of-${user}` };
    const inbox = `${inboxPrefixOf(user)}.x${index}`;
    socket.on('data', (data: Buffer) => {
      const text = data.toString('latin1');
      if (received.length < KEPT) received += text;
      if (text.includes('PONG\r\n')) socket.emit('pong');
    });
    socket.write(`CONNECT ${JSON.stringify(login)}\r\nSUB ${inbox} 1\r\n`);
    const burst = `PUB ${subject} ${inbox} ${body.length}\r\n${body}\r\n`.repeat(BURST);
    const send = async () => {
      while (!isOver && !socket.destroyed) {
        const answered = once(socket, 'pong');
        socket.write(`${burst}PING\r\n`);
        await answered;
      }
    };
    return { socket, sending: send() };
  };
  const sockets = await Promise.all(Array.from({ length: connections }, (_, index) => open(index)));
  return {
    received: () => received,
    async [Symbol.asyncDispose]() {
      isOver = true;
      for (const { socket } of sockets) socket.destroy();
      await Promise.all(sockets.map(({ sending }) => sending));
    },
  };
}
