/**
 * The responder: VERDICTS → plan → queue → guards → Kubernetes → RESPONSES.
 *
 * At start it folds the configuration log and RESPONSES whole, then reads VERDICTS from the beginning; what has no terminal record goes into
 * the queue, and again at every scan and whenever Redis comes back. So Redis may lose everything, the process may die anywhere, and any
 * number of replicas may run: the streams say what is left to do. Bounds: `MAX_OUTSTANDING` verdicts, then reading waits.
 */
import { setMaxListeners } from 'node:events';
import {
  BUDGET_EXHAUSTED,
  DELETE_STORM,
  Ledger,
  POLICY_SETTLE_MICROS,
  PolicyBook,
  phaseGroupOf,
  RELEASED,
  tasksOf,
  UNANSWERED_MS,
} from '@bailiff/answer';
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
import { ACTIONS } from '@bailiff/policy';
import { type Response, SchemaRegistry } from '@bailiff/schemas';
import { busOptionsOf, busServiceOf, RateLimitedLog, type ServiceContext, ServiceError } from '@bailiff/service';
import { nodeAsker } from './ask-node.ts';
import { Backlog, clearJob, type Now, type QueuedJob, undoJobs } from './backlog.ts';
import { limitsOf, type ResponderConfig } from './config.ts';
import { type Metrics, makeMetrics } from './metrics.ts';
import { OrderGate } from './order-gate.ts';
import type { Job, JobResult, PlacedVerdict, StepHook } from './ports.ts';
import { QuarantineKeeper } from './quarantine-keeper.ts';
import { Queues } from './queues.ts';
import { FactReader } from './read-facts.ts';
import { redisOf } from './redis-options.ts';
import { ResponseStream } from './responses.ts';
import { TaskRunner } from './run-task.ts';
import { UndoRunner } from './run-undo.ts';
import type { TaskDeps } from './task-deps.ts';
import { VerdictStream } from './verdicts.ts';

/** Refusals after which a quarantine may have to stand in; `tasksOf` decides. */
const STAND_IN_REASONS: ReadonlySet<string> = new Set([DELETE_STORM, BUDGET_EXHAUSTED]);
/** How often steps whose wait for an earlier one is over are looked for: a wait ends this much late at most. */
const RELEASE_EVERY_MS = 2_000;
/** How often reading looks whether the backlog has room again. */
const FULL_POLL_MS = 200;

export interface ResponderHooks {
  /** Called at the moments named by `Step`; a test stops the process there. */
  step?: StepHook;
}

/** Brings the responder up; resolves when it works. */
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
    askNode: nodeAsker(bus),
  });
  await responder.start(signal);
}

type Outside = Pick<TaskDeps, 'facts' | 'clock' | 'limits' | 'askNode'> & { kube: KubeClient; quarantine: Bucket };

class Responder {
  readonly #ctx: ServiceContext<ResponderConfig>;
  readonly #step: StepHook;
  readonly #ledger = new Ledger();
  readonly #order = new OrderGate();
  readonly #backlog = new Backlog(this.#order);
  readonly #book = new PolicyBook();
  readonly #metrics: Metrics;
  readonly #configLog: ConfigLog;
  readonly #teller: InstanceReporter;
  readonly #responses: ResponseStream;
  readonly #verdicts: VerdictStream;
  readonly #tasks: TaskRunner;
  readonly #undos: UndoRunner;
  readonly #keeper: QuarantineKeeper;
  /** Ends the reading of RESPONSES and the requests of jobs: later than the intake, so that running jobs may end in order. */
  readonly #end = new AbortController();
  #queues: Queues | null = null;
  #caughtUp = false;
  /** What was stored before was not waited for. */
  readonly #startedMicros: number;

