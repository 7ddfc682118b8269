/**
 * The responder: VERDICTS → plan → queue → guards → Kubernetes → RESPONSES.
 *
 * A start reads CONFIG_LOG and RESPONSES completely, then VERDICTS from the beginning. Tasks
 * without a terminal record are added to the queues, again at every scan and when Redis reconnects.
 * So Redis may lose all data, the process may crash at any point, and any number of replicas may
 * run. Bound: `MAX_OUTSTANDING` verdicts, then reading waits.
 */
import { setMaxListeners } from 'node:events';
import {
  type Bucket,
  type Bus,
  type BusError,
  ConfigLog,
  connectService,
  InstanceReporter,
  openBucket,
  requireHorizon,
  schemaLookup,
} from '@bailiff/bus';
import { type KubeClient, loadKube } from '@bailiff/kube';
import { RESPONSE_ACTIONS } from '@bailiff/policy';
import {
  BUDGET_EXHAUSTED,
  DELETE_STORM,
  Ledger,
  OVERDUE_GRACE_MS,
  POLICY_SETTLE_MICROS,
  PolicyHistory,
  phaseGroupOf,
  RELEASED,
  tasksOf,
} from '@bailiff/response';
import { type Response, SchemaRegistry } from '@bailiff/schemas';
import { busOptionsOf, busServiceOf, RateLimitedLog, type ServiceContext, ServiceError } from '@bailiff/service';
import { limitsOf, type ResponderConfig } from './config.ts';
import { type Metrics, makeMetrics } from './metrics.ts';
import type { Job, JobResult, StepHook, StoredVerdict } from './ports.ts';
import { Backlog, clearJob, type Now, type QueuedJob, undoJobs } from './scheduling/backlog.ts';
import { OrderGate } from './scheduling/order-gate.ts';
import { Queues } from './scheduling/queues.ts';
import { redisOf } from './scheduling/redis-options.ts';
import { QuarantineController } from './streams/quarantine-controller.ts';
import { ResponseStream } from './streams/responses.ts';
import { VerdictStream } from './streams/verdicts.ts';
import { captureClient } from './tasks/capture-client.ts';
import { FactReader } from './tasks/read-facts.ts';
import { TaskRunner } from './tasks/run-task.ts';
import { UndoRunner } from './tasks/run-undo.ts';
import type { TaskDeps } from './tasks/task-deps.ts';

/** Refusals after which a quarantine may replace the removal; `tasksOf` decides. */
const SUBSTITUTE_REASONS: ReadonlySet<string> = new Set([DELETE_STORM, BUDGET_EXHAUSTED]);
/** Interval at which held steps are checked: the maximum delay after a wait ends. */
const RELEASE_EVERY_MS = 2_000;
/** Poll interval of the reader while the backlog is full. */
const FULL_POLL_MS = 200;

export interface ResponderHooks {
  /** Called at each crash point (`Step`); a test stops the process there. */
  step?: StepHook;
}

/** Starts the responder; resolves when it processes verdicts. */
export async function startResponder(ctx: ServiceContext<ResponderConfig>, hooks: ResponderHooks = {}): Promise<void> {
  const { config, signal, clock } = ctx;
  const options = { ...busOptionsOf(config), name: 'responder' };
  const bus = await connectService(busServiceOf(ctx), options, ['VIOLATIONS', 'VERDICTS', 'RESPONSES']);
  const { responsesMaxAgeMs } = await requireHorizon(bus).catch((cause: BusError) => {
    const how = cause.code === 'BUS_HORIZON' ? 'SERVICE_CONFIG' : 'SERVICE_DEPENDENCY';
    throw new ServiceError(how, `VERDICTS and RESPONSES: ${cause.message}`, { cause });
  });
  const kube = loadKube({ kubeconfig: config.kubeconfig, context: config.kubeContext, userAgent: 'bailiff-responder' });
  ctx.onStop('kube', () => kube.close());
  const responder = new Responder(ctx, bus, new SchemaRegistry(schemaLookup(bus)), hooks.step ?? (() => {}), {
    kube,
    quarantine: openBucket(bus, 'bailiff_quarantine'),
    facts: new FactReader(() => clock.monotonicMs()),
    clock,
    limits: limitsOf(config, responsesMaxAgeMs),
    requestCapture: captureClient(bus),
  });
  await responder.start(signal);
}

type Outside = Pick<TaskDeps, 'facts' | 'clock' | 'limits' | 'requestCapture'> & {
  kube: KubeClient;
  quarantine: Bucket;
};

