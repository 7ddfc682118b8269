/**
 * The collector: kernel → VIOLATIONS, and documents of the bus → kernel maps. This file creates the
 * rooms from the bottom up and connects them; it decides nothing itself.
 *
 * Start: maps and links first, because enforcement never waits for the bus; then netlink and CNI
 * records; then the bus, for as long as it takes. Stop: drain samples, flush counters, wait for
 * acknowledgements. Programs stay attached and pinned.
 */
import { closeSync } from 'node:fs';
import { boottimeNs, type DecodedBatch, lockPins, openSpoofObject, type SpoofObject } from '@bailiff/bpf';
import type { ServiceContext } from '@bailiff/service';
import { createCaptureServer, respondToCaptures } from './capture/create-capture-server.ts';
import type { CaptureServer } from './capture/server.ts';
import type { CollectorConfig } from './config.ts';
import { ApplyLatency } from './desired/apply-latency.ts';
import type { BusDocument } from './desired/bus-documents.ts';
import { ConfigReceiver } from './desired/config-receiver.ts';
import { DesiredState } from './desired/desired-state.ts';
import { DocumentCache } from './desired/document-cache.ts';
import { addReadings, type Metrics, makeCounters } from './metrics.ts';
import { NetworkEngine } from './network-engine.ts';
import { DetachWatch } from './offline/detach-watch.ts';
import { readBootId } from './process/boot.ts';
import { ProblemLog } from './process/problem-log.ts';
import { Signal } from './process/signal.ts';
import { BusLink } from './publishing/bus-link.ts';
import { frameSequences } from './publishing/frame-sequence.ts';
import { createRuntime } from './runtime/create-runtime.ts';
import type { RuntimeSupervisor } from './runtime/supervisor.ts';
import { StatusReporter } from './status/status-reporter.ts';

/** Interval of comparing all state with the kernel: events can be lost. */
const RESYNC_MS = 30_000;
/**
 * Interval of checking program chains and own addresses, which have no event. Chains are also
 * checked before each status.
 */
const PLACES_MS = 2_000;
/** Interval of checking the CNI folder, beside its events. */
const CNI_CHECK_MS = 10_000;

export class Collector {
  readonly #ctx: ServiceContext<CollectorConfig>;
  readonly #object: SpoofObject;
  readonly #metrics: Metrics;
  readonly #problems: ProblemLog;
  readonly #detach: DetachWatch;
  readonly #bus: BusLink;
  readonly #runtime: RuntimeSupervisor;
  readonly #network: NetworkEngine;
  readonly #receiver: ConfigReceiver;
  readonly #captures: CaptureServer;
  readonly #status: StatusReporter;
  /** Rooms below emit these; the start adds the listeners. */
  readonly #bindingsChanged = new Signal();
  readonly #statusDue = new Signal();

  constructor(ctx: ServiceContext<CollectorConfig>) {
    const { config, clock, fail } = ctx;
    const bindingsChanged = this.#bindingsChanged;
    const lock = lockPins(config.bpfDir);
    ctx.onStop('lock', () => closeSync(lock));
    const object = openSpoofObject({ pinDir: config.bpfDir, mode: config.hook, maxInterfaces: config.maxInterfaces });
    const { meta } = object.maps;
    const metrics = makeCounters(ctx.metrics);
    const problems = new ProblemLog(ctx.log, metrics.problems);
    const moment = () => ({ wallMs: Date.now(), bootNs: boottimeNs() });
    const nextSequence = frameSequences((count) => meta.allocateFrameSequences(count));
    const onRefused = ({ what, key }: Pick<BusDocument, 'what' | 'key'>, reason: string) => {
      metrics.snapshotsRefused.inc({ document: what });
      problems.report(what, key, reason);
      this.#statusDue.emit();
    };

    const desired = new DesiredState(config.nodeName);
    const documents = new DocumentCache(config.stateDir, {
      onProblem: ({ file, reason }) => problems.report('state', file, reason),
    });
    const latency = new ApplyLatency(metrics, clock);
    const detach = new DetachWatch({ ...config, onPinsGone: fail });
    const bus = new BusLink({
      ...{ ctx, metrics },
      onError: (part, error) => problems.report(part, '', error.message, error),
    });
    const shared = { ctx, bootId: readBootId(), object, desired, metrics, latency, problems, nextSequence, moment };
    const runtime = createRuntime({
      ...{ ...shared, documents, meta, sink: bus.sinkOf('lsm'), onRefused },
      onStatus: () => this.#statusDue.emit(),
    });
    const network = new NetworkEngine({ ...shared, sink: bus.sinkOf('spoof'), runtime, detach, bindingsChanged });
    const { registry } = network;
    const receiver = new ConfigReceiver({
      ...{ desired, documents, latency, runtime, engines: [network, runtime], onRefused },
      bindings: () => registry.bindings(),
      nowMicros: () => clock.nowMs() * 1000,
      onProblem: (part, key, reason, error) => problems.report(part, key, reason, error),
    });
    const status = new StatusReporter({ ...shared, registry, receiver, runtime, bus });
    addReadings(ctx.metrics, () => status.readings());

    this.#ctx = ctx;
    this.#object = object;
    this.#metrics = metrics;
    this.#problems = problems;
    this.#detach = detach;
    this.#bus = bus;
    this.#runtime = runtime;
    this.#network = network;
    this.#receiver = receiver;
    this.#captures = createCaptureServer(shared);
    this.#status = status;
  }

