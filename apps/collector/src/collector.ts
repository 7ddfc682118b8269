/**
 * The collector: kernel -> VIOLATIONS, and pods, quarantine and configuration -> kernel maps. It wires the parts together and decides
 * nothing itself: who an interface belongs to is identity.ts, what to write plan.ts, what to say epochs.ts and violations.ts.
 *
 * Way up: maps and links first (enforcement never waits for the bus), then netlink, then CNI records, then the bus, for as long as it
 * takes. Way down: samples are drained, counters flushed, answers awaited; programs stay pinned and in force.
 */
import { readFileSync } from 'node:fs';
import {
  boottimeNs,
  COUNTER_NUMBERS,
  LinkMonitor,
  openSpoofObject,
  type Probe,
  probeFeatures,
  type SpoofObject,
} from '@bailiff/bpf';
import type { ServiceContext } from '@bailiff/service';
import { AckedMap } from './acked-map.ts';
import { Binder } from './binder.ts';
import { BindingStore } from './binding-store.ts';
import { type BusDocument, BusLink } from './bus-link.ts';
import { CniCache } from './cni-cache.ts';
import type { CollectorConfig } from './config.ts';
import { DesiredState, type Moment } from './desired-state.ts';
import { Flusher } from './flusher.ts';
import { Guard } from './guard.ts';
import { type GuardedInterface, keyOf, storedOf } from './guarded-interface.ts';
import { type CollectorMetrics, collectorMetrics } from './metrics.ts';
import { nodeWideMaps } from './node-maps.ts';
import { ProblemLog } from './problem-log.ts';
import { Reconciler } from './reconciler.ts';
import { Registry } from './registry.ts';
import { nodeStatus } from './status.ts';

/** Links are dumped afresh and places checked this often: what netlink said is not all that can go wrong. */
const RESYNC_MS = 30_000;

export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** Wall-clock microseconds at CLOCK_BOOTTIME 0. */
export function bootWallMicros(): number {
  return Date.now() * 1000 - Number(boottimeNs() / 1000n);
}

export class Collector {
  readonly #ctx: ServiceContext<CollectorConfig>;
  readonly #bootId = readBootId();
  readonly #object: SpoofObject;
  readonly #acked: AckedMap;
  readonly #store: BindingStore;
  readonly #registry: Registry;
  readonly #desired: DesiredState;
  readonly #probes: Probe[];
  readonly #metrics: CollectorMetrics;
  readonly #problems: ProblemLog;
  readonly #startedAtMs: number;
  readonly #bus: BusLink;
  readonly #guard: Guard;
  readonly #binder: Binder;
  readonly #reconciler: Reconciler;
  readonly #flusher: Flusher;
  readonly #cni: CniCache;

