/**
 * Lets collectors onto the bus: the server asks about each client that it does not know, the API server is asked whose token it shows,
 * and the answer is the rights of a collector of the node on which the token's pod runs, or a refusal.
 *
 * Place in the path: nats-server → here → TokenReview → decide.ts → nats-server → collector. Invariants: nothing is remembered of who was
 * let in, so replicas share the questions and any may answer; what fails here lets nobody in. Bounds: maxConcurrent logins are judged,
 * MAX_WAITING wait, and one for which the server no longer waits is dropped; who is dropped tries again.
 */
import { AUTH_TIMEOUT_S, type Bus, BusError, connectBus } from '@bailiff/bus';
import {
  type AuthKeys,
  type AuthQuestion,
  type AuthRequest,
  publicKeyOf,
  readAuthRequest,
  SecretFile,
  type SeedKind,
  takeAuthQuestions,
  writeAuthAnswer,
} from '@bailiff/bus/auth';
import { type KubeApi, KubeError, loadKube, pause, reviewToken, type TokenReviewStatus } from '@bailiff/kube';
import { busOptionsOf, QuietLog, type ServiceContext, ServiceError } from '@bailiff/service';
import type { BusAuthConfig } from './config.ts';
import { type Decision, decide, examine, REFUSALS, type Refusal, type RefusalReason, refuse } from './decide.ts';
import { Budget, Failures } from './limits.ts';
import { type DROPS, type Metrics, makeMetrics, NO_READINGS, type Readings } from './metrics.ts';

/** Questions that wait for a slot. A fleet of a thousand that comes back at once fits. */
export const MAX_WAITING = 1_024;
/** The API server is asked this often whether it answers at all. */
const PROBE_MS = 10_000;
/** What is asked then: nobody's. */
const PROBE_TOKEN = 'bailiff-probe';
/** Seconds of reviewsPerSecond that may come at once. */
const REVIEW_BURST_S = 5;
/**
 * What counts against an address: questions to the API server that came to nothing. What is refused without one costs nothing and counts against nobody,
 * because a host-network pod has the address of its node's collector; nor does what the API server or a limit of ours caused.
 */
const ASKED_FOR_NOTHING: ReadonlySet<RefusalReason> = new Set([
  'not-authenticated',
  'not-bound',
  'no-node-claim',
  'wrong-node',
]);

export class BusAuth {
  readonly #ctx: ServiceContext<BusAuthConfig>;
  readonly #client: KubeApi;
  readonly #bus: Bus;
  readonly #keys: () => AuthKeys;
  readonly #metrics: Metrics;
  readonly #log: QuietLog;
  readonly #failures: Failures;
  readonly #reviews: Budget;
  readonly #waiting: { question: AuthQuestion; atMs: number }[] = [];
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
    this.#log = new QuietLog(ctx.log);
    this.#failures = new Failures(config.refusalsPerMinute);
    this.#reviews = new Budget(config.reviewsPerSecond, config.reviewsPerSecond * REVIEW_BURST_S, performance.now());
  }

  start(): void {
    const { health, signal } = this.#ctx;
    health.ready('bus', () => this.#bus.connected || 'not connected');
    health.ready('kubernetes', () => this.#api);
    this.#stopTaking = takeAuthQuestions(this.#bus, (question) => this.#take(question));
    this.#probe(signal).catch((error) => signal.aborted || this.#ctx.fail(error as Error));
  }

  /** Takes no more questions and answers those that it has. */
  async stop(): Promise<void> {
    this.#stopTaking();
    for (const _ of this.#waiting.splice(0)) this.#drop('overloaded');
    await Promise.all(this.#inFlight);
  }

  readings(): Readings {
    return {
      inFlight: this.#inFlight.size,
      waiting: this.#waiting.length,
      limitedAddresses: this.#failures.size,
    };
  }

  #take(question: AuthQuestion): void {
    if (this.#waiting.length >= MAX_WAITING) this.#drop('overloaded');
    else this.#waiting.push({ question, atMs: performance.now() });
    this.#next();
  }

  #next(): void {
    while (this.#inFlight.size < this.#ctx.config.maxConcurrent) {
      const first = this.#waiting.shift();
      if (!first) return;
      const { question, atMs } = first;
      // The server has refused this client by itself before an answer could come.
      if (performance.now() - atMs > AUTH_TIMEOUT_S * 1_000 - this.#ctx.config.reviewTimeoutMs) {
        this.#drop('late');
        continue;
      }
      const judged = this.#judge(question, atMs).finally(() => {
        this.#inFlight.delete(judged);
        this.#next();
      });
      this.#inFlight.add(judged);
    }
  }

  #drop(reason: (typeof DROPS)[number], error?: Error): void {
    this.#metrics.dropped.inc({ reason });
    this.#log.warn(`dropped ${reason} ${error?.message ?? ''}`, { reason, err: error }, 'a login was not answered');
  }

  async #judge(question: AuthQuestion, atMs: number): Promise<void> {
    const keys = this.#keys();
    try {
      const request = readAuthRequest(question.bytes, question.serverXkey, keys, Date.now());
      const decision = await this.#decide(request);
      if (decision === null) return this.#drop('overloaded');
      const answer = 'grant' in decision ? { grant: decision.grant } : { refusal: wordsOf(decision.refusal) };
      question.answer(writeAuthAnswer(request, keys, answer));
      this.#tell(request, decision);
      this.#metrics.loginSeconds.observe((performance.now() - atMs) / 1_000);
    } catch (error) {
      this.#drop(error instanceof BusError ? 'unreadable' : 'failed', error as Error);
    }
  }

  /** null: the API server has been asked enough. */
  async #decide(request: AuthRequest): Promise<Decision | null> {
    const { config } = this.#ctx;
    const shown = examine(request, config, Date.now());
    if ('refusal' in shown) return shown;
    if (this.#failures.isOver(request.clientHost, performance.now())) return refuse('rate-limited');
    if (!this.#reviews.take(performance.now())) return null;
    try {
      return decide(shown, await this.#review(shown.token), config, Date.now());
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      return refuse(reasonOf(error), error.message);
    }
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
    if (ASKED_FOR_NOTHING.has(reason)) this.#failures.count(request.clientHost, performance.now());
    this.#log.warn(`${reason} ${request.clientHost}`, { reason, why: REFUSALS[reason], detail, ...from }, 'refused');
  }

  /** Keeps readiness true to the API server while nobody logs in. */
  async #probe(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
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
  const log = new QuietLog(ctx.log);
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
