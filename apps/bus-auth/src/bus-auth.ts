/**
 * Lets collectors onto the bus: the server asks about each client that it does not know, the API server is asked whose token it shows,
 * and the answer is the rights of a collector of the node on which the token's pod runs, or a refusal.
 *
 * Place in the path: nats-server → here → proof.ts, fair-queue.ts → TokenReview → decide.ts → nats-server → collector. Invariants: nobody is let
 * in but by what the API server says at this login, so replicas share the questions and any may answer; what fails here lets nobody in; what
 * one source does costs no other its slot. Bounds: maxConcurrent questions to the API server, MAX_WAITING logins that wait, a lane; those
 * beyond are refused at once, and one for which the server no longer waits is dropped. Who is refused tries again.
 */
import { AUTH_TIMEOUT_S, type Bus, BusError, connectBus, isConnected } from '@bailiff/bus';
import {
  type AuthKeys,
  type AuthRequest,
  publicKeyOf,
  readAuthRequest,
  type SealedAuthRequest,
  SecretFile,
  type SeedKind,
  subscribeAuthRequests,
  writeAuthResponse,
} from '@bailiff/bus/auth';
import { type KubeApi, KubeError, loadKube, pause, reviewToken, type TokenReviewStatus } from '@bailiff/kube';
import { busOptionsOf, RateLimitedLog, type ServiceContext, ServiceError } from '@bailiff/service';
import type { BusAuthConfig } from './config.ts';
import {
  type Decision,
  decide,
  examine,
  examineProven,
  REFUSALS,
  type Refusal,
  type RefusalReason,
  refuse,
  type Shown,
} from './decide.ts';
import { Lanes } from './fair-queue.ts';
import { Budget, Failures, KnownTokens } from './limits.ts';
import { type DROPS, type Metrics, makeMetrics, NO_READINGS, type Readings } from './metrics.ts';
import { KEYS_PATH, SigningKeys } from './proof.ts';

/** The API server is asked this often whether it answers at all. */
const PROBE_MS = 10_000;
/** What is asked then: nobody's. */
const PROBE_TOKEN = 'bailiff-probe';
/** Seconds of reviewsPerSecond that may come at once. */
const REVIEW_BURST_S = 5;
/** What is asked for the API server's keys: a server gives them under their own type. */
const KEYS_TYPE = 'application/jwk-set+json, */*';
/**
 * What counts against a source: questions to the API server that came to nothing. What is refused without one costs nothing and counts against nobody;
 * nor does what the API server or a limit of ours caused. The source of a proven token is its pod, which nobody else can name; an address is that of every
 * host-network pod of a node, its collector's among them.
 */
const ASKED_FOR_NOTHING: ReadonlySet<RefusalReason> = new Set([
  'not-authenticated',
  'not-bound',
  'no-node-claim',
  'wrong-node',
]);