  constructor(
    ctx: ServiceContext<ResponderConfig>,
    bus: Bus,
    registry: SchemaRegistry,
    step: StepHook,
    outside: Outside,
  ) {
    const { config, clock, signal } = ctx;
    // Each job under way listens, and waits of the bus beside them.
    setMaxListeners(4 * ACTIONS.length * config.concurrency, this.#end.signal);
    this.#ctx = ctx;
    this.#startedMicros = clock.nowMicros();
    this.#step = step;
    this.#metrics = makeMetrics(ctx.metrics, () => ({
      outstanding: this.#backlog.size,
      unanswered: this.#backlog.unanswered(this.#ledger, clock.nowMicros(), UNANSWERED_MS),
      stalledSeconds: this.#teller.stalledSeconds,
      redisUp: this.#queues?.ready ? 1 : 0,
      undosOverdue: undoJobs(this.#ledger, clock.nowMicros(), 0, () => true).length,
      tasks: this.#ledger.size,
      refusedPolicies: this.#book.refused().length,
      disarms: this.#book.disarms(clock.nowMs()),
      kube: { requests: outside.kube.stats.requests, errors: Object.fromEntries(outside.kube.stats.errors) },
    }));
    const unreadable = (stream: string) => (reason: string) => {
      this.#metrics.unreadable.inc({ stream });
      ctx.log.warn({ stream, reason }, 'a message could not be read and is dead-lettered');
    };
    const quiet = new RateLimitedLog(ctx.log);
    const onWait = (part: string) => (err: BusError) =>
      quiet.warn(`${part} ${err.code}`, { part, err }, 'the bus does not take it now; it waits and is tried again');
    this.#configLog = new ConfigLog(bus, {
      onChange: (change) => this.#onConfig(change),
      onRecreated: () => {
        this.#book.startOver();
        this.#onRemade('CONFIG_LOG');
      },
    });
    this.#teller = new InstanceReporter({
      bus,
      service: 'responder',
      version: ctx.version,
      nowMs: () => clock.nowMs(),
      configRevision: () => this.#book.revision,
      refused: () => this.#book.refused().map(({ key, reason }) => [key, reason] as const),
      ready: () => ctx.health.checkReady(),
      progress: [{ stream: 'VERDICTS', position: () => this.#verdicts.position }],
      onError: (error) => ctx.log.warn({ err: error }, 'its status could not be told'),
    });
    this.#responses = new ResponseStream({
      bus,
      registry,
      ledger: this.#ledger,
      onFolded: (taskId, response) => this.#onFolded(taskId, response),
      onUnreadable: unreadable('RESPONSES'),
      onWait: onWait('dead letters of RESPONSES'),
      clock,
      onRemade: () => this.#onRemade('RESPONSES'),
      signal: this.#end.signal,
    });
    this.#verdicts = new VerdictStream({
      bus,
      registry,
      onVerdict: (placed) => this.#onVerdict(placed),
      onUnreadable: unreadable('VERDICTS'),
      onWait: onWait('dead letters of VERDICTS'),
      clock,
      onRemade: () => {
        this.#backlog.clear();
        this.#caughtUp = false;
        this.#onRemade('VERDICTS');
      },
      signal,
    });
    this.#keeper = this.#keeperOf(bus, outside.quarantine);
    const deps: TaskDeps = {
      ...outside,
      ledger: this.#ledger,
      order: this.#order,
      book: this.#book,
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

  #keeperOf(bus: Bus, bucket: Bucket): QuarantineKeeper {
    const { clock, log, signal } = this.#ctx;
    return new QuarantineKeeper({
      bus,
      bucket,
      ledger: this.#ledger,
      log: this.#responses,
      nowMs: () => clock.nowMs(),
      onRemade: () => this.#onRemade('KV_bailiff_quarantine'),
      onLost: (node) =>
        log.error(
          { node },
          'the quarantine list of the node cannot be read: rebuilding it from RESPONSES. Find out who wrote it',
        ),
      onPutAgain: (node, pods) => {
        this.#metrics.quarantinesPutAgain.inc(pods);
        log.warn({ node, pods }, 'quarantines that the bucket had lost are put again');
      },
      onError: (error) => log.error({ err: error }, 'quarantines could not be put again; the next scan tries'),
      signal,
    });
  }

  async start(signal: AbortSignal): Promise<void> {
    const { config, health, onStop, fail, log, clock } = this.#ctx;
    onStop('status', () => this.#teller.close());
    onStop('configuration', () => this.#configLog.close());
    onStop('responses', () => this.#end.abort());
    health.ready('streams', () => this.#caughtUp || 'VERDICTS and RESPONSES are still being read');
    const silent = () => ['Redis does not answer', this.#queues?.problem].filter(Boolean).join(': ');
    health.ready('redis', () => this.#queues?.ready || silent());
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
        log.error({ err: error }, 'a job failed; the next scan puts it back');
      },
      onRedisError: (error) => log.debug({ err: error }, 'Redis'),
      onRedisReady: () => {
        log.info({ outstanding: this.#backlog.size }, 'Redis is there: what is outstanding goes into the queue');
        this.#scan();
      },
      onRedisLost: (error) => {
        this.#metrics.redisLost.inc();
        log.error(
          { outstanding: this.#backlog.size, err: error },
          'Redis is lost: verdicts wait until it is back, none is forgotten',
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
    const keeping = this.#keeper.watch().catch((error: Error) => {
      if (!signal.aborted) fail(error);
    });
    onStop('quarantines', () => keeping);
  }

  /** Resolves when what was there at the start is folded, or at the end. */
  #readResponses(fail: (error: Error) => void): Promise<void> {
    return new Promise((resolve) => {
      this.#ctx.signal.addEventListener('abort', () => resolve(), { once: true });
      this.#responses.read(resolve).catch((error: Error) => this.#end.signal.aborted || fail(error));
    });
  }

  async #onVerdict(placed: PlacedVerdict): Promise<void> {
    const { clock, signal } = this.#ctx;
    const { verdictId } = placed.verdict;
    await this.#configLog.whenCaughtUpTo(placed.atMicros - POLICY_SETTLE_MICROS);
    await this.#step('verdict-read', { verdictId, action: '' });
    const tasks = tasksOf(placed, this.#book, this.#ledger);
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

  #onRemade(stream: string): void {
    this.#metrics.streamsRemade.inc({ stream });
    this.#ctx.log.warn({ stream }, 'a stream was made anew; it is read from its beginning');
  }

  #onFolded(taskId: string, response: Response): void {
    const { verdictId, phase, reasonCode } = response;
    if (phaseGroupOf(phase) === 'terminal') {
      const sequence = this.#backlog.ended(verdictId, taskId);
      // The next step of its policy may begin.
      if (sequence !== null) void this.#schedule(this.#jobsOf(verdictId));
      if (sequence !== null && STAND_IN_REASONS.has(reasonCode)) this.#replan(sequence);
    } else if (phase === 'approved') {
      void this.#schedule(this.#jobsOf(verdictId).filter(({ job }) => job.taskId === taskId));
    } else if (phase === 'pending') {
      void this.#schedule(this.#jobsOf(verdictId).filter(({ job }) => job.taskId !== taskId));
    } else if (phase === 'undone' && reasonCode === RELEASED) {
      void this.#schedule([clearJob({ taskId, response })]);
    }
  }

  /** A removal was refused: the quarantine that stands in for it, if any, goes into the queue. */
  #replan(sequence: number): void {
    this.#verdicts.get(sequence).then(
      (placed) => {
        if (!placed) return;
        this.#backlog.put(placed, tasksOf(placed, this.#book, this.#ledger), this.#ledger);
        return this.#schedule(this.#jobsOf(placed.verdict.verdictId));
      },
      (error: Error) => this.#ctx.log.warn({ err: error }, 'a stopped deletion is planned again at the next start'),
    );
  }

  #onConfig(change: Parameters<PolicyBook['apply']>[0]): void {
    const before = new Set(this.#book.refused().map(({ sequence }) => sequence));
    this.#book.apply(change);
    const isOurs = /^(response|disarm)\./.test(change.key);
    if (isOurs) this.#teller.report();
    const { clock } = this.#ctx;
    if (isOurs && change.timestampMicros >= this.#startedMicros)
      this.#metrics.policyRead.observe(Math.max(0, clock.nowMicros() - change.timestampMicros) / 1e6);
    for (const { key, sequence, reason } of this.#book.refused()) {
      if (!before.has(sequence))
        this.#ctx.log.error({ key, sequence, reason }, 'refused; the last good one stays in force');
    }
  }

  #run(job: Job): Promise<JobResult> {
    return job.kind === 'do' ? this.#tasks.run(job) : this.#undos.run(job);
  }

  #dueJobs(aheadMs: number): QueuedJob[] {
    return this.#backlog.jobs(this.#ledger, this.#now(), aheadMs, this.#ctx.config.approvalTimeoutMs);
  }

  /** Queues the steps that have waited long enough for an earlier one. */
  #release(): void {
    if (this.#order.size > 0) void this.#schedule(this.#dueJobs(0));
  }

  /** Puts whatever is due before the scan after the next one into the queue; what is there already stays. */
  #scan(): void {
    const { clock, config } = this.#ctx;
    const nowMicros = clock.nowMicros();
    const aheadMs = 2 * config.scanIntervalMs;
    this.#metrics.scans.inc();
    this.#ledger.prune(nowMicros);
    void this.#keeper.settle();
    const jobs = this.#dueJobs(aheadMs);
    jobs.push(...undoJobs(this.#ledger, nowMicros, aheadMs, (taskId) => this.#undos.isCleared(taskId)));
    void this.#schedule(jobs);
  }

  /** Never rejects: what Redis does not take now, a scan puts in later. */
  async #schedule(jobs: readonly QueuedJob[]): Promise<void> {
    if (jobs.length === 0 || !this.#queues) return;
    try {
      await this.#queues.add(jobs);
    } catch (error) {
      this.#metrics.scheduleFailures.inc(jobs.length);
      this.#ctx.log.debug({ err: error, jobs: jobs.length }, 'Redis did not take jobs');
      return;
    }
    for (const { job } of jobs) await this.#step('job-added', { verdictId: job.verdictId, action: job.action });
  }
}
