// The start script and configuration of the included Valkey, run as they are but for their paths: the password is asked for and is on no
// command line, and what is scheduled is on disk.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';

const INCLUDED = path.resolve(import.meta.dirname, '../../k8s/overlays/included');
const PASSWORD = 'newest-password';
const SERVERS = ['/usr/bin/valkey-server', '/usr/bin/redis-server'];

let dir = '';
let child: ReturnType<typeof spawn> | undefined;
beforeAll(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'bailiff-valkey-'));
  for (const name of ['etc/valkey', 'etc/bailiff/redis', 'run/valkey', 'data', 'bin'])
    mkdirSync(path.join(dir, name), { recursive: true });
  const moved = (name: string) =>
    readFileSync(path.join(INCLUDED, name), 'utf8').replaceAll(/(\/etc\/|\/run\/valkey|\/data)/g, `${dir}$1`);
  // A socket instead of a port, so that nothing on this machine is in the way.
  writeFileSync(path.join(dir, 'etc/valkey/valkey.conf'), `${moved('valkey.conf')}port 0\nunixsocket ${dir}/socket\n`);
  writeFileSync(path.join(dir, 'etc/valkey/start.sh'), moved('start.sh'));
  writeFileSync(path.join(dir, 'etc/bailiff/redis/password'), `${PASSWORD}\nolder-password\n`);
  symlinkSync(SERVERS.find((server) => existsSync(server)) as string, path.join(dir, 'bin/valkey-server'));
  const env = { PATH: `${dir}/bin:/usr/bin:/bin` };
  child = spawn('sh', [path.join(dir, 'etc/valkey/start.sh')], { env, stdio: 'ignore' });
});
afterAll(async () => {
  if (child && child.exitCode === null) {
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }
  rmSync(dir, { recursive: true, force: true });
});

it('valkey - takes the newest password alone, keeps what it has on disk, and refuses rather than forgets', async () => {
  await waitFor(() => existsSync(path.join(dir, 'socket')), { what: 'the server', timeoutMs: 10_000 });
  const options = { path: path.join(dir, 'socket'), retryStrategy: null, lazyConnect: true };
  const stranger = new Redis(options);
  stranger.on('error', () => {});
  await expect(stranger.set('a', '1')).rejects.toThrow(/NOAUTH/);
  stranger.disconnect();
  const older = new Redis({ ...options, password: 'older-password' });
  older.on('error', () => {});
  await expect(older.set('a', '1')).rejects.toThrow(/WRONGPASS|NOAUTH/);
  older.disconnect();
  const redis = new Redis({ ...options, password: PASSWORD });
  expect(await redis.set('a', '1')).toBe('OK');
  expect(await redis.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);
  expect(await redis.config('GET', 'appendonly')).toEqual(['appendonly', 'yes']);
  await redis.quit();
  expect(existsSync(path.join(dir, 'data/appendonlydir'))).toBe(true);
  expect(readFileSync(`/proc/${child?.pid}/cmdline`, 'utf8')).not.toContain(PASSWORD);
});
