/**
 * The correlator: VIOLATIONS → correlation engine → VERDICTS. A shell around libs/correlation. This
 * file creates its parts from the inputs to the reader, and starts them.
 *
 * Every replica reads the whole stream and publishes every verdict; the bus rejects second copies.
 * So there is no leader election and no state store. A start reads CONFIG_LOG, the pod lists and
 * the prior refusals, then VIOLATIONS from the replay plan's position. It is ready when it has
 * caught up.
 */
import {
  type Bus,
  ClusterReader,
  type ConfigLog,
  connectService,
  InstanceReporter,
  requireHorizon,
  schemaLookup,
  signedConfigBy,
} from '@bailiff/bus';
import { PodInventory, RuleHistory } from '@bailiff/correlation';
import { BUILT_IN_RULES, type SignedConfig } from '@bailiff/policy';
import { ProjectedFrameRegistry, SchemaRegistry, type Verdict } from '@bailiff/schemas';
import { busOptionsOf, busServiceOf, RateLimitedLog, type ServiceContext } from '@bailiff/service';
import type { CorrelatorConfig } from './config.ts';
import { type Metrics, makeMetrics, NO_READINGS, type Readings } from './metrics.ts';
import { MissingVerdicts } from './missing-verdicts.ts';
import { PodsLog } from './pods-log.ts';
import { readRules } from './rule-log.ts';
import { SkippedMessages } from './skipped-messages.ts';
import { type Offered, type PublishOutcome, VerdictPublisher } from './verdict-publisher.ts';
import { ViolationReader } from './violation-reader.ts';

/**
 * Share of the stop timeout that the wait for the bus may use, so that an unavailable bus does not
 * make the stop fail.
 */
const STOP_SHARE = 0.8;
/** A greater lag makes the process not ready. */
const LAG_LIMIT_MS = 60_000;
/** A process that ended may have counted a verdict of a frame of this age, and no scrape has read it. */
const UNREAD_MICROS = 300_000_000;

/** Starts the correlator; resolves when it reads frames. */
export async function start(ctx: ServiceContext<CorrelatorConfig>): Promise<void> {
  const { config } = ctx;
  const options = { ...busOptionsOf(config), name: 'correlator' };
  const bus = await connectService(busServiceOf(ctx), options, ['VIOLATIONS', 'VERDICTS', 'RESPONSES']);
  await requireHorizon(bus);
  await new Correlator(ctx, bus).start();
}

class Correlator {
  readonly #ctx: ServiceContext<CorrelatorConfig>;
  readonly #metrics: Metrics;
  readonly #warnings: RateLimitedLog;
  readonly #rules: RuleHistory;
  readonly #signed: SignedConfig;
  readonly #inventory = new PodInventory();
  readonly #ruleLog: ConfigLog;
  readonly #podsLog: PodsLog;
  readonly #cluster: ClusterReader;
  readonly #publisher: VerdictPublisher;
  readonly #reader: ViolationReader;
  readonly #skipped: SkippedMessages;
  readonly #missing = new MissingVerdicts();
  #failedVerdicts = 0;
  readonly #statusReporter: InstanceReporter;
  /** Aborted after the shutdown has waited for publishes in flight. */
  readonly #end = new AbortController();
  #streamsRecreated = 0;

