// The start script and configuration of the included Valkey, run unchanged except for their paths.
// Clients need the password, which is on no command line. Jobs are on disk, and the password
// changes without a restart.

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launch, type RunningProcess } from '../support/process.ts';

const INCLUDED = path.resolve(import.meta.dirname, '../../k8s/overlays/included');
const PASSWORD = 'first-password';
const NEXT = 'next-password';
const SERVERS = ['/usr/bin/valkey-server', '/usr/bin/redis-server'];

let dir = '';
let valkey: RunningProcess;
beforeAll(() => {
  dir = temporaryDirectory();
  for (const name of ['etc/valkey', 'etc/bailiff/redis', 'run/valkey', 'data', 'bin'])
    mkdirSync(path.join(dir, name), { recursive: true });
  const moved = (name: string) =>
    readFileSync(path.join(INCLUDED, name), 'utf8').replaceAll(/(\/etc\/|\/run\/valkey|\/data)/g, `${dir}$1`);
  // A socket instead of a port, to avoid conflicts on this machine.
  writeFileSync(path.join(dir, 'etc/valkey/valkey.conf'), `${moved('valkey.conf')}port 0\nunixsocket ${dir}/socket\n`);
  for (const script of ['start.sh', 'users.sh', 'passwords.sh'])
    writeFileSync(path.join(dir, 'etc/valkey', script), moved(script));
  secret([PASSWORD]);
  const server = SERVERS.find((file) => existsSync(file)) as string;
  symlinkSync(server, path.join(dir, 'bin/valkey-server'));
  const client = `#!/bin/sh\nexec ${server.replace('-server', '-cli')} -s ${dir}/socket "$@"\n`;
  writeFileSync(path.join(dir, 'bin/valkey-cli'), client, { mode: 0o755 });
  start();
});
function start(): void {
  const env = { PATH: `${dir}/bin:/usr/bin:/bin` };
  valkey = launch('sh', [path.join(dir, 'etc/valkey/start.sh')], { env });
}
afterAll(async () => {
  await valkey?.kill('SIGTERM');
});

/** The Secret as `bailiff credentials` renders it. */
function secret(passwords: readonly string[]): void {
  writeFileSync(path.join(dir, 'etc/bailiff/redis/password'), passwords.at(-1) as string);
  writeFileSync(path.join(dir, 'etc/bailiff/redis/passwords'), `${passwords.join('\n')}\n`);
}

/** The script that the docs run within the pod. */
function passwordsScript(): string {
  const env = { PATH: `${dir}/bin:/usr/bin:/bin` };
  return execFileSync('sh', [path.join(dir, 'etc/valkey/passwords.sh')], { env, encoding: 'utf8', stdio: 'pipe' });
}

async function takes(password: string): Promise<boolean> {
  const redis = new Redis({ path: path.join(dir, 'socket'), retryStrategy: null, lazyConnect: true, password });
  redis.on('error', () => {});
  const answer = await redis.set('a', '1').catch((error: Error) => error.message);
  redis.disconnect();
  if (answer !== 'OK') expect(answer).toMatch(/WRONGPASS|NOAUTH/);
  return answer === 'OK';
}
const taken = async () => [await takes(PASSWORD), await takes(NEXT)];

it('valkey - accepts its password only, keeps its data on disk, and refuses writes instead of evicting', async () => {
  // The socket exists before the server listens.
  await waitFor(() => takes(PASSWORD), { what: 'the server', state: valkey.out });
  const options = { path: path.join(dir, 'socket'), retryStrategy: null, lazyConnect: true };
  const stranger = new Redis(options);
  stranger.on('error', () => {});
  await expect(stranger.set('a', '1')).rejects.toThrow(/NOAUTH/);
  stranger.disconnect();
  expect(await taken()).toEqual([true, false]);
  const redis = new Redis({ ...options, password: PASSWORD });
  expect(await redis.set('a', '1')).toBe('OK');
  expect(await redis.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);
  expect(await redis.config('GET', 'appendonly')).toEqual(['appendonly', 'yes']);
  await redis.quit();
  expect(existsSync(path.join(dir, 'data/appendonlydir'))).toBe(true);
  expect(readFileSync(`/proc/${valkey.pid}/cmdline`, 'utf8')).not.toContain(PASSWORD);
});

/** As much as the server reads of a command before the password, without its end. */
const INCOMPLETE = `*10\r\n${`$16384\r\n${'x'.repeat(16_384)}\r\n`.repeat(9)}$16384\r\n${'x'.repeat(16_000)}`;
const STRANGERS = 700;
/** Further connections than 511 that are not accepted yet are refused. */
const AT_ONCE = 350;

