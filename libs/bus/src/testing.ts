/**
 * A real nats-server for a test, with its own port and store: `await using nats = await
 * startNats()`.
 *
 * Two servers share nothing. The store survives kill() and restart(); stop() removes it. The server
 * ends with the process that started it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { newSeed, publicKeyOf } from './auth/seeds.ts';
import { type NatsUser, natsServerConf, natsUserFor, type ServerConf } from './auth/server-conf.ts';
import { type Bus, type BusOptions, connectBus } from './connection/connect.ts';
import { FIXED_ROLES, NODE_ROLES, userOf } from './topology/identities.ts';

interface TestConf extends ServerConf {
  /** Text that a control leaves out of the configuration; a global expression. */
  without?: RegExp;
}

/** Options that are not set have defaults for tests. */
export type StartNatsOptions = Partial<Omit<TestConf, 'host'>>;

export interface TestNats extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** PID of the running server; 0 if it is not running. */
  readonly pid: number;
  readonly storeDir: string;
  /** Users with a password, bus-auth included. */
  readonly users: readonly NatsUser[];
  /** Log output of the server. */
  readonly log: string;
  /** Options for connecting as a user. */
  options(user?: string): BusOptions;
  /** Connects as a user; default `admin`. stop() closes the connection. */
  connect(user?: string, more?: Partial<BusOptions>): Promise<Bus>;
  /** Ends the server in order and removes its directory. */
  stop(): Promise<void>;
  /** Sends SIGKILL; the store stays. */
  kill(): Promise<void>;
  /**
   * Kills a running server and starts it on the same port and store, optionally with a changed
   * configuration.
   */
  restart(change?: StartNatsOptions): Promise<void>;
  /** Writes a changed configuration and reloads it (SIGHUP). */
  reload(change: StartNatsOptions): Promise<void>;
}

const READY_MS = 15_000;
/**
 * A server that does not end on SIGTERM, for example because it is frozen, is killed after this.
 */
const END_MS = 5_000;

/**
 * A test client may be delayed between connect and login on a loaded machine; the server's default
 * is 2 s.
 */
const LOGIN_S = 30;

/** With auth callout the server keeps the timeout that ships. */
function confText({ without, ...conf }: TestConf): string {
  const whole = natsServerConf(conf);
  const text = without ? whole.replaceAll(without, '') : whole;
  return conf.authCallout ? text : text.replace(/^(authorization \{\n {2}timeout: )\d+/m, `$1${LOGIN_S}`);
}

/**
 * Directory for stores. /dev/shm, where syncing costs nothing, lets tests run the shipped
 * configuration without depending on the disk. A container's /dev/shm may be too small.
 */
function storesDirectory(): string {
  const memory = '/dev/shm';
  if (!existsSync(memory)) return tmpdir();
  const { bavail, bsize } = statfsSync(memory);
  return bavail * bsize >= MIN_MEMORY_BYTES ? memory : tmpdir();
}

const MIN_MEMORY_BYTES = 1024 ** 3;

/** A server that was just killed may still be creating files. */
const remove = (directory: string) =>
  rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });

/**
 * Users of every role and of each node, with passwords derived from their names. A collector has
 * one password for both connections.
 */
export function testUsers(nodes: readonly string[] = ['node-a', 'node-b']): NatsUser[] {
  return [
    ...FIXED_ROLES.map((role) => natsUserFor({ role }, `password-of-${role}`)),
    ...nodes.flatMap((node) =>
      NODE_ROLES.map((role) => natsUserFor({ role, node }, `password-of-${userOf({ role: 'collector', node })}`)),
    ),
  ];
}

/** Auth callout with bus-auth as a user. Default: new keys whose seeds are discarded. */
export function testCallout(
  issuer: string = newSeed('issuer'),
  xkey: string = newSeed('xkey'),
): NonNullable<ServerConf['authCallout']> {
  return {
    issuer: publicKeyOf('issuer', issuer),
    xkey: publicKeyOf('xkey', xkey),
    service: natsUserFor({ role: 'bus-auth' }, 'password-of-bus-auth'),
  };
}

/**
 * Below the ephemeral ports of the kernel (from 32768 by default), so that no other connection
 * occupies the port when a server starts or restarts.
 */
const PORTS = { first: 20_000, count: 12_000 };
const PORT_TRIES = 100;

/** A port that was free at the time of the check. */
export async function freePort(): Promise<number> {
  for (let left = PORT_TRIES; left > 0; left -= 1) {
    const port = PORTS.first + randomInt(PORTS.count);
    if (await isFree(port)) return port;
  }
  throw new Error(`none of ${PORT_TRIES} ports from ${PORTS.first} on was free`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false);
      else reject(error);
    });
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

function serverBinary(): string {
  const onPath = (process.env['PATH'] ?? '').split(':').map((directory) => path.join(directory, 'nats-server'));
  const found = [...onPath, '/usr/sbin/nats-server', '/usr/local/bin/nats-server'].find((file) => existsSync(file));
  if (!found) throw new Error('nats-server is not installed: apt-get install nats-server');
  return found;
}

/**
 * For the servers of a cluster. Before 2.11, the goroutine that sends a server's Raft messages may
 * run before the server knows its system account. All its Raft messages are then lost until its next
 * start, and streams of three replicas are refused: "no suitable peers for placement". With one
 * thread the goroutine practically never runs first: 0 of 518 clusters failed, and 10 of 200 without.
 */
const ONE_THREAD = { GOMAXPROCS: '1' };

