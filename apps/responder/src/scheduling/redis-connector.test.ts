import { once } from 'node:events';
import net from 'node:net';
import { waitFor } from '@bailiff/service/testing';
import { Redis, type RedisOptions } from 'ioredis';
import { expect, it } from 'vitest';
import { RedisConnector } from './redis-connector.ts';

async function listening() {
  const server = net.createServer((socket) => socket.on('error', () => undefined).resume());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  return { port, [Symbol.asyncDispose]: async () => void server.close() };
}

/** Emits two socket errors on a connected client that is closing. */
async function errsTwice(options: RedisOptions): Promise<unknown> {
  const redis = new Redis({ host: '127.0.0.1', ...options });
  const heard: Error[] = [];
  redis.on('error', (error: Error) => heard.push(error));
  await once(redis, 'connect');
  const { stream } = redis;
  redis.disconnect();
  try {
    stream.emit('error', new Error('first'));
    stream.emit('error', new Error('second'));
    return heard.map(({ message }) => message);
  } catch (error) {
    return error;
  } finally {
    stream.destroy();
  }
}

it('the second error of a socket is ignored; with the client’s own connector it is thrown', async () => {
  await using server = await listening();
  expect(await errsTwice({ port: server.port })).toEqual(new Error('second'));
  expect(await errsTwice({ port: server.port, Connector: RedisConnector })).toEqual(['first']);
});

it('the first error of each connection is kept', async () => {
  const connector = new RedisConnector({ host: '127.0.0.1', port: 1 });
  for (let i = 0; i < 2; i++) {
    const stream = await connector.connect();
    await new Promise((closed) => stream.once('close', closed));
    expect(connector.firstError).toMatchObject({ code: 'ECONNREFUSED' });
  }
});

it('closed before it started - opens no connection', async () => {
  const connector = new RedisConnector({ host: '127.0.0.1', port: 1 });
  const connecting = connector.connect();
  connector.disconnect();
  await expect(connecting).rejects.toThrow('Connection is closed.');
});

it('a certificate without its key, while both are being replaced - the client tries again', async () => {
  const tries: number[] = [];
  const renewed = () => {
    tries.push(tries.length);
    return { key: Buffer.from('half a key'), cert: Buffer.from('half a certificate') };
  };
  const tls = { renewed } as RedisOptions['tls'];
  const redis = new Redis({ host: '127.0.0.1', port: 1, tls, Connector: RedisConnector, retryStrategy: () => 1 });
  const heard: Error[] = [];
  redis.on('error', (error: Error) => heard.push(error));
  await waitFor(() => tries.length, { what: 'further tries', until: (count) => count > 2, state: () => redis.status });
  redis.disconnect();
  expect(heard[0]?.message).toMatch(/PEM|no start line/i);
});
