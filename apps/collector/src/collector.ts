/**
 * The collector: kernel -> VIOLATIONS, and pods, quarantine and configuration -> kernel maps. It wires the parts together and decides
 * nothing itself: who an interface belongs to is identity.ts, what to write plan.ts, what to say epochs.ts and violations.ts.
 *
 * Way up: maps and links first (enforcement never waits for the bus), then netlink, then CNI records, then the bus, for as long as it
 * takes. Way down: samples are drained, counters flushed, answers awaited; programs stay pinned and in force.
 */
import { closeSync } from 'node:fs';
import path from 'node:path';
import {
  boottimeNs,
  type DecodedBatch,
  LinkMonitor,
  lockPins,
  openSpoofObject,
  PlaceWatch,
  type SpoofObject,
} from '@bailiff/bpf';
import type { ServiceContext } from '@bailiff/service';
import { makeCaptures } from './capture/create-capture-server.ts';
import type { CollectorConfig } from './config.ts';
import { AckedMap } from './counting/acked-map.ts';
import { CounterStore } from './counting/counter-store.ts';
import { ChangeTimes } from './desired/apply-latency.ts';
import type { BusDocument } from './desired/bus-documents.ts';
import { Intake } from './desired/config-receiver.ts';
import { DesiredState, type Moment } from './desired/desired-state.ts';
import { DocumentStore } from './desired/document-cache.ts';
import { Binder, type BindResult } from './identity/binder.ts';
import { BindingStore } from './identity/binding-store.ts';
import type { CniRecord } from './identity/cni-record.ts';
import { CniRecords } from './identity/cni-records.ts';
import { RECORD_SLACK_MS } from './identity/identity.ts';
import { StallDetector } from './identity/stall-detector.ts';
import { Guard } from './interfaces/guard.ts';
import { type GuardedInterface, keyOf, storedOf } from './interfaces/guarded-interface.ts';
import { forgiveBeforeGuard, forgottenOf, hasNothingToSay } from './interfaces/interface-counts.ts';
import { Registry } from './interfaces/registry.ts';
import { NodeWide } from './kernel/node-maps.ts';
import { ownAddresses } from './kernel/own-addresses.ts';
import { Reconciler } from './kernel/reconciler.ts';
import { type Metrics, makeMetrics } from './metrics.ts';
import { DetachWatch } from './offline/detach-watch.ts';
import { bootWallMicros, readBootId } from './process/boot.ts';
import { ProblemLog } from './process/problem-log.ts';
import { BusLink } from './publishing/bus-link.ts';
import { frameSequences } from './publishing/frame-sequence.ts';
import { Flusher } from './publishing/interface-adapter.ts';
import { makeRuntime } from './runtime/create-runtime.ts';
import type { RuntimeGate } from './runtime/supervisor.ts';
import { StatusTeller } from './status/status-reporter.ts';

/** Links are dumped afresh and places checked this often: what netlink said is not all that can go wrong. */
const RESYNC_MS = 30_000;
/** Programs that somebody displaced or took are looked for this often, and before each status: the kernel has no event for that. */
const PLACES_MS = 2_000;
/** The CNI folder is looked at this often, beside its events. */
const CNI_CHECK_MS = 10_000;

export class Collector {
  readonly #ctx: ServiceContext<CollectorConfig>;
  readonly #bootId = readBootId();
  readonly #object: SpoofObject;
  readonly #acked: AckedMap;
  readonly #accounts: CounterStore;
  readonly #detach: DetachWatch;
  readonly #intake: Intake;
  readonly #store: BindingStore;
  readonly #registry: Registry;
  readonly #running = new StallDetector();
  readonly #desired: DesiredState;
  readonly #nodeWide: NodeWide;
  readonly #metrics: Metrics;
  readonly #times: ChangeTimes;
  readonly #problems: ProblemLog;
  readonly #bus: BusLink;
  readonly #guard: Guard;
  readonly #binder: Binder<GuardedInterface>;
  readonly #reconciler: Reconciler;
  readonly #flusher: Flusher;
  readonly #cni: CniRecords;
  readonly #runtime: RuntimeGate;
  readonly #status: StatusTeller;
  #started = false;

