/**
 * The responder: VERDICTS → plan → queue → guards → Kubernetes → RESPONSES. This file creates its
 * parts from the streams down to the queues, and starts them.
 *
 * A start reads CONFIG_LOG and RESPONSES completely, then VERDICTS from the beginning. Tasks without a terminal
 * record are added to the queues, again at every scan and when Redis reconnects. So Redis may lose all data, the
 * process may crash at any point, and any number of replicas may run. Bound: MAX_OUTSTANDING, shared by namespaces.
 */
import { setMaxListeners } from 'node:events';
import { type Bus, type BusError, ClusterReader, InstanceReporter, signedConfigBy, toBusError } from '@bailiff/bus';
import type { KubeClient } from '@bailiff/kube';
import { RESPONSE_ACTIONS, type SignedConfig } from '@bailiff/policy';
import { Ledger, PolicyHistory } from '@bailiff/response';
import { type Clock, RateLimitedLog, type ServiceContext } from '@bailiff/service';
import type { ResponderConfig } from './config.ts';
import { type Metrics, makeMetrics, type Readings } from './metrics.ts';
import { connectOutside, type Outside } from './outside.ts';
import { Planner } from './planning/planner.ts';
import type { Job, JobResult, StepHook } from './ports.ts';
import { RightsCheck, TICK_MS } from './rights.ts';
import { OrderGate } from './scheduling/order-gate.ts';
import { Queues, UNREACHABLE } from './scheduling/queues.ts';
import { reportedEnds, watchRedisCertificate } from './scheduling/redis-certificate.ts';
import { redisOf } from './scheduling/redis-options.ts';
import { Scheduler } from './scheduling/scheduler.ts';
import { coverVerdicts, readPolicies } from './streams/policy-log.ts';
import { QuarantineController } from './streams/quarantine-controller.ts';
import { ResponseStream } from './streams/responses.ts';
import { MAX_TICK_MS, RetentionController } from './streams/retention-controller.ts';
import { VerdictStream } from './streams/verdicts.ts';
import { TaskRunner } from './tasks/run-task.ts';
import { UndoRunner } from './tasks/run-undo.ts';
import type { TaskDeps } from './tasks/task-deps.ts';

/** Characters of a job id that are logged. */
const MAX_LOGGED_ID = 64;
/** Interval at which held steps are checked: the maximum delay after a wait ends. */
const RELEASE_EVERY_MS = 2_000;

export interface ResponderHooks {
  /** Called at each crash point (`Step`); a test stops the process there. */
  step?: StepHook;
  /** Default MAX_OUTSTANDING. */
  maxOutstanding?: number;
}

/** Starts the responder; resolves when it processes verdicts. */
export async function startResponder(ctx: ServiceContext<ResponderConfig>, hooks: ResponderHooks = {}): Promise<void> {
  const { bus, ...outside } = await connectOutside(ctx);
  await new Responder(ctx, bus, outside, hooks).start();
}

class Responder {
  readonly #ctx: ServiceContext<ResponderConfig>;
  /** The time of the bus. */
  readonly #clock: Clock;
  readonly #kube: KubeClient;
  readonly #ledger = new Ledger();
  readonly #signed: SignedConfig;
  readonly #policies: PolicyHistory;
  readonly #metrics: Metrics;
  readonly #bus: Bus;
  readonly #policyLog: ReturnType<typeof readPolicies>;
  readonly #responses: ResponseStream;
  readonly #cluster: ClusterReader;
  readonly #verdicts: VerdictStream;
  readonly #tasks: TaskRunner;
  readonly #undos: UndoRunner;
  readonly #scheduler: Scheduler;
  readonly #quarantines: QuarantineController;
  readonly #retention: RetentionController;
  readonly #statusReporter: InstanceReporter;
  readonly #rights: RightsCheck;
  readonly #redisCertificate: ReturnType<typeof watchRedisCertificate>;
  /** Ends the reader of RESPONSES and the requests of jobs: after the service's signal, so that running jobs can end. */
  readonly #end = new AbortController();
  #queues: Queues | null = null;
  #caughtUp = false;

