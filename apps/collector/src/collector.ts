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
import { startCni } from './cni/create-cni.ts';
import type { CollectorConfig } from './config.ts';
import { ApplyLatency } from './desired/apply-latency.ts';
import type { BusDocument } from './desired/bus-documents.ts';
import { ConfigReceiver } from './desired/config-receiver.ts';
import { DesiredState } from './desired/desired-state.ts';
import { DocumentCache } from './desired/document-cache.ts';
import { type Metrics, makeMetrics } from './metrics.ts';
import { NetworkEngine } from './network-engine.ts';
import { DetachWatch } from './offline/detach-watch.ts';
import { readBootId } from './process/boot.ts';
import { ProblemLog } from './process/problem-log.ts';
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
/** Interval of checking the folders of CNI results and configurations, beside their events. */
const CNI_CHECK_MS = 10_000;

export class Collector {
  readonly #ctx: ServiceContext<CollectorConfig>;
  readonly #object: SpoofObject;
  readonly #metrics: Metrics;
  readonly #problems: ProblemLog;
  readonly #bus: BusLink;
  readonly #detach: DetachWatch;
  readonly #runtime: RuntimeSupervisor;
  readonly #network: NetworkEngine;
  readonly #receiver: ConfigReceiver;
  readonly #captures: CaptureServer;
  readonly #status: StatusReporter;
  #started = false;

  constructor(ctx: ServiceContext<CollectorConfig>) {
    const { config, clock } = ctx;
    this.#ctx = ctx;
    const lock = lockPins(config.bpfDir);
    ctx.onStop('lock', () => closeSync(lock));
    this.#object = openSpoofObject({ pinDir: config.bpfDir, mode: config.hook, maxInterfaces: config.maxInterfaces });
    const { meta } = this.#object.maps;
    const metrics = makeMetrics(ctx.metrics, () => this.#status.readings());
    const problems = new ProblemLog(ctx.log, metrics.problems);
    this.#metrics = metrics;
    this.#problems = problems;
    const desired = new DesiredState(config.nodeName);
    const documents = new DocumentCache(config.stateDir, {
      onProblem: ({ file, reason }) => problems.report('state', file, reason),
    });
    const latency = new ApplyLatency(metrics, clock);
    const shared = { ctx, bootId: readBootId(), desired, metrics, latency, problems };
    const nextSequence = frameSequences((count) => meta.allocateFrameSequences(count));
    const moment = () => ({ wallMs: Date.now(), bootNs: boottimeNs() });

    this.#detach = new DetachWatch({
      ...config,
      onPinsGone: (error) => ctx.fail(error),
      onChanged: (reason) => this.#detachChanged(reason),
    });
    this.#bus = new BusLink({
      ...{ ctx, metrics },
      onError: (part, error) => problems.report(part, '', error.message, error),
    });
    this.#runtime = createRuntime({
      ...{ ...shared, documents, nextSequence, meta, sink: this.#bus.sinkOf('lsm') },
      onRefused: (document, reason) => this.#refused(document, reason),
      onStatus: () => problems.attempt('status', () => this.#reportStatus()),
    });
    this.#network = new NetworkEngine({
      ...{ ...shared, object: this.#object, nextSequence, moment, sink: this.#bus.sinkOf('spoof') },
      processOf: (sample) => this.#runtime.processOf(sample),
      whyNotAttach: () => this.#detach.whyNotAttach(),
      onBindings: () => problems.attempt('pods', () => this.#receiver.recheckPods()),
    });
    const { registry } = this.#network;
    this.#receiver = new ConfigReceiver({
      ...{ desired, documents, latency, runtime: this.#runtime },
      bindings: () => registry.bindings(),
      nowMicros: () => clock.nowMs() * 1000,
      onChanged: () => this.#apply(),
      onRefused: (document, reason) => this.#refused(document, reason),
      onProblem: (part, key, reason, error) => problems.report(part, key, reason, error),
    });
    this.#captures = createCaptureServer(shared);
    this.#status = new StatusReporter({
      ...{ ...shared, object: this.#object, registry, moment },
      ...{ receiver: this.#receiver, runtime: this.#runtime, bus: this.#bus },
    });
  }

  /** Starts everything that does not need the bus, then the bus. */
  start(): void {
    const { config, health, log } = this.#ctx;
    this.#receiver.restore();
    this.#detach.start();
    const adopted = this.#network.start();
    this.#started = true;
    this.#runtime.start(this.#detach.reason);
    this.#receiver.recheckPods();
    const samples = this.#object.openSamples((batch) => this.#problems.attempt('ring', () => this.#takeSamples(batch)));
    const cni = startCni({
      ...{ ctx: this.#ctx, registry: this.#network.registry, metrics: this.#metrics, problems: this.#problems },
      apply: (record, link) => this.#network.applyCniCall(record, link),
      whyNotAttach: () => this.#detach.whyNotAttach(),
    });
    const timers = [
      ...this.#startTimers(() => samples.drain()),
      setInterval(() => this.#problems.attempt('cni', () => cni.check()), CNI_CHECK_MS),
    ];
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
      cni.close();
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
    this.#runtime.changed();
  }

  #resync(): void {
    const problems = this.#problems;
    problems.attempt('guard', () => this.#network.resync());
    problems.attempt('guard', () => this.#network.checkPlaces());
    // Ends of quarantine and disarm are wall-clock times: this corrects them after a clock step.
    problems.attempt('apply', () => this.#apply());
    problems.attempt('runtime', () => this.#runtime.resync());
  }

  #refused({ what, key }: Pick<BusDocument, 'what' | 'key'>, reason: string): void {
    this.#metrics.snapshotsRefused.inc({ document: what });
    this.#problems.report(what, key, reason);
    if (this.#started) this.#reportStatus();
  }

  /** An operator detached the programs, or allowed them again. */
  #detachChanged(reason: string): void {
    this.#problems.report('guard', '', reason === '' ? 'an operator allowed the programs again' : reason);
    if (reason === '') this.#runtime.start('');
    else this.#runtime.detached(reason);
    this.#network.checkPlaces();
  }

  #reportStatus(): void {
    this.#detach.check();
    this.#problems.attempt('guard', () => this.#network.checkPlaces(true));
    this.#status.report();
  }
}
