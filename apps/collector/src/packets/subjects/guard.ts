/**
 * Guards pod interfaces on their netlink events, before their pods are known, and removes them when
 * their links disappear. A start first adopts the interfaces of an earlier process (adopter.ts).
 *
 * Order for a new interface: counters entry, file, record, programs, so that every program has its
 * record. A problem with one interface is reported and shown in its status. If the counters map is
 * full, counts of gone interfaces move to disk to make room for live ones; if that is full too, the
 * namespace with most of them loses its oldest.
 */

import {
  deleteLink,
  getLink,
  type IfaceKey,
  type LinkRecord,
  type PlaceWatch,
  SpoofError,
  type SpoofObject,
} from '@bailiff/bpf';
import { attempt, type OnProblem } from '../../process/problem-log.ts';
import { isShortage, shortageWaitMs } from '../../process/shortage.ts';
import type { CounterStore } from '../counting/counter-store.ts';
import { type Adopted, Adopter } from './adopter.ts';
import { inDoubt } from './adoption.ts';
import { Attachments } from './attachments.ts';
import type { BindResult } from './binder.ts';
import type { BindingStore } from './binding-store.ts';
import {
  type FirstSeen,
  factsOf,
  type GuardedInterface,
  keyOf,
  newInterface,
  outlivedBy,
  storedOf,
} from './guarded-interface.ts';
import { isLeft, LEFT_LINK } from './left-links.ts';
import { forgetGeneration, release } from './lifecycle.ts';
import { nodeLinks } from './node-links.ts';
import type { OtherInterface, Registry } from './registry.ts';
import type { Announcement } from './stall-detector.ts';
import { UnguardedPackets } from './unguarded-packets.ts';
import { WaitingInterfaces } from './waiting-interfaces.ts';

export interface GuardOptions {
  object: SpoofObject;
  registry: Registry;
  places: Pick<PlaceWatch, 'changed' | 'forget' | 'fromPod'>;
  store: BindingStore;
  counters: CounterStore;
  /** Host-side names that never belong to pods: uplinks, bridges. */
  exclude: RegExp;
  /** Whether a pod left the link in the network of the node. Default: that of left-links.ts. */
  isLeft?(link: LinkRecord): boolean;
  /** Why programs are not attached; empty: they are. */
  whyNotAttach(): string;
  nowMs(): number;
  /** Time limits of a netlink event that is read now. */
  announcement(): Announcement;
  events: GuardEvents;
  onProblem: OnProblem;
}

export interface GuardEvents {
  /** A new or adopted generation. The guard ends it if its binding was replaced. */
  appeared(iface: GuardedInterface): BindResult;
  /** Every interface of an earlier process appeared; none that it did not guard has. */
  adopted(): void;
  /** Its name, MAC or namespace id changed. */
  changed(iface: GuardedInterface): void;
  /** Its programs are attached, this long after the netlink event of a new interface was read. */
  guarded(afterMs: number): void;
  gone(iface: GuardedInterface): void;
  /** Counts of a gone generation are dropped: neither the kernel nor the disk has room. */
  forgotten(iface: GuardedInterface): void;
}

const isFull = (error: unknown): boolean => error instanceof SpoofError && error.code === 'ERR_SPOOF_MAP_FULL';

export class Guard {
  readonly #o: GuardOptions;
  readonly #unguarded: UnguardedPackets;
  readonly #attachments: Attachments;
  readonly #waiting: WaitingInterfaces;
  #started = false;
  /** Indexes of links whose former guard was detached; only during the start. */
  #formerlyGuarded: ReadonlySet<number> = new Set();
  /** A resync after a failure for want of descriptors or memory. */
  #retry: NodeJS.Timeout | null = null;
  #shortages = 0;

