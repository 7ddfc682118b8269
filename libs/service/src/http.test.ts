import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Health } from './health.ts';
import { type Listener, MAX_CONNECTIONS_PER_SOURCE, probePages, startListener } from './http.ts';
import { waitFor } from './testing.ts';

const DEADLINE_MS = 300;

describe('http listener - connections', () => {
  let listener: Listener;
  let renderings = 0;
  const sockets: Socket[] = [];
  beforeEach(async () => {
    renderings = 0;
    const pages = {
      ...probePages(new Health()),
      '/large': async () => {
        renderings += 1;
        return { status: 200, type: 'text/plain', body: Buffer.alloc(32 << 20, 'x') };
      },
      '/hangs': () => new Promise<never>(() => {}),
    };
    listener = await startListener('metricsAddress', '127.0.0.1:0', pages, DEADLINE_MS);
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await listener.close();
  });

  async function open(first = '', reads = true): Promise<{ socket: Socket; text(): string; ended: Promise<unknown> }> {
    const [host = '', port] = listener.address.split(':');
    const socket = connect(Number(port), host);
    sockets.push(socket);
    socket.on('error', () => {});
    let text = '';
    if (reads)
      socket.on('data', (chunk) => {
        text += chunk;
      });
    const ended = once(socket, 'close');
    await once(socket, 'connect');
    socket.write(first);
    return { socket, text: () => text, ended };
  }
  const probe = async () => (await fetch(`http://${listener.address}/healthz`)).status;

  test.each([
    ['nothing is sent', '', true],
    ['the header does not end', 'GET /healthz HTTP/1.1\r\nx: ', true],
    ['the response is not read', 'GET /large HTTP/1.1\r\nhost: x\r\n\r\n', false],
    ['the response does not come', 'GET /hangs HTTP/1.1\r\nhost: x\r\n\r\n', true],
  ])('closed at the deadline: %s', async (_name, first, reads) => {
    const { ended } = await open(first, reads);
    if (reads) await ended;
    await waitFor(() => listener.connections() === 0);
    expect(listener.closed().deadline).toBe(1);
    expect(await probe()).toBe(200);
  });

  test('a body without an end is not read: the response ends the connection', async () => {
    const head = 'GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\n\r\n';
    const { text, ended } = await open(`${head}${'x'.repeat(1_000)}`);
    await ended;
    expect(text()).toContain('200 OK');
    expect(text().toLowerCase()).toContain('connection: close');
  });

  test('one request a connection: pipelined ones are not rendered', async () => {
    const { ended } = await open('GET /large HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(50));
    await ended;
    expect(renderings).toBe(1);
  });

  test.each([
    ['GET /healthz HTTP/1.1', 200, true],
    ['GET /healthz?verbose HTTP/1.0', 200, true],
    ['HEAD /healthz HTTP/1.1', 200, false],
    ['GET /toString HTTP/1.1', 404, true],
    ['POST /healthz HTTP/1.1', 405, true],
    ['GET /healthz HTTP/2.0', 400, true],
    ['PRI * HTTP/2.0', 400, true],
    ['\u0016\u0003\u0001', 400, true],
  ])('a request %j, of a client that ends its side after it: %i', async (line, status, hasBody) => {
    const { socket, text, ended } = await open();
    socket.end(`${line}\r\nhost: x\r\n\r\n`);
    await ended;
    const [head = '', body] = text().split('\r\n\r\n');
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} .*\\r\\ncontent-length: [1-9]`, 's'));
    expect(body !== '').toBe(hasBody);
  });

  test('a request that arrives byte by byte is answered', async () => {
    const { socket, text, ended } = await open();
    socket.setNoDelay(true);
    for (const byte of 'GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n')
      await new Promise((sent) => socket.write(byte, sent));
    await ended;
    expect(text()).toContain('200 OK');
  });

  test('headers above 4 KiB are refused', async () => {
    const { text, ended } = await open(`GET /healthz HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(5_000)}\r\n\r\n`);
    await ended;
    expect(text()).toMatch(/^HTTP\/1\.1 431 /);
  });

  test('idle connections above the share of a source close its oldest ones; requests are answered', async () => {
    await listener.close();
    listener = await startListener('metricsAddress', '127.0.0.1:0', probePages(new Health()), 60_000);
    const first = await open();
    for (let n = 1; n < MAX_CONNECTIONS_PER_SOURCE; n++) await open();
    expect(listener.closed()['source-share']).toBe(0);
    expect(await probe()).toBe(200);
    await first.ended;
    expect(listener.closed()['source-share']).toBe(1);
  });
});

test('http listener - an address in use is an error of its key', async () => {
  const one = await startListener('probeAddress', '127.0.0.1:0', {});
  await expect(startListener('probeAddress', one.address, {})).rejects.toThrow(
    `probeAddress: cannot listen on ${one.address}`,
  );
  await one.close();
});