  constructor(ctx: ServiceContext<CorrelatorConfig>, bus: Bus) {
    const { config, signal, clock, log } = ctx;
    this.#signed = signedConfigBy(config.configSigners);
    this.#rules = new RuleHistory(BUILT_IN_RULES, this.#signed);
    const rules = this.#rules;
    const inventory = this.#inventory;
    const metrics = makeMetrics(ctx.metrics, () => this.#readings());
    this.#ctx = ctx;
    this.#metrics = metrics;
    this.#warnings = new RateLimitedLog(log);
    bus.recreatedListeners.add(() => {
      this.#streamsRecreated++;
    });

    const onChange = () => this.#statusReporter.report();
    this.#ruleLog = readRules({ bus, rules, clock, metrics, log, onChange });
    this.#podsLog = new PodsLog({
      bus,
      inventory,
      signal,
      onRefused: (node, reason) => this.#warn(`pods of ${node}`, new Error(reason), 'pod list refused'),
    });
    this.#cluster = new ClusterReader({ bus, clock, onError: (error) => this.#busFailed('cluster', error) });
    this.#publisher = new VerdictPublisher({
      bus,
      cluster: this.#cluster,
      clock,
      signal: this.#end.signal,
      onPublished: (verdict, outcome, offered) => this.#onPublished(verdict, outcome, offered),
      onFailed: (verdict, err) => {
        this.#failedVerdicts += 1;
        metrics.verdicts.inc({ outcome: 'failed', level: verdict.level, rule: verdict.rule });
        log.error({ err, verdictId: verdict.verdictId }, 'cannot publish a verdict');
      },
      onRetry: (error) => this.#busFailed('verdicts', error),
      onFatal: (error) => ctx.fail(error),
    });
    const lookup = schemaLookup(bus);
    this.#skipped = new SkippedMessages(clock.nowMs, (node, reason) =>
      this.#warn(`messages of ${node}`, new Error(reason), 'messages skipped or refused'),
    );
    this.#reader = new ViolationReader({
      bus,
      rules,
      inventory,
      ruleLog: this.#ruleLog,
      podsLog: this.#podsLog,
      publisher: this.#publisher,
      frames: new ProjectedFrameRegistry(lookup, clock.nowMs),
      verdicts: new SchemaRegistry(lookup, clock.nowMs),
      skipped: this.#skipped,
      verdictsPerMinute: config.verdictsPerMinute,
      pullMessages: config.pullMessages,
      clock,
      log,
      signal,
      endSignal: this.#end.signal,
      onDeadLetter: (reason) => metrics.deadLetters.inc({ reason }),
      onBusError: (part, error, text) => this.#busFailed(part, error, text),
      onRefused: (part, error) => this.#warn(part, error, 'violations refused'),
    });
    this.#statusReporter = new InstanceReporter({
      ctx,
      bus,
      service: 'correlator',
      configRevision: () => rules.latest().revision,
      refused: () => this.#refused(),
      progress: [{ stream: 'VIOLATIONS', position: () => this.#reader.position }],
      more: () => {
        const skipped = this.#skipped.status();
        const capped = this.#reader.engine?.size.capped ?? 0;
        const missingVerdicts = this.#missing.observe(capped + this.#failedVerdicts, clock.nowMs());
        return { ...(skipped.length > 0 ? { skipped } : {}), ...(missingVerdicts ? { missingVerdicts } : {}) };
      },
      onError: (error) => this.#busFailed('status', error),
    });
  }

  async start(): Promise<void> {
    const { config, clock, signal, fail, onStop } = this.#ctx;
    this.#addReadiness();
    onStop('cluster', await this.#cluster.start());
    onStop('status', () => this.#statusReporter.close());
    onStop('configuration', () => this.#ruleLog.close());
    onStop('verdicts', async () => {
      const written = Promise.all([this.#publisher.whenPublished(), this.#reader.deadLetters.whenWritten()]);
      // The next start publishes the rest.
      await Promise.race([written, clock.sleep(config.stopTimeoutMs * STOP_SHARE)]);
      this.#end.abort();
    });
    await this.#readPodLists();
    await this.#reader.prepare();
    const reading = this.#reader.read().catch((error: Error) => {
      if (!signal.aborted) fail(error);
    });
    onStop('violations', () => reading);
  }

  #addReadiness(): void {
    const { health } = this.#ctx;
    const reader = this.#reader;
    health.ready('replay', () => reader.isCaughtUp || `${reader.consumer?.pending ?? 'all'} frames left to replay`);
    health.ready('lag', () => {
      const lagMs = reader.isCaughtUp ? (reader.consumer?.lagMs() ?? 0) : 0;
      return (
        lagMs < LAG_LIMIT_MS ||
        `${reader.consumer?.pending ?? 0} frames and ${Math.round(lagMs / 1000)} s behind the bus`
      );
    });
    health.ready('verdicts', () => this.#publisher.hasRoom || 'verdicts cannot be published');
  }

  #readPodLists(): Promise<void> {
    const { signal, fail } = this.#ctx;
    return new Promise((resolve, reject) => {
      this.#podsLog.read(resolve).then(
        () => reject(signal.reason as Error),
        (error: Error) => {
          reject(error);
          if (!signal.aborted) fail(error);
        },
      );
    });
  }

  #onPublished(verdict: Verdict, outcome: PublishOutcome, { streamMicros, isLive }: Offered): void {
    const { level, rule, verdictId } = verdict;
    const { clock, log } = this.#ctx;
    const ageMicros = clock.nowMicros() - streamMicros;
    // Counted twice rather than never: alerts fire by this count.
    const isUnread = outcome === 'exists' && !isLive && ageMicros < UNREAD_MICROS;
    this.#metrics.verdicts.inc({ outcome: isUnread ? 'stored' : outcome, level, rule });
    if (outcome !== 'stored') return;
    if (isLive) this.#metrics.frameToVerdict.observe(Math.max(0, ageMicros) / 1e6);
    const pod = verdict.pod ? `${verdict.pod.namespace}/${verdict.pod.name}` : '';
    log.info({ verdictId, rule, level, node: verdict.nodeName, pod }, 'verdict');
  }

  /** Keys that are not in force as on the bus, with the reason. */
  #refused(): (readonly [key: string, reason: string])[] {
    const problems = this.#rules.latest().problems.map(({ key, message }) => [key, message] as const);
    return [...new Map([...this.#signed.missing(['correlation']), ...problems])];
  }

  #busFailed(part: string, err: Error, text = 'failed, retrying'): void {
    this.#metrics.busErrors.inc({ part });
    this.#warn(part, err, text);
  }

  /** Logs a warning at most once a minute per part. */
  #warn(part: string, err: Error, text: string): void {
    this.#warnings.warn(part, { part, err }, text);
  }

  #readings(): Readings {
    const { engine, consumer, deadLetters, replayed } = this.#reader;
    const set = this.#rules.latest();
    return {
      frames: consumer?.frames ?? 0,
      unreadable: consumer?.unreadable ?? 0,
      overShare: consumer?.overShare ?? 0,
      skipped: this.#skipped.totals,
      waits: consumer?.waits ?? 0,
      pending: consumer?.pending ?? 0,
      lagSeconds: (consumer?.lagMs() ?? 0) / 1000,
      stalledSeconds: this.#statusReporter.stalledSeconds,
      streamMicros: engine?.nowMicros ?? 0,
      counted: engine?.counted ?? NO_READINGS.counted,
      size: engine?.size ?? NO_READINGS.size,
      rules: set.rules.length,
      ruleProblems: this.#refused().length,
      configRevision: set.revision,
      listedPods: this.#inventory.listed,
      snapshotsRefused: this.#podsLog.refused,
      verdictsWaiting: this.#publisher.waiting,
      lettersWaiting: deadLetters.waiting,
      lettersDropped: deadLetters.dropped,
      lettersCut: deadLetters.cut,
      replayed,
      streamsRecreated: this.#streamsRecreated,
    };
  }
}
