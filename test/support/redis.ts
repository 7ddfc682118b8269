/**
 * A real Redis for a test, on a unix socket in its own directory, and with TLS on a port on
 * request. It stores nothing on disk, so a kill also loses all keys.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import { Redis } from 'ioredis';
import { launch, type RunningProcess } from './process.ts';

export interface TestRedis extends AsyncDisposable {
  readonly url: string;
  /** PID of the running server; 0 if it is not running. */
  readonly pid: number;
  /** SIGKILL: connections break and every key is gone. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Empties it while it runs. */
  flush(): Promise<void>;
  /** It refuses writes from now on, and keeps its connections. */
  becomeReplica(): Promise<void>;
  /** Sets a value of its configuration, such as `maxmemory`. */
  configure(name: string, value: string): Promise<void>;
  /** Keys that match a pattern. */
  keys(pattern: string): Promise<string[]>;
}

export interface RedisTlsPort {
  port: number;
  certFile: string;
  keyFile: string;
  caFile: string;
  /** Clients must present a certificate of the CA. */
  asksClients: boolean;
}

const tlsArgs = ({ port, certFile, keyFile, caFile, asksClients }: RedisTlsPort) => [
  ...['--tls-port', String(port), '--tls-cert-file', certFile, '--tls-key-file', keyFile],
  ...['--tls-ca-cert-file', caFile, '--tls-auth-clients', asksClients ? 'yes' : 'no', '--bind', '127.0.0.1'],
];

export async function startRedis(tls?: RedisTlsPort): Promise<TestRedis> {
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-redis-'));
  const socket = path.join(directory, 'redis.sock');
  let server: RunningProcess | null = null;

  const withClient = async <T>(use: (client: Redis) => Promise<T>): Promise<T> => {
    const client = new Redis({ path: socket, maxRetriesPerRequest: 3, retryStrategy: () => 50 });
    client.on('error', () => {});
    try {
      return await use(client);
    } finally {
      client.disconnect();
    }
  };
  const kill = async () => {
    await server?.kill();
    rmSync(socket, { force: true });
  };
  const start = async () => {
    const own = ['--port', '0', '--unixsocket', socket, '--save', '', '--appendonly', 'no', '--dir', directory];
    const args = [...own, ...(tls ? tlsArgs(tls) : [])];
    server = launch('redis-server', args);
    await waitFor(() => existsSync(socket), { what: 'the socket of Redis', state: server.out });
    await waitFor(() => withClient((client) => client.ping()), { what: 'Redis to respond', state: server.out });
  };
  await start();
  return {
    url: `unix://${socket}`,
    get pid() {
      return server?.pid ?? 0;
    },
    kill,
    start,
    flush: () => withClient(async (client) => void (await client.flushall())),
    // Of a server that does not exist.
    becomeReplica: () => withClient(async (client) => void (await client.call('REPLICAOF', '127.0.0.1', '1'))),
    configure: (name, value) => withClient(async (client) => void (await client.config('SET', name, value))),
    keys: (pattern) => withClient((client) => client.keys(pattern)),
    async [Symbol.asyncDispose]() {
      await kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
