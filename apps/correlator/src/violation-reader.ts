/**
 * Reads VIOLATIONS through the correlation engine, from where the replay plan says. If VIOLATIONS
 * is recreated, a new engine reads it from its first frame; verdict ids do not change.
 *
 * Data path: VIOLATIONS → frame-consumer.ts → engine → here → verdict-publisher.ts. Verdicts of the
 * warm-up are counted, not published.
 */
import { type Bus, consumeOrdered, coverFrom, getMessage, microsOf, type Position, streamInfo } from '@bailiff/bus';
import {
  CorrelationEngine,
  type PodInventory,
  PriorRefusals,
  planReplay,
  type Refusal,
  type ReplayPlan,
  type RuleHistory,
  type StreamState,
  warmUpMicros,
} from '@bailiff/correlation';
import {
  decodeWithLookup,
  type ProjectedFrameRegistry,
  SchemaError,
  type SchemaRegistry,
  type Verdict,
} from '@bailiff/schemas';
import type { Clock } from '@bailiff/service';
import type { Logger } from 'pino';
import { DeadLetters, readPriorRefusals } from './dead-letters.ts';
import { FrameConsumer, type InputWatermark } from './frame-consumer.ts';
import { IdleWatermark } from './idle-watermark.ts';
import type { SkippedMessages } from './skipped-messages.ts';
import type { VerdictPublisher } from './verdict-publisher.ts';

/** Twice the longest timespan and cooldown of a rule: older rule sets affect no verdict. */
const LONGEST_MEMORY_MICROS = 4 * 86_400_000_000;

export interface ViolationReaderOptions {
  bus: Bus;
  frames: ProjectedFrameRegistry;
  verdicts: SchemaRegistry;
  rules: RuleHistory;
  inventory: PodInventory;
  ruleLog: InputWatermark;
  podsLog: InputWatermark;
  publisher: Pick<VerdictPublisher, 'offer' | 'hasRoom' | 'whenRoom'>;
  skipped: SkippedMessages;
  verdictsPerMinute: number;
  /** Messages of one pull request. */
  pullMessages: number;
  clock: Clock;
  log: Logger;
  onDeadLetter(reason: string): void;
  /** A request failed and is retried. */
  onBusError(part: string, error: Error, text?: string): void;
  onRefused(part: string, error: Error): void;
  signal: AbortSignal;
  /** Aborted at the end of the shutdown: ends the writes of dead letters. */
  endSignal: AbortSignal;
}

export class ViolationReader {
  readonly #o: ViolationReaderOptions;
  #deadLetters: DeadLetters;
  #engine: CorrelationEngine | null = null;
  #consumer: FrameConsumer | null = null;
  #idleWatermark: IdleWatermark | null = null;
  #plan: ReplayPlan = { readFromMicros: 0, publishFromMicros: 0 };
  /** Whether every frame that existed at the start is processed. */
  isCaughtUp = false;
  /** Unpublished verdicts of the warm-up. */
  replayed = 0;

  constructor(options: ViolationReaderOptions) {
    this.#o = options;
    this.#deadLetters = this.#makeDeadLetters(new PriorRefusals(0));
  }

  get engine(): CorrelationEngine | null {
    return this.#engine;
  }

  get consumer(): FrameConsumer | null {
    return this.#consumer;
  }

  get deadLetters(): DeadLetters {
    return this.#deadLetters;
  }

