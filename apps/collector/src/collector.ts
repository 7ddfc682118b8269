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
import type { ServiceContext } from '@bailiff/service';
import { createCaptureServer, respondToCaptures } from './capture/create-capture-server.ts';
import { createCni } from './cni/create-cni.ts';
import type { CollectorConfig } from './config.ts';
import { ApplyLatency } from './desired/apply-latency.ts';
import type { BusDocument } from './desired/bus-documents.ts';
import { ConfigReceiver } from './desired/config-receiver.ts';
import { DesiredState } from './desired/desired-state.ts';
import { DocumentCache } from './desired/document-cache.ts';
import { addReadings, makeCounters } from './metrics.ts';
import { DetachWatch } from './offline/detach-watch.ts';
import { createRuntime } from './operations/create-runtime.ts';
import { NetworkEngine } from './packets/engine.ts';
import { readBootId } from './process/boot.ts';
import { ProblemLog } from './process/problem-log.ts';
import { Signal } from './process/signal.ts';
import { BusLink } from './publishing/bus-link.ts';
import { frameSequences } from './publishing/frame-sequence.ts';
import { StatusReporter } from './status/status-reporter.ts';

/** Interval of comparing all state with the kernel: events can be lost. */
const RESYNC_MS = 30_000;
/**
 * Interval of checking program chains and own addresses, which have no event. Chains are also
 * checked before each status.
 */
const PLACES_MS = 2_000;
/** Interval of checking whether an operator detached the programs or allowed them again. */
const DETACH_MS = 500;
/** Interval of checking the folders of CNI results and configurations, beside their events. */
const CNI_CHECK_MS = 10_000;

type Parts = ReturnType<typeof createParts>;

/** Creates the parts from the bottom up. The two signals go against this order. */
function createParts(ctx: ServiceContext<CollectorConfig>) {
  const { config, clock } = ctx;
  /** An interface was bound or is gone. */
  const bindingsChanged = new Signal();
  /** The status changed and is published without waiting for its interval. */
  const statusDue = new Signal();
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
    statusDue.emit();
  };

  const desired = new DesiredState(config.nodeName, config.initialMode);
  const documents = new DocumentCache(config.stateDir, {
    onProblem: ({ file, reason }) => problems.report('state', file, reason),
  });
  const latency = new ApplyLatency(metrics, clock);
  const detach = new DetachWatch(config);
  const bus = new BusLink({
    ...{ ctx, metrics },
    onError: (part, error) => problems.report(part, '', error.message, error),
  });
  const shared = { ctx, bootId: readBootId(), object, desired, metrics, latency, problems, nextSequence, moment };
  const runtime = createRuntime({
    ...{ ...shared, documents, meta, sink: bus.sinkOf('lsm'), onRefused },
    onStatus: () => statusDue.emit(),
  });
  const network = new NetworkEngine({ ...shared, sink: bus.sinkOf('spoof'), runtime, detach, bindingsChanged });
  const { registry } = network;
  const receiver = new ConfigReceiver({
    ...{ desired, documents, latency, runtime, engines: [network, runtime], onRefused },
    bindings: () => registry.bindings(),
    nowMicros: () => clock.nowMs() * 1000,
    onProblem: (part, key, reason, error) => problems.report(part, key, reason, error),
  });
  const cni = createCni({ ...shared, network, detach });
  const status = new StatusReporter({ ...shared, registry, network, receiver, runtime, cni, bus });
  addReadings(ctx.metrics, () => status.readings());
  const captures = createCaptureServer(shared);
  return {
    ...{ object, metrics, problems, detach, bus, runtime, network, cni, receiver, status, captures },
    ...{ bindingsChanged, statusDue },
  };
}

export class Collector {
  readonly #ctx: ServiceContext<CollectorConfig>;
  readonly #parts: Parts;

  constructor(ctx: ServiceContext<CollectorConfig>) {
    this.#ctx = ctx;
    this.#parts = createParts(ctx);
  }