  constructor(ctx: ServiceContext<CollectorConfig>) {
    const { config } = ctx;
    this.#ctx = ctx;
    this.#startedAtMs = ctx.clock.nowMs();
    this.#probes = probeFeatures();
    this.#object = openSpoofObject({ pinDir: config.bpfDir, mode: config.hook, maxInterfaces: config.maxInterfaces });
    const { maps } = this.#object;
    this.#acked = new AckedMap(config.bpfDir, maps.maxInterfaces);
    this.#store = new BindingStore(config.stateDir, this.#bootId);
    this.#registry = new Registry(maps.maxInterfaces);
    this.#desired = new DesiredState(config.nodeName);
    this.#metrics = collectorMetrics(ctx.metrics, {
      interfaces: () => this.#countByState(),
      unacked: () => this.#bus.unacked,
      losses: () => Object.fromEntries(Object.entries(maps.losses()).map(([loss, n]) => [loss, Number(n)])),
    });
    this.#problems = new ProblemLog(ctx.log, this.#metrics.problems);
    this.#bus = new BusLink({
      ctx,
      metrics: this.#metrics,
      onDocument: (document) => this.#take(document),
      onRestart: (what) => {
        if (what !== 'config') this.#desired.forgetRevision(what);
        this.#problems.report(what, '', 'the bus has another store: what was told stands until told anew');
      },
      onError: (part, error) => this.#problems.report(part, '', error.message, error),
    });
    this.#reconciler = new Reconciler({
      bootId: this.#bootId,
      maps,
      desired: this.#desired,
      store: this.#store,
      moment: () => this.#moment(),
      onNews: (iface) => this.#flusher.touch(iface),
      onApplied: () => this.#metrics.identityChanges.inc(),
    });
    this.#binder = new Binder({
      cniRecords: () => this.#cni.records.values(),
      cgroupRoot: config.cgroupRoot,
      onBound: (iface) => this.#bound(iface),
      onProblem: (problem) => this.#problems.report('binding', problem.interfaceName, problem.reason, problem.error),
    });
    this.#guard = new Guard({
      object: this.#object,
      registry: this.#registry,
      store: this.#store,
      acked: this.#acked,
      exclude: new RegExp(config.excludeInterfaces),
      attach: !config.observeOnly,
      nowMs: () => performance.now(),
      onNew: (iface) => this.#appeared(iface),
      onChanged: (iface) => this.#changed(iface),
      onGone: (iface) => this.#went(iface),
      onProblem: (problem) => this.#problems.report('guard', problem.interfaceName, problem.reason, problem.error),
    });
    this.#flusher = new Flusher({
      nodeName: config.nodeName,
      bootId: this.#bootId,
      version: ctx.version,
      registry: this.#registry,
      counters: maps.counters,
      sink: this.#bus,
      nextSequence: () => Number(maps.meta.allocateFrameSequences(1)),
      clock: { nowMicros: () => ctx.clock.nowMs() * 1000, nowMs: () => performance.now(), bootWallMicros },
      flushIntervalMs: config.flushIntervalMs,
      unknownGraceMs: config.unknownGraceMs,
      onSettled: (iface) => this.#guard.settle(iface),
      onAcked: (iface) => this.#acked.write(keyOf(iface), iface.book.acked()),
      onGapReported: (iface) => this.#store.save(storedOf(iface)),
      onError: (error) => this.#problems.report('publish', '', error.message, error),
    });
    this.#cni = new CniCache(config.cniResultsDir, {
      onRecord: () => this.#bindAll(),
      onRemoved: () => {},
      onProblem: (problem) => this.#problems.report('cni', problem.file, problem.reason),
    });
  }

  /** Everything that does not need the bus; then the bus. */
  start(): void {
    const { config, log } = this.#ctx;
    this.#applyNodeWide();
    const monitor = new LinkMonitor({
      onLinks: (links) => {
        for (const link of links) this.#guard.see(link);
      },
      onOverrun: () => {
        this.#metrics.netlinkOverruns.inc();
        this.#guard.resync();
      },
    });
    this.#cni.start();
    const { adopted, unreadable } = this.#guard.start();
    for (const { file, reason } of unreadable) this.#problems.report('state', file, reason);
    const samples = this.#object.openSamples((batch) => {
      this.#metrics.samples.inc(batch.samples.length);
      for (const error of batch.errors) {
        this.#metrics.sampleErrors.inc();
        this.#problems.report('ring', '', error.message, error);
      }
      this.#flusher.takeSamples(batch.samples);
    });
    const timers = [
      setInterval(() => this.#flusher.sweep(), config.sweepIntervalMs),
      setInterval(() => this.#putStatus(), config.statusIntervalMs),
      setInterval(() => this.#resync(), RESYNC_MS),
    ];
    log.info(
      {
        hook: this.#object.mode,
        reused: this.#object.reused,
        adopted,
        guarded: this.#registry.liveCount,
        observeOnly: config.observeOnly,
      },
      'guarding',
    );
    this.#ctx.health.ready('bus', () => this.#bus.ready());
    this.#bus.start();
    this.#ctx.onStop('collector', async () => {
      for (const timer of timers) clearInterval(timer);
      monitor.close();
      this.#cni.close();
      this.#binder.close();
      const last = samples.drain();
      samples.close();
      if (last) this.#flusher.takeSamples(last.samples);
      const { unacked } = await this.#flusher.stop(config.stopTimeoutMs / 2);
      if (unacked > 0)
        log.warn({ unacked }, 'frames were not acknowledged: their counts stay in the kernel maps for the next start');
      await this.#bus.stop();
      this.#acked.close();
      this.#object.close();
    });
  }

  #moment(): Moment {
    return { wallMs: Date.now(), bootNs: boottimeNs() };
  }

  #appeared(iface: GuardedInterface): void {
    this.#binder.bindFromCni(iface);
    this.#reconciler.apply(iface);
    if (!iface.binding) this.#binder.bind(iface);
    if (!iface.gone)
      setImmediate(() => this.#metrics.guardSeconds.observe((iface.guardedAtMs - iface.appearedAtMs) / 1000));
  }

  #changed(iface: GuardedInterface): void {
    if (!iface.binding) this.#binder.bindFromCni(iface);
    this.#reconciler.apply(iface);
  }

  #went(iface: GuardedInterface): void {
    this.#binder.forget(iface);
    this.#flusher.touch(iface);
  }

  /** A binding was made: write it down, write it into the kernel, and account for what passed before. */
  #bound(iface: GuardedInterface): void {
    this.#metrics.bindSeconds.observe((performance.now() - iface.appearedAtMs) / 1000);
    this.#store.save(storedOf(iface));
    this.#reconciler.apply(iface);
    // Packets of the unknown state passed and are part of the gap: they are not violations of the pod.
    const counters = new Float64Array(COUNTER_NUMBERS);
    if (this.#object.maps.counters.readInto(keyOf(iface), counters))
      iface.book.forgive(counters, ({ state, action }) => state === 'unknown' && action === 'audit');
    this.#acked.write(keyOf(iface), iface.book.acked());
    this.#guard.measureGap(iface);
    this.#flusher.touch(iface);
  }

  #bindAll(): void {
    const began = performance.now();
    let bound = 0;
    for (const iface of this.#registry.allLive()) {
      if (iface.binding?.source !== 'cni' && this.#binder.bindFromCni(iface)) bound += 1;
    }
    if (bound > 0) this.#metrics.applySeconds.observe((performance.now() - began) / 1000);
  }

  /** Something came from the bus. Applies it to the maps and says how long that took. */
  #take(document: BusDocument): void {
    const began = performance.now();
    const { what, key, json } = document;
    const desired = this.#desired;
    if (what !== 'config' && json === null) return; // a document that was deleted changes nothing: the last good one is kept
    const taken =
      what === 'pods'
        ? desired.takePods(json as string, this.#registry.bindings())
        : what === 'cluster'
          ? desired.takeCluster(json as string)
          : what === 'quarantine'
            ? desired.takeQuarantine(json as string)
            : desired.takeConfig(key, json);
    if ('refused' in taken) {
      this.#metrics.snapshotsRefused.inc({ document: what });
      this.#problems.report(what, key, taken.refused);
      this.#putStatus();
      return;
    }
    if (!taken.changed) return;
    if (what === 'cluster' || what === 'config') this.#applyNodeWide();
    for (const iface of this.#registry.allLive()) this.#reconciler.apply(iface);
    this.#metrics.applySeconds.observe((performance.now() - began) / 1000);
  }

  #applyNodeWide(): void {
    nodeWideMaps(this.#object.maps, this.#desired);
  }

  #resync(): void {
    this.#guard.resync();
    const restored = this.#guard.checkPlaces();
    if (restored > 0) this.#metrics.placesRestored.inc(restored);
    // Ends of quarantine and break-glass are wall-clock times: a stepped clock is made good here.
    for (const iface of this.#registry.allLive()) this.#reconciler.apply(iface);
  }

  #countByState(): Record<string, number> {
    const counts: Record<string, number> = { unknown: 0, provisional: 0, programmed: 0 };
    for (const iface of this.#registry.allLive()) {
      const state = iface.kernel?.record.state ?? 'unknown';
      counts[state] = (counts[state] ?? 0) + 1;
    }
    return counts;
  }

  #putStatus(): void {
    this.#bus.putStatus(
      nodeStatus({
        nodeName: this.#ctx.config.nodeName,
        bootId: this.#bootId,
        version: this.#ctx.version,
        startedAtMs: this.#startedAtMs,
        hook: this.#ctx.config.observeOnly ? 'none' : this.#object.mode,
        probes: this.#probes,
        registry: this.#registry,
        desired: this.#desired,
        maps: this.#object.maps,
        moment: this.#moment(),
        bus: this.#bus.counts,
      }),
    );
  }
}
