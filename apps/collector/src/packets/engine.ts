/**
 * Engine of packets: guards the interfaces of the node. It finds them, binds them to their pods,
 * writes their identities into the kernel and publishes the kernel's counts.
 *
 * Data path: netlink event → guard → binder → reconciler → kernel maps; ring buffer → interface
 * adapter → flusher → bus. The handlers below connect these parts and decide nothing themselves.
 */
import path from 'node:path';
import {
  type DecodedBatch,
  firstLinks,
  getLink,
  getNsid,
  LinkMonitor,
  type LinkRecord,
  PlaceWatch,
  type SpoofSample,
} from '@bailiff/bpf';
import type { SocketProcess } from '@bailiff/schemas';
import { type Check, type Engine, type EngineParts, flusherOptions } from '../engine.ts';
import type { CniRecord } from '../identity/cni-record.ts';
import { CniRecords } from '../identity/cni-records.ts';
import { RECORD_SLACK_MS } from '../identity/identity.ts';
import { NEVER_SEEN } from '../identity/pod-life.ts';
import type { Signal } from '../process/signal.ts';
import { Flusher } from '../publishing/flusher.ts';
import { AckedMap } from './counting/acked-cells.ts';
import { CounterStore } from './counting/counter-store.ts';
import { NodeMaps } from './kernel/node-maps.ts';
import { ownNetworks } from './kernel/own-networks.ts';
import { Reconciler } from './kernel/reconciler.ts';
import { InterfaceAdapter } from './publishing/adapter.ts';
import { UnjudgedFrames } from './publishing/unjudged.ts';
import { Binder, type BindResult } from './subjects/binder.ts';
import { BindingStore } from './subjects/binding-store.ts';
import { ForeignLinks, foreignReason, LINKS_MS } from './subjects/foreign-links.ts';
import { Guard, type GuardOptions } from './subjects/guard.ts';
import { type GuardedInterface, keyOf, outlivedBy, storedOf } from './subjects/guarded-interface.ts';
import { excludeUnguarded, forgetGeneration, forgottenCounts, hasNothingToPublish } from './subjects/lifecycle.ts';
import { ownLinks } from './subjects/node-links.ts';
import { Orphans } from './subjects/orphans.ts';
import { PastGuard } from './subjects/past-guard.ts';
import { Registry } from './subjects/registry.ts';
import { StallDetector } from './subjects/stall-detector.ts';

/** Interval of checking program chains and own addresses, which have no event. */
const PLACES_MS = 2_000;
/** Interval of checking the folders of CNI results, beside their events. */
const CNI_CHECK_MS = 10_000;

export interface PacketParts extends EngineParts {
  /** The process that created the socket of a packet; null: unknown. */
  processOf(sample: SpoofSample): SocketProcess | null;
  /** Emitted when an interface was bound or is gone. */
  bindingsChanged: Pick<Signal, 'emit'>;
}

