/**
 * Serves NATS auth callout requests: admits collectors by a TokenReview of their ServiceAccount
 * token.
 *
 * nats-server → here → proof.ts, fair-queue.ts → TokenReview → decide.ts → nats-server. Each login
 * is decided by the API server, so replicas share the requests and any may respond. Every failure
 * refuses the login. A source, failing or not, does not use up the reviews of others: each pod has
 * a share of logins, in rate and at once. Limits: maxConcurrent reviews, MAX_WAITING logins per
 * class; more are refused at once. Logins above a pod's rate, and those that the server gave up,
 * get no response. Clients retry.
 */
import { AUTH_TIMEOUT_S, type Bus, BusError, connectBus, InstanceReporter, isConnected } from '@bailiff/bus';
import {
  type AuthKeys,
  type AuthRequest,
  readAuthRequest,
  type SealedAuthRequest,
  subscribeAuthRequests,
  writeAuthResponse,
} from '@bailiff/bus/auth';
import { type KubeApi, KubeError, loadKube, reviewToken, type TokenReviewStatus } from '@bailiff/kube';
import { busOptionsOf, pause, RateLimitedLog, type ServiceContext } from '@bailiff/service';
import { type BusAuthConfig, seedsOf } from './config.ts';
import { ConnectionGuard } from './connection-guard.ts';
import {
  type Credentials,
  type Decision,
  decide,
  examine,
  examineProven,
  REFUSALS,
  type Refusal,
  type RefusalReason,
  refuse,
} from './decide.ts';
import { FairQueue } from './fair-queue.ts';
import { Budget, KnownTokens, RecentReviews, SourceBudgets } from './limits.ts';
import { type DROPS, type Metrics, makeMetrics, NO_READINGS, type Readings } from './metrics.ts';
import { KEYS_PATH, SigningKeys } from './proof.ts';

/** Interval of checks that the API server reviews tokens. */
const PROBE_MS = 10_000;
/** Token of that check; not a valid token. */
const PROBE_TOKEN = 'bailiff-probe';
/** Burst of reviews, in seconds of reviewsPerSecond. */
const REVIEW_BURST_S = 5;
/**
 * Part of a minute's logins that a pod has at once: 6 by default. Connections may fill a server's
 * memory until the next list of connections ends them.
 */
const LOGIN_BURST = 1 / 10;
/** A collector logs in twice at once. */
const MIN_LOGIN_BURST = 2;
/** Accept header for the API server's keys, which have their own media type. */
const KEYS_TYPE = 'application/jwk-set+json, */*';
/**
 * Refusals that count against a source: reviews without a grant. Refusals without a review are
 * cheap and do not count, nor do failures of the API server and our own limits. The source of a
 * proven token is its pod, which others cannot name. An address is shared by all host-network pods
 * of a node, its collector included.
 */
const COUNTED_REFUSALS: ReadonlySet<RefusalReason> = new Set([
  'not-authenticated',
  'not-bound',
  'no-node-claim',
  'wrong-node',
]);

/** A login that requires a TokenReview. */
interface Login {
  sealed: SealedAuthRequest;
  request: AuthRequest;
  credentials: Credentials;
  /** The token is signed by the API server, or was granted before. */
  proven: boolean;
  /** Where a failure is counted. */
  source: string;
  atMs: number;
}

export class BusAuth {
  readonly #ctx: ServiceContext<BusAuthConfig>;
  readonly #client: KubeApi;
  readonly #bus: Bus;
  readonly #keys: () => AuthKeys;
  readonly #metrics: Metrics;
  readonly #log: RateLimitedLog;
  readonly #failures: SourceBudgets;
  /** Logins by pod of a proven token. */
  readonly #logins: SourceBudgets;
  readonly #reviews: Budget;
  readonly #unprovenReviews: Budget;
  readonly #known = new KnownTokens();
  readonly #recent = new RecentReviews<TokenReviewStatus>();
  readonly #signing: SigningKeys;
  readonly #queue: FairQueue<Login>;
  readonly #guard: ConnectionGuard;
  readonly #reporter: InstanceReporter;
  readonly #inFlight = new Set<Promise<void>>();
  #unsubscribe: () => void = () => {};
  /** True, or why the API server does not review our tokens. */
  #api: true | string = 'not checked yet';

