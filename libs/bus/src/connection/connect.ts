/**
 * One connection to the bus for a process: who it is, whether it is connected, and how it ends.
 *
 * Place in the path: every app begins here; all of libs/bus takes a Bus. Invariants: it reconnects for ever; while it is away
 * nothing is silently queued in the client (publishers ask `connected`); a password file or token file is read again at each
 * attempt, so that a rotated one needs no restart. Whoever calls connectBus closes it, by drain (ordinary) or close (at once).
 */
import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream';
import {
  type Authenticator,
  errors,
  type NatsConnection,
  type TlsOptions,
  usernamePasswordAuthenticator,
} from '@nats-io/nats-core';
import { connect } from '@nats-io/transport-node';
import { apiPrefixOf, inboxPrefixOf } from '../topology/identities.ts';
import { BusError, toBusError } from './errors.ts';
import { JetStreamHealth } from './jetstream-health.ts';
import { ReconnectPolicy } from './reconnect-policy.ts';
import { SecretFile } from './secret-file.ts';
import { TokenRenewal } from './token-renewal.ts';
import { onAbort, pause } from './wait.ts';

export interface BusOptions {
  /** `nats://host:port`, several for a cluster. */
  servers: string | string[];
  user: string;
  /** One of the three. A file is preferred: nothing secret in the environment or the process list. */
  password?: string;
  /** Several passwords, one a line, are tried in turn, newest first: a rotation gives the next one before the server takes it. */
  passwordFile?: string;
  /** A token that ends, such as a projected ServiceAccount token: a fresh one is taken by a reconnect before that. */
  tokenFile?: string;
  /** Shown by the server in its list of connections. */
  name: string;
  /** Private to the identity; follows from `user` when it is not said. */
  inboxPrefix?: string;
  tls?: TlsOptions;
  /** How long one attempt to connect may take, and how long an answer of JetStream may take. Default 5,000. */
  timeoutMs?: number;
  /** Keep trying when the first attempt fails, until it succeeds or the signal aborts. Default false: throw. */
  waitForServer?: boolean;
  /** Called with each failure after which it goes on trying (`waitForServer`). */
  onRetry?: (error: BusError) => void;
  signal?: AbortSignal;
}

export type BusStatus =
  | { type: 'connected' }
  | { type: 'disconnected' }
  /** The server refused something that nobody waits for: mostly a permission. */
  | { type: 'error'; error: BusError }
  /** An attempt to connect again failed, other than by a refused login; it goes on trying. */
  | { type: 'unreachable'; error: BusError }
  | { type: 'closed' };

export interface Bus {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly user: string;
  readonly inboxPrefix: string;
  /** Prefix of requests to JetStream but direct gets: `$JS.API` in the core account, `BUS` outside it. */
  readonly apiPrefix: string;
  readonly timeoutMs: number;
  readonly connected: boolean;
  /** Why it is not connected, as the last attempt says; empty when that is not known. */
  readonly disconnectReason?: string;
  /** What answers show of JetStream. */
  readonly jetStream?: JetStreamHealth;
  /** Grows by one each time the connection is made again. */
  readonly connects: number;
  /** Called with each change, in the order in which they were added. They must not throw. */
  readonly statusListeners: Set<(status: BusStatus) => void>;
  /** Resolves when connected. Rejects BUS_CLOSED when the bus is closed, and with the signal's reason when it aborts. */
  whenConnected(signal?: AbortSignal): Promise<void>;
  /** Lets subscriptions finish, sends what is pending, closes. At most `timeoutMs`. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** Wait before the next attempt: long enough that a thousand nodes do not hammer a restarted server, short against its restart. */
const RECONNECT_WAIT_MS = 250;
const RECONNECT_JITTER_MS = 250;
/** A token that was refused is shown again after waits that double up to this: bus-auth may have said that it is too much. */
const REFUSED_WAIT_MAX_MS = 2_000;
/** A peer that went without a word is noticed after two of these. */
const PING_INTERVAL_MS = 5_000;

/** Wait before the next attempt after so many refusals in a row of a token; `random` in [0, 1). */
export function retryDelayMs(refusals: number, random: number): number {
  const waitMs = Math.min(RECONNECT_WAIT_MS * 2 ** Math.min(refusals, 10), REFUSED_WAIT_MAX_MS);
  return waitMs + random * Math.max(RECONNECT_JITTER_MS, waitMs / 2);
}

/** What the client shows at each attempt, and what is to be known of it. */
class Login {
  readonly authenticator: Authenticator;
  readonly file: SecretFile | null;
  readonly isToken: boolean;
  /** Shown last. */
  secret = '';
  /** In a row. */
  #refusals = 0;

