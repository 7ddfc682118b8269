/**
 * The correlator: VIOLATIONS → correlation engine → VERDICTS. A shell around libs/correlation.
 *
 * Every replica reads the whole stream and publishes every verdict; the bus rejects second copies.
 * So there is no leader election and no state store. A start reads CONFIG_LOG, the pod lists and
 * the prior refusals, then VIOLATIONS from the replay plan's position. It is ready when it has
 * caught up. If VIOLATIONS is recreated, a new engine reads it from its first frame; verdict ids do
 * not change.
 */
import {
  type Bus,
  type ConfigChange,
  ConfigLog,
  connectService,
  consumeOrdered,
  InstanceReporter,
  type Position,
  requireHorizon,
  schemaLookup,
} from '@bailiff/bus';
import {
  CorrelationEngine,
  PodInventory,
  PriorRefusals,
  planReplay,
  type Refusal,
  type ReplayPlan,
  RuleHistory,
  warmUpMicros,
} from '@bailiff/correlation';
import { ProjectedFrameRegistry, SchemaRegistry, type Verdict } from '@bailiff/schemas';
import { busOptionsOf, busServiceOf, RateLimitedLog, type ServiceContext } from '@bailiff/service';
import type { CorrelatorConfig } from './config.ts';
import { DeadLetters, readPriorRefusals } from './dead-letters.ts';
import { FrameConsumer, type InputWatermark } from './frame-consumer.ts';
import { IdleWatermark } from './idle-watermark.ts';
import { type Metrics, makeMetrics, NO_READINGS, type Readings } from './metrics.ts';
import { PodsLog } from './pods-log.ts';
import { readStreamState } from './replay-start.ts';
import { VerdictPublisher } from './verdict-publisher.ts';

/**
 * Share of the stop timeout that the wait for the bus may use, so that an unavailable bus does not
 * make the stop fail.
 */
const STOP_SHARE = 0.8;
/** A greater lag makes the process not ready. */
const LAG_LIMIT_MS = 60_000;
/** Twice the longest timespan and cooldown of a rule: older rule sets affect no verdict. */
const LONGEST_MEMORY_MICROS = 4 * 86_400_000_000;

/** Starts the correlator; resolves when it reads frames. */
export async function start(ctx: ServiceContext<CorrelatorConfig>): Promise<void> {
  const { config, clock } = ctx;
  const options = { ...busOptionsOf(config), name: 'correlator' };
  const bus = await connectService(busServiceOf(ctx), options, ['VIOLATIONS', 'VERDICTS', 'RESPONSES']);
  await requireHorizon(bus);
  const lookup = schemaLookup(bus);
  const frames = new ProjectedFrameRegistry(lookup, clock.nowMs);
  await new Correlator(ctx, bus, frames, new SchemaRegistry(lookup, clock.nowMs)).start();
}

class Correlator {
  readonly #ctx: ServiceContext<CorrelatorConfig>;
  readonly #bus: Bus;
  readonly #frames: ProjectedFrameRegistry;
  readonly #verdicts: SchemaRegistry;
  readonly #metrics: Metrics;
  readonly #rules = new RuleHistory();
  readonly #inventory = new PodInventory();
  readonly #configLog: ConfigLog;
  readonly #statusReporter: InstanceReporter;
  readonly #pods: PodsLog;
  readonly #publisher: VerdictPublisher;
  /** Aborted after the shutdown has waited for publishes in flight. */
  readonly #end = new AbortController();
  readonly #log: RateLimitedLog;
  #deadLetters: DeadLetters;
  #engine: CorrelationEngine | null = null;
  #consumer: FrameConsumer | null = null;
  #idleWatermark: IdleWatermark | null = null;
  #streamsRecreated = 0;
  /** Configuration stored before it is not part of the latency metric. */
  readonly #startedMicros: number;
  #plan: ReplayPlan = { readFromMicros: 0, publishFromMicros: 0 };
  #caughtUp = false;
  /** Unpublished verdicts of the warm-up. */
  #replayed = 0;