  constructor(
    ctx: ServiceContext<ResponderConfig>,
    bus: Bus,
    { registry, ...outside }: Omit<Outside, 'bus'>,
    { step = () => {}, maxOutstanding }: ResponderHooks,
  ) {
    const { config, log, signal } = ctx;
    const { clock } = outside;
    const ledger = this.#ledger;
    this.#signed = signedConfigBy(config.configSigners);
    this.#policies = new PolicyHistory(this.#signed);
    const policies = this.#policies;
    const metrics = makeMetrics(ctx.metrics, () => this.#readings());
    this.#ctx = ctx;
    this.#bus = bus;
    this.#clock = clock;
    this.#kube = outside.kube;
    this.#metrics = metrics;
    // Each running job adds listeners, and so do its requests to the bus.
    setMaxListeners(4 * RESPONSE_ACTIONS.length * config.concurrency, this.#end.signal);
    const quiet = new RateLimitedLog(log);
    const onWait = (part: string) => (err: BusError) =>
      quiet.warn(`${part} ${err.code}`, { part, err }, 'the bus rejects the request for now, retrying');
    const streamOptions = (stream: string) => ({
      bus,
      registry,
      clock,
      onWait: onWait(`dead letters of ${stream}`),
      onUnreadable: (reason: string) => this.#onUnreadable(stream, reason),
    });

    bus.recreatedListeners.add((stream) => metrics.streamsRecreated.inc({ stream }));
    const onChange = () => {
      this.#statusReporter.report();
      void this.#rights.check();
    };
    this.#policyLog = readPolicies({ bus, policies, clock, metrics, log, onChange });
    this.#cluster = new ClusterReader({
      bus,
      clock,
      onError: (error) => onWait('cluster')(toBusError(error, 'the identity of the cluster')),
    });
    this.#responses = new ResponseStream({
      ...streamOptions('RESPONSES'),
      cluster: this.#cluster,
      ledger,
      onStored: ({ action, phase, reasonCode }) => metrics.responses.inc({ action, phase, reason: reasonCode }),
      signal: this.#end.signal,
    });
    this.#verdicts = new VerdictStream({ ...streamOptions('VERDICTS'), signal });
    const planner = new Planner({
      policies,
      ledger,
      whenPoliciesRead: (timeMicros) => this.#policyLog.whenCompleteTo(timeMicros),
      readVerdict: (sequence) => this.#verdicts.get(sequence),
      findVerdict: (response) => this.#verdicts.find(response),
    });
    const order = new OrderGate();
    const deps: TaskDeps = {
      ...outside,
      ledger,
      order,
      policies,
      planner,
      metrics,
      step,
      mayWait: (verdictId) => this.#scheduler.mayWait(verdictId),
      waitedTurn: (...of) => this.#scheduler.waitedTurn(...of),
      log: this.#responses,
      onWait: onWait('responses'),
      signal: this.#end.signal,
    };
    this.#tasks = new TaskRunner(deps);
    this.#undos = new UndoRunner(deps);
    this.#scheduler = new Scheduler(
      {
        planner,
        order,
        ledger,
        clock,
        metrics,
        log,
        step,
        signal,
        isCleared: (taskId) => this.#undos.isCleared(taskId),
        approvalTimeoutMs: config.approvalTimeoutMs,
        maxGraceSeconds: config.maxGraceSeconds,
        scanIntervalMs: config.scanIntervalMs,
      },
      maxOutstanding,
    );
    this.#quarantines = this.#makeQuarantineController(bus, outside);
    this.#retention = this.#makeRetentionController(bus);
    this.#rights = this.#makeRightsCheck(outside);
    this.#redisCertificate = watchRedisCertificate(redisOf(ctx.config), ctx.signal);
    ctx.onCertificates(this.#redisCertificate);
    this.#statusReporter = this.#makeStatusReporter(bus);
  }

  #makeRightsCheck({ kube }: Pick<Outside, 'kube'>): RightsCheck {
    const { config, log, signal } = this.#ctx;
    return new RightsCheck({
      client: kube,
      policies: () => this.#policies.latest(this.#clock.nowMicros()).byName.values(),
      dryRun: config.dryRun,
      onChange: () => {
        this.#statusReporter.report();
        const { missing } = this.#rights;
        if (missing.length > 0) log.error({ missing }, 'the API server does not permit what the policies need');
      },
      onError: (error) => log.warn({ err: error }, 'cannot check the rights at the API server; the next check retries'),
      signal,
    });
  }

  #makeStatusReporter(bus: Bus): InstanceReporter {
    const { config, log } = this.#ctx;
    return new InstanceReporter({
      ctx: this.#ctx,
      bus,
      service: 'responder',
      configRevision: () => this.#policies.revision,
      refused: () => this.#refused(),
      progress: [{ stream: 'VERDICTS', position: () => this.#verdicts.position }],
      more: () => {
        const untilMicros = this.#policies.formerUntilMicros(this.#clock.nowMicros());
        return {
          ...(untilMicros > 0 ? { formerPoliciesUntil: new Date(untilMicros / 1000).toISOString() } : {}),
          maxGraceSeconds: config.maxGraceSeconds,
          ...(config.dryRun ? { dryRun: true as const } : {}),
          certificates: reportedEnds(this.#redisCertificate()),
          ...(this.#rights.missing.length > 0 ? { missingRights: [...this.#rights.missing] } : {}),
        };
      },
      onError: (error) => log.warn({ err: error }, 'cannot publish the instance status'),
    });
  }

  /** Keys that are not in force as on the bus, with the reason. */
  #refused(): (readonly [key: string, reason: string])[] {
    const refused = this.#policies.refused().map(({ key, message }) => [key, message] as const);
    return [...new Map([...this.#signed.missing(['response', 'disarm']), ...refused])];
  }

  #makeQuarantineController(
    bus: Bus,
    { quarantine: bucket, quarantinesGone }: Pick<Outside, 'quarantine' | 'quarantinesGone'>,
  ): QuarantineController {
    const { log, signal } = this.#ctx;
    return new QuarantineController({
      bus,
      bucket,
      quarantinesGone,
      ledger: this.#ledger,
      log: this.#responses,
      nowMs: () => this.#clock.nowMs(),
      onUnreadable: (node) =>
        log.error(
          { node },
          'invalid quarantine list of the node: restoring it from RESPONSES. Find out which client wrote it',
        ),
      onRestored: (node, pods) => {
        this.#metrics.quarantinesRestored.inc(pods);
        log.warn({ node, pods }, 'quarantines restored after the bucket lost them');
      },
      onOmitted: (node, pods) =>
        log.error({ node, pods }, 'quarantines not restored: no place is left in the list of the node'),
      onError: (error) => log.error({ err: error }, 'cannot edit a quarantine list; the next scan retries'),
      signal,
    });
  }

  #makeRetentionController(bus: Bus): RetentionController {
    const { clock, log, signal } = this.#ctx;
    return new RetentionController({
      bus,
      ledger: this.#ledger,
      log: this.#responses,
      clock,
      signal,
      onVerdictsDeleted: (firstSequence) => this.#scheduler.verdictsDeleted(firstSequence),
      onTrimmed: (stream, keptMs) => {
        if (keptMs === null) log.info({ stream }, 'the stream keeps its messages until their age limit again');
        else
          log.warn(
            { stream, keptHours: keptMs / 3_600_000 },
            'the stream is full and deletes messages before their age limit: find out which namespace fills it, and raise its max_bytes',
          );
      },
      onRenewed: () => this.#metrics.recordsRenewed.inc(),
      onLost: () => this.#metrics.recordsLost.inc(),
      onError: (error) => log.warn({ err: error }, 'cannot store needed records again; the next tick retries'),
      onWait: (error) => log.warn({ err: error }, 'waiting for RESPONSES'),
    });
  }

  async start(): Promise<void> {
    const { config, health, onStop, fail, clock, signal, log } = this.#ctx;
    onStop('cluster', await this.#cluster.start());
    onStop('status', () => this.#statusReporter.close());
    onStop('configuration', () => this.#policyLog.close());
    onStop('responses', () => this.#end.abort());
    health.ready('streams', () => this.#caughtUp || 'VERDICTS and RESPONSES are still being read');
    health.ready('kubernetes', () => this.#rights.problem === '' || this.#rights.problem);
    const refusal = () => `Redis accepts no jobs: ${this.#queues?.refusal}`;
    const redisProblem = () => this.#queues?.problem || UNREACHABLE;
    health.ready('redis', () => (this.#queues?.ready ? this.#queues.refusal === '' || refusal() : redisProblem()));
    await this.#readResponses();
    if (signal.aborted) return;
    await this.#retention.begin();
    const onWait = (err: BusError) => log.warn({ err }, 'waiting for VERDICTS and CONFIG_LOG');
    await coverVerdicts(this.#bus, this.#policyLog, this.#policies, { clock, onWait, signal });
    if (signal.aborted) return;
    const queues = this.#openQueues();
    this.#queues = queues;
    this.#scheduler.start(queues);
    onStop('queues', () => queues.close());
    const every = (ms: number, part: string, work: () => void) => onStop(part, clock.setRepeating(work, ms));
    every(config.scanIntervalMs, 'scan', () => this.#scan());
    every(TICK_MS, 'rights', () => this.#rights.tick());
    every(Math.min(config.scanIntervalMs, MAX_TICK_MS), 'retention', () => void this.#retention.tick());
    every(RELEASE_EVERY_MS, 'order', () => this.#scheduler.release());
    const failUnlessStopped = (error: Error) => void (signal.aborted || fail(error));
    this.#readVerdicts().catch(failUnlessStopped);
    const watching = this.#quarantines.watch().catch(failUnlessStopped);
    onStop('quarantines', () => watching);
  }

  /** Resolves when the records that exist at the start are applied, or at shutdown. */
  #readResponses(): Promise<void> {
    return new Promise((resolve) => {
      this.#ctx.signal.addEventListener('abort', () => resolve(), { once: true });
      const reading = this.#responses.read({
        onApplied: (taskId, response) => this.#scheduler.applied(taskId, response),
        onCaughtUp: resolve,
      });
      reading.catch((error: Error) => this.#end.signal.aborted || this.#ctx.fail(error));
    });
  }

  #readVerdicts(): Promise<void> {
    return this.#verdicts.read({
      onVerdict: (stored) => this.#scheduler.take(stored),
      onCaughtUp: () => {
        this.#caughtUp = true;
      },
      onRecreated: () => {
        this.#scheduler.clear();
        this.#caughtUp = false;
      },
    });
  }

  #openQueues(): Queues {
    const { config, log } = this.#ctx;
    const quiet = new RateLimitedLog(log);
    return new Queues({
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
      onForeignJob: (id) => {
        this.#metrics.orphanJobs.inc();
        quiet.warn('foreign job', { id: id.slice(0, MAX_LOGGED_ID) }, 'dropped a job that no responder added to Redis');
      },
      onRedisError: (error) => log.debug({ err: error }, 'Redis'),
      onRedisReady: () => {
        log.info({ outstanding: this.#scheduler.outstanding }, 'Redis connected: adding open tasks to the queues');
        this.#scan();
      },
      onRedisLost: (error) => {
        this.#metrics.redisLost.inc();
        log.error(
          { outstanding: this.#scheduler.outstanding, err: error },
          'Redis connection lost: verdicts wait until it reconnects, none is lost',
        );
      },
    });
  }

  #run(job: Job): Promise<JobResult> {
    return job.kind === 'do' ? this.#tasks.run(job) : this.#undos.run(job);
  }

  #scan(): void {
    this.#scheduler.scan();
    void this.#quarantines.reconcile();
    void this.#quarantines.removeGone();
  }

  #onUnreadable(stream: string, reason: string): void {
    this.#metrics.unreadable.inc({ stream });
    this.#ctx.log.warn({ stream, reason }, 'unreadable message dead-lettered');
  }

  #readings(): Readings {
    return {
      outstanding: this.#scheduler.outstanding,
      deferred: this.#scheduler.deferred,
      unanswered: this.#scheduler.unanswered,
      stalledSeconds: this.#statusReporter.stalledSeconds,
      redisUp: this.#queues?.ready ? 1 : 0,
      undosOverdue: this.#scheduler.undosOverdue,
      tasks: this.#ledger.size,
      trimmed: Object.fromEntries(
        ['VERDICTS', 'RESPONSES'].map((stream) => [stream, Number(this.#retention.trimmed.has(stream))]),
      ),
      labelsForgotten: this.#ledger.labelsForgotten,
      refusedPolicies: this.#refused().length,
      disarms: this.#policies.disarms(this.#clock.nowMs()),
      kube: { ...this.#kube.stats, errors: Object.fromEntries(this.#kube.stats.errors) },
    };
  }
}
