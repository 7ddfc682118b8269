/**
 * The correlator: VIOLATIONS → fold → VERDICTS. A thin shell: what is decided is decided in libs/judge.
 *
 * Every replica reads the whole stream, folds it and publishes; the bus refuses the second copy, so there is no election and no state store.
 * At a start it reads the configuration log, the pods' lists and what was refused before, then the stream from where the replay plan says, and is
 * ready when it has caught up. A VIOLATIONS that was made anew is a new beginning: another fold, from its first frame, so that evidence names
 * frames that are there; verdicts keep their ids, so none is given twice. Bounds: those of intake.ts, verdict-publisher.ts and dead-letters.ts.
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
  Fold,
  Members,
  PrecedentBook,
  planReplay,
  type Refusal,
  type ReplayPlan,
  RuleBook,
  warmUpMicros,
} from '@bailiff/judge';
import { JudgedRegistry, SchemaRegistry, type Verdict } from '@bailiff/schemas';
import { busOptionsOf, busServiceOf, type ServiceContext } from '@bailiff/service';
import type { CorrelatorConfig } from './config.ts';
import { DeadLetters, readPrecedents } from './dead-letters.ts';
import { type Gate, Intake } from './intake.ts';
import { Lull } from './lull.ts';
import { type Metrics, makeMetrics, NO_READINGS, type Readings } from './metrics.ts';
import { PodsLog } from './pods-log.ts';
import { readStreamState } from './starting-point.ts';
import { VerdictPublisher } from './verdict-publisher.ts';

/** Of the time that a step of the way down may take: a bus that is away must not make it fail. */
const STOP_SHARE = 0.8;
/** A frame that lies on the bus for longer without being judged makes it not ready. */
const LAG_LIMIT_MS = 60_000;
/** The same failure is told once in this time. */
const WARN_EVERY_MS = 60_000;
/** Longest timespan and cooldown that a rule may have, twice over: rules that went longer ago decide nothing. */
const LONGEST_MEMORY_MICROS = 4 * 86_400_000_000;

/** Brings the correlator up; resolves when it reads. */
export async function start(ctx: ServiceContext<CorrelatorConfig>): Promise<void> {
  const { config, clock } = ctx;
  const options = { ...busOptionsOf(config), name: 'correlator' };
  const bus = await connectService(busServiceOf(ctx), options, ['VIOLATIONS', 'VERDICTS', 'RESPONSES']);
  await requireHorizon(bus);
  const lookup = schemaLookup(bus);
  const frames = new JudgedRegistry(lookup, clock.nowMs);
  await new Correlator(ctx, bus, frames, new SchemaRegistry(lookup, clock.nowMs)).start();
}

class Correlator {
  readonly #ctx: ServiceContext<CorrelatorConfig>;
  readonly #bus: Bus;
  readonly #frames: JudgedRegistry;
  readonly #verdicts: SchemaRegistry;
  readonly #metrics: Metrics;
  readonly #rules = new RuleBook();
  readonly #members = new Members();
  readonly #configLog: ConfigLog;
  readonly #teller: InstanceReporter;
  readonly #pods: PodsLog;
  readonly #publisher: VerdictPublisher;
  /** Aborted when the way down has waited for what is in flight. */
  readonly #end = new AbortController();
  readonly #warnedAtMs = new Map<string, number>();
  #deadLetters: DeadLetters;
  #fold: Fold | null = null;
  #intake: Intake | null = null;
  #lull: Lull | null = null;
  #remade = 0;
  /** What was stored before was not waited for. */
  readonly #startedMicros: number;
  #plan: ReplayPlan = { readFromMicros: 0, publishFromMicros: 0 };
  #caughtUp = false;
  /** Verdicts of the warm-up, which are not published. */
  #replayed = 0;