class Responder {
  readonly #ctx: ServiceContext<ResponderConfig>;
  readonly #step: StepHook;
  readonly #ledger = new Ledger();
  readonly #order = new OrderGate();
  readonly #backlog = new Backlog(this.#order);
  readonly #policies = new PolicyHistory();
  readonly #metrics: Metrics;
  readonly #configLog: ConfigLog;
  readonly #statusReporter: InstanceReporter;
  readonly #responses: ResponseStream;
  readonly #verdicts: VerdictStream;
  readonly #tasks: TaskRunner;
  readonly #undos: UndoRunner;
  readonly #quarantineController: QuarantineController;
  /**
   * Ends the reader of RESPONSES and the requests of jobs. Aborted after the service's signal, so
   * that running jobs can end.
   */
  readonly #end = new AbortController();
  #queues: Queues | null = null;
  #caughtUp = false;
  /** Configuration stored before it is not part of the latency metric. */
  readonly #startedMicros: number;

  constructor(
    ctx: ServiceContext<ResponderConfig>,
    bus: Bus,
    registry: SchemaRegistry,
    step: StepHook,
    outside: Outside,
  ) {
    const { config, clock, signal } = ctx;
    // Each running job adds listeners, and so do its requests to the bus.
    setMaxListeners(4 * RESPONSE_ACTIONS.length * config.concurrency, this.#end.signal);
    this.#ctx = ctx;
    this.#startedMicros = clock.nowMicros();
    this.#step = step;
    this.#metrics = makeMetrics(ctx.metrics, () => ({
      outstanding: this.#backlog.size,
      unanswered: this.#backlog.unanswered(this.#ledger, clock.nowMicros(), OVERDUE_GRACE_MS),
      stalledSeconds: this.#statusReporter.stalledSeconds,
      redisUp: this.#queues?.ready ? 1 : 0,
      undosOverdue: undoJobs(this.#ledger, clock.nowMicros(), 0, () => true).length,
      tasks: this.#ledger.size,
      refusedPolicies: this.#policies.refused().length,
      disarms: this.#policies.disarms(clock.nowMs()),
      kube: { requests: outside.kube.stats.requests, errors: Object.fromEntries(outside.kube.stats.errors) },
    }));
    const unreadable = (stream: string) => (reason: string) => {
      this.#metrics.unreadable.inc({ stream });
      ctx.log.warn({ stream, reason }, 'unreadable message dead-lettered');
    };
    const quiet = new RateLimitedLog(ctx.log);
    const onWait = (part: string) => (err: BusError) =>
      quiet.warn(`${part} ${err.code}`, { part, err }, 'the bus rejects the request for now, retrying');
    this.#configLog = new ConfigLog(bus, {
      onChange: (change) => this.#onConfig(change),
      onRecreated: () => {
        this.#policies.streamRecreated();
        this.#onRecreated('CONFIG_LOG');
      },
    });
    this.#statusReporter = new InstanceReporter({
      bus,
      service: 'responder',
      version: ctx.version,
      nowMs: () => clock.nowMs(),
      configRevision: () => this.#policies.revision,
      refused: () => this.#policies.refused().map(({ key, reason }) => [key, reason] as const),
      ready: () => ctx.health.checkReady(),
      progress: [{ stream: 'VERDICTS', position: () => this.#verdicts.position }],
      onError: (error) => ctx.log.warn({ err: error }, 'cannot publish the instance status'),
    });
    this.#responses = new ResponseStream({
      bus,
      registry,
      ledger: this.#ledger,
      onApplied: (taskId, response) => this.#onApplied(taskId, response),
      onUnreadable: unreadable('RESPONSES'),
      onWait: onWait('dead letters of RESPONSES'),
      clock,
      onRecreated: () => this.#onRecreated('RESPONSES'),
      signal: this.#end.signal,
    });
    this.#verdicts = new VerdictStream({
      bus,
      registry,
      onVerdict: (placed) => this.#onVerdict(placed),
      onUnreadable: unreadable('VERDICTS'),
      onWait: onWait('dead letters of VERDICTS'),
      clock,
      onRecreated: () => {
        this.#backlog.clear();
        this.#caughtUp = false;
        this.#onRecreated('VERDICTS');
      },
      signal,
    });
    this.#quarantineController = this.#makeQuarantineController(bus, outside.quarantine);
    const deps: TaskDeps = {
      ...outside,
      ledger: this.#ledger,
      order: this.#order,
      policies: this.#policies,
      log: this.#responses,
      readVerdict: (sequence) => this.#verdicts.get(sequence),
      metrics: this.#metrics,
      step,
      onWait: onWait('responses'),
      signal: this.#end.signal,
    };
    this.#tasks = new TaskRunner(deps);
    this.#undos = new UndoRunner(deps);
  }

  #makeQuarantineController(bus: Bus, bucket: Bucket): QuarantineController {
    const { clock, log, signal } = this.#ctx;
    return new QuarantineController({
      bus,
      bucket,
      ledger: this.#ledger,
      log: this.#responses,
      nowMs: () => clock.nowMs(),
      onRecreated: () => this.#onRecreated('KV_bailiff_quarantine'),
      onUnreadable: (node) =>
        log.error(
          { node },
          'invalid quarantine list of the node: restoring it from RESPONSES. Find out which client wrote it',
        ),
      onRestored: (node, pods) => {
        this.#metrics.quarantinesRestored.inc(pods);
        log.warn({ node, pods }, 'quarantines restored after the bucket lost them');
      },
      onError: (error) => log.error({ err: error }, 'cannot restore quarantines; the next scan retries'),
      signal,
    });
  }

  async start(signal: AbortSignal): Promise<void> {
    const { config, health, onStop, fail, log, clock } = this.#ctx;
    onStop('status', () => this.#statusReporter.close());
    onStop('configuration', () => this.#configLog.close());
    onStop('responses', () => this.#end.abort());
    health.ready('streams', () => this.#caughtUp || 'VERDICTS and RESPONSES are still being read');
    const redisProblem = () => ['Redis is not reachable', this.#queues?.problem].filter(Boolean).join(': ');
    health.ready('redis', () => this.#queues?.ready || redisProblem());
    await this.#readResponses(fail);
    if (signal.aborted) return;
    this.#queues = new Queues({
      redis: redisOf(config),
      prefix: config.queuePrefix,
      concurrency: config.concurrency,
      maxPerSecond: config.maxPerSecond,
      lockDurationMs: config.lockDurationMs,
      run: (job) => this.#run(job),
      onJobFailure: (error) => {
        this.#metrics.jobFailures.inc();
        log.error({ err: error }, 'a job failed; the next scan adds it again');
      },
      onRedisError: (error) => log.debug({ err: error }, 'Redis'),
      onRedisReady: () => {
        log.info({ outstanding: this.#backlog.size }, 'Redis connected: adding open tasks to the queues');
        this.#scan();
      },
      onRedisLost: (error) => {
        this.#metrics.redisLost.inc();
        log.error(
          { outstanding: this.#backlog.size, err: error },
          'Redis connection lost: verdicts wait until it reconnects, none is lost',
        );
      },
    });
    const queues = this.#queues;
    onStop('queues', () => queues.close());
    const cancel = clock.setRepeating(() => this.#scan(), config.scanIntervalMs);
    onStop('scan', cancel);
    onStop(
      'order',
      clock.setRepeating(() => this.#release(), RELEASE_EVERY_MS),
    );
    const caughtUp = () => {
      this.#caughtUp = true;
    };
    this.#verdicts.read(caughtUp).catch((error: Error) => signal.aborted || fail(error));
    const watching = this.#quarantineController.watch().catch((error: Error) => {
      if (!signal.aborted) fail(error);
    });
    onStop('quarantines', () => watching);
  }

  /** Resolves when the records that exist at the start are applied, or at shutdown. */
  #readResponses(fail: (error: Error) => void): Promise<void> {
    return new Promise((resolve) => {
      this.#ctx.signal.addEventListener('abort', () => resolve(), { once: true });
      this.#responses.read(resolve).catch((error: Error) => this.#end.signal.aborted || fail(error));
    });
  }

  async #onVerdict(placed: StoredVerdict): Promise<void> {
    const { clock, signal } = this.#ctx;
    const { verdictId } = placed.verdict;
    await this.#configLog.whenCaughtUpTo(placed.atMicros - POLICY_SETTLE_MICROS);
    await this.#step('verdict-read', { verdictId, action: '' });
    const tasks = tasksOf(placed, this.#policies, this.#ledger);
    this.#metrics.verdicts.inc({ matched: tasks.length > 0 ? 'yes' : 'no' });
    this.#backlog.put(placed, tasks, this.#ledger);
    const added = this.#schedule(this.#jobsOf(verdictId));
    if (this.#backlog.isFull) await added;
    while (this.#backlog.isFull && !signal.aborted) await clock.sleep(FULL_POLL_MS, signal);
  }

  #now(): Now {
    const { clock } = this.#ctx;
    return { micros: clock.nowMicros(), monotonicMs: clock.monotonicMs() };
  }

  #jobsOf(verdictId: string): QueuedJob[] {
    return this.#backlog.jobsOf(verdictId, this.#ledger, this.#now());
  }

  #onRecreated(stream: string): void {
    this.#metrics.streamsRecreated.inc({ stream });
    this.#ctx.log.warn({ stream }, 'stream recreated; reading it from its beginning');
  }

  #onApplied(taskId: string, response: Response): void {
    const { verdictId, phase, reasonCode } = response;
    if (phaseGroupOf(phase) === 'terminal') {
      const sequence = this.#backlog.ended(verdictId, taskId);
      // The next step of the policy may start.
      if (sequence !== null) void this.#schedule(this.#jobsOf(verdictId));
      if (sequence !== null && SUBSTITUTE_REASONS.has(reasonCode)) this.#replan(sequence);
    } else if (phase === 'approved') {
      void this.#schedule(this.#jobsOf(verdictId).filter(({ job }) => job.taskId === taskId));
    } else if (phase === 'pending') {
      void this.#schedule(this.#jobsOf(verdictId).filter(({ job }) => job.taskId !== taskId));
    } else if (phase === 'undone' && reasonCode === RELEASED) {
      void this.#schedule([clearJob({ taskId, response })]);
    }
  }

  /** A removal was refused: adds the job of its substitute quarantine, if any. */
  #replan(sequence: number): void {
    this.#verdicts.get(sequence).then(
      (placed) => {
        if (!placed) return;
        this.#backlog.put(placed, tasksOf(placed, this.#policies, this.#ledger), this.#ledger);
        return this.#schedule(this.#jobsOf(placed.verdict.verdictId));
      },
      (error: Error) =>
        this.#ctx.log.warn({ err: error }, 'cannot plan the substitute of a refused removal; the next start plans it'),
    );
  }

  #onConfig(change: Parameters<PolicyHistory['apply']>[0]): void {
    const before = new Set(this.#policies.refused().map(({ sequence }) => sequence));
    this.#policies.apply(change);
    const isOurs = /^(response|disarm)\./.test(change.key);
    if (isOurs) this.#statusReporter.report();
    const { clock } = this.#ctx;
    if (isOurs && change.timestampMicros >= this.#startedMicros)
      this.#metrics.policyRead.observe(Math.max(0, clock.nowMicros() - change.timestampMicros) / 1e6);
    for (const { key, sequence, reason } of this.#policies.refused()) {
      if (!before.has(sequence))
        this.#ctx.log.error({ key, sequence, reason }, 'configuration refused; the last valid version stays in force');
    }
  }

  #run(job: Job): Promise<JobResult> {
    return job.kind === 'do' ? this.#tasks.run(job) : this.#undos.run(job);
  }

  #dueJobs(aheadMs: number): QueuedJob[] {
    return this.#backlog.jobs(this.#ledger, this.#now(), aheadMs, this.#ctx.config.approvalTimeoutMs);
  }

  /** Adds the jobs of steps whose wait is over. */
  #release(): void {
    if (this.#order.size > 0) void this.#schedule(this.#dueJobs(0));
  }

  /** Adds the jobs of the next two scan intervals; existing jobs do not change. */
  #scan(): void {
    const { clock, config } = this.#ctx;
    const nowMicros = clock.nowMicros();
    const aheadMs = 2 * config.scanIntervalMs;
    this.#metrics.scans.inc();
    this.#ledger.prune(nowMicros);
    void this.#quarantineController.reconcile();
    const jobs = this.#dueJobs(aheadMs);
    jobs.push(...undoJobs(this.#ledger, nowMicros, aheadMs, (taskId) => this.#undos.isCleared(taskId)));
    void this.#schedule(jobs);
  }

  /** Never rejects: a later scan adds jobs that Redis does not accept now. */
  async #schedule(jobs: readonly QueuedJob[]): Promise<void> {
    if (jobs.length === 0 || !this.#queues) return;
    try {
      await this.#queues.add(jobs);
    } catch (error) {
      this.#metrics.scheduleFailures.inc(jobs.length);
      this.#ctx.log.debug({ err: error, jobs: jobs.length }, 'Redis did not accept jobs');
      return;
    }
    for (const { job } of jobs) await this.#step('job-added', { verdictId: job.verdictId, action: job.action });
  }
}