  constructor(
    ctx: ServiceContext<BusAuthConfig>,
    parts: { client: KubeApi; bus: Bus; keys: () => AuthKeys; metrics: Metrics },
  ) {
    const { config } = ctx;
    this.#ctx = ctx;
    this.#client = parts.client;
    this.#bus = parts.bus;
    this.#keys = parts.keys;
    this.#metrics = parts.metrics;
    this.#log = new RateLimitedLog(ctx.log);
    const { bus, metrics } = parts;
    const onEnded = () => this.#reporter.report();
    this.#guard = new ConnectionGuard({ bus, metrics, log: this.#log, clock: ctx.clock, onEnded });
    this.#reporter = this.#makeReporter();
    this.#failures = new SourceBudgets(config.refusalsPerMinute);
    this.#logins = new SourceBudgets(
      config.loginsPerMinute,
      Math.max(MIN_LOGIN_BURST, config.loginsPerMinute * LOGIN_BURST),
    );
    const budget = (perSecond: number) => new Budget(perSecond, perSecond * REVIEW_BURST_S, performance.now());
    this.#reviews = budget(config.reviewsPerSecond);
    this.#unprovenReviews = budget(config.reviewsPerSecond / 2);
    this.#signing = new SigningKeys(() => this.#fetchKeys());
    this.#queue = new FairQueue(config.maxConcurrent, (login) => this.#track(this.#process(login)));
  }

  /** Servers whose configuration is older refuse the status; nothing else depends on it. */
  #makeReporter(): InstanceReporter {
    return new InstanceReporter({
      ctx: this.#ctx,
      bus: this.#bus,
      service: 'bus-auth',
      more: () => ({ nodeConnections: this.#guard.status() }),
      onError: (error) => this.#log.warn(`status ${error.message}`, { err: error }, 'cannot publish the status'),
    });
  }

  start(): void {
    const { health, signal } = this.#ctx;
    health.ready('bus', () => isConnected(this.#bus));
    health.ready('kubernetes', () => this.#api);
    this.#unsubscribe = subscribeAuthRequests(this.#bus, (sealed) => this.#accept(sealed));
    this.#probe(signal).catch((error) => signal.aborted || this.#ctx.fail(error as Error));
  }

  /** Stops accepting requests and responds to the pending ones. */
  async stop(): Promise<void> {
    this.#unsubscribe();
    this.#guard.close();
    for (const login of this.#queue.clear()) this.#respond(login, refuse('overloaded'));
    await Promise.all([...this.#inFlight, this.#reporter.close()]);
  }

  readings(): Readings {
    return {
      inFlight: this.#queue.running,
      waiting: this.#queue.waiting,
      limitedSources: this.#failures.size,
      signingKeys: this.#signing.size,
      watching: this.#guard.isWatching ? 1 : 0,
    };
  }

  #drop(reason: (typeof DROPS)[number], error?: Error): void {
    this.#metrics.dropped.inc({ reason });
    this.#log.warn(`dropped ${reason} ${error?.message ?? ''}`, { reason, err: error }, 'a login got no response');
  }

  /** A request that cannot be processed costs its own login, whatever it contains. */
  #accept(sealed: SealedAuthRequest): void {
    try {
      this.#judge(sealed);
    } catch (error) {
      this.#drop('failed', error as Error);
    }
  }

  /** Responds at once if no review is needed; otherwise queues the login. */
  #judge(sealed: SealedAuthRequest): void {
    const atMs = performance.now();
    let request: AuthRequest;
    try {
      request = readAuthRequest(sealed.bytes, sealed.serverXkey, this.#keys(), Date.now());
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      this.#drop('unreadable', error);
      return;
    }
    if (this.#guard.isSecondLogin(request)) {
      this.#respond({ sealed, request, atMs }, refuse('second-login'));
      return;
    }
    if (this.#guard.isFlooding(request.user)) {
      this.#drop('flooding', new Error(request.user.slice(0, 300)));
      return;
    }
    const classified = this.#classify(sealed, request, atMs);
    if ('refusal' in classified) {
      this.#respond({ sealed, request, atMs }, classified);
      return;
    }
    const { proven, source } = classified;
    if (proven && !this.#hasShare(source, atMs)) return;
    if (!this.#queue.add(classified, source, proven)) this.#respond(classified, refuse('overloaded'));
  }

  /**
   * Counts a login of a pod. Above its rate a login gets no response: a response would cost as much
   * as the rest of the login, and its client would repeat it at once instead of after four seconds.
   */
  #hasShare(source: string, atMs: number): boolean {
    if (this.#logins.isOver(source, atMs)) {
      this.#drop('over-share', new Error(`more than ${this.#ctx.config.loginsPerMinute} logins a minute by ${source}`));
      return false;
    }
    this.#logins.count(source, atMs);
    return true;
  }

  /** Class and source of a login without a review, or why it is refused. */
  #classify(sealed: SealedAuthRequest, request: AuthRequest, atMs: number): Login | { refusal: Refusal } {
    const credentials = examine(request, this.#ctx.config, Date.now());
    if ('refusal' in credentials) return credentials;
    const proof = this.#signing.prove(credentials.token, atMs);
    const wrong = proof === 'forged' ? refuse('forged') : proof === 'proven' ? examineProven(credentials) : null;
    if (wrong) return wrong;
    const proven = proof === 'proven' || this.#known.nodeOf(credentials.token, Date.now()) === credentials.node;
    const source =
      proof === 'proven' ? `pod ${credentials.claims.podUid}` : proven ? credentials.node : request.clientHost;
    if (this.#failures.isOver(source, atMs)) return refuse('rate-limited');
    return { sealed, request, credentials, proven, source, atMs };
  }

  /** Registers work that stop() waits for. */
  #track(work: Promise<void>): Promise<void> {
    const tracked = work.finally(() => this.#inFlight.delete(tracked));
    this.#inFlight.add(tracked);
    return tracked;
  }

  /** Never rejects. */
  async #process(login: Login): Promise<void> {
    // The server itself refuses the client before a later response could arrive.
    const tooLateMs = AUTH_TIMEOUT_S * 1_000 - this.#ctx.config.reviewTimeoutMs;
    if (performance.now() - login.atMs > tooLateMs) return this.#drop('late');
    try {
      this.#respond(login, await this.#decide(login));
    } catch (error) {
      this.#drop('failed', error as Error);
    }
  }

  /** @throws errors that are not failures of the API server */
  async #decide({ credentials, proven, source }: Login): Promise<Decision> {
    const { config } = this.#ctx;
    const nowMs = performance.now();
    // Other logins of its source may have failed while it waited.
    if (this.#failures.isOver(source, nowMs)) return refuse('rate-limited');
    const { token } = credentials;
    let review = this.#recent.get(token, nowMs);
    if (!review) {
      if (!((proven || this.#unprovenReviews.take(nowMs)) && this.#reviews.take(nowMs))) return refuse('overloaded');
      review = this.#recent.add(token, this.#review(token), nowMs);
    }
    let decision: Decision;
    try {
      decision = decide(credentials, await review, config, Date.now());
    } catch (error) {
      this.#recent.forget(token);
      if (!(error instanceof KubeError)) throw error;
      return refuse(reasonOf(error), error.message);
    }
    if ('refusal' in decision) this.#recent.forget(token);
    if ('grant' in decision) this.#known.add(token, decision.node, decision.grant.expiresAtS * 1_000);
    else if (decision.refusal.reason === 'not-authenticated') this.#known.forget(token);
    if ('refusal' in decision && COUNTED_REFUSALS.has(decision.refusal.reason))
      this.#failures.count(source, performance.now());
    return decision;
  }

  #respond({ sealed, request, atMs }: Pick<Login, 'sealed' | 'request' | 'atMs'>, decision: Decision): void {
    const answer = 'grant' in decision ? { grant: decision.grant } : { refusal: textOf(decision.refusal) };
    if ('grant' in decision) {
      const { serverId: server, connectionId: id } = request;
      const { account, name: user } = decision.grant;
      this.#guard.admit({ server, account, id, user });
    }
    try {
      sealed.respond(writeAuthResponse(request, this.#keys(), answer));
    } catch (error) {
      this.#drop(error instanceof BusError ? 'unreadable' : 'failed', error as Error);
      return;
    }
    this.#record(request, decision);
    this.#metrics.loginSeconds.observe((performance.now() - atMs) / 1_000);
  }

  async #review(token: string): Promise<TokenReviewStatus> {
    const { audience, reviewTimeoutMs: timeoutMs } = this.#ctx.config;
    const began = performance.now();
    try {
      const status = await reviewToken(this.#client, token, [audience], { timeoutMs });
      this.#api = true;
      return status;
    } catch (error) {
      if (error instanceof KubeError) this.#api = `${REFUSALS[reasonOf(error)]}: ${error.message}`;
      throw error;
    } finally {
      this.#metrics.reviewSeconds.observe((performance.now() - began) / 1_000);
    }
  }

  #record(request: AuthRequest, decision: Decision): void {
    const from = { host: request.clientHost, user: request.user.slice(0, 300), server: request.serverName };
    if ('grant' in decision) {
      this.#metrics.granted.inc();
      const { node, podName, grant } = decision;
      this.#ctx.log.debug({ ...from, node, podName, expiresAt: new Date(grant.expiresAtS * 1_000) }, 'admitted');
      return;
    }
    const { reason, detail } = decision.refusal;
    this.#metrics.refused.inc({ reason });
    this.#log.warn(`${reason} ${request.clientHost}`, { reason, why: REFUSALS[reason], detail, ...from }, 'refused');
  }

  async #fetchKeys(): Promise<unknown> {
    const timeoutMs = this.#ctx.config.reviewTimeoutMs;
    try {
      return await this.#client.request({ path: KEYS_PATH, accept: KEYS_TYPE, attempts: 1, timeoutMs });
    } catch (error) {
      this.#log.warn(
        `keys ${(error as Error).message}`,
        { err: error },
        'cannot fetch the public keys of the API server',
      );
      throw error;
    }
  }

  /** Keeps readiness and the keys current while there are no logins. */
  async #probe(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#signing.isDue(performance.now())) await this.#signing.refresh(performance.now());
      await this.#review(PROBE_TOKEN).catch((error) => {
        if (!(error instanceof KubeError)) throw error;
        this.#log.warn(`probe ${error.code}`, { err: error }, 'the API server does not review tokens');
      });
      await pause(this.#api === true ? PROBE_MS : 1_000, signal);
    }
  }
}

/** Text for the server's log. */
const textOf = ({ reason, detail }: Refusal) => `${reason}: ${REFUSALS[reason]}${detail === '' ? '' : ` (${detail})`}`;

function reasonOf(error: KubeError): RefusalReason {
  return error.code === 'KUBE_FORBIDDEN' || error.code === 'KUBE_UNAUTHORIZED' ? 'api-forbidden' : 'api-unreachable';
}

/** Starts bus-auth within the process frame. */
export async function start(ctx: ServiceContext<BusAuthConfig>): Promise<void> {
  const { config, signal } = ctx;
  const issuers = seedsOf('issuer', config.issuerSeedFile, 'issuerSeedFile');
  const xkeys = seedsOf('xkey', config.xkeySeedFile, 'xkeySeedFile');
  const { kubeconfig, kubeContext: context } = config;
  const client = loadKube({ kubeconfig, context, userAgent: `bailiff-bus-auth/${ctx.version}` });
  ctx.onStop('kubernetes', () => client.close());
  ctx.health.ready('bus', () => 'not connected');
  let busAuth: BusAuth | null = null;
  const metrics = makeMetrics(ctx.metrics, () => busAuth?.readings() ?? NO_READINGS);
  const log = new RateLimitedLog(ctx.log);
  const onRetry = (error: BusError) => {
    metrics.busErrors.inc({ code: error.code });
    log.warn(`bus ${error.code}`, { err: error }, 'waiting for the bus');
  };
  const options = { ...busOptionsOf({ ...config, natsTokenFile: '' }), name: 'bus-auth', signal };
  let bus: Bus;
  try {
    bus = await connectBus({ ...options, waitForServer: true, onRetry });
  } catch (error) {
    if (signal.aborted) return;
    throw error;
  }
  ctx.onStop('bus', () => bus.drain());
  const keys = () => ({ issuers: issuers(), xkeys: xkeys() });
  const made = new BusAuth(ctx, { client, bus, keys, metrics });
  busAuth = made;
  ctx.onStop('bus-auth', () => made.stop());
  made.start();
}