  constructor(
    ctx: ServiceContext<CorrelatorConfig>,
    bus: Bus,
    frames: ProjectedFrameRegistry,
    verdicts: SchemaRegistry,
  ) {
    const { signal, clock } = ctx;
    this.#ctx = ctx;
    this.#log = new RateLimitedLog(ctx.log);
    this.#bus = bus;
    this.#frames = frames;
    this.#verdicts = verdicts;
    this.#startedMicros = clock.nowMicros();
    this.#metrics = makeMetrics(ctx.metrics, () => this.#readings());
    bus.recreatedListeners.add(() => {
      this.#streamsRecreated++;
    });
    this.#configLog = new ConfigLog(bus, {
      onChange: (change) => this.#onConfig(change),
      onRecreated: () => this.#rules.streamRecreated(),
    });
    this.#statusReporter = new InstanceReporter({
      bus,
      service: 'correlator',
      version: ctx.version,
      nowMs: clock.nowMs,
      configRevision: () => this.#rules.latest().revision,
      refused: () => this.#rules.latest().problems.map(({ key, message }) => [key, message] as const),
      ready: () => ctx.health.checkReady(),
      progress: [{ stream: 'VIOLATIONS', position: () => this.#position() }],
      onError: (error) => this.#busFailed('status', error),
    });
    this.#deadLetters = this.#makeDeadLetters(new PriorRefusals(0));
    this.#pods = new PodsLog({
      bus,
      inventory: this.#inventory,
      signal,
      onRefused: (node, reason) => this.#warn(`pods of ${node}`, new Error(reason), 'pod list refused'),
    });
    this.#publisher = new VerdictPublisher({
      bus,
      clock,
      onPublished: (verdict, outcome, streamMicros) => this.#onPublished(verdict, outcome, streamMicros),
      onFailed: (verdict, err) => {
        this.#metrics.verdicts.inc({ outcome: 'failed', level: verdict.level, rule: verdict.rule });
        ctx.log.error({ err, verdictId: verdict.verdictId }, 'cannot publish a verdict');
      },
      onRetry: (error) => this.#busFailed('verdicts', error),
      onFatal: (error) => ctx.fail(error),
      signal: this.#end.signal,
    });
  }

  async start(): Promise<void> {
    const { config, clock, signal, health, onStop } = this.#ctx;
    health.ready('replay', () => this.#caughtUp || `${this.#consumer?.pending ?? 'all'} frames left to replay`);
    health.ready('lag', () => {
      const lagMs = this.#caughtUp ? (this.#consumer?.lagMs() ?? 0) : 0;
      return (
        lagMs < LAG_LIMIT_MS ||
        `${this.#consumer?.pending ?? 0} frames and ${Math.round(lagMs / 1000)} s behind the bus`
      );
    });
    health.ready('verdicts', () => this.#publisher.hasRoom || 'verdicts cannot be published');
    onStop('status', () => this.#statusReporter.close());
    onStop('configuration', () => this.#configLog.close());
    onStop('verdicts', async () => {
      const written = Promise.all([this.#publisher.whenPublished(), this.#deadLetters.whenWritten()]);
      // The next start publishes the rest.
      await Promise.race([written, clock.sleep(config.stopTimeoutMs * STOP_SHARE)]);
      this.#end.abort();
    });
    this.#initVerdictCounters();
    await this.#readPodLists(signal);
    this.#begin(await this.#prepare());
    this.#read();
  }

  /** Computes the replay plan and reads the prior refusals. */
  async #prepare(): Promise<PriorRefusals> {
    const { signal, log } = this.#ctx;
    const state = await readStreamState(this.#bus, this.#verdicts);
    await this.#configLog.whenCaughtUpTo(state.lastMicros);
    const longest = this.#rules.longestSince(state.firstMicros - LONGEST_MEMORY_MICROS);
    this.#plan = planReplay(state, warmUpMicros(longest));
    // A dead letter is younger than its frame: one older than the first frame belongs to a deleted
    // stream.
    const since = Math.max(this.#plan.readFromMicros, state.firstMicros);
    const priorRefusals =
      state.lastMicros === 0
        ? new PriorRefusals(0)
        : await readPriorRefusals(this.#bus, since, state.lastMicros, signal);
    log.info(
      { ...this.#plan, priorRefusals: priorRefusals.size, lastSequenceMicros: state.lastMicros },
      'reading violations',
    );
    return priorRefusals;
  }

  #readPodLists(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pods.read(resolve).then(
        () => reject(signal.reason as Error),
        (error: Error) => {
          reject(error);
          if (!signal.aborted) this.#ctx.fail(error);
        },
      );
    });
  }

  /** Creates an empty engine and the parts that depend on it. */
  #begin(priorRefusals: PriorRefusals): void {
    const { config, signal, clock } = this.#ctx;
    const bus = this.#bus;
    this.#deadLetters.clear();
    this.#deadLetters = this.#makeDeadLetters(priorRefusals);
    const engine = new CorrelationEngine({
      rules: this.#rules,
      inventory: this.#inventory,
      priorRefusals,
      verdictsPerMinute: config.verdictsPerMinute,
      onVerdict: (verdict, streamMicros) => this.#onVerdict(verdict, streamMicros),
      onRefusal: (refusal) => this.#onRefusal(refusal),
    });
    const configWatermark: InputWatermark = {
      isCompleteTo: (timeMicros) => this.#configLog.isCaughtUpTo(timeMicros),
      whenCompleteTo: (timeMicros) => this.#configLog.whenCaughtUpTo(timeMicros),
    };
    const inputs = [configWatermark, this.#pods];
    const consumer = new FrameConsumer({
      engine,
      registry: this.#frames,
      inputs,
      deadLetters: this.#deadLetters,
      room: this.#publisher,
      onBug: (err, sequence) => this.#ctx.log.error({ err, sequence }, 'cannot process a frame'),
      clock,
      signal,
    });
    this.#engine = engine;
    this.#consumer = consumer;
    this.#idleWatermark?.stop();
    this.#idleWatermark = new IdleWatermark({
      bus,
      engine,
      inputs,
      clock,
      handled: () => consumer.handled,
      onError: (error) => this.#busFailed('idle watermark', error),
    });
    this.#idleWatermark.start();
  }

  #read(): void {
    const { config, signal, onStop } = this.#ctx;
    const reading = consumeOrdered(this.#bus, 'VIOLATIONS', {
      start: this.#plan.readFromMicros === 0 ? 'all' : { timeMs: Math.floor(this.#plan.readFromMicros / 1000) },
      maxMessages: config.pullMessages,
      onMessage: (message) => (this.#consumer as FrameConsumer).take(message),
      onIdle: (sequence) => this.#onIdle(sequence),
      onRestart: (why) => this.#busFailed('violations', new Error(why), 'reading continues with a new consumer'),
      onRecreated: async () => {
        this.#caughtUp = false;
        this.#begin(await this.#prepare());
      },
      signal,
    }).catch((error: Error) => {
      if (!signal.aborted) this.#ctx.fail(error);
    });
    onStop('violations', () => {
      this.#idleWatermark?.stop();
      return reading;
    });
  }

  #onConfig(change: ConfigChange): void {
    const set = this.#rules.apply(change);
    if (set === null) return;
    this.#initVerdictCounters();
    this.#statusReporter.report();
    const { log, clock } = this.#ctx;
    if (change.timestampMicros >= this.#startedMicros)
      this.#metrics.ruleRead.observe(Math.max(0, clock.nowMicros() - change.timestampMicros) / 1e6);
    const problem = set.problems.find(({ sequence }) => sequence === change.sequence);
    if (problem) log.warn(problem, 'a rule is refused');
    else log.info({ key: change.key, revision: set.revision, rules: set.rules.length }, 'rules changed');
  }

  /**
   * Creates the verdict counters with value 0: PromQL's `increase()` ignores the first value of a
   * series.
   */
  #initVerdictCounters(): void {
    for (const { name, level } of this.#rules.latest().rules)
      this.#metrics.verdicts.inc({ outcome: 'stored', level, rule: name }, 0);
  }

  #onVerdict(verdict: Verdict, streamMicros: number): void {
    if (streamMicros >= this.#plan.publishFromMicros) this.#publisher.offer(verdict, streamMicros);
    else this.#replayed++;
  }

  #onPublished(verdict: Verdict, outcome: 'stored' | 'exists', streamMicros: number): void {
    const { level, rule, verdictId } = verdict;
    this.#metrics.verdicts.inc({ outcome, level, rule });
    if (outcome === 'exists') return;
    if (this.#caughtUp) {
      this.#metrics.frameToVerdict.observe(Math.max(0, this.#ctx.clock.nowMicros() - streamMicros) / 1e6);
    }
    const pod = verdict.pod ? `${verdict.pod.namespace}/${verdict.pod.name}` : '';
    this.#ctx.log.info({ verdictId, rule, level, node: verdict.nodeName, pod }, 'verdict');
  }

  #onRefusal({ reason, node, sequence, indexes, detail }: Refusal): void {
    const message = this.#consumer?.current(sequence) ?? null;
    this.#deadLetters.add({ sequence, reason, detail, indexes, message });
    this.#warn(`${reason} of ${node}`, new Error(detail), 'violations refused');
  }

  #position(): Position {
    return { sequence: this.#consumer?.handled ?? 0, timestampMicros: this.#consumer?.handledMicros ?? 0 };
  }

  #onIdle(sequence: number): void {
    this.#consumer?.advanceTo(sequence);
    if (this.#caughtUp) return;
    this.#caughtUp = true;
    const { frames } = this.#consumer ?? { frames: 0 };
    this.#ctx.log.info({ frames, replayedVerdicts: this.#replayed }, 'caught up');
  }

  #makeDeadLetters(priorRefusals: PriorRefusals): DeadLetters {
    return new DeadLetters({
      bus: this.#bus,
      clock: this.#ctx.clock,
      priorRefusals,
      onWritten: (reason) => this.#metrics.deadLetters.inc({ reason }),
      onError: (error) => this.#busFailed('dead letters', error),
      signal: this.#end.signal,
    });
  }

  #busFailed(part: string, err: Error, text = 'failed, retrying'): void {
    this.#metrics.busErrors.inc({ part });
    this.#warn(part, err, text);
  }

  #warn(part: string, err: Error, text: string): void {
    this.#log.warn(part, { part, err }, text);
  }

  #readings(): Readings {
    const engine = this.#engine;
    const consumer = this.#consumer;
    const set = this.#rules.latest();
    return {
      frames: consumer?.frames ?? 0,
      unreadable: consumer?.unreadable ?? 0,
      waits: consumer?.waits ?? 0,
      pending: consumer?.pending ?? 0,
      lagSeconds: (consumer?.lagMs() ?? 0) / 1000,
      stalledSeconds: this.#statusReporter.stalledSeconds,
      streamMicros: engine?.nowMicros ?? 0,
      counted: engine?.counted ?? NO_READINGS.counted,
      size: engine?.size ?? NO_READINGS.size,
      rules: set.rules.length,
      ruleProblems: set.problems.length,
      configRevision: set.revision,
      listedPods: this.#inventory.listed,
      snapshotsRefused: this.#pods.refused,
      verdictsWaiting: this.#publisher.waiting,
      lettersWaiting: this.#deadLetters.waiting,
      lettersDropped: this.#deadLetters.dropped,
      replayed: this.#replayed,
      streamsRecreated: this.#streamsRecreated,
    };
  }
}