  get position(): Position {
    return { sequence: this.#consumer?.handled ?? 0, timestampMicros: this.#consumer?.handledMicros ?? 0 };
  }

  /** Plans the replay and creates the engine. The pod lists must be read before. */
  async prepare(): Promise<void> {
    this.#begin(await this.#planReplay());
  }

  /** Reads until the signal aborts. */
  async read(): Promise<void> {
    const { bus, pullMessages, signal, onBusError } = this.#o;
    const { readFromMicros } = this.#plan;
    try {
      await consumeOrdered(bus, 'VIOLATIONS', {
        start: readFromMicros === 0 ? 'all' : { timeMs: Math.floor(readFromMicros / 1000) },
        maxMessages: pullMessages,
        onMessage: (message) => (this.#consumer as FrameConsumer).take(message),
        onIdle: (sequence) => this.#onIdle(sequence),
        onRestart: (why) => onBusError('violations', new Error(why), 'reading continues with a new consumer'),
        onRecreated: async () => {
          this.isCaughtUp = false;
          await this.prepare();
        },
        signal,
      });
    } finally {
      this.#idleWatermark?.stop();
    }
  }

  /** Computes the replay plan and reads the prior refusals. */
  async #planReplay(): Promise<PriorRefusals> {
    const { bus, verdicts, rules, ruleLog, signal, log } = this.#o;
    const state = await readStreamState(bus, verdicts);
    await ruleLog.whenCompleteTo(state.lastMicros);
    if (state.firstMicros > 0) await coverFrom(bus, ruleLog, rules, state.firstMicros);
    const longest = rules.longestSince(state.firstMicros - LONGEST_MEMORY_MICROS);
    this.#plan = planReplay(state, warmUpMicros(longest));
    // A dead letter is younger than its frame: one older than the first frame belongs to a deleted
    // stream.
    const since = Math.max(this.#plan.readFromMicros, state.firstMicros);
    const priorRefusals =
      state.lastMicros === 0 ? new PriorRefusals(0) : await readPriorRefusals(bus, since, state.lastMicros, signal);
    log.info(
      { ...this.#plan, priorRefusals: priorRefusals.size, lastSequenceMicros: state.lastMicros },
      'reading violations',
    );
    return priorRefusals;
  }

  /** Creates an empty engine and the parts that depend on it. */
  #begin(priorRefusals: PriorRefusals): void {
    const { bus, rules, inventory, ruleLog, podsLog, publisher, clock, signal, log, onBusError } = this.#o;
    this.#deadLetters.clear();
    this.#deadLetters = this.#makeDeadLetters(priorRefusals);
    const engine = new CorrelationEngine({
      rules,
      inventory,
      priorRefusals,
      verdictsPerMinute: this.#o.verdictsPerMinute,
      onVerdict: (verdict, streamMicros) => this.#onVerdict(verdict, streamMicros),
      onRefusal: (refusal) => this.#onRefusal(refusal),
    });
    const inputs = [ruleLog, podsLog];
    const consumer = new FrameConsumer({
      engine,
      registry: this.#o.frames,
      inputs,
      deadLetters: this.#deadLetters,
      room: publisher,
      clock,
      signal,
      skipped: this.#o.skipped,
      onBug: (err, sequence) => log.error({ err, sequence }, 'cannot process a frame'),
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
      onError: (error) => onBusError('idle watermark', error),
    });
    this.#idleWatermark.start();
  }

  #onVerdict(verdict: Verdict, streamMicros: number): void {
    // Stream time, not `streamMicros`: after a clock was set back, the newest verdict may be of the future.
    if ((this.#engine as CorrelationEngine).nowMicros >= this.#plan.publishFromMicros)
      this.#o.publisher.offer(verdict, { streamMicros, isLive: this.isCaughtUp });
    else this.replayed++;
  }

  #onRefusal({ reason, node, sequence, indexes, detail, hasLetter }: Refusal): void {
    const message = this.#consumer?.current(sequence) ?? null;
    if (hasLetter) this.#deadLetters.add({ sequence, reason, detail, indexes, message });
    else this.#deadLetters.dropped++;
    if (reason !== 'field-too-long') this.#o.skipped.add(node, reason);
    this.#o.onRefused(`${reason} of ${node}`, new Error(detail));
  }

  #onIdle(sequence: number): void {
    this.#consumer?.advanceTo(sequence);
    if (this.isCaughtUp) return;
    this.isCaughtUp = true;
    const { frames } = this.#consumer ?? { frames: 0 };
    this.#o.log.info({ frames, replayedVerdicts: this.replayed }, 'caught up');
  }

  #makeDeadLetters(priorRefusals: PriorRefusals): DeadLetters {
    const { bus, clock, endSignal, onDeadLetter, onBusError } = this.#o;
    return new DeadLetters({
      bus,
      clock,
      priorRefusals,
      signal: endSignal,
      onWritten: onDeadLetter,
      onError: (error) => onBusError('dead letters', error),
    });
  }
}

/**
 * The state that the replay plan needs: the bounds of VIOLATIONS, and the frame that triggered the
 * newest verdict. @throws BusError
 */
async function readStreamState(bus: Bus, registry: SchemaRegistry): Promise<StreamState> {
  const { state } = await streamInfo(bus, 'VIOLATIONS');
  const isEmpty = state.messages === 0;
  return {
    firstSequence: isEmpty ? 0 : state.first_seq,
    firstMicros: isEmpty ? 0 : microsOf(state.first_ts),
    lastMicros: isEmpty ? 0 : microsOf(state.last_ts),
    lastTriggerMicros: await lastTrigger(bus, registry),
  };
}

/**
 * Server time of the frame that triggered the newest verdict; null if not found: replay from the
 * beginning.
 */
async function lastTrigger(bus: Bus, registry: SchemaRegistry): Promise<number | null> {
  const { state } = await streamInfo(bus, 'VERDICTS');
  const newest = state.last_seq === 0 ? null : await getMessage(bus, 'VERDICTS', state.last_seq);
  if (!newest || newest.injected) return null;
  try {
    const decoded = await decodeWithLookup(newest.data, registry);
    const trigger = decoded.name === 'Verdict' ? decoded.value.evidence.at(-1) : undefined;
    const frame = trigger ? await getMessage(bus, 'VIOLATIONS', trigger.streamSequence) : null;
    // A frame younger than the verdict belongs to a stream that was recreated since.
    return frame && frame.timestampMicros <= newest.timestampMicros ? frame.timestampMicros : null;
  } catch (error) {
    if (error instanceof SchemaError) return null;
    throw error;
  }
}