/** Strangers fill their part of the memory. @returns the response to a write of the responder meanwhile */
async function writeBesideStrangers(redis: Redis, isFull: (bytes: number) => boolean): Promise<string> {
  const sockets: Socket[] = [];
  const accepted = async () => Number(/total_connections_received:(\d+)/.exec(await redis.info('stats'))?.[1]);
  const before = await accepted();
  while (sockets.length < STRANGERS) {
    for (let n = 0; n < AT_ONCE; n++) {
      const socket = connect(path.join(dir, 'socket')).on('error', () => undefined);
      socket.write(INCOMPLETE);
      sockets.push(socket);
    }
    await waitFor(async () => (await accepted()) >= before + sockets.length, { what: 'connections of strangers' });
  }
  let [bytes, evicted] = [0, 0];
  const look = async () => {
    const info = await redis.info();
    bytes = Number(/used_memory:(\d+)/.exec(info)?.[1]);
    evicted = Number(/evicted_clients:(\d+)/.exec(info)?.[1]);
    return evicted > 0 || isFull(bytes);
  };
  await waitFor(look, { what: 'the memory of strangers', intervalMs: 50, state: () => ({ bytes, evicted }) });
  const answer = await redis.set('c', '1').catch((error: Error) => error.message);
  for (const socket of sockets) socket.destroy();
  await Promise.all(sockets.map((socket) => socket.closed || once(socket, 'close')));
  return answer;
}

it('valkey - connections without a password leave memory for jobs; control: without their limit', async () => {
  const redis = new Redis({ path: path.join(dir, 'socket'), password: PASSWORD, retryStrategy: null });
  // So that some hundred connections are enough.
  const most = 96 * 1024 ** 2;
  await redis.config('SET', 'maxmemory', most);
  expect(await writeBesideStrangers(redis, () => false)).toBe('OK');
  await redis.config('SET', 'maxmemory-clients', 0);
  await redis.config('RESETSTAT');
  expect(await writeBesideStrangers(redis, (bytes) => bytes > most)).toMatch(/^OOM/);
  await redis.quit();
});

it('valkey - the password is changed step by step without a restart, and connected clients stay', async () => {
  const connected = new Redis({ path: path.join(dir, 'socket'), password: PASSWORD });
  expect(await connected.set('b', '1')).toBe('OK');
  // Without the step between, no client could have the server accept the next one.
  secret([NEXT]);
  expect(passwordsScript).toThrow(/accepts no password of the Secret/);
  expect(await taken()).toEqual([true, false]);
  // `rotate --redis`, and `rotate --finish`.
  secret([NEXT, PASSWORD]);
  expect(passwordsScript()).toBe('the server accepts 2 password(s)\n');
  expect(await taken()).toEqual([true, true]);
  secret([NEXT]);
  expect(passwordsScript()).toBe('the server accepts 1 password(s)\n');
  expect(await taken()).toEqual([false, true]);
  expect(await connected.get('b')).toBe('1');
  await connected.quit();
});

it('valkey - a Secret of an earlier version without a list provides its one password', async () => {
  rmSync(path.join(dir, 'etc/bailiff/redis/passwords'));
  writeFileSync(path.join(dir, 'etc/bailiff/redis/password'), PASSWORD);
  expect(passwordsScript).toThrow(/accepts no password of the Secret/);
  writeFileSync(path.join(dir, 'etc/bailiff/redis/password'), NEXT);
  expect(passwordsScript()).toBe('the server accepts 1 password(s)\n');
  expect(await taken()).toEqual([false, true]);
});

it('valkey - what a thief of the password stored is gone without its data; control: after flushall it returns', async () => {
  const client = async () => {
    await waitFor(() => takes(NEXT), { what: 'the server', state: valkey.out });
    return new Redis({ path: path.join(dir, 'socket'), password: NEXT, retryStrategy: null });
  };
  const restarted = async () => {
    await valkey.kill('SIGTERM');
    start();
    return client();
  };
  const stored = async (redis: Redis) => [await redis.get('forged'), ((await redis.function('LIST')) as []).length];
  const thief = await client();
  await thief.set('forged', 'job');
  await thief.function('LOAD', '#!lua name=forged\nredis.register_function("forged", function() end)');
  // What is stored or removed from now on is not in the file that the next start reads.
  await thief.config('SET', 'appendonly', 'no');
  await thief.flushall();
  expect(await stored(thief)).toEqual([null, 1]);
  thief.disconnect();
  const after = await restarted();
  expect(await stored(after)).toEqual(['job', 1]);
  after.disconnect();
  // As a new volume.
  await valkey.kill('SIGTERM');
  rmSync(path.join(dir, 'data'), { recursive: true });
  mkdirSync(path.join(dir, 'data'));
  start();
  const renewed = await client();
  expect(await stored(renewed)).toEqual([null, 0]);
  renewed.disconnect();
});
