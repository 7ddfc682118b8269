/**
 * A real nats-server for a test: own port, own store, ended with the test. `await using nats = await startNats()`.
 *
 * Place in the path: test/bus, test/e2e, test/sim and the lab. Invariants: nothing is shared between two servers; the store is kept over
 * kill() and restart(), and removed by stop() when it was made here; a server does not outlive the process that started it.
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

/** The rest of its configuration is as the tests' own. */
export type StartNatsOptions = Partial<Omit<ServerConf, 'host'>>;

export interface TestNats extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Of the server that runs now; 0 when none does. */
  readonly pid: number;
  readonly storeDir: string;
  /** Those that log in by a password, bus-auth too. */
  readonly users: readonly NatsUser[];
  /** What the server wrote. */
  readonly log: string;
  /** How to connect as a user. */
  options(user?: string): BusOptions;
  /** Connects as a user; default `admin`. Closed by stop(). */
  connect(user?: string, more?: Partial<BusOptions>): Promise<Bus>;
  /** Ends it in order and removes what it made. */
  stop(): Promise<void>;
  /** SIGKILL; the store stays. */
  kill(): Promise<void>;
  /** SIGKILL when it still runs, then starts it again on the same port with the same store; with a changed configuration where one is given. */
  restart(change?: StartNatsOptions): Promise<void>;
  /** Writes a changed configuration and has the server take it (SIGHUP). */
  reload(change: StartNatsOptions): Promise<void>;
}

const READY_MS = 15_000;
/** A server that was asked to end and has not, because it is frozen for instance, is killed after this. */
const END_MS = 5_000;

/** A client that stood still between its connection and its login is no stranger: the server's own patience is two seconds. */
const LOGIN_S = 30;

/** With bus-auth the server keeps the timeout that ships with it. */
function confText(conf: ServerConf): string {
  const text = natsServerConf(conf);
  return conf.authCallout ? text : text.replace(/^(authorization \{\n {2}timeout: )\d+/m, `$1${LOGIN_S}`);
}

/**
 * Where stores are made: in memory, where writing through to the disk costs nothing, so that tests have the configuration that ships and not the
 * speed of the disk. A container's /dev/shm may be too small.
 */
function storesDirectory(): string {
  const memory = '/dev/shm';
  if (!existsSync(memory)) return tmpdir();
  const { bavail, bsize } = statfsSync(memory);
  return bavail * bsize >= MIN_MEMORY_BYTES ? memory : tmpdir();
}

const MIN_MEMORY_BYTES = 1024 ** 3;

/** A server that was killed a moment ago may still be making files. */
const remove = (directory: string) =>
  rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });

/** Users of every role, and those of each node, with passwords made from their names. A collector has one for both its connections. */
export function testUsers(nodes: readonly string[] = ['node-a', 'node-b']): NatsUser[] {
  return [
    ...FIXED_ROLES.map((role) => natsUserFor({ role }, `password-of-${role}`)),
    ...nodes.flatMap((node) =>
      NODE_ROLES.map((role) => natsUserFor({ role, node }, `password-of-${userOf({ role: 'collector', node })}`)),
    ),
  ];
}

/** Auth callout with bus-auth as a user; keys of the test's own, or new ones whose seeds nobody has. */
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
 * Below those that the kernel gives to whoever connects or asks for any (from 32768, unless told otherwise): so nobody's connection is on a port
 * by the time that a server is started on it, or started again.
 */
const PORTS = { first: 20_000, count: 12_000 };
const PORT_TRIES = 100;

/** A port that was free a moment ago. */
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

class Server {
  child: ChildProcess | null = null;
  log = '';
  private readonly confFile: string;
  private readonly killAtExit: () => void;

  /** @param directory removed with it when the process exits without having stopped it */
  constructor(confFile: string, directory: string) {
    this.confFile = confFile;
    this.killAtExit = () => {
      this.child?.kill('SIGKILL');
      remove(directory);
    };
    process.once('exit', this.killAtExit);
  }

  /** Resolves when it says that it is ready; rejects with its log when it ends before. */
  start(): Promise<void> {
    // The kernel ends it with the process that started it, however that ends. setpriv execs: the pid is the server's.
    const command = ['--pdeathsig', 'KILL', serverBinary(), '-c', this.confFile];
    const child = spawn('setpriv', command, { stdio: ['ignore', 'ignore', 'pipe'] });
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

  /** SIGHUP; resolves when it says that it has the new configuration, rejects with what it says otherwise. */
  async reload(): Promise<void> {
    const begun = this.log.length;
    const deadline = performance.now() + READY_MS;
    this.child?.kill('SIGHUP');
    for (;;) {
      const said = this.log.slice(begun);
      if (said.includes('Reloaded server configuration')) return;
      if (/Failed to reload/.test(said) || performance.now() > deadline) {
        throw new Error(`nats-server did not take its configuration:\n${said.slice(-4000)}`);
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
    process.removeListener('exit', this.killAtExit);
  }
}

/** Starts a server with JetStream. */
export async function startNats(options: StartNatsOptions = {}): Promise<TestNats> {
  const directory = mkdtempSync(path.join(storesDirectory(), 'bailiff-nats-'));
  const confFile = path.join(directory, 'nats.conf');
  const server = new Server(confFile, directory);
  for (let attempt = 0; ; attempt += 1) {
    const conf: ServerConf = {
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
      // Somebody else may have taken the port in between.
      if (options.port === undefined && attempt < 3 && server.log.includes('address already in use')) continue;
      server.forget();
      remove(directory);
      throw error;
    }
  }
}

class RunningNats implements TestNats {
  private readonly server: Server;
  private readonly directory: string;
  private readonly confFile: string;
  private conf: ServerConf;
  private readonly buses = new Set<Bus>();

  constructor(server: Server, directory: string, confFile: string, conf: ServerConf) {
    this.server = server;
    this.directory = directory;
    this.confFile = confFile;
    this.conf = conf;
  }

  get port(): number {
    return this.conf.port;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  get storeDir(): string {
    return this.conf.storeDir;
  }

  get users(): readonly NatsUser[] {
    const { users, authCallout } = this.conf;
    return authCallout ? [...users, authCallout.service] : users;
  }

  get pid(): number {
    return this.server.child?.pid ?? 0;
  }

  get log(): string {
    return this.server.log;
  }

  options(user = 'admin'): BusOptions {
    const found = this.users.find((candidate) => candidate.user === user);
    if (!found) throw new Error(`no user ${user}; there are ${this.users.map(({ user: name }) => name).join(', ')}`);
    return { servers: this.url, user, password: found.password, name: `test-${user}` };
  }

  async connect(user = 'admin', more: Partial<BusOptions> = {}): Promise<Bus> {
    const bus = await connectBus({ ...this.options(user), ...more });
    this.buses.add(bus);
    return bus;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.buses].map((bus) => bus.close()));
    await this.server.end('SIGTERM');
    this.server.forget();
    remove(this.directory);
  }

  kill(): Promise<void> {
    return this.server.end('SIGKILL');
  }

  async restart(change: StartNatsOptions = {}): Promise<void> {
    await this.kill();
    this.write(change);
    await this.server.start();
  }

  async reload(change: StartNatsOptions): Promise<void> {
    this.write(change);
    await this.server.reload();
  }

  private write(change: StartNatsOptions): void {
    this.conf = { ...this.conf, ...change };
    writeFileSync(this.confFile, confText(this.conf), { mode: 0o600 });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
