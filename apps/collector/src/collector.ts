/**
 * The collector: kernel → VIOLATIONS, and documents of the bus → kernel maps. This file creates the
 * parts from the bottom up and connects them; it decides nothing itself.
 *
 * Start: maps and links first, because enforcement never waits for the bus; then netlink and CNI
 * records; then the bus, for as long as it takes. Stop: drain samples, flush counters, wait for
 * acknowledgements. Programs stay attached and pinned.
 */
import { closeSync, existsSync } from 'node:fs';
import { boottimeNs, type DecodedBatch, lockPins, openSpoofObject } from '@bailiff/bpf';
import { signedConfigBy } from '@bailiff/bus';
import type { ServiceContext } from '@bailiff/service';
import { createCaptureServer, respondToCaptures } from './capture/server.ts';
import { createCni } from './cni/create-cni.ts';
import type { CollectorConfig } from './config.ts';
import { ApplyLatency } from './desired/apply-latency.ts';
import type { BusDocument } from './desired/bus-documents.ts';
import { ConfigReceiver } from './desired/config-receiver.ts';
import { DesiredState } from './desired/desired-state.ts';
import { DocumentCache } from './desired/document-cache.ts';
import type { Engine } from './engine.ts';
import { makeMetrics } from './metrics.ts';
import { DetachWatch } from './offline/detach-watch.ts';
import { OperationEngine } from './operations/engine.ts';
import { PacketEngine } from './packets/engine.ts';
import { bootWallMicros, readBootId } from './process/boot.ts';
import { ProblemLog } from './process/problem-log.ts';
import { Signal } from './process/signal.ts';
import { BusLink } from './publishing/bus-link.ts';
import { frameSequences } from './publishing/frame.ts';
import { StatusReporter } from './status/status-reporter.ts';

/** Interval of comparing all state with the kernel: events can be lost. */
const RESYNC_MS = 30_000;
/** Interval of checking whether an operator detached the programs or allowed them again. */
const DETACH_MS = 500;
/** Interval of checking the folder of CNI configurations, beside its events. */
const CNI_CHECK_MS = 10_000;

type Parts = ReturnType<typeof createParts>;

/** Creates the parts from the bottom up. The two signals go against this order. */
function createParts(ctx: ServiceContext<CollectorConfig>) {
  const { config } = ctx;
  /** An interface was bound or is gone. */
  const bindingsChanged = new Signal();
  /** The status changed and is published without waiting for its interval. */
  const statusDue = new Signal();
  const lock = lockPins(config.bpfDir);
  ctx.onStop('lock', () => closeSync(lock));
  const detach = new DetachWatch(config);
  const object = openSpoofObject({
    pinDir: config.bpfDir,
    mode: config.hook,
    maxInterfaces: config.maxInterfaces,
    attaches: detach.whyNotAttach() === '',
  });
  const { meta } = object.maps;
  const metrics = makeMetrics(ctx.metrics, () => status.readings());
  const problems = new ProblemLog(ctx.log, metrics.problems);
  const moment = () => ({ wallMs: Date.now(), bootNs: boottimeNs() });
  const nextSequence = frameSequences((count) => meta.allocateFrameSequences(count));
  const onRefused = ({ what, key }: Pick<BusDocument, 'what' | 'key'>, reason: string) => {
    metrics.snapshotsRefused.inc({ document: what });
    problems.report(what, key, reason);
    statusDue.emit();
  };

  const desired = new DesiredState(config.nodeName, config.initialMode);
  const documents = new DocumentCache(config.stateDir, { onProblem: problems.of('state') });
  const latency = new ApplyLatency(metrics, ctx.clock);
  const bus = new BusLink({
    ctx,
    metrics,
    cluster: () => desired.cluster.cluster,
    onError: (part, error) => problems.report(part, '', error.message, error),
  });
  const clock = { nowMicros: () => ctx.clock.nowMs() * 1000, nowMs: () => performance.now(), bootWallMicros };
  const bootId = readBootId();
  const shared = { ctx, bootId, object, desired, metrics, latency, problems, detach, clock, nextSequence, moment };
  const operations = new OperationEngine({ ...shared, documents, statusDue, onRefused, sink: bus.sinkOf('lsm') });
  const packets = new PacketEngine({
    ...shared,
    bindingsChanged,
    sink: bus.sinkOf('spoof'),
    processOf: (sample) => operations.processOf(sample),
  });
  /** In the order in which they start: guards first. */
  const engines: readonly Engine[] = [packets, operations];
  /**
   * In the order in which they publish: a socket is created before it sends, and rules may require
   * this order.
   */
  const publishers: readonly Engine[] = [operations, packets];
  const receiver = new ConfigReceiver({
    desired,
    documents,
    signed: signedConfigBy(config.configSigners),
    latency,
    problems,
    runtime: operations,
    engines,
    onRefused,
    bindings: () => packets.registry.bindings(),
    nowMicros: clock.nowMicros,
  });
  const cni = createCni({ ...shared, packets });
  const status = new StatusReporter({ ...shared, packets, operations, receiver, cni, bus });
  const captures = createCaptureServer(shared);
  return {
    object,
    metrics,
    problems,
    detach,
    bus,
    packets,
    engines,
    publishers,
    cni,
    receiver,
    status,
    captures,
    bindingsChanged,
    statusDue,
  };
}

export class Collector {
  readonly #ctx: ServiceContext<CollectorConfig>;
  readonly #parts: Parts;
  #isStopping = false;