  constructor(options: GuardOptions) {
    this.#o = options;
    const { events, object } = options;
    this.#unguarded = new UnguardedPackets({ ...options, maps: object.maps });
    this.#waiting = new WaitingInterfaces(options);
    this.#attachments = new Attachments({
      ...options,
      unguarded: this.#unguarded,
      onGuarded: (afterMs) => events.guarded(afterMs),
      isRebound: (iface) => this.#isRebound(iface),
      onFailed: (error) => this.#retrySoon(error),
    });
  }

  /**
   * Adopts the state in the kernel and on disk, then guards the other interfaces. Call it once,
   * after the link monitor is open.
   */
  start(): Adopted {
    const adopter = new Adopter({ ...this.#o, attachments: this.#attachments, renew: (iface) => this.renew(iface) });
    const { links, formerlyGuarded, ...adopted } = adopter.run();
    this.#o.events.adopted();
    this.#formerlyGuarded = formerlyGuarded;
    this.#releaseExcluded();
    this.#updateAll(links, null);
    this.#formerlyGuarded = new Set();
    this.#started = true;
    return adopted;
  }

  /**
   * Ends the guards of interfaces that the configuration excludes by now. Only at a start, so that a
   * rename never ends a guard.
   */
  #releaseExcluded(): void {
    const { registry, exclude, store } = this.#o;
    for (const iface of [...registry.allLive()]) {
      if (!exclude.test(iface.link.name)) continue;
      // The link lives on: without the exclusion, its record binds it again.
      if (iface.binding) {
        const { recordFile: _, ...binding } = iface.binding;
        iface.binding = binding;
        store.save(storedOf(iface));
      }
      this.#remove(iface);
    }
  }

  /**
   * Handles links of netlink events: new, changed or removed. Call it as soon as they are read.
   * Never throws.
   */
  update(links: Iterable<LinkRecord>): void {
    this.#updateAll(links, this.#o.nowMs());
  }

  /**
   * @param eventAtMs when the events were read: the time to a guard counts from here. null: links
   *   of a dump
   */
  #updateAll(links: Iterable<LinkRecord>, eventAtMs: number | null): void {
    const seen = { eventAtMs, announced: this.#started ? this.#o.announcement() : null };
    for (const link of links) this.#tryUpdate(link, seen);
  }

  #tryUpdate(link: LinkRecord, seen: FirstSeen): void {
    this.#orNotCovered(link, () => this.#update(link, seen));
  }

  #orNotCovered(link: Pick<LinkRecord, 'ifindex' | 'name'>, work: () => void): void {
    try {
      work();
    } catch (error) {
      const reason = `cannot guard it: ${(error as Error).message}`;
      if (!this.#o.registry.live(link.ifindex))
        this.#o.registry.others.set(link.ifindex, {
          ...this.#o.registry.others.get(link.ifindex),
          name: link.name,
          coverage: 'not-covered' as const,
          reason,
          isShort: isShortage(error),
        });
      this.#o.onProblem(link.name, reason, error);
      this.#retrySoon(error);
    }
  }

  /** Interfaces that lack a guard only for want of descriptors or memory do not wait for the slow timer. */
  #retrySoon(error: unknown): void {
    if (this.#retry || !isShortage(error)) return;
    this.#shortages += 1;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.resync();
      if (!this.#retry) this.#shortages = 0;
    }, shortageWaitMs(this.#shortages)).unref();
  }

  #update(link: LinkRecord, seen: FirstSeen): void {
    const live = this.#o.registry.live(link.ifindex);
    if (link.removed) {
      this.#waiting.remove(link.ifindex);
      if (!live) return;
      this.#remove(live);
      this.guardWaiting();
      return;
    }
    if (live) {
      const before = live.link;
      live.link = factsOf(link);
      if (live.attachError !== '') this.#attachments.attach(live);
      if (before.name !== link.name || before.mac !== link.mac || before.linkNetnsid !== link.linkNetnsid)
        this.#o.events.changed(live);
      return;
    }
    const reason = this.#reasonNotToGuard(link);
    if (reason) {
      this.#waiting.remove(link.ifindex);
      this.#o.registry.others.set(link.ifindex, { name: link.name, ...reason });
    } else this.#guard(link, this.#o.registry.others.get(link.ifindex)?.waitsForSlot?.seen ?? seen);
  }

  /** A slot is free, or can be: guards the first interface that waits for one and has a share. */
  guardWaiting(): void {
    const next = this.#waiting.next();
    if (next) this.#tryUpdate(next.link, next.seen);
  }

  #reasonNotToGuard(link: LinkRecord): Omit<OtherInterface, 'name'> | null {
    if (link.kind === 'netkit' && !link.netkit?.primary)
      return {
        coverage: 'not-covered',
        reason: 'the peer end of a netkit pair: programs attach only at the primary end',
      };
    // Its name is the pod's choice.
    if ((this.#o.isLeft ?? isLeft)(link)) return { coverage: 'not-covered', reason: LEFT_LINK };
    if (link.kind !== 'veth' && link.kind !== 'netkit')
      return {
        kind: link.kind,
        coverage: 'not-applicable',
        reason: link.kind === '' ? 'not a pod interface' : `a ${link.kind} device`,
      };
    if (this.#o.exclude.test(link.name)) return { coverage: 'not-applicable', reason: 'excluded by name' };
    return null;
  }

  /** @param taken the generation whose programs it takes over; default: that which waited for a slot */
  #guard(announced: LinkRecord, seen: FirstSeen, over: Partial<GuardedInterface> = {}, taken?: IfaceKey): void {
    const { events, object, registry, store } = this.#o;
    // The first event of a veth precedes its other end.
    const linkNetnsid = announced.linkNetnsid ?? getLink(announced.ifindex)?.linkNetnsid ?? null;
    const link = { ...announced, linkNetnsid };
    const slot = over.slot ?? this.#slotFor(link);
    if (slot === null) {
      this.#waiting.put(link, seen);
      return;
    }
    const programs = taken ?? registry.others.get(link.ifindex)?.waitsForSlot?.programs ?? null;
    const key = { ifindex: link.ifindex, generation: object.maps.meta.allocateGeneration() };
    const seenBase = Number(object.maps.seen(slot));
    const iface = newInterface({ ...key, slot, seenBase, link: factsOf(link) }, seen.eventAtMs ?? this.#o.nowMs());
    Object.assign(iface, seen, over);
    if (this.#formerlyGuarded.has(link.ifindex)) this.#unguarded.formerlyGuarded(iface);
    this.#createCounters(key);
    store.save(storedOf(iface));
    registry.add(iface);
    this.#waiting.guarded(iface, programs);
    events.appeared(iface);
    this.#attachments.attach(iface);
  }

  /** null: its pod or its namespace has its share, or all are taken. */
  #slotFor({ ifindex, linkNetnsid }: LinkRecord): number | null {
    const { onProblem, registry, whyNotAttach } = this.#o;
    if (!registry.hasShare(linkNetnsid)) return null;
    const orphan = registry.freeSlot() === null && whyNotAttach() === '' ? registry.oldestOrphan() : null;
    // A link that is deleted is announced as down before: no other gives its place for it.
    if (orphan && getLink(ifindex)) attempt(onProblem, orphan.link.name, () => this.#deleteOrphan(orphan));
    return registry.freeSlot();
  }

  /** Its pod has ended, so no pod loses anything. Without a guard, what it sends would pass. */
  #deleteOrphan(orphan: GuardedInterface): void {
    const { kind, mac, name } = orphan.link;
    const link = getLink(orphan.ifindex);
    if (link && link.kind === kind && link.mac === mac) {
      deleteLink(orphan.ifindex);
      this.#o.onProblem(name, `it outlives ${outlivedBy(orphan)}: deleted, because a pod needs its place`);
    }
    this.#remove(orphan);
  }

  /** Counts of generations that are gone make room for a live interface. */
  #createCounters(key: IfaceKey): void {
    const { counters, registry } = this.#o;
    try {
      counters.create(key);
    } catch (error) {
      const isOnDisk = ({ generation }: GuardedInterface) => counters.isArchived(generation);
      const isInMaps = (iface: GuardedInterface) => !isOnDisk(iface);
      const oldest = isFull(error) ? registry.oldestGone(isInMaps) : null;
      if (!oldest) throw error;
      // A tenant that replaces many pods while the bus is unavailable displaces its own counts.
      const displaced = counters.isFull ? registry.oldestGoneOfMost(isOnDisk) : null;
      if (displaced) this.#forget(displaced);
      // Without a disk the maps have the only copy, and the same holds.
      if (!counters.archive(keyOf(oldest))) this.#forget(registry.oldestGoneOfMost(isInMaps) ?? oldest);
      counters.create(key);
    }
  }

  #forget(iface: GuardedInterface): void {
    this.#o.events.forgotten(iface);
    forgetGeneration(this.#o, iface);
  }

  /**
   * Ends a generation whose link lives on and begins another. Counts so far stay with the pod of
   * the old one. Its programs stay attached, and its record in force until the new one replaces it: no frame
   * passes in between.
   */
  renew(iface: GuardedInterface): void {
    const { object, registry } = this.#o;
    registry.markGone(iface);
    this.#gone(iface);
    this.#orNotCovered(iface.link, () => {
      const link = getLink(iface.ifindex);
      // The link's own count includes the packets that the old generation judged, so none is
      // unguarded.
      const { eventAtMs, announced, guardedAfterMs } = iface;
      // Its slot is free again and stays its own, whatever share its pod has.
      const over = { slot: iface.slot, guardedAfterMs, packetsBeforeGuard: 0, unguardedReported: true };
      if (link) this.#guard(link, { eventAtMs, announced }, over, keyOf(iface));
    });
    // What the new generation did not take over.
    release(this.#o, keyOf(iface), object.maps.ifaces.get(iface.ifindex)?.generation === iface.generation);
  }

  /** The record of another pod may have been read before. */
  #isRebound(iface: GuardedInterface): boolean {
    if (!iface.binding) return false;
    iface.binding = inDoubt(iface.binding);
    this.#o.store.save(storedOf(iface));
    if (this.#o.events.appeared(iface) !== 'replaced') return false;
    this.renew(iface);
    return true;
  }

  #remove(iface: GuardedInterface): void {
    this.#o.registry.markGone(iface);
    release(this.#o, keyOf(iface), true);
    this.#gone(iface);
  }

  #gone(iface: GuardedInterface): void {
    iface.dirty = true;
    this.#o.events.gone(iface);
  }

  /** The interface was bound and the kernel has its identity: counts the packets before that. */
  bound(iface: GuardedInterface): void {
    this.#unguarded.bound(iface);
  }

  /** Restores programs that were displaced or removed. @returns restored interfaces */
  checkPlaces(): number {
    return this.#attachments.check();
  }

  /** Like `checkPlaces`, if a chain of a guarded interface changed since the last call. Cheap. */
  checkChangedPlaces(): number {
    return this.#attachments.checkChanged();
  }

  /**
   * Compares with a new dump of all links: after lost events, and on a slow timer. Never throws.
   * @param areEventsLost all events before the loss were handled
   */
  resync(areEventsLost = false): void {
    try {
      this.#resync(areEventsLost);
    } catch (error) {
      this.#o.onProblem('', (error as Error).message, error);
      this.#retrySoon(error);
    }
  }

  /** Ends the repetitions; the guards stay. */
  close(): void {
    if (this.#retry) clearTimeout(this.#retry);
  }

  #resync(areEventsLost: boolean): void {
    const guarded = [...this.#o.registry.allLive()];
    const links = new Map(nodeLinks(guarded.map(({ ifindex }) => ifindex)).map((link) => [link.ifindex, link]));
    for (const iface of guarded) {
      const link = links.get(iface.ifindex);
      if (link && !this.#attachments.isReplaced(iface, link)) continue;
      if (!link || areEventsLost) this.#remove(iface);
      // Its events are not read yet. They would end the new generation, too.
      else links.delete(iface.ifindex);
    }
    for (const ifindex of [...this.#o.registry.others.keys()]) if (!links.has(ifindex)) this.#waiting.remove(ifindex);
    this.#updateAll(links.values(), null);
  }
}