  /** Starts everything that does not need the bus, then the bus. */
  start(): void {
    const { config, health, log } = this.#ctx;
    this.#receiver.restore();
    this.#detach.start();
    const adopted = this.#network.start();
    // Only now, because during the adoption a part of the bindings is known.
    this.#bindingsChanged.listen(() => this.#problems.attempt('pods', () => this.#receiver.recheckPods()));
    this.#statusDue.listen(() => this.#problems.attempt('status', () => this.#reportStatus()));
    this.#runtime.start(this.#detach.reason);
    this.#receiver.recheckPods();
    const samples = this.#object.openSamples((batch) => this.#problems.attempt('ring', () => this.#takeSamples(batch)));
    const timers = this.#startTimers(() => samples.drain());
    log.info(
      {
        hook: this.#object.mode,
        reused: this.#object.reused,
        adopted,
        guarded: this.#network.registry.liveCount,
        observeOnly: config.observeOnly,
        ...(this.#detach.reason === '' ? {} : { notAttached: this.#detach.reason }),
      },
      'guarding',
    );
    health.ready('bus', () => this.#bus.ready());
    this.#bus.start({
      follow: (buses) => this.#receiver.follow(buses),
      respond: (pushes) => respondToCaptures(pushes, this.#captures, { ctx: this.#ctx, problems: this.#problems }),
    });
    this.#ctx.onStop('collector', async () => {
      for (const timer of timers) clearInterval(timer);
      this.#network.closeInputs();
      const last = samples.drain();
      samples.close();
      if (last) this.#takeSamples(last);
      await this.#stop();
    });
  }

  #startTimers(drain: () => DecodedBatch | null): NodeJS.Timeout[] {
    const { config } = this.#ctx;
    const problems = this.#problems;
    const every = (ms: number, part: string, action: () => void) =>
      setInterval(() => problems.attempt(part, action), ms);
    return [
      every(config.sweepIntervalMs, 'publish', () => this.#sweep(drain())),
      every(config.statusIntervalMs, 'status', () => this.#reportStatus()),
      setInterval(() => this.#resync(), RESYNC_MS),
      every(PLACES_MS, 'guard', () => this.#network.checkPlaces(true)),
      every(PLACES_MS, 'node maps', () => this.#network.applyOwnAddresses()),
      setInterval(() => this.#network.checkCniRecords(), CNI_CHECK_MS),
    ];
  }

  async #stop(): Promise<void> {
    const { config, log } = this.#ctx;
    const stopping = [this.#network, this.#runtime].map((engine) => engine.stop(config.stopTimeoutMs / 2));
    const unacked = (await Promise.all(stopping)).reduce((sum, engine) => sum + engine.unacked, 0);
    if (unacked > 0)
      log.warn({ unacked }, 'frames were not acknowledged: their counts stay in the kernel maps for the next start');
    await this.#bus.stop();
    this.#network.close();
    this.#object.close();
  }

  /**
   * Operations before packets: a socket is created before it sends, and rules may require this
   * order.
   */
  #takeSamples(batch: DecodedBatch): void {
    this.#metrics.samples.inc(batch.samples.length + batch.runtime.length);
    for (const error of batch.errors) {
      this.#metrics.sampleErrors.inc();
      this.#problems.report('ring', '', error.message, error);
    }
    this.#runtime.takeSamples(batch.runtime);
    this.#network.takeSamples(batch.samples);
  }

  /**
   * Drains samples before reading counters: otherwise the counts are published without their
   * samples.
   */
  #sweep(waiting: DecodedBatch | null): void {
    if (waiting) this.#takeSamples(waiting);
    this.#runtime.sweep();
    this.#network.sweep();
  }

  /** Brings the desired state into the kernel. */
  #apply(): void {
    this.#network.apply();
    this.#runtime.apply();
  }

  #resync(): void {
    const problems = this.#problems;
    problems.attempt('guard', () => this.#network.resync());
    problems.attempt('guard', () => this.#network.checkPlaces());
    // Ends of quarantine and disarm are wall-clock times: this corrects them after a clock step.
    problems.attempt('apply', () => this.#apply());
    problems.attempt('runtime', () => this.#runtime.resync());
  }

  /** An operator detached the programs, or allowed them again. */
  #detachChanged(): void {
    const { reason } = this.#detach;
    this.#problems.report('guard', '', reason === '' ? 'an operator allowed the programs again' : reason);
    if (reason === '') this.#runtime.start('');
    else this.#runtime.detached(reason);
    this.#network.checkPlaces();
  }

  #reportStatus(): void {
    if (this.#detach.check()) this.#detachChanged();
    this.#problems.attempt('guard', () => this.#network.checkPlaces(true));
    this.#status.report();
  }
}