/** A login that is worth a question to the API server. */
interface Login {
  question: SealedAuthRequest;
  request: AuthRequest;
  shown: Shown;
  /** Its token is the API server's, or was let in before. */
  proven: boolean;
  /** What its failure counts against. */
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
  readonly #failures: Failures;
  readonly #reviews: Budget;
  readonly #strangers: Budget;
  readonly #known = new KnownTokens();
  readonly #signing: SigningKeys;
  readonly #lanes: Lanes<Login>;
  readonly #inFlight = new Set<Promise<void>>();
  #stopTaking: () => void = () => {};
  /** True, or why the API server does not judge tokens for us. */
  #api: true | string = 'not asked yet';

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
    this.#failures = new Failures(config.refusalsPerMinute);
    const budget = (perSecond: number) => new Budget(perSecond, perSecond * REVIEW_BURST_S, performance.now());
    this.#reviews = budget(config.reviewsPerSecond);
    this.#strangers = budget(config.reviewsPerSecond / 2);
    this.#signing = new SigningKeys(() => this.#fetchKeys());
    this.#lanes = new Lanes(config.maxConcurrent, (login) => this.#track(this.#ask(login)));
  }

  start(): void {
    const { health, signal } = this.#ctx;
    health.ready('bus', () => isConnected(this.#bus));
    health.ready('kubernetes', () => this.#api);
    this.#stopTaking = subscribeAuthRequests(this.#bus, (question) => this.#take(question));
    this.#probe(signal).catch((error) => signal.aborted || this.#ctx.fail(error as Error));
  }

  /** Takes no more questions and answers those that it has. */
  async stop(): Promise<void> {
    this.#stopTaking();
    for (const login of this.#lanes.clear()) this.#answer(login, refuse('overloaded'));
    await Promise.all(this.#inFlight);
  }

  readings(): Readings {
    return {
      inFlight: this.#lanes.running,
      waiting: this.#lanes.waiting,
      limitedSources: this.#failures.size,
      signingKeys: this.#signing.size,
    };
  }

  #drop(reason: (typeof DROPS)[number], error?: Error): void {
    this.#metrics.dropped.inc({ reason });
    this.#log.warn(`dropped ${reason} ${error?.message ?? ''}`, { reason, err: error }, 'a login was not answered');
  }

  /** Answers at once what can be said without the API server; the rest waits for it, in its lane. */
  #take(question: SealedAuthRequest): void {
    const atMs = performance.now();
    let request: AuthRequest;
    try {
      request = readAuthRequest(question.bytes, question.serverXkey, this.#keys(), Date.now());
    } catch (error) {
      this.#drop(error instanceof BusError ? 'unreadable' : 'failed', error as Error);
      return;
    }
    const sorted = this.#sort(question, request, atMs);
    if ('refusal' in sorted) this.#answer({ question, request, atMs }, sorted);
    else if (!this.#lanes.add(sorted, sorted.proven)) this.#answer(sorted, refuse('overloaded'));
  }

  /** What is known of a login without a question: its lane and its source, or why it is refused. */
  #sort(question: SealedAuthRequest, request: AuthRequest, atMs: number): Login | { refusal: Refusal } {
    const shown = examine(request, this.#ctx.config, Date.now());
    if ('refusal' in shown) return shown;
    const proof = this.#signing.prove(shown.token, atMs);
    const wrong = proof === 'forged' ? refuse('forged') : proof === 'proven' ? examineProven(shown) : null;
    if (wrong) return wrong;
    const proven = proof === 'proven' || this.#known.nodeOf(shown.token, Date.now()) === shown.node;
    const source = proof === 'proven' ? `pod ${shown.claims.podUid}` : proven ? shown.node : request.clientHost;
    if (this.#failures.isOver(source, atMs)) return refuse('rate-limited');
    return { question, request, shown, proven, source, atMs };
  }

  /** For stop() to wait for. */
  #track(work: Promise<void>): Promise<void> {
    const tracked = work.finally(() => this.#inFlight.delete(tracked));
    this.#inFlight.add(tracked);
    return tracked;
  }

  /** Never rejects. */
  async #ask(login: Login): Promise<void> {
    // The server has refused this client by itself before an answer could come.
    const tooLateMs = AUTH_TIMEOUT_S * 1_000 - this.#ctx.config.reviewTimeoutMs;
    if (performance.now() - login.atMs > tooLateMs) return this.#drop('late');
    try {
      this.#answer(login, await this.#judge(login));
    } catch (error) {
      this.#drop('failed', error as Error);
    }
  }

  /** @throws what is no failure of the API server */
  async #judge({ shown, proven, source }: Login): Promise<Decision> {
    const { config } = this.#ctx;
    const nowMs = performance.now();
    // While it waited others of its source may have failed.
    if (this.#failures.isOver(source, nowMs)) return refuse('rate-limited');
    if (!((proven || this.#strangers.take(nowMs)) && this.#reviews.take(nowMs))) return refuse('overloaded');
    let decision: Decision;
    try {
      decision = decide(shown, await this.#review(shown.token), config, Date.now());
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      return refuse(reasonOf(error), error.message);
    }
    if ('grant' in decision) this.#known.add(shown.token, decision.node, decision.grant.expiresAtS * 1_000);
    else if (decision.refusal.reason === 'not-authenticated') this.#known.forget(shown.token);
    if ('refusal' in decision && ASKED_FOR_NOTHING.has(decision.refusal.reason))
      this.#failures.count(source, performance.now());
    return decision;
  }

  #answer({ question, request, atMs }: Pick<Login, 'question' | 'request' | 'atMs'>, decision: Decision): void {
    const answer = 'grant' in decision ? { grant: decision.grant } : { refusal: wordsOf(decision.refusal) };
    try {
      question.respond(writeAuthResponse(request, this.#keys(), answer));
    } catch (error) {
      this.#drop(error instanceof BusError ? 'unreadable' : 'failed', error as Error);
      return;
    }
    this.#tell(request, decision);
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

  #tell(request: AuthRequest, decision: Decision): void {
    const from = { host: request.clientHost, user: request.user.slice(0, 300), server: request.serverName };
    if ('grant' in decision) {
      this.#metrics.granted.inc();
      const { node, podName, grant } = decision;
      this.#ctx.log.debug({ ...from, node, podName, expiresAt: new Date(grant.expiresAtS * 1_000) }, 'let in');
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
        'the API server does not give its public keys',
      );
      throw error;
    }
  }

  /** Keeps readiness true to the API server while nobody logs in, and its keys fresh. */
  async #probe(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#signing.isDue(performance.now())) await this.#signing.refresh(performance.now());
      await this.#review(PROBE_TOKEN).catch((error) => {
        if (!(error instanceof KubeError)) throw error;
        this.#log.warn(`probe ${error.code}`, { err: error }, 'the API server does not judge tokens');
      });
      await pause(this.#api === true ? PROBE_MS : 1_000, signal);
    }
  }
}

/** Goes into the server's log. */
const wordsOf = ({ reason, detail }: Refusal) => `${reason}: ${REFUSALS[reason]}${detail === '' ? '' : ` (${detail})`}`;

function reasonOf(error: KubeError): RefusalReason {
  return error.code === 'KUBE_FORBIDDEN' || error.code === 'KUBE_UNAUTHORIZED' ? 'api-forbidden' : 'api-unreachable';
}

/** Reads a file of seeds at each call. @throws ServiceError SERVICE_CONFIG when it holds none now */
function seedsOf(kind: SeedKind, path: string, field: string): () => readonly string[] {
  try {
    const file = new SecretFile(path);
    for (const seed of file.all()) publicKeyOf(kind, seed);
    return () => file.all();
  } catch (cause) {
    const { message } = cause as Error;
    throw new ServiceError('SERVICE_CONFIG', `${field}: ${path}: ${message}`, { cause, fields: [field] });
  }
}

/** Brings it up within the process frame. */
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
