/**
 * One connection to the bus: identity, connection state, and shutdown.
 *
 * Every app starts here, and all of libs/bus takes a Bus. It reconnects without limit. While it is
 * disconnected, the client queues nothing: publishers check `connected` first. Password and token
 * files are read again at each attempt, so a rotation needs no restart. The caller of connectBus
 * closes it with `drain` (orderly) or `close` (immediately).
 */

import { onAbort, pause, within } from '@bailiff/service/retry';
import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { errors, type NatsConnection, type TlsOptions } from '@nats-io/nats-core';
import { apiPrefixOf, inboxPrefixOf } from '../topology/identities.ts';
import type { BusStatus } from './bus-status.ts';
import { BusError, toBusError } from './errors.ts';
import { JetStreamHealth } from './jetstream-health.ts';
import { type Credentials, Login } from './login.ts';
import { correctTimes } from './reconnect-policy.ts';
import { RequestMux } from './request-mux.ts';
import { ServerClock } from './server-clock.ts';
import { TokenRenewal } from './token-renewal.ts';
import { connectClient, type Dial, type TransportOptions } from './transport.ts';

export type { BusStatus };

export interface BusOptions extends Credentials {
  /** `nats://host:port`, several for a cluster. */
  servers: string | string[];
  /** Connection name, shown by the server's monitoring. */
  name: string;
  /** Private to the identity. Default: derived from `user`. */
  inboxPrefix?: string;
  tls?: TlsOptions;
  /** Opens the stream to a server instead of TCP (transport.ts). */
  dial?: Dial;
  /** Timeout of one connection attempt and of one JetStream response. Default 5,000. */
  timeoutMs?: number;
  /**
   * Retry when the first attempt fails, until it succeeds or the signal aborts. Default false:
   * throw.
   */
  waitForServer?: boolean;
  /**
   * Sends a direct get again while there is no response, because a replica that hangs is asked until the other servers
   * notice that. For a program that a person waits for: services retry later, and add no load to a bus that is slow.
   */
  repeatsReads?: boolean;
  /** Called after each failed attempt that is retried (`waitForServer`). */
  onRetry?: (error: BusError) => void;
  signal?: AbortSignal;
}

export interface Bus {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly user: string;
  readonly inboxPrefix: string;
  /**
   * Prefix of JetStream API requests except direct gets: `$JS.API` in the core account, `BUS`
   * outside it.
   */
  readonly apiPrefix: string;
  readonly timeoutMs: number;
  readonly repeatsReads?: boolean;
  /** Requests in flight (request.ts). */
  readonly requests: RequestMux;
  /** Time of the servers, by what was received from them. */
  readonly serverClock: ServerClock;
  readonly connected: boolean;
  /** Error of the last failed attempt; empty if unknown. */
  readonly disconnectReason?: string;
  /** JetStream's health, derived from responses. */
  readonly jetStream?: JetStreamHealth;
  /** Number of successful connections, including reconnects. */
  readonly connects: number;
  /** Called with each change, in insertion order. Listeners must not throw. */
  readonly statusListeners: Set<(status: BusStatus) => void>;
  /**
   * Called by each reader that finds its stream recreated, before the reader's own `onRecreated`.
   * For logs and metrics. Listeners must not throw.
   */
  readonly recreatedListeners: Set<(stream: string) => void>;
  /**
   * Resolves when connected. Rejects with BUS_CLOSED when the bus is closed, and with the signal's
   * reason when it aborts.
   */
  whenConnected(signal?: AbortSignal): Promise<void>;
  /** Lets subscriptions finish, flushes pending messages, and closes. Takes at most `timeoutMs`. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** A peer is considered gone after two missed pings. */
const PING_INTERVAL_MS = 5_000;

class NatsBus implements Bus {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly user: string;
  readonly inboxPrefix: string;
  readonly apiPrefix: string;
  readonly timeoutMs: number;
  readonly repeatsReads: boolean;
  readonly statusListeners = new Set<(status: BusStatus) => void>();
  readonly recreatedListeners = new Set<(stream: string) => void>();
  readonly requests: RequestMux;
  readonly serverClock = new ServerClock();
  connected = true;
  connects = 1;
  disconnectReason = '';
  readonly jetStream = new JetStreamHealth();
  private readonly servers: string;
  private readonly login: Login;
  private readonly renewal: TokenRenewal | null;

  constructor(
    nc: NatsConnection,
    jsm: JetStreamManager,
    js: JetStreamClient,
    options: BusOptions,
    inboxPrefix: string,
    login: Login,
  ) {
    this.nc = nc;
    this.js = js;
    this.jsm = jsm;
    this.user = options.user;
    this.servers = String(options.servers);
    this.inboxPrefix = inboxPrefix;
    this.apiPrefix = apiPrefixOf(options.user);
    this.timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.repeatsReads = options.repeatsReads ?? false;
    this.requests = new RequestMux(this);
    this.login = login;
    const { file } = login;
    // A reconnect fails when the connection is being closed; that is not an error.
    const reconnect = () => void nc.reconnect().catch(() => undefined);
    this.renewal = file && login.isToken ? new TokenRenewal(() => file.newest(), reconnect) : null;
    this.loggedIn();
    void this.watchStatus();
  }

  /** An attempt to connect again has failed. */
  attemptFailed(cause: unknown): void {
    const error = toBusError(cause, `cannot connect to ${this.servers} as ${this.user}`);
    if (error.code === 'BUS_AUTHENTICATION' || this.nc.isClosed()) return;
    if (error.code === 'BUS_TIMEOUT') this.login.refused();
    this.disconnectReason = error.message;
    this.notify({ type: 'unreachable', error });
  }

