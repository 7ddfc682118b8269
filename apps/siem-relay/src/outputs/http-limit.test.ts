// The time limit of a request holds while garbage is collected, and after a receiver that did not read the one before.
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { HttpClient } from './http-client.ts';

it('http client - a receiver that never responds ends by the limit, also while garbage is collected', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const server = net.createServer((socket) => void socket.on('error', () => undefined).resume());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const client = new HttpClient({ timeoutMs: 500, allowPrivateAddress: true, caFile: '', nowMs: Date.now });
  const collecting = setInterval(collect, 50);
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const posted = client.post(url, {}, Buffer.from('x'), new AbortController().signal);
  await expect(posted).rejects.toMatchObject({ code: 'OUTPUT_TIMEOUT' });
  clearInterval(collecting);
  client.close();
  server.close();
}, 10_000);

it('http client - a receiver that responds and never reads the request keeps no later one back', async () => {
  const sockets: net.Socket[] = [];
  const server = net.createServer((socket) => {
    sockets.push(socket.on('error', () => undefined));
    socket.once('data', () => socket.pause().write('HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n'));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const client = new HttpClient({ timeoutMs: 5_000, allowPrivateAddress: true, caFile: '', nowMs: Date.now });
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  for (const _ of [1, 2]) {
    const posted = client.post(url, {}, Buffer.alloc(32 * 1024 * 1024), new AbortController().signal);
    await expect(posted).rejects.toMatchObject({ code: 'OUTPUT_BUSY' });
  }
  client.close();
  for (const socket of sockets) socket.destroy();
  server.close();
}, 10_000);