class Server {
  child: ChildProcess | null = null;
  log = '';
  readonly #confFile: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #killAtExit: () => void;

  /**
   * @param directory removed with the server if the process exits without stopping it
   * @param variables of its environment, beside those of this process
   */
  constructor(confFile: string, directory: string, variables: NodeJS.ProcessEnv) {
    this.#confFile = confFile;
    this.#env = { ...process.env, ...variables };
    this.#killAtExit = () => {
      this.child?.kill('SIGKILL');
      remove(directory);
    };
    process.once('exit', this.#killAtExit);
  }

  /** Resolves when the server is ready; rejects with its log if it ends first. */
  start(): Promise<void> {
    // The kernel kills the server when its parent ends. setpriv execs, so the pid is the server's.
    const command = ['--pdeathsig', 'KILL', serverBinary(), '-c', this.#confFile];
    const child = spawn('setpriv', command, { stdio: ['ignore', 'ignore', 'pipe'], env: this.#env });
    this.child = child;
    const begun = this.log.length;
    return new Promise((resolve, reject) => {
      const fail = (why: string) => {
        clearTimeout(timer);
        reject(new Error(`nats-server ${why}:\n${this.log.slice(begun).slice(-4000)}`));
      };
      const timer = setTimeout(() => {
        child.kill('SIGKILL');
        fail(`was not ready within ${READY_MS} ms`);
      }, READY_MS);
      child.once('error', (error) => fail(error.message));
      child.once('exit', (code, signal) => fail(`ended with ${signal ?? code}`));
      child.stderr?.on('data', (chunk: Buffer) => {
        this.log += chunk.toString();
        if (!this.log.includes('Server is ready', begun)) return;
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /**
   * Sends SIGHUP. Resolves when the log confirms the new configuration; rejects with the log
   * otherwise.
   */
  async reload(): Promise<void> {
    const begun = this.log.length;
    const deadline = performance.now() + READY_MS;
    this.child?.kill('SIGHUP');
    for (;;) {
      const output = this.log.slice(begun);
      if (output.includes('Reloaded server configuration')) return;
      if (/Failed to reload/.test(output) || performance.now() > deadline) {
        throw new Error(`nats-server did not reload its configuration:\n${output.slice(-4000)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  end(signal: NodeJS.Signals): Promise<void> {
    const { child } = this;
    this.child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      const late = setTimeout(() => child.kill('SIGKILL'), END_MS);
      child.once('exit', () => {
        clearTimeout(late);
        resolve();
      });
      child.kill(signal);
    });
  }

  forget(): void {
    process.removeListener('exit', this.#killAtExit);
  }
}

/** Starts a server with JetStream. */
export async function startNats(options: StartNatsOptions = {}): Promise<TestNats> {
  const directory = mkdtempSync(path.join(storesDirectory(), 'bailiff-nats-'));
  const confFile = path.join(directory, 'nats.conf');
  const server = new Server(confFile, directory, options.cluster === undefined ? {} : ONE_THREAD);
  for (let attempt = 0; ; attempt += 1) {
    const conf: TestConf = {
      host: '127.0.0.1',
      port: await freePort(),
      storeDir: path.join(directory, 'store'),
      users: testUsers(),
      ...options,
    };
    writeFileSync(confFile, confText(conf), { mode: 0o600 });
    try {
      await server.start();
      return new RunningNats(server, directory, confFile, conf);
    } catch (error) {
      // Another process may have taken the port in between.
      if (options.port === undefined && attempt < 3 && server.log.includes('address already in use')) continue;
      server.forget();
      remove(directory);
      throw error;
    }
  }
}

class RunningNats implements TestNats {
  readonly #server: Server;
  readonly #directory: string;
  readonly #confFile: string;
  #conf: TestConf;
  readonly #buses = new Set<Bus>();

  constructor(server: Server, directory: string, confFile: string, conf: TestConf) {
    this.#server = server;
    this.#directory = directory;
    this.#confFile = confFile;
    this.#conf = conf;
  }

  get port(): number {
    return this.#conf.port;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  get storeDir(): string {
    return this.#conf.storeDir;
  }

  get users(): readonly NatsUser[] {
    const { users, authCallout } = this.#conf;
    return authCallout ? [...users, authCallout.service] : users;
  }

  get pid(): number {
    return this.#server.child?.pid ?? 0;
  }

  get log(): string {
    return this.#server.log;
  }

  options(user = 'admin'): BusOptions {
    const found = this.users.find((candidate) => candidate.user === user);
    if (!found) throw new Error(`no user ${user}; there are ${this.users.map(({ user: name }) => name).join(', ')}`);
    return { servers: this.url, user, password: found.password, name: `test-${user}` };
  }

  async connect(user = 'admin', more: Partial<BusOptions> = {}): Promise<Bus> {
    const bus = await connectBus({ ...this.options(user), ...more });
    this.#buses.add(bus);
    return bus;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#buses].map((bus) => bus.close()));
    await this.#server.end('SIGTERM');
    this.#server.forget();
    remove(this.#directory);
  }

  kill(): Promise<void> {
    return this.#server.end('SIGKILL');
  }

  async restart(change: StartNatsOptions = {}): Promise<void> {
    await this.kill();
    this.#write(change);
    await this.#server.start();
  }

  async reload(change: StartNatsOptions): Promise<void> {
    this.#write(change);
    await this.#server.reload();
  }

  #write(change: StartNatsOptions): void {
    this.#conf = { ...this.#conf, ...change };
    writeFileSync(this.#confFile, confText(this.#conf), { mode: 0o600 });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