  private async watchStatus(): Promise<void> {
    for await (const status of this.nc.status()) {
      if (status.type === 'disconnect') this.notify({ type: 'disconnected' });
      else if (status.type === 'reconnect') this.notify({ type: 'connected' });
      else if (status.type === 'error') {
        const error = toBusError(status.error, 'the bus refused');
        if (error.code === 'BUS_AUTHENTICATION') {
          this.login.refused();
          this.disconnectReason = `the bus refuses the login of ${this.user}: ${(status.error as Error).message}`;
        }
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
    // A connection that breaks while it drains rejects. Closing it is the only step left.
    const drained = this.nc.drain().catch(() => undefined);
    await within(this.timeoutMs, drained, () => undefined);
    await this.close();
  }

  async close(): Promise<void> {
    if (!this.nc.isClosed()) await this.nc.close();
  }
}

const DEFAULT_TIMEOUT_MS = 5_000;

/**
 * TLS options if TLS is required: they are set, or a URL begins with `tls:`. The client itself
 * ignores the scheme: without options it sends the password to a server that offers no TLS.
 */
function tlsOf({ servers, tls }: BusOptions): TlsOptions | undefined {
  const urls = [servers].flat().flatMap((list) => list.split(','));
  return tls ?? (urls.some((url) => /^\s*tls:/i.test(url)) ? {} : undefined);
}

/**
 * Connects unless the signal aborts first, which ends the attempt at once. A connection that completes
 * after the abort is closed.
 */
function connectUnless(signal: AbortSignal | undefined, options: TransportOptions): Promise<NatsConnection> {
  const attempt = new AbortController();
  const connecting = connectClient({ ...options, attempt: attempt.signal });
  return new Promise((resolve, reject) => {
    const forget = onAbort(signal, () => {
      reject(signal?.reason as Error);
      attempt.abort();
      connecting.then((nc) => nc.close()).catch(() => undefined);
    });
    connecting.then(resolve, reject).finally(forget);
  });
}

/**
 * Connects. @throws BusError BUS_UNREACHABLE | BUS_AUTHENTICATION | BUS_TIMEOUT; the signal's
 * reason when it aborts first
 */
export async function connectBus(options: BusOptions): Promise<Bus> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const inboxPrefix = options.inboxPrefix ?? inboxPrefixOf(options.user);
  options.signal?.throwIfAborted();
  const login = new Login(options);
  const tls = tlsOf(options);
  for (let attempt = 1; ; attempt += 1) {
    let bus: NatsBus | null = null;
    try {
      const nc = await connectUnless(options.signal, {
        servers: options.servers,
        authenticator: login.authenticator,
        name: options.name,
        inboxPrefix,
        timeout: timeoutMs,
        maxReconnectAttempts: -1,
        reconnectDelayHandler: () => {
          if (bus) correctTimes(bus.nc);
          return login.delayMs();
        },
        pingInterval: PING_INTERVAL_MS,
        maxPingOut: 2,
        ignoreAuthErrorAbort: true,
        noAsyncTraces: true,
        ...(tls ? { tls } : {}),
        ...(options.dial ? { dial: options.dial } : {}),
        onFailed: (error) => bus?.attemptFailed(error),
      });
      const jsm = await jetstreamManager(nc, { timeout: timeoutMs, checkAPI: false });
      bus = new NatsBus(nc, jsm, jetstream(nc, { timeout: timeoutMs }), options, inboxPrefix, login);
      return bus;
    } catch (error) {
      options.signal?.throwIfAborted();
      const isSilent = error instanceof errors.TimeoutError;
      const failure = isSilent
        ? new BusError('BUS_UNREACHABLE', `cannot reach ${String(options.servers)}: timeout`, { cause: error })
        : toBusError(error, `cannot connect to ${String(options.servers)} as ${options.user}`);
      if (isSilent || failure.code === 'BUS_AUTHENTICATION') login.refused();
      const another = failure.code === 'BUS_AUTHENTICATION' && attempt < (login.file?.count ?? 1);
      if (!options.waitForServer && !another) throw failure;
      options.onRetry?.(failure);
      await pause(login.delayMs(), options.signal);
      options.signal?.throwIfAborted();
    }
  }
}

/** Reports that a reader found its stream recreated. */
export function reportRecreated({ recreatedListeners }: Pick<Bus, 'recreatedListeners'>, stream: string): void {
  for (const listener of [...recreatedListeners]) listener(stream);
}

/**
 * Reports that the bus started to reject the login of an established connection: once, until the
 * next connect. Otherwise the client retries silently, and waiting callers see only that the bus is
 * disconnected.
 */
export function onLoginRefused(bus: Pick<Bus, 'statusListeners'>, report: (error: BusError) => void): void {
  let reported = false;
  bus.statusListeners.add((status) => {
    if (status.type === 'connected') reported = false;
    if (reported || status.type !== 'error' || status.error.code !== 'BUS_AUTHENTICATION') return;
    reported = true;
    report(status.error);
  });
}

/** Readiness check: true, or why the bus is not connected. */
export function isConnected(bus: Pick<Bus, 'connected' | 'disconnectReason'> | null): true | string {
  if (bus?.connected) return true;
  return bus?.disconnectReason ? `not connected: ${bus.disconnectReason}` : 'not connected';
}