  /** Starts everything that does not need the bus, then the bus. */
  start(): void {
    const { bindingsChanged, bus, captures, cni, detach, network, object, problems, receiver, runtime, statusDue } =
      this.#parts;
    const { config, health, log } = this.#ctx;
    receiver.restore();
    detach.start();
    const adopted = network.start();
    // Only now, because during the adoption a part of the bindings is known.
    bindingsChanged.listen(() => problems.attempt('pods', () => receiver.recheckPods()));
    statusDue.listen(() => problems.attempt('status', () => this.#reportStatus()));
    runtime.start(detach.reason);
    receiver.recheckPods();
    const samples = object.openSamples((batch) => problems.attempt('ring', () => this.#takeSamples(batch)));
    cni.start();
    const timers = this.#startTimers(() => samples.drain());
    log.info(
      {
        hook: object.mode,
        reused: object.reused,
        adopted,
        guarded: network.registry.liveCount,
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
      cni.close();
      network.closeInputs();
      samples.drain();
      samples.close();
      await this.#stop();
    });
  }

  #startTimers(drain: () => void): NodeJS.Timeout[] {
    const { cni, network, problems } = this.#parts;
    const { config } = this.#ctx;
    const every = (ms: number, part: string, action: () => void) =>
      setInterval(() => problems.attempt(part, action), ms);
    return [
      every(config.sweepIntervalMs, 'publish', () => this.#sweep(drain)),
      every(config.statusIntervalMs, 'status', () => this.#reportStatus()),
      setInterval(() => this.#resync(), RESYNC_MS),
      every(PLACES_MS, 'guard', () => network.checkPlaces(true)),
      every(DETACH_MS, 'guard', () => this.#checkDetach()),
      every(PLACES_MS, 'node maps', () => network.applyOwn()),
      every(PLACES_MS, 'binding', () => network.checkPods()),
      every(PLACES_MS, 'guard', () => network.checkForeignLinks()),
      setInterval(() => network.checkCniRecords(), CNI_CHECK_MS),
      every(CNI_CHECK_MS, 'cni', () => cni.check()),
    ];
  }

  async #stop(): Promise<void> {
    const { bus, network, object, runtime } = this.#parts;
    const { config, log } = this.#ctx;
    const stopping = [network, runtime].map((engine) => engine.stop(config.stopTimeoutMs / 2));
    const unacked = (await Promise.all(stopping)).reduce((sum, engine) => sum + engine.unacked, 0);
    if (unacked > 0)
      log.warn({ unacked }, 'frames were not acknowledged: their counts stay in the kernel maps for the next start');
    await bus.stop();
    network.close();
    object.close();
  }

  /**
   * Operations before packets: a socket is created before it sends, and rules may require this
   * order.
   */
  #takeSamples(batch: DecodedBatch): void {
    const { metrics, network, problems, runtime } = this.#parts;
    metrics.samples.inc(batch.samples.length + batch.runtime.length);
    for (const error of batch.errors) {
      metrics.sampleErrors.inc();
      problems.report('ring', '', error.message, error);
    }
    runtime.takeSamples(batch.runtime);
    network.takeSamples(batch.samples);
  }

  /**
   * Drains samples before reading counters: otherwise the counts are published without their
   * samples.
   */
  #sweep(drain: () => void): void {
    const { network, runtime } = this.#parts;
    drain();
    runtime.sweep();
    network.sweep();
  }

  /** Brings the desired state into the kernel. */
  #apply(): void {
    const { network, runtime } = this.#parts;
    network.apply();
    runtime.apply();
  }

  #resync(): void {
    const { network, problems, runtime } = this.#parts;
    problems.attempt('guard', () => network.resync());
    problems.attempt('guard', () => network.checkPlaces());
    // Ends of quarantine and disarm are wall-clock times: this corrects them after a clock step.
    problems.attempt('apply', () => this.#apply());
    problems.attempt('runtime', () => runtime.resync());
  }

  #checkDetach(): void {
    const { detach, network, object, runtime } = this.#parts;
    const { bpfDir, maxInterfaces } = this.#ctx.config;
    const found = detach.check();
    if (found === 'changed') this.#detachChanged();
    if (found !== 'pins-gone') return;
    // The lock is on the directory, and maps cannot grow: otherwise a new process has to start.
    if (!existsSync(bpfDir) || object.maps.maxInterfaces !== maxInterfaces) {
      this.#ctx.fail(new Error(`the pins under ${bpfDir} are gone: a new process creates them again`));
      return;
    }
    network.repin();
    runtime.detached('its pins were removed');
    detach.check();
    this.#detachChanged();
  }

  /** An operator detached the programs, or allowed them again. */
  #detachChanged(): void {
    const { detach, network, problems, receiver, runtime } = this.#parts;
    const { reason } = detach;
    problems.report('guard', '', reason === '' ? 'an operator allowed the programs again' : reason);
    if (reason === '') {
      receiver.restoreRuntime();
      runtime.start('');
    } else {
      runtime.detached(reason);
    }
    network.checkPlaces();
  }

  #reportStatus(): void {
    const { network, problems, status } = this.#parts;
    this.#checkDetach();
    problems.attempt('guard', () => network.checkPlaces(true));
    status.report();
  }
}
