/**
 * The siem-relay: three source readers into SIEM, and one runner for each configured output from
 * SIEM to its receiver.
 *
 * Each reader and runner has its own position, so that a slow receiver delays only its output. One
 * relay is enough. A second one, as during a rollout, creates duplicates that the bus drops, and
 * delivers to outputs twice.
 */
import {
  type Bus,
  ClusterReader,
  connectService,
  consumerProgress,
  InstanceReporter,
  NAMED_POSITIONS,
  openBucket,
  respondToReads,
  retryTransient,
  siemConsumer,
  streamInfo,
  toBusError,
} from '@bailiff/bus';
import { busOptionsOf, busServiceOf, RateLimitedLog, type ServiceContext } from '@bailiff/service';
import { Turns } from '@bailiff/service/turns';
import type { RelayConfig } from './config.ts';
import { respondWithConsumerState } from './consumer-state.ts';
import { EventDecoder, SOURCES, type SourceName } from './events-of.ts';
import { type Metrics, makeMetrics, type ReaderReadings, type Readings } from './metrics.ts';
import { NodeShares, SHARE_LIMITS, type ShareLimits } from './node-shares.ts';
import type { Output } from './outputs/output.ts';
import { OutputRunner } from './outputs/runner.ts';
import { assignSlots, formatsOf, outputsOf } from './outputs-of.ts';
import { PositionKeeper, readPosition } from './position.ts';
import { SourceReader } from './source-reader.ts';
import { SyslogOutput } from './syslog/output.ts';

/** Share of a shutdown step's time limit, so that an unavailable bus does not fail the step. */
const STOP_SHARE = 0.8;
/** Older unrelayed messages make the relay not ready. */
const LAG_LIMIT_MS = 60_000;
/** Interval of requests for the streams' contents. */
const OBSERVE_EVERY_MS = 2_000;

/** Part of SIEM that unread events may take before every node's rate is lowered. */
const MAX_UNREAD = 0.5;

/**
 * How long readers and outputs work on messages before the event loop serves sockets again. Messages of the bus arrive
 * up to 2 MB at a time, and most of their work needs no socket, so a backlog would keep the loop for 100 ms and more in
 * each round. An output with one event a request needs two rounds an event. Longer turns do not increase throughput.
 */
const TURN_MS = 5;

/** Starts the relay; resolves when it reads. @param limits of a node */
export async function start(ctx: ServiceContext<RelayConfig>, limits: ShareLimits = SHARE_LIMITS): Promise<void> {
  const { config } = ctx;
  const options = { ...busOptionsOf(config), name: 'siem-relay' };
  const bus = await connectService(busServiceOf(ctx), options, [...Object.keys(SOURCES), 'SIEM']);
  await new Relay(ctx, bus, new NodeShares(limits)).start();
}

class Relay {
  readonly #ctx: ServiceContext<RelayConfig>;
  readonly #bus: Bus;
  readonly #metrics: Metrics;
  readonly #shares: NodeShares;
  readonly #readers = new Map<SourceName, SourceReader>();
  readonly #log: RateLimitedLog;
  readonly #cluster: ClusterReader;
  readonly #outputs: Output[];
  readonly #turns = new Turns(TURN_MS);
  #runners: readonly OutputRunner[] = [];