  constructor({ user, password, passwordFile, tokenFile }: BusOptions) {
    const path = tokenFile ?? passwordFile;
    this.isToken = tokenFile !== undefined;
    this.file = path === undefined ? null : new SecretFile(path);
    this.authenticator = usernamePasswordAuthenticator(user, () => {
      this.secret = this.file?.next() ?? password ?? '';
      return this.secret;
    });
  }

  /** Only of tokens: of two passwords the other one is tried without delay. */
  refused(): void {
    if (this.isToken) this.#refusals += 1;
  }

  succeeded(): void {
    this.#refusals = 0;
    this.file?.succeeded();
  }

  delayMs(): number {
    return retryDelayMs(this.#refusals, Math.random());
  }
}

class NatsBus implements Bus {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly user: string;
  readonly inboxPrefix: string;
  readonly apiPrefix: string;
  readonly timeoutMs: number;
  readonly statusListeners = new Set<(status: BusStatus) => void>();
  connected = true;
  connects = 1;
  disconnectReason = '';
  readonly jetStream = new JetStreamHealth();
  private readonly login: Login;
  private readonly renewal: TokenRenewal | null;

  constructor(
    nc: NatsConnection,
    jsm: JetStreamManager,
    js: JetStreamClient,
    options: BusOptions,
    inboxPrefix: string,
    login: Login,
    reconnectPolicy: ReconnectPolicy,
  ) {
    this.nc = nc;
    this.js = js;
    this.jsm = jsm;
    this.user = options.user;
    this.inboxPrefix = inboxPrefix;
    this.apiPrefix = apiPrefixOf(options.user);
    this.timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.login = login;
    const { file } = login;
    // A reconnect of a connection that is being closed is no failure.
    const reconnect = () => void nc.reconnect().catch(() => undefined);
    this.renewal = file && login.isToken ? new TokenRenewal(() => file.newest(), reconnect) : null;
    this.loggedIn();
    reconnectPolicy.watch(nc, (cause) => {
      const error = toBusError(cause, `cannot connect to ${String(options.servers)} as ${options.user}`);
      if (error.code === 'BUS_AUTHENTICATION' || nc.isClosed()) return;
      this.disconnectReason = error.message;
      this.notify({ type: 'unreachable', error });
    });
    void this.watchStatus();
  }

  private async watchStatus(): Promise<void> {
    for await (const status of this.nc.status()) {
      if (status.type === 'disconnect') this.notify({ type: 'disconnected' });
      else if (status.type === 'reconnect') this.notify({ type: 'connected' });
      else if (status.type === 'error') {
        const error = toBusError(status.error, 'the bus refused');
        if (error.code === 'BUS_AUTHENTICATION') this.login.refused();
        this.notify({ type: 'error', error });
      }
    }
    this.renewal?.stop();
    this.notify({ type: 'closed' });
  }

  private loggedIn(): void {
    this.login.succeeded();
    this.renewal?.connected(this.login.secret);
  }

  private notify(status: BusStatus): void {
    if (status.type === 'connected') {
      this.connected = true;
      this.connects += 1;
      this.disconnectReason = '';
      this.jetStream.reset();
      this.loggedIn();
    } else if (status.type !== 'error') this.connected = false;
    for (const listener of [...this.statusListeners]) listener(status);
  }