export class PacketEngine implements Engine {
  readonly #parts: PacketParts;
  readonly checks: readonly Check[] = [
    { everyMs: PLACES_MS, part: 'guard', run: () => this.checkPlaces(true) },
    { everyMs: PLACES_MS, part: 'node maps', run: () => this.#nodeMaps.applyOwn() },
    { everyMs: PLACES_MS, part: 'binding', run: () => this.#orphans.check() },
    { everyMs: PLACES_MS, part: 'binding', run: () => this.#reconciler.checkRivals() },
    { everyMs: LINKS_MS, part: 'guard', run: () => this.#foreignLinks.check() },
    { everyMs: CNI_CHECK_MS, part: 'cni', run: () => this.#cni.check() },
  ];
  /** Interfaces that the start adopted from an earlier process. */
  adopted = 0;
  readonly registry: Registry;
  /** Handles all link events so far: an index may belong to a link whose events are not read yet. */
  readonly readLinkEvents = (): void => this.#monitor?.catchUp();
  readonly #acked: AckedMap;
  readonly #counters: CounterStore;
  readonly #store: BindingStore;
  readonly #stores: Pick<GuardOptions, 'registry' | 'store' | 'counters' | 'onProblem'>;
  readonly #adapter: InterfaceAdapter;
  readonly #flusher: Flusher<GuardedInterface>;
  readonly #unjudged: UnjudgedFrames;
  readonly #pastGuard: PastGuard;
  readonly #nodeMaps: NodeMaps;
  readonly #reconciler: Reconciler;
  readonly #cni: CniRecords;
  readonly #binder: Binder<GuardedInterface>;
  readonly #stalls = new StallDetector();
  readonly #guard: Guard;
  readonly #orphans: Orphans;
  readonly #foreignLinks: ForeignLinks;
  #monitor: LinkMonitor | null = null;

  constructor(parts: PacketParts) {
    this.#parts = parts;
    const { bootId, clock, ctx, desired, detach, metrics, moment, object, problems } = parts;
    const [{ config }, { maps }] = [ctx, object];
    this.registry = new Registry(maps.maxInterfaces);
    this.#acked = new AckedMap(config.bpfDir, maps.maxInterfaces);
    this.#counters = new CounterStore({
      dir: path.join(config.stateDir, bootId),
      counters: maps.counters,
      acked: this.#acked,
      onProblem: problems.of('state'),
    });
    this.#store = new BindingStore(config.stateDir, bootId, { onProblem: problems.of('state') });
    const { registry } = this;
    this.#stores = { registry, store: this.#store, counters: this.#counters, onProblem: problems.of('guard') };
    this.#adapter = new InterfaceAdapter({
      bootId,
      clock,
      registry,
      counters: this.#counters,
      unknownGraceMs: config.unknownGraceMs,
      processOf: (sample) => parts.processOf(sample),
      onSettled: (iface) => forgetGeneration(this.#stores, iface),
      onAcked: (iface) => this.#writeAcked(iface),
      onUnguardedReported: (iface) => this.#store.save(storedOf(iface)),
    });
    const onError = (error: Error) => problems.report('publish', '', error.message, error);
    this.#flusher = new Flusher({ ...flusherOptions(parts), onError }, this.#adapter);
    this.#unjudged = new UnjudgedFrames({
      ...this.#stores,
      bootId,
      maps,
      whyNotAttach: () => detach.whyNotAttach(),
      nowMicros: clock.nowMicros,
      onFound: (iface, frames) => {
        metrics.unjudged.inc(frames);
        problems.report('guard', iface.link.name, `${frames} frames of its pod passed without being judged`);
        this.#flusher.touch(iface);
      },
      onProblem: problems.of('counts'),
    });
    this.#pastGuard = new PastGuard({ registry, readLink: getLink, onProblem: problems.of('counts') });
    this.#nodeMaps = new NodeMaps({
      maps,
      desired,
      areNew: !object.reused,
      ownNetworks,
      cgroupRoot: config.cgroupRoot,
      onProblem: problems.of('node maps'),
    });
    this.#reconciler = new Reconciler({
      bootId,
      maps,
      desired,
      store: this.#store,
      moment,
      live: () => registry.allLive(),
      cniRecords: () => this.cniRecords(),
      linkMacs: () => new Set(ownLinks().map(({ mac }) => mac)),
      linkAddresses: () => ownNetworks().addresses,
      hasRecord: (file) => this.#cni.isOnDisk(file),
      isChosen: (binding) => this.#cni.isChosen(binding),
      isMacChosen: (binding) => this.#cni.isChosen(binding, 'isMacChosen'),
      segmentOf: (binding) => this.#cni.segmentOf(binding),
      onFound: (iface) => this.#flusher.touch(iface),
      onApplied: () => metrics.identityChanges.inc(),
      onProblem: problems.of('apply'),
    });
    this.#cni = new CniRecords(config.cniResultsDir, {
      onRecord: (record) => problems.attempt('binding', () => this.#recordAppeared(record)),
      onProblem: problems.of('cni'),
    });
    this.#binder = new Binder({
      cniRecords: () => this.cniRecords(),
      findFolders: () => this.#cni.findFolders(),
      cgroupRoot: config.cgroupRoot,
      listedAddresses: (uid) => desired.addressesOf(uid),
      onBound: (iface) => this.#bound(iface),
      onReplaced: (iface) => this.#guard.renew(iface),
      wallMs: () => Date.now(),
      eventMs: () => this.#stalls.announcement(1).notBeforeMs,
      onProblem: problems.of('binding'),
    });
    this.#orphans = new Orphans({
      registry,
      store: this.#store,
      cgroupRoot: config.cgroupRoot,
      recordOf: (binding, folder) => this.#cni.sightOf(binding, folder),
      list: (podUid) => desired.listSays(podUid),
      onChanged: (changed) => this.#orphansChanged(changed),
      onProblem: problems.of('binding'),
    });
    this.#foreignLinks = new ForeignLinks({
      registry,
      cniRecords: () => this.cniRecords(),
      ownNsid: () => getNsid({ pid: process.pid }),
      readLinks: (targetNsid, atMost) => firstLinks(atMost, { targetNsid }),
      nameOf: (ifindex) => getLink(ifindex)?.name,
      onChanged: (changed) => this.#foreignLinksChanged(changed),
      onProblem: problems.of('guard'),
    });
    this.#guard = new Guard({
      ...this.#stores,
      object,
      places: new PlaceWatch(object.mode),
      nowMs: clock.nowMs,
      whyNotAttach: () => detach.whyNotAttach(),
      exclude: new RegExp(config.excludeInterfaces),
      announcement: () => this.#stalls.announcement(RECORD_SLACK_MS),
      events: {
        appeared: (iface) => this.#appeared(iface),
        adopted: () => this.#reconciler.adopted(),
        changed: (iface) => this.#changed(iface),
        guarded: (afterMs) => metrics.guardSeconds.observe(afterMs / 1000),
        gone: (iface) => this.#gone(iface),
        forgotten: (iface) => this.#forgotten(iface),
      },
    });
  }

  /** Adopts and guards interfaces. */
  start(): void {
    const { metrics, problems } = this.#parts;
    this.#nodeMaps.apply();
    this.#monitor = new LinkMonitor({
      onLinks: (links) => this.#guard.update(links),
      onOverrun: () => {
        metrics.netlinkOverruns.inc();
        problems.attempt('guard', () => this.#guard.resync(true));
      },
    });
    this.#cni.start();
    const { adopted, unreadable } = this.#guard.start();
    if (this.#acked.recreated !== '') problems.report('counts', '', this.#acked.recreated);
    for (const { file, reason } of unreadable) problems.report('state', file, reason);
    this.adopted = adopted;
  }

  takeSamples({ samples }: DecodedBatch): void {
    this.#flusher.received(this.#adapter.takeSamples(samples));
  }

  /** Reads every counter, to find growth whose samples were lost, also while links cannot be read; and frames past the guard. */
  sweep(): void {
    this.#parts.problems.attempt('counts', () => this.#unjudged.check());
    this.#pastGuard.check();
    this.#flusher.sweep();
  }

  /** Brings the desired state into the kernel. */
  apply(): void {
    this.#nodeMaps.apply();
    this.#reconciler.applyAll([...this.registry.allLive()].filter((iface) => !this.#binder.bindListed(iface)));
  }

  resync(): void {
    const { problems } = this.#parts;
    problems.attempt('guard', () => this.#guard.resync());
    problems.attempt('guard', () => this.checkPlaces());
    // Ends of quarantine and disarm are wall-clock times: this corrects them after a clock step.
    problems.attempt('apply', () => this.apply());
  }

  /** As the netlink event and the cache file do without the CNI plugin. A repeated call changes nothing. */
  applyCniCall(record: CniRecord, link: LinkRecord): void {
    this.#guard.update([link]);
    this.#cni.apply(record);
    const iface = this.registry.live(link.ifindex);
    if (iface?.binding?.podUid !== record.podUid || iface.binding.fromCall) return;
    iface.binding = { ...iface.binding, fromCall: true };
    this.#store.save(storedOf(iface));
    this.#reconciler.apply(iface);
  }

  /** Pods with a cgroup; null: the listing is not complete. */
  get cgroupPods(): ReadonlySet<string> | null {
    return this.#orphans.cgroupPods;
  }

  cniRecords(): readonly CniRecord[] {
    return this.#cni.all();
  }

  /** Why new CNI records are found by polling; empty: inotify reports them. */
  get recordsUnwatched(): string {
    return this.#cni.unwatched;
  }

  /** Restores programs that were displaced or removed. @param ifChanged only if a chain changed */
  checkPlaces(ifChanged = false): void {
    const restored = ifChanged ? this.#guard.checkChangedPlaces() : this.#guard.checkPlaces();
    if (restored > 0) this.#parts.metrics.placesRestored.inc(restored);
  }

  /** Attaches or detaches by the reason that an operator left. */
  detachChanged(): void {
    this.checkPlaces();
  }

  /** Pins maps and programs again; `checkPlaces` then attaches the programs. */
  repin(): void {
    this.#parts.object.repin();
    this.#acked.repin();
  }

  closeInputs(): void {
    for (const part of [this.#monitor, this.#stalls, this.#cni, this.#binder, this.#guard, this.#orphans])
      part?.close();
  }

  stop(timeoutMs: number): Promise<{ unacked: number }> {
    return this.#flusher.stop(timeoutMs);
  }

  close(): void {
    this.#acked.close();
  }

  #appeared(iface: GuardedInterface): BindResult {
    const result = this.#bindFromCni(iface);
    if (result === 'replaced') return result;
    this.#reconciler.appeared(iface);
    this.#binder.bindOrRetry(iface);
    return result;
  }

  #changed(iface: GuardedInterface): void {
    if (!iface.binding) this.#bindFromCni(iface);
    this.#reconciler.apply(iface);
  }

  #bindFromCni(iface: GuardedInterface): BindResult {
    const result = this.#binder.bindFromCni(iface);
    if (result === 'replaced') {
      const reason = `a newer CNI record does not name pod ${iface.binding?.podUid}: a new generation begins`;
      this.#parts.problems.report('binding', iface.link.name, reason);
    }
    return result;
  }

  #recordAppeared(record: CniRecord): void {
    let bound = 0;
    for (const iface of [...this.registry.allLive()].filter(({ link }) => record.hostInterfaces.includes(link.name))) {
      const result = this.#bindFromCni(iface);
      if (result === 'replaced') this.#guard.renew(iface);
      if (result === 'bound') bound += 1;
    }
    if (bound > 0) this.#parts.latency.recordApplied(record.writtenAtMs);
    else this.#reconciler.recordAppeared(record);
    this.#reconciler.checkRivals();
    this.#orphans.noteSoon();
  }

  /** Writes the binding into the kernel and to disk, and counts the packets before it. */
  #bound(iface: GuardedInterface): void {
    const { metrics, problems } = this.#parts;
    Object.assign(iface, { orphaned: false, podSeen: NEVER_SEEN });
    this.#orphans.noteSoon();
    if (iface.eventAtMs !== null) metrics.bindSeconds.observe((performance.now() - iface.eventAtMs) / 1000);
    this.#reconciler.bound(iface);
    this.#store.save(storedOf(iface));
    problems.attempt('counts', () => {
      excludeUnguarded(this.#counters, iface);
      this.#counters.writeAcked(keyOf(iface), iface.ledger.acked());
    });
    this.#guard.bound(iface);
    this.#flusher.touch(iface);
    this.#parts.bindingsChanged.emit();
  }

  /** Addresses and MACs of interfaces whose pods have ended are free for others. */
  #orphansChanged(changed: readonly GuardedInterface[]): void {
    for (const iface of changed) {
      const reason = iface.orphaned
        ? `it outlives ${outlivedBy(iface)}: everything that it sends violates orphaned`
        : `${outlivedBy(iface)} is alive: it is no longer orphaned`;
      this.#parts.problems.report('binding', iface.link.name, reason);
    }
    this.apply();
    for (const { orphaned } of changed) if (orphaned) this.#guard.guardWaiting();
    this.#parts.bindingsChanged.emit();
  }

  #foreignLinksChanged(changed: readonly GuardedInterface[]): void {
    for (const { foreignLinks, link } of changed)
      if (foreignLinks.length > 0) this.#parts.problems.report('guard', link.name, foreignReason(foreignLinks));
  }

  /** A generation without counts to publish is forgotten at once; the others wait for the bus. */
  #gone(iface: GuardedInterface): void {
    this.#binder.removed(iface);
    if (hasNothingToPublish(this.#counters, iface)) forgetGeneration(this.#stores, iface);
    else this.#flusher.touch(iface);
    this.#parts.bindingsChanged.emit();
  }

  #forgotten(iface: GuardedInterface): void {
    const { packets, reason } = forgottenCounts(this.#counters, iface);
    this.#parts.metrics.countsForgotten.inc(packets);
    this.#parts.problems.report('counts', iface.link.name, reason);
  }

  #writeAcked(iface: GuardedInterface): void {
    // An acknowledgement may arrive after the generation was forgotten: it must not be stored again.
    if (this.registry.byGeneration(iface.generation) !== iface) return;
    this.#parts.problems.attempt('publish', () => this.#counters.writeAcked(keyOf(iface), iface.ledger.acked()));
  }
}