  constructor(ctx: ServiceContext<RelayConfig>, bus: Bus, shares: NodeShares) {
    this.#ctx = ctx;
    this.#shares = shares;
    this.#log = new RateLimitedLog(ctx.log);
    this.#bus = bus;
    this.#cluster = new ClusterReader({
      bus,
      clock: ctx.clock,
      onError: (error) => this.#warn('cluster', error, 'cannot read the identity of the cluster'),
    });
    this.#outputs = outputsOf(ctx.config, {
      version: ctx.version,
      // Receivers compare it with their own clock, and that of this machine may be wrong.
      nowMs: () => Math.floor(bus.serverClock.nowMicros() / 1000) || ctx.clock.nowMs(),
      pods: openBucket(bus, 'bailiff_pods'),
    });
    this.#metrics = makeMetrics(ctx.metrics, () => this.#readings());
  }

  async start(): Promise<void> {
    const { config, clock, health, onStop, fail, signal } = this.#ctx;
    const decoder = new EventDecoder(this.#bus, clock.nowMs);
    for (const stream of Object.keys(SOURCES) as SourceName[])
      this.#readers.set(stream, this.#makeReader(stream, decoder));
    onStop('cluster', await this.#cluster.start());
    // VIOLATIONS must be open: the evidence of verdicts contains its creation time.
    await Promise.all([...this.#readers.values()].map((reader) => reader.open()));
    const onError = (error: Error) => this.#warn('state', error, 'cannot respond to a connector');
    onStop(
      'state',
      respondWithConsumerState(this.#bus, () => clock.monotonicMs(), onError),
    );
    const onReadError = (error: Error) => this.#warn('reads', error, 'cannot respond to a reader');
    onStop(
      'reads',
      respondToReads(this.#bus, () => clock.monotonicMs(), onReadError),
    );
    const reporter = this.#makeReporter();
    onStop('status', () => reporter.close());
    // Together, so that many receivers that hang take no longer than one.
    const stopAll = (all: Iterable<{ stop(withinMs: number): Promise<void> }>) => async () => {
      await Promise.all(Array.from(all, (one) => one.stop(config.stopTimeoutMs * STOP_SHARE)));
    };
    onStop('readers', stopAll(this.#readers.values()));
    for (const [stream, reader] of this.#readers) {
      health.ready(
        stream,
        () => reader.lagMs() < LAG_LIMIT_MS || `${Math.round(reader.lagMs() / 1000)} s behind the bus`,
      );
      reader.start(fail);
    }
    onStop(
      'observing',
      clock.setRepeating(() => this.#observe(), OBSERVE_EVERY_MS),
    );
    const keys = await this.#positionKeys();
    if (signal.aborted) return;
    this.#runners = this.#outputs.map((output) => this.#makeRunner(output, keys.get(output.name)));
    onStop('outputs', stopAll(this.#runners));
    for (const runner of this.#runners) runner.start(fail);
  }

  #observe(): void {
    const observed = [...this.#readers, ...this.#runners.map((runner) => ['SIEM', runner] as const)];
    for (const [stream, reader] of observed) {
      streamInfo(this.#bus, stream).then(
        ({ state }) => reader.observe({ first: state.first_seq, last: state.last_seq }),
        (cause) => this.#warn('observing', toBusError(cause, stream), 'cannot read the state of a stream'),
      );
    }
    for (const [stream, reader] of this.#readers)
      reader.publishOmissions().catch((cause) => this.#warn(stream, toBusError(cause, stream), 'omissions wait'));
    this.#observeReaders().then(
      (unread) => {
        this.#shares.isBehind = unread > MAX_UNREAD;
      },
      (cause) => this.#warn('observing', toBusError(cause, 'SIEM'), 'cannot read how far readers have come'),
    );
  }

  /** Part of SIEM's bytes that readers have not read yet. A consumer that was never used counts as none. */
  async #observeReaders(): Promise<number> {
    const consumers = formatsOf(this.#ctx.config).map((format) =>
      consumerProgress(this.#bus, 'SIEM', siemConsumer(format)),
    );
    const read = (await Promise.all(consumers)).filter(({ isUsed }) => isUsed).map((one) => one.ackedSequence);
    read.push(...this.#runners.map(({ settledSequence }) => settledSequence));
    if (read.length === 0) return 0;
    const { config, state } = await streamInfo(this.#bus, 'SIEM');
    const messages = state.last_seq - state.first_seq + 1;
    const unread = state.last_seq - Math.max(state.first_seq - 1, Math.min(...read));
    return messages > 0 ? (Math.max(0, unread) / messages) * (state.bytes / config.max_bytes) : 0;
  }

  #makeReporter(): InstanceReporter {
    return new InstanceReporter({
      ctx: this.#ctx,
      bus: this.#bus,
      service: 'siem-relay',
      more: () => ({ outputs: this.#runners.map((runner) => runner.status()) }),
      progress: [...this.#readers].map(([stream, reader]) => ({ stream, position: () => reader.position })),
      onError: (error) => this.#warn('status', error, 'cannot publish the status'),
    });
  }

  #position(key: string, output?: string): PositionKeeper {
    return new PositionKeeper({
      bucket: openBucket(this.#bus, 'bailiff_siem'),
      key,
      output,
      clock: this.#ctx.clock,
      onError: (error) => this.#warn(`position of ${key}`, error, 'cannot read or write a position'),
    });
  }

  #makeReader(stream: SourceName, decoder: EventDecoder): SourceReader {
    const { config, clock, signal, version, log } = this.#ctx;
    return new SourceReader({
      bus: this.#bus,
      stream,
      formats: formatsOf(config),
      ocsfVersion: config.ocsfVersion,
      startAt: config.startAt,
      version,
      decoder,
      position: this.#position(stream.toLowerCase()),
      shares: this.#shares,
      turns: this.#turns,
      clock,
      evidenceCreatedMs: (sequence) => this.#readers.get('VIOLATIONS')?.createdMs(sequence) ?? 0,
      cluster: () => this.#cluster.identity,
      onPublished: (format, storedMicros, duplicate) => {
        if (duplicate) this.#metrics.duplicates.inc({ format });
        else this.#metrics.events.inc({ format });
        this.#metrics.published.observe(Math.max(0, clock.nowMicros() - storedMicros) / 1e6);
      },
      onOmitted: (violations) => {
        this.#metrics.omitted.inc(violations);
      },
      onUnreadable: (error, message) => {
        this.#metrics.unreadable.inc({ stream, reason: error.reason });
        this.#warn(`${stream} unreadable`, error, `message ${message.sequence} of ${stream} could not be read`);
      },
      onRefused: (err, uid) => {
        this.#metrics.refused.inc();
        log.error({ err, uid }, 'an event is skipped');
      },
      onWarning: (error, text) => this.#warn(stream, error, text),
      signal,
    });
  }

  /** Keys of positions by output, for outputs whose name operators choose. Waits for the bus. */
  async #positionKeys(): Promise<Map<string, string>> {
    const { clock, signal } = this.#ctx;
    const bucket = openBucket(this.#bus, 'bailiff_siem');
    const onError = (error: Error) => this.#warn('positions', error, 'cannot read positions');
    const assigned = new Map<string, string>();
    for (const [kind, keys] of Object.entries(NAMED_POSITIONS)) {
      const names = this.#outputs.map(({ name }) => name).filter((name) => name.startsWith(`${kind}-`));
      if (names.length === 0) continue;
      const read = () => Promise.all(keys.map((key) => readPosition(bucket, key, onError)));
      const owners = await retryTransient(this.#bus, read, { clock, onWait: onError, signal }).catch(
        (error: unknown) => {
          if (!signal.aborted) throw error;
          return [];
        },
      );
      const slots = assignSlots(names, new Map(keys.map((key, index) => [key, owners[index]?.output])));
      for (const [name, key] of slots) assigned.set(name, key);
    }
    return assigned;
  }

  #makeRunner(output: Output, key?: string): OutputRunner {
    const { config, clock, signal } = this.#ctx;
    return new OutputRunner({
      bus: this.#bus,
      output,
      startAt: config.startAt,
      position: this.#position(key ?? output.name, key === undefined ? undefined : output.name),
      clock,
      turns: this.#turns,
      onWarning: (error, text) => this.#warn(output.name, error, text),
      onForeign: () => this.#metrics.unreadable.inc({ stream: 'SIEM', reason: 'FOREIGN' }),
      signal,
    });
  }

  #warn(part: string, err: Error, text: string): void {
    this.#metrics.busErrors.inc({ part });
    this.#log.warn(part, { part, err }, text);
  }

  #readings(): Readings {
    const ofReader = (reader: SourceReader): ReaderReadings => ({
      pending: reader.pending,
      messages: reader.messages,
      lost: reader.lost,
      lagSeconds: reader.lagMs() / 1000,
    });
    return {
      readers: Object.fromEntries([...this.#readers].map(([stream, reader]) => [stream, ofReader(reader)])),
      recreated: [...this.#readers.values()].reduce((sum, { recreated }) => sum + recreated, 0),
      repeated: this.#readers.get('VIOLATIONS')?.repeated ?? 0,
      behind: this.#shares.isBehind,
      outputs: Object.fromEntries(this.#runners.map((runner) => [runner.name, runner.readings()])),
      unkeptAlerts: this.#outputs.reduce((sum, { unkept = 0 }) => sum + unkept, 0),
      syslogConnections: this.#outputs.find((output) => output instanceof SyslogOutput)?.connections ?? 0,
    };
  }
}