  constructor(ctx: ServiceContext<CorrelatorConfig>, bus: Bus, frames: JudgedRegistry, verdicts: SchemaRegistry) {
    const { signal, clock } = ctx;
    this.#ctx = ctx;
    this.#bus = bus;
    this.#frames = frames;
    this.#verdicts = verdicts;
    this.#startedMicros = clock.nowMicros();
    this.#metrics = makeMetrics(ctx.metrics, () => this.#readings());
    this.#configLog = new ConfigLog(bus, {
      onChange: (change) => this.#onConfig(change),
      onRecreated: () => {
        this.#rules.startOver();
        this.#onRemade('CONFIG_LOG');
      },
    });
    this.#teller = new InstanceReporter({
      bus,
      service: 'correlator',
      version: ctx.version,
      nowMs: clock.nowMs,
      configRevision: () => this.#rules.latest().revision,
      refused: () => this.#rules.latest().problems.map(({ key, message }) => [key, message] as const),
      ready: () => ctx.health.checkReady(),
      progress: [{ stream: 'VIOLATIONS', position: () => this.#position() }],
      onError: (error) => this.#warn('status', error),
    });
    this.#deadLetters = this.#makeDeadLetters(new PrecedentBook(0));
    this.#pods = new PodsLog({
      bus,
      members: this.#members,
      clock,
      signal,
      onRefused: (node, reason) => this.#warn(`pods of ${node}`, new Error(reason), 'a list of pods is refused'),
      onRemade: () => this.#onRemade('KV_bailiff_pods'),
    });
    this.#publisher = new VerdictPublisher({
      bus,
      clock,
      onPublished: (verdict, outcome, streamMicros) => this.#onPublished(verdict, outcome, streamMicros),
      onFailed: (verdict, err) => {
        this.#metrics.verdicts.inc({ outcome: 'failed', level: verdict.level, rule: verdict.rule });
        ctx.log.error({ err, verdictId: verdict.verdictId }, 'a verdict could not be published');
      },
      onRetry: (error) => this.#warn('verdicts', error),
      onFatal: (error) => ctx.fail(error),
      signal: this.#end.signal,
    });
  }

  async start(): Promise<void> {
    const { config, clock, signal, health, onStop } = this.#ctx;
    health.ready('replay', () => this.#caughtUp || `${this.#intake?.pending ?? 'all'} frames to go`);
    health.ready('lag', () => {
      const lagMs = this.#caughtUp ? (this.#intake?.lagMs() ?? 0) : 0;
      return (
        lagMs < LAG_LIMIT_MS || `${this.#intake?.pending ?? 0} frames and ${Math.round(lagMs / 1000)} s behind the bus`
      );
    });
    health.ready('verdicts', () => this.#publisher.hasRoom || 'verdicts cannot be published');
    onStop('status', () => this.#teller.close());
    onStop('configuration', () => this.#configLog.close());
    onStop('verdicts', async () => {
      const written = Promise.all([this.#publisher.whenPublished(), this.#deadLetters.whenWritten()]);
      // What is not written by then is given by the next start.
      await Promise.race([written, clock.sleep(config.stopTimeoutMs * STOP_SHARE)]);
      this.#end.abort();
    });
    this.#tellRules();
    await this.#readLists(signal);
    this.#begin(await this.#prepare());
    this.#read();
  }

  /** Where to read and publish from, and what was refused before, by what the bus has now. */
  async #prepare(): Promise<PrecedentBook> {
    const { signal, log } = this.#ctx;
    const state = await readStreamState(this.#bus, this.#verdicts);
    await this.#configLog.whenCaughtUpTo(state.lastMicros);
    const longest = this.#rules.longestSince(state.firstMicros - LONGEST_MEMORY_MICROS);
    this.#plan = planReplay(state, warmUpMicros(longest));
    // A letter is younger than its frame: one from before the first frame is about a stream that is no more.
    const since = Math.max(this.#plan.readFromMicros, state.firstMicros);
    const precedents =
      state.lastMicros === 0 ? new PrecedentBook(0) : await readPrecedents(this.#bus, since, state.lastMicros, signal);
    log.info(
      { ...this.#plan, precedents: precedents.size, lastSequenceMicros: state.lastMicros },
      'reading violations',
    );
    return precedents;
  }

  #readLists(signal: AbortSignal): Promise<void> {
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

  /** An empty fold, and all that stands around it. */
  #begin(precedents: PrecedentBook): void {
    const { config, signal, clock } = this.#ctx;
    const bus = this.#bus;
    this.#deadLetters.forget();
    this.#deadLetters = this.#makeDeadLetters(precedents);
    const fold = new Fold({
      rules: this.#rules,
      members: this.#members,
      precedents,
      verdictsPerMinute: config.verdictsPerMinute,
      onVerdict: (verdict, streamMicros) => this.#onVerdict(verdict, streamMicros),
      onRefusal: (refusal) => this.#onRefusal(refusal),
    });
    const configGate: Gate = {
      isCompleteTo: (timeMicros) => this.#configLog.isCaughtUpTo(timeMicros),
      whenCompleteTo: (timeMicros) => this.#configLog.whenCaughtUpTo(timeMicros),
    };
    const gates = [configGate, this.#pods];
    const intake = new Intake({
      fold,
      registry: this.#frames,
      gates,
      deadLetters: this.#deadLetters,
      room: this.#publisher,
      onBug: (err, sequence) => this.#ctx.log.error({ err, sequence }, 'a frame could not be judged'),
      clock,
      signal,
    });
    this.#fold = fold;
    this.#intake = intake;
    this.#lull?.stop();
    this.#lull = new Lull({
      bus,
      fold,
      gates,
      clock,
      handled: () => intake.handled,
      onError: (error) => this.#warn('lull', error),
    });
    this.#lull.start();
  }

  #read(): void {
    const { config, signal, onStop } = this.#ctx;
    const reading = consumeOrdered(this.#bus, 'VIOLATIONS', {
      start: this.#plan.readFromMicros === 0 ? 'all' : { timeMs: Math.floor(this.#plan.readFromMicros / 1000) },
      maxMessages: config.pullMessages,
      onMessage: (message) => (this.#intake as Intake).take(message),
      onIdle: (sequence) => this.#onIdle(sequence),
      onRestart: (why) => this.#warn('violations', new Error(why), 'reading goes on with a new consumer'),
      onRecreated: async () => {
        this.#caughtUp = false;
        this.#onRemade('VIOLATIONS');
        this.#begin(await this.#prepare());
      },
      signal,
    }).catch((error: Error) => {
      if (!signal.aborted) this.#ctx.fail(error);
    });
    onStop('violations', () => {
      this.#lull?.stop();
      return reading;
    });
  }

  #onRemade(stream: string): void {
    this.#remade++;
    this.#ctx.log.warn({ stream }, 'a stream was made anew; it is read from its beginning');
  }

  #onConfig(change: ConfigChange): void {
    const set = this.#rules.apply(change);
    if (set === null) return;
    this.#tellRules();
    this.#teller.report();
    const { log, clock } = this.#ctx;
    if (change.timestampMicros >= this.#startedMicros)
      this.#metrics.ruleRead.observe(Math.max(0, clock.nowMicros() - change.timestampMicros) / 1e6);
    const problem = set.problems.find(({ sequence }) => sequence === change.sequence);
    if (problem) log.warn(problem, 'a rule is refused');
    else log.info({ key: change.key, revision: set.revision, rules: set.rules.length }, 'rules changed');
  }

  /** A counter that is not there before its first verdict would hide that one from `increase()`. */
  #tellRules(): void {
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
    const message = this.#intake?.current(sequence) ?? null;
    this.#deadLetters.add({ sequence, reason, detail, indexes, message });
    this.#warn(`${reason} of ${node}`, new Error(detail), 'a node’s claim is refused');
  }

  #position(): Position {
    return { sequence: this.#intake?.handled ?? 0, timestampMicros: this.#intake?.handledMicros ?? 0 };
  }

  #onIdle(sequence: number): void {
    this.#intake?.reached(sequence);
    if (this.#caughtUp) return;
    this.#caughtUp = true;
    const { frames } = this.#intake ?? { frames: 0 };
    this.#ctx.log.info({ frames, replayedVerdicts: this.#replayed }, 'caught up');
  }

  #makeDeadLetters(precedents: PrecedentBook): DeadLetters {
    return new DeadLetters({
      bus: this.#bus,
      clock: this.#ctx.clock,
      precedents,
      onWritten: (reason) => this.#metrics.deadLetters.inc({ reason }),
      onError: (error) => this.#warn('dead letters', error),
      signal: this.#end.signal,
    });
  }

  /** Tells of what may come again and again: once a minute for each part. Bounded: above 1,024 parts all are forgotten. */
  #warn(part: string, err: Error, text = 'failed, will be tried again'): void {
    const now = this.#ctx.clock.monotonicMs();
    if (now - (this.#warnedAtMs.get(part) ?? Number.NEGATIVE_INFINITY) < WARN_EVERY_MS) return;
    if (this.#warnedAtMs.size >= 1_024) this.#warnedAtMs.clear();
    this.#warnedAtMs.set(part, now);
    this.#ctx.log.warn({ part, err }, text);
  }

  #readings(): Readings {
    const fold = this.#fold;
    const intake = this.#intake;
    const set = this.#rules.latest();
    return {
      frames: intake?.frames ?? 0,
      unreadable: intake?.unreadable ?? 0,
      waits: intake?.waits ?? 0,
      pending: intake?.pending ?? 0,
      lagSeconds: (intake?.lagMs() ?? 0) / 1000,
      stalledSeconds: this.#teller.stalledSeconds,
      streamMicros: fold?.nowMicros ?? 0,
      counted: fold?.counted ?? NO_READINGS.counted,
      size: fold?.size ?? NO_READINGS.size,
      rules: set.rules.length,
      ruleProblems: set.problems.length,
      configRevision: set.revision,
      listedPods: this.#members.listed,
      snapshotsRefused: this.#pods.refused,
      verdictsWaiting: this.#publisher.waiting,
      lettersWaiting: this.#deadLetters.waiting,
      lettersDropped: this.#deadLetters.dropped,
      replayed: this.#replayed,
      remade: this.#remade,
    };
  }
}