  whenConnected(signal?: AbortSignal): Promise<void> {
    if (this.connected) return Promise.resolve();
    if (this.nc.isClosed()) return Promise.reject(new BusError('BUS_CLOSED', 'the bus is closed'));
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        this.statusListeners.delete(listener);
        forget();
        settle();
      };
      const listener = (status: BusStatus) => {
        if (status.type === 'connected') finish(resolve);
        else if (status.type === 'closed') finish(() => reject(new BusError('BUS_CLOSED', 'the bus is closed')));
      };
      const forget = onAbort(signal, () => finish(() => reject(signal?.reason as Error)));
      this.statusListeners.add(listener);
    });
  }

  async drain(): Promise<void> {
    if (this.nc.isClosed()) return;
    if (!this.connected) return this.close();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.timeoutMs);
    });
    // A connection that breaks while it drains rejects; closing it is all that is left to do.
    await Promise.race([this.nc.drain().catch(() => undefined), late]);
    clearTimeout(timer);
    await this.close();
  }

  async close(): Promise<void> {
    if (!this.nc.isClosed()) await this.nc.close();
  }
}

const DEFAULT_TIMEOUT_MS = 5_000;

/** Connects unless the signal aborts first; a connection that is made nevertheless is closed. */
function connectUnless(
  signal: AbortSignal | undefined,
  options: Parameters<typeof connect>[0],
): Promise<NatsConnection> {
  const connecting = connect(options);
  return new Promise((resolve, reject) => {
    const forget = onAbort(signal, () => {
      reject(signal?.reason as Error);
      connecting.then((nc) => nc.close()).catch(() => undefined);
    });
    connecting.then(resolve, reject).finally(forget);
  });
}

/** Connects. @throws BusError BUS_UNREACHABLE | BUS_AUTHENTICATION | BUS_TIMEOUT; the signal's reason when it aborts first */
export async function connectBus(options: BusOptions): Promise<Bus> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const inboxPrefix = options.inboxPrefix ?? inboxPrefixOf(options.user);
  options.signal?.throwIfAborted();
  const login = new Login(options);
  for (let attempt = 1; ; attempt += 1) {
    const reconnectPolicy = new ReconnectPolicy();
    try {
      const nc = await connectUnless(options.signal, {
        servers: options.servers,
        authenticator: login.authenticator,
        name: options.name,
        inboxPrefix,
        timeout: timeoutMs,
        maxReconnectAttempts: -1,
        reconnectDelayHandler: () => {
          reconnectPolicy.correctTimes();
          return login.delayMs();
        },
        pingInterval: PING_INTERVAL_MS,
        maxPingOut: 2,
        ignoreAuthErrorAbort: true,
        noAsyncTraces: true,
        ...(options.tls ? { tls: options.tls } : {}),
      });
      const jsm = await jetstreamManager(nc, { timeout: timeoutMs, checkAPI: false });
      return new NatsBus(nc, jsm, jetstream(nc, { timeout: timeoutMs }), options, inboxPrefix, login, reconnectPolicy);
    } catch (error) {
      options.signal?.throwIfAborted();
      const failure =
        error instanceof errors.TimeoutError
          ? new BusError('BUS_UNREACHABLE', `cannot reach ${String(options.servers)}: timeout`, { cause: error })
          : toBusError(error, `cannot connect to ${String(options.servers)} as ${options.user}`);
      if (failure.code === 'BUS_AUTHENTICATION') login.refused();
      const another = failure.code === 'BUS_AUTHENTICATION' && attempt < (login.file?.count ?? 1);
      if (!options.waitForServer && !another) throw failure;
      options.onRetry?.(failure);
      await pause(login.delayMs(), options.signal);
    }
  }
}

/**
 * Tells each time the bus begins to refuse the login of a connection that was there: once, until it is connected again. The client tries for
 * ever and says nothing, and what waits for the bus meanwhile only knows that it is not connected.
 */
export function onLoginRefused(bus: Pick<Bus, 'statusListeners'>, tell: (error: BusError) => void): void {
  let told = false;
  bus.statusListeners.add((status) => {
    if (status.type === 'connected') told = false;
    if (told || status.type !== 'error' || status.error.code !== 'BUS_AUTHENTICATION') return;
    told = true;
    tell(status.error);
  });
}

/** Readiness by the bus: true, or that it is not connected and why. */
export function isConnected(bus: Pick<Bus, 'connected' | 'disconnectReason'> | null): true | string {
  if (bus?.connected) return true;
  return bus?.disconnectReason ? `not connected: ${bus.disconnectReason}` : 'not connected';
}