  constructor(ctx: ServiceContext<CollectorConfig>) {
    const { config } = ctx;
    this.#ctx = ctx;
    const lock = lockPins(config.bpfDir);
    ctx.onStop('lock', () => closeSync(lock));
    this.#object = openSpoofObject({ pinDir: config.bpfDir, mode: config.hook, maxInterfaces: config.maxInterfaces });
    const { maps } = this.#object;
    this.#acked = new AckedMap(config.bpfDir, maps.maxInterfaces);
    this.#detach = new DetachWatch({
      ...config,
      onPinsGone: (error) => ctx.fail(error),
      onChanged: (reason) => this.#detachChanged(reason),
    });
    const onFileProblem = (at: { file: string; reason: string }) => this.#problems.report('state', at.file, at.reason);
    this.#store = new BindingStore(config.stateDir, this.#bootId, { onProblem: onFileProblem });
    this.#accounts = new CounterStore({
      dir: path.join(config.stateDir, this.#bootId),
      counters: maps.counters,
      acked: this.#acked,
      onProblem: onFileProblem,
    });
    this.#registry = new Registry(maps.maxInterfaces);
    this.#desired = new DesiredState(config.nodeName);
    this.#nodeWide = new NodeWide({
      ...{ maps, desired: this.#desired, areNew: !this.#object.reused, ownAddresses },
      onUnwritten: ({ map, error }) => this.#problems.report('node maps', map, error.message, error),
    });
    this.#metrics = makeMetrics(ctx.metrics, () => this.#status.readings());
    this.#times = new ChangeTimes(this.#metrics, ctx.clock);
    this.#problems = new ProblemLog(ctx.log, this.#metrics.problems);
    const documents = new DocumentStore(config.stateDir, { onProblem: onFileProblem });
    const nextSequence = frameSequences((count) => maps.meta.allocateFrameSequences(count));
    const wired = { metrics: this.#metrics, times: this.#times, problems: this.#problems };
    const shared = { ctx, bootId: this.#bootId, desired: this.#desired };
    this.#runtime = makeRuntime({
      ...{ ...shared, ...wired, documents, nextSequence, meta: maps.meta },
      bus: () => this.#bus,
      onRefused: (document, reason) => this.#refused(document, reason),
      onStatus: () => this.#safely('status', () => this.#putStatus()),
    });
    this.#status = new StatusTeller({
      ...{ ...shared, object: this.#object, registry: this.#registry, runtime: this.#runtime },
      moment: () => this.#moment(),
      bus: () => this.#bus,
    });
    this.#intake = new Intake({
      desired: this.#desired,
      documents,
      runtime: this.#runtime,
      bindings: () => this.#registry.bindings(),
      onChanged: () => this.#applyAll(),
      onRefused: (document, reason) => this.#refused(document, reason),
      onDropped: ({ what, key }, reason) => this.#problems.report(what, key, `left out: ${reason}`),
    });
    this.#bus = new BusLink({
      ctx,
      metrics: this.#metrics,
      onDocument: (...told) => this.#take(...told),
      onConfigSynced: (kind, keys) => this.#safely(kind, () => this.#intake.configSynced(kind, keys)),
      onRestart: (what) => {
        if (what !== 'config') this.#desired.forgetRevision(what);
        this.#problems.report(what, '', 'the bus has another store: what was told stands until told anew');
      },
      onError: (part, error) => this.#problems.report(part, '', error.message, error),
      captures: makeCaptures({ ...shared, metrics: this.#metrics, problems: this.#problems }),
    });
    this.#reconciler = new Reconciler({
      ...{ bootId: this.#bootId, maps, desired: this.#desired, store: this.#store },
      ...{ moment: () => this.#moment(), live: () => this.#registry.allLive() },
      onNews: (iface) => this.#flusher.touch(iface),
      onApplied: () => this.#metrics.identityChanges.inc(),
      onProblem: (problem) => this.#problems.report('apply', problem.interfaceName, problem.reason, problem.error),
    });
    this.#binder = new Binder({
      cniRecords: () => this.#cni.byFile.values(),
      ...{ cgroupRoot: config.cgroupRoot, listedAddresses: (uid) => this.#desired.addressesOf(uid) },
      onBound: (iface) => this.#bound(iface),
      wallMs: () => Date.now(),
      onProblem: (problem) => this.#problems.report('binding', problem.interfaceName, problem.reason, problem.error),
    });
    this.#guard = new Guard({
      object: this.#object,
      registry: this.#registry,
      places: new PlaceWatch(this.#object.mode),
      store: this.#store,
      accounts: this.#accounts,
      exclude: new RegExp(config.excludeInterfaces),
      whyNotAttach: () => this.#detach.whyNotAttach(),
      nowMs: () => performance.now(),
      announcedNow: () => this.#running.announcement(RECORD_SLACK_MS),
      onNew: (iface) => this.#appeared(iface),
      onChanged: (iface) => this.#changed(iface),
      onGuarded: (afterMs) => this.#metrics.guardSeconds.observe(afterMs / 1000),
      onGone: (iface) => this.#went(iface),
      onForgotten: (iface) => this.#forgotten(iface),
      onProblem: (problem) => this.#problems.report('guard', problem.interfaceName, problem.reason, problem.error),
    });
    this.#flusher = new Flusher({
      nodeName: config.nodeName,
      bootId: this.#bootId,
      version: ctx.version,
      registry: this.#registry,
      counters: { ...maps.counters, readInto: (key, into) => this.#accounts.readInto(key, into) },
      sink: this.#bus,
      nextSequence,
      clock: { nowMicros: () => ctx.clock.nowMs() * 1000, nowMs: () => performance.now(), bootWallMicros },
      flushIntervalMs: config.flushIntervalMs,
      unknownGraceMs: config.unknownGraceMs,
      processOf: (sample) => this.#runtime.processOf(sample),
      onSettled: (iface) => this.#guard.settle(iface),
      onAcked: (iface) => this.#writeAcked(iface),
      onGapReported: (iface) => this.#store.save(storedOf(iface)),
      onError: (error) => this.#problems.report('publish', '', error.message, error),
    });
    this.#cni = new CniRecords(config.cniResultsDir, {
      onRecord: (record) => this.#safely('binding', () => this.#bindBy(record)),
      onProblem: (problem) => this.#problems.report('cni', problem.file, problem.reason),
    });
  }

  /** Everything that does not need the bus; then the bus. */
  start(): void {
    const { config, log } = this.#ctx;
    this.#intake.restore();
    this.#nodeWide.apply();
    this.#detach.begin();
    const monitor = new LinkMonitor({
      onLinks: (links) => this.#guard.see(links),
      onOverrun: () => {
        this.#metrics.netlinkOverruns.inc();
        this.#safely('guard', () => this.#guard.resync());
      },
    });
    this.#cni.start();
    const { adopted, unreadable } = this.#guard.start();
    if (this.#acked.recreated !== '') this.#problems.report('counts', '', this.#acked.recreated);
    for (const { file, reason } of unreadable) this.#problems.report('state', file, reason);
    this.#started = true;
    this.#runtime.start(this.#detach.reason);
    this.#intake.rejudge();
    const samples = this.#object.openSamples((batch) => this.#safely('ring', () => this.#takeSamples(batch)));
    const timers = [
      setInterval(() => this.#safely('publish', () => this.#sweep(samples.drain())), config.sweepIntervalMs),
      setInterval(() => this.#safely('status', () => this.#putStatus()), config.statusIntervalMs),
      setInterval(() => this.#resync(), RESYNC_MS),
      setInterval(() => this.#safely('guard', () => this.#checkPlaces(true)), PLACES_MS),
      setInterval(() => this.#safely('node maps', () => this.#nodeWide.applyOwnAddresses()), PLACES_MS),
      setInterval(() => this.#cni.check(), CNI_CHECK_MS),
    ];
    log.info(
      {
        hook: this.#object.mode,
        reused: this.#object.reused,
        adopted,
        guarded: this.#registry.liveCount,
        observeOnly: config.observeOnly,
        ...(this.#detach.reason === '' ? {} : { notAttached: this.#detach.reason }),
      },
      'guarding',
    );
    this.#ctx.health.ready('bus', () => this.#bus.ready());
    this.#bus.start();
    this.#ctx.onStop('collector', async () => {
      for (const timer of timers) clearInterval(timer);
      for (const part of [monitor, this.#running, this.#cni]) part.close();
      this.#binder.close();
      const last = samples.drain();
      samples.close();
      if (last) this.#takeSamples(last);
      const stopping = [this.#flusher, this.#runtime].map((half) => half.stop(config.stopTimeoutMs / 2));
      const unacked = (await Promise.all(stopping)).reduce((sum, half) => sum + half.unacked, 0);
      if (unacked > 0)
        log.warn({ unacked }, 'frames were not acknowledged: their counts stay in the kernel maps for the next start');
      await this.#bus.stop();
      this.#acked.close();
      this.#object.close();
    });
  }

  /** Trouble from outside is told and costs what had it: nothing that a timer or an event runs may end the process. */
  #safely(part: string, action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#problems.report(part, '', (error as Error).message, error);
    }
  }

  /** Operations before packets: a socket is opened before it sends, and rules may ask for that order. */
  #takeSamples(batch: DecodedBatch): void {
    this.#metrics.samples.inc(batch.samples.length + batch.runtime.length);
    for (const error of batch.errors) {
      this.#metrics.sampleErrors.inc();
      this.#problems.report('ring', '', error.message, error);
    }
    this.#runtime.takeSamples(batch.runtime);
    this.#flusher.takeSamples(batch.samples);
  }

  #refused({ what, key }: Pick<BusDocument, 'what' | 'key'>, reason: string): void {
    this.#metrics.snapshotsRefused.inc({ document: what });
    this.#problems.report(what, key, reason);
    if (this.#started) this.#putStatus();
  }

  /** @param waiting samples that came since: what is counted without them would be told without them */
  #sweep(waiting: DecodedBatch | null): void {
    if (waiting) this.#takeSamples(waiting);
    this.#runtime.sweep();
    this.#flusher.sweep();
  }

  #writeAcked(iface: GuardedInterface): void {
    // An answer may come after its generation was settled or given up: that is not to be written again.
    if (this.#registry.byGeneration(iface.generation) !== iface) return;
    this.#safely('publish', () => this.#accounts.writeAcked(keyOf(iface), iface.book.acked()));
  }

  #moment(): Moment {
    return { wallMs: Date.now(), bootNs: boottimeNs() };
  }

  #appeared(iface: GuardedInterface): void {
    this.#bindFromCni(iface);
    this.#reconciler.apply(iface);
    if (!iface.binding) this.#binder.bindOrRetry(iface);
  }

  #changed(iface: GuardedInterface): void {
    if (!iface.binding) this.#bindFromCni(iface);
    this.#reconciler.apply(iface);
  }

  #bindFromCni(iface: GuardedInterface): BindResult {
    const result = this.#binder.bindFromCni(iface);
    if (result === 'replaced') this.#replaced(iface);
    return result;
  }

  /** What owes nothing needs no bus to be forgotten; the rest waits for it. */
  #went(iface: GuardedInterface): void {
    this.#binder.removed(iface);
    if (hasNothingToSay(this.#accounts, iface)) this.#guard.settle(iface);
    else this.#flusher.touch(iface);
    if (this.#started) this.#safely('pods', () => this.#intake.rejudge());
  }

  #forgotten(iface: GuardedInterface): void {
    const { packets, reason } = forgottenOf(this.#accounts, iface);
    this.#metrics.countsForgotten.inc(packets);
    this.#problems.report('counts', iface.link.name, reason);
  }

  /** A binding was made: write it into the kernel, write it down, and account for what passed before. */
  #bound(iface: GuardedInterface): void {
    if (iface.eventAtMs !== null) this.#metrics.bindSeconds.observe((performance.now() - iface.eventAtMs) / 1000);
    this.#reconciler.bound(iface);
    this.#store.save(storedOf(iface));
    this.#safely('counts', () => {
      forgiveBeforeGuard(this.#accounts, iface);
      this.#accounts.writeAcked(keyOf(iface), iface.book.acked());
    });
    this.#guard.bound(iface);
    this.#flusher.touch(iface);
    // While what was found is adopted one by one, a part of the bindings would judge for all.
    if (this.#started) this.#intake.rejudge();
  }

  #replaced(iface: GuardedInterface): void {
    const reason = `a newer CNI record says that it is not of pod ${iface.binding?.podUid}: it begins anew`;
    this.#problems.report('binding', iface.link.name, reason);
    this.#guard.renew(iface);
  }

  #bindBy(record: CniRecord): void {
    const named = [...this.#registry.allLive()].filter(({ link }) => record.hostInterfaces.includes(link.name));
    if (named.filter((iface) => this.#bindFromCni(iface) === 'bound').length > 0) this.#times.bound(record.writtenAtMs);
  }

  /** Something came from the bus: applies it to the maps. */
  #take(document: BusDocument, storedMicros: number): void {
    this.#safely(document.what, () => {
      if (this.#intake.take(document)) this.#times.taken(document, storedMicros);
    });
  }

  #applyAll(): void {
    this.#nodeWide.apply();
    for (const iface of this.#registry.allLive()) if (!this.#binder.bindListed(iface)) this.#reconciler.apply(iface);
    this.#runtime.changed();
  }

  #resync(): void {
    this.#safely('guard', () => this.#guard.resync());
    this.#safely('guard', () => this.#checkPlaces());
    // Ends of quarantine and break-glass are wall-clock times: a stepped clock is made good here.
    this.#safely('apply', () => this.#applyAll());
    this.#safely('runtime', () => this.#runtime.resync());
  }

  #checkPlaces(ifChanged = false): void {
    const restored = ifChanged ? this.#guard.checkChangedPlaces() : this.#guard.checkPlaces();
    if (restored > 0) this.#metrics.placesRestored.inc(restored);
  }

  /** An operator took the programs off, or gave them back. */
  #detachChanged(reason: string): void {
    this.#problems.report('guard', '', reason === '' ? 'guarded again by an operator' : reason);
    if (reason === '') this.#runtime.start('');
    else this.#runtime.detached(reason);
    this.#checkPlaces();
  }

  #putStatus(): void {
    this.#detach.check();
    this.#safely('guard', () => this.#checkPlaces(true));
    this.#bus.putStatus(this.#status.status());
  }
}
