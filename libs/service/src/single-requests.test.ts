import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { onSingleRequests } from './single-requests.ts';
import { waitFor } from './testing.ts';

const MAX_HEADER_BYTES = 8_192;
const REQUEST = 'GET / HTTP/1.1\r\nhost: x\r\n\r\n';
/** As many bytes as node:http reads at once. */
const MANY = REQUEST.repeat(Math.floor(65_536 / REQUEST.length));

let guarded: Server;
let plain: Server;
let seen: string[];
const sockets: Socket[] = [];

async function startServer(isGuarded: boolean): Promise<Server> {
  const server = createServer({ maxHeaderSize: MAX_HEADER_BYTES });
  if (isGuarded) onSingleRequests(server, MAX_HEADER_BYTES);
  server.on('request', (request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    seen.push(request.url ?? '');
    if (request.url !== '/waits') request.once('end', () => response.end(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

beforeEach(async () => {
  seen = [];
  guarded = await startServer(true);
  plain = await startServer(false);
});
afterEach(() => {
  for (const one of sockets.splice(0)) one.destroy();
  for (const server of [guarded, plain]) {
    server.close();
    server.closeAllConnections();
  }
});

async function open(server: Server): Promise<{ socket: Socket; text: () => string; isEnded: () => boolean }> {
  const { port } = server.address() as AddressInfo;
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  sockets.push(socket);
  let [text, isEnded] = ['', false];
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  for (const event of ['end', 'close', 'error'])
    socket.once(event, () => {
      isEnded = true;
    });
  await new Promise((resolve) => socket.once('connect', resolve));
  return { socket, text: () => text, isEnded: () => isEnded };
}

describe('requests of a connection', () => {
  test('what follows the first one is not parsed, and ends the connection', async () => {
    const control = await open(plain);
    control.socket.write(MANY);
    await waitFor(() => seen.length === MANY.length / REQUEST.length, { what: 'the control: all are parsed' });
    seen = [];
    const { socket, isEnded } = await open(guarded);
    socket.write(MANY);
    await waitFor(isEnded);
    expect(seen.length).toBeLessThanOrEqual(1);
  });

  test.each([
    ['a length', `content-length: 3\r\n\r\nabc${REQUEST}`],
    ['a chunked body', `transfer-encoding: chunked\r\n\r\n${'1\r\na\r\n'.repeat(1_000)}0\r\n\r\n${REQUEST}`],
    ['lines without a carriage return', `a: b\n\n${REQUEST}`],
    ['two lengths', `content-length: 0\r\ncontent-length: 40\r\n\r\n${REQUEST}`],
    ['a length that is no number', `content-length: 0x28\r\n\r\n${REQUEST}`],
  ])('no second one behind %s', async (_, rest) => {
    const { socket, isEnded } = await open(guarded);
    socket.write(`POST /first HTTP/1.1\r\nhost: x\r\n${rest}`);
    await waitFor(isEnded);
    expect(seen).not.toContain('/');
  });

  test('one after the other, with bodies, byte by byte - each has its response on one connection', async () => {
    const { socket, text, isEnded } = await open(guarded);
    for (const word of ['one', 'second', 'third']) {
      const request = `POST /${word} HTTP/1.1\r\nhost: x\r\ncontent-length: ${word.length}\r\n\r\n${word}`;
      for (const byte of request) await new Promise((sent) => socket.write(byte, sent));
      await waitFor(() => text().endsWith(`\r\n\r\n${word}`));
    }
    expect([seen, isEnded()]).toEqual([['/one', '/second', '/third'], false]);
  });

  test('a client that leaves before the response is noticed', async () => {
    let closed = 0;
    guarded.on('request', (_, response) => response.once('close', () => (closed += 1)));
    const { socket } = await open(guarded);
    socket.write('GET /waits HTTP/1.1\r\nhost: x\r\n\r\n');
    await waitFor(() => seen.length === 1);
    expect(closed, 'the control: it waits').toBe(0);
    socket.destroy();
    await waitFor(() => closed === 1);
  });

  test('the connection ends after a response with `connection: close`', async () => {
    const { socket, text, isEnded } = await open(guarded);
    socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    await waitFor(isEnded);
    expect(text()).toContain('200 OK');
  });

  test('an idle one ends after the time of the server', async () => {
    guarded.keepAliveTimeout = 50;
    const { socket, text, isEnded } = await open(guarded);
    socket.write(REQUEST);
    await waitFor(() => text().includes('200 OK'));
    await waitFor(isEnded);
  });

  test.each([
    ['431', `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(MAX_HEADER_BYTES)}`],
    ['411', 'POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n'],
  ])('a header that is refused - the response is %s', async (status, head) => {
    const { socket, text, isEnded } = await open(guarded);
    socket.write(head);
    await waitFor(isEnded);
    expect([text().slice(9, 12), seen]).toEqual([status, []]);
  });
});