  constructor(ctx: ServiceContext<CollectorConfig>) {
    this.#ctx = ctx;
    this.#parts = createParts(ctx);
  }

  /** Starts everything that does not need the bus, then the bus. */
  start(): void {
    const { bindingsChanged, bus, captures, cni, detach, engines, object, packets, problems, receiver, statusDue } =
      this.#parts;
    const { config, health, log } = this.#ctx;
    receiver.restore();
    detach.start();
    for (const engine of engines) engine.start();
    // Only now, because during the adoption a part of the bindings is known.
    bindingsChanged.listen(() => problems.attempt('pods', () => receiver.recheckPods()));
    statusDue.listen(() => problems.attempt('status', () => this.#reportStatus()));
    receiver.recheckPods();
    const samples = object.openSamples((batch) => this.#takeSamples(batch));
    cni.start();
    const timers = this.#startTimers(() => samples.drain());
    log.info(
      {
        hook: object.mode,
        reused: object.reused,
        adopted: packets.adopted,
        guarded: packets.registry.liveCount,
        observeOnly: config.observeOnly,
        ...(detach.reason === '' ? {} : { notAttached: detach.reason }),
      },
      'guarding',
    );
    health.ready('bus', () => bus.ready());
    bus.start({
      follow: (buses) => receiver.follow(buses),
      respond: (pushes) => respondToCaptures(pushes, captures, { ctx: this.#ctx, problems }),
    });
    this.#ctx.onStop('collector', async () => {
      for (const timer of timers) clearInterval(timer);
      this.#isStopping = true;
      cni.close();
      receiver.close();
      for (const engine of engines) engine.closeInputs();
      samples.drain();
      samples.close();
      await this.#stop();
    });
  }

  #startTimers(drain: () => void): NodeJS.Timeout[] {
    const { cni, engines, problems } = this.#parts;
    const { config } = this.#ctx;
    // A process that was stopped and continues runs its timers before it polls: events that wait come first.
    const behindEvents = (action: () => void, ms: number) => {
      const unlessStopping = () => {
        if (!this.#isStopping) action();
      };
      return setInterval(() => setImmediate(unlessStopping), ms);
    };
    const every = (ms: number, part: string, action: () => void) =>
      behindEvents(() => problems.attempt(part, action), ms);
    const checks = engines.flatMap((engine) => engine.checks);
    return [
      every(config.sweepIntervalMs, 'publish', () => this.#sweep(drain)),
      every(config.statusIntervalMs, 'status', () => this.#reportStatus()),
      every(DETACH_MS, 'guard', () => this.#checkDetach()),
      every(CNI_CHECK_MS, 'cni', () => cni.check()),
      ...engines.map((engine) => behindEvents(() => engine.resync(), RESYNC_MS)),
      ...checks.map(({ everyMs, part, run }) => every(everyMs, part, run)),
    ];
  }

  async #stop(): Promise<void> {
    const { bus, engines, object } = this.#parts;
    const { config, log } = this.#ctx;
    const stopping = engines.map((engine) => engine.stop(config.stopTimeoutMs / 2));
    const unacked = (await Promise.all(stopping)).reduce((sum, engine) => sum + engine.unacked, 0);
    if (unacked > 0)
      log.warn({ unacked }, 'frames were not acknowledged: their counts stay in the kernel maps for the next start');
    await bus.stop();
    for (const engine of engines) engine.close();
    object.close();
  }

  #takeSamples(batch: DecodedBatch): void {
    const { metrics, problems, publishers } = this.#parts;
    metrics.samples.inc(batch.samples.length + batch.runtime.length);
    for (const error of batch.errors) {
      metrics.sampleErrors.inc();
      problems.report('ring', '', error.message, error);
    }
    this.#each('ring', publishers, (engine) => engine.takeSamples(batch));
  }

  /** An engine has its turn although the one before it fails. */
  #each(part: string, engines: readonly Engine[], action: (engine: Engine) => void): void {
    for (const engine of engines) this.#parts.problems.attempt(part, () => action(engine));
  }

  /**
   * Drains samples before reading counters: otherwise the counts are published without their
   * samples.
   */
  #sweep(drain: () => void): void {
    drain();
    this.#each('publish', this.#parts.publishers, (engine) => engine.sweep());
  }

  #checkDetach(): void {
    const { detach, engines, object } = this.#parts;
    const { bpfDir, maxInterfaces } = this.#ctx.config;
    const found = detach.check();
    if (found === 'changed') this.#detachChanged();
    if (found !== 'pins-gone') return;
    // The lock is on the directory, and maps cannot grow: otherwise a new process has to start.
    if (!existsSync(bpfDir) || object.maps.maxInterfaces !== maxInterfaces) {
      this.#ctx.fail(new Error(`the pins under ${bpfDir} are gone: a new process creates them again`));
      return;
    }
    for (const engine of engines) engine.repin();
    detach.check();
    this.#detachChanged();
  }

  /** An operator detached the programs, or allowed them again. */
  #detachChanged(): void {
    const { detach, engines, problems, receiver } = this.#parts;
    const { reason } = detach;
    problems.report('guard', '', reason === '' ? 'an operator allowed the programs again' : reason);
    if (reason === '') receiver.restoreRuntime();
    this.#each('guard', engines, (engine) => engine.detachChanged());
  }

  #reportStatus(): void {
    const { packets, problems, status } = this.#parts;
    this.#checkDetach();
    problems.attempt('guard', () => packets.checkPlaces(true));
    status.report();
  }
}
