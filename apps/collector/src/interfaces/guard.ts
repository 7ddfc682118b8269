/**
 * Puts programs on pod interfaces and takes note of those that went. An interface is guarded on its netlink event, before anybody
 * knows whose it is; what a process that was killed left behind is adopted (adoption.ts), so that a generation and its counts live on.
 *
 * Order for a new one: counters entry, file, record, attach: at no moment is there a program without its record, or a count that
 * nobody would find again. Trouble with one interface is told and shown in its status; the others go on. A live interface always comes
 * before the counts of gone ones: when the counters map is full, the oldest of those move to disk (accounts.ts).
 */
import {
  dumpLinks,
  getLink,
  type IfaceKey,
  type LinkRecord,
  type PlaceWatch,
  SpoofError,
  type SpoofObject,
} from '@bailiff/bpf';
import type { CounterStore } from '../counting/counter-store.ts';
import { isBeforeGuard } from '../counting/epochs.ts';
import type { BindingStore } from '../identity/binding-store.ts';
import type { LinkFacts } from '../identity/identity.ts';
import type { Announcement } from '../identity/stall-detector.ts';
import { type Adoption, planAdoption } from './adoption.ts';
import { type FirstTold, type GuardedInterface, keyOf, NO_SLOT, newInterface, storedOf } from './guarded-interface.ts';
import { forgiveBeforeGuard } from './interface-counts.ts';
import type { Registry } from './registry.ts';
import { endUnknown, measureGap } from './unguarded-packets.ts';

export interface GuardOptions {
  object: SpoofObject;
  registry: Registry;
  places: Pick<PlaceWatch, 'changed' | 'forget'>;
  store: BindingStore;
  accounts: CounterStore;
  /** Host-side names that are never pods': uplinks, bridges. */
  exclude: RegExp;
  /** Why programs are not attached (what an unguarded node would let through); empty: they are. */
  whyNotAttach(): string;
  nowMs(): number;
  announcedNow(): Announcement;
  onNew(iface: GuardedInterface): void;
  onChanged(iface: GuardedInterface): void;
  /** Its programs stand, this long after the kernel's event of a new interface was read. */
  onGuarded(afterMs: number): void;
  onGone(iface: GuardedInterface): void;
  /** Counts of a gone generation were given up: there was room for them neither in the kernel nor on disk. */
  onForgotten(iface: GuardedInterface): void;
  onProblem(problem: { interfaceName: string; reason: string; error?: unknown }): void;
}

export const factsOf = (link: LinkRecord): LinkFacts => ({
  ifindex: link.ifindex,
  name: link.name,
  kind: link.kind,
  mac: link.mac,
  linkNetnsid: link.linkNetnsid,
  peerIfindex: link.peerIfindex,
});

const goneLink = (ifindex: number, name: string): LinkFacts => {
  return { ifindex, name, kind: 'veth', mac: '', linkNetnsid: null, peerIfindex: null };
};

const isFull = (error: unknown): boolean => error instanceof SpoofError && error.code === 'ERR_SPOOF_MAP_FULL';

export class Guard {
  readonly #o: GuardOptions;
  #started = false;

  constructor(options: GuardOptions) {
    this.#o = options;
  }

  /** Takes over what is in the kernel and on disk, then guards what came meanwhile. Call once, after the monitor is open. */
  start(): { adopted: number; unreadable: { file: string; reason: string }[] } {
    const { accounts, object, registry, store } = this.#o;
    const { maps } = object;
    const { stored, unreadable } = store.load();
    const owed = accounts.load();
    const links = dumpLinks();
    const plan = planAdoption({
      counters: [...maps.counters.readAll(), ...owed],
      records: maps.ifaces.entries(),
      grants: maps.addresses.entries(),
      probePorts: maps.probePorts.entries(),
      placed: object.verify(),
      links,
      files: stored,
      maxInterfaces: maps.maxInterfaces,
    });
    for (const adoption of plan.adoptions) {
      this.#attempt(adoption.file?.interfaceName ?? adoption.link?.name ?? '', () =>
        this.#adopt(adoption.link && adoption.countsLost ? this.#renumber(adoption) : adoption),
      );
    }
    const records = new Map(maps.ifaces.entries());
    for (const key of plan.leftovers) {
      // What the loop above could not adopt is left in force rather than torn down.
      if (registry.live(key.ifindex)?.generation === key.generation) continue;
      this.#release(key, records.get(key.ifindex)?.generation === key.generation);
    }
    for (const { ifindex, generation } of plan.idleFiles) store.remove(ifindex, generation);
    accounts.removeStrays((generation) => registry.byGeneration(generation) !== undefined);
    const adopted = registry.liveCount;
    this.#seeAll(links, null);
    this.#started = true;
    return { adopted, unreadable };
  }

  /** @returns whether it could be done; why not is told */
  #attempt(interfaceName: string, action: () => void): boolean {
    try {
      action();
      return true;
    } catch (error) {
      this.#o.onProblem({ interfaceName, reason: (error as Error).message, error });
      return false;
    }
  }

  /**
   * A live generation whose counters were lost goes on under a fresh one: its old epochs would count backwards. It stays guarded
   * throughout, and what it may do comes before the record that names it.
   */
  #renumber(adoption: Adoption): Adoption {
    const { object, store } = this.#o;
    const { maps } = object;
    const { key: old, file, kernel } = adoption;
    const key = { ifindex: old.ifindex, generation: maps.meta.allocateGeneration() };
    this.#o.accounts.create(key);
    maps.addresses.replace(key, kernel?.grants ?? []);
    maps.probePorts.replace(key, kernel?.probePorts ?? []);
    if (file) store.save({ ...file, ...key, occurrences: {}, gapReported: true });
    object.rekey(old, key.generation);
    const record = maps.ifaces.get(key.ifindex);
    if (record) maps.ifaces.set(key.ifindex, { ...record, ...key });
    maps.addresses.replace(old, []);
    maps.probePorts.replace(old, []);
    store.remove(old.ifindex, old.generation);
    const reason = `the counters of generation ${old.generation} were lost: it counts anew as ${key.generation}`;
    this.#o.onProblem({ interfaceName: file?.interfaceName ?? adoption.link?.name ?? '', reason });
    return { ...adoption, key, file: file && { ...file, ...key, occurrences: {}, gapReported: true } };
  }

  #adopt({ key, file, link, slot, kernel }: Adoption): void {
    const { accounts, object, registry } = this.#o;
    const ownSlot = link === null ? NO_SLOT : (slot ?? registry.freeSlot());
    if (ownSlot === null) throw new Error('no slot is free for what an earlier process left');
    const facts = link ? factsOf(link) : goneLink(key.ifindex, file?.interfaceName ?? '');
    // A slot that was given anew goes on counting: what it saw before is somebody else's (and adoption.ts lets no gap be made of it).
    const seenBase = link && slot === null ? Number(object.maps.seen(ownSlot)) : (file?.seenBase ?? 0);
    const now = this.#o.nowMs();
    const iface: GuardedInterface = {
      ...newInterface({ ...key, slot: ownSlot, seenBase, link: facts }, now, accounts.acked(key)),
      guardedAfterMs: file?.guardedAfterMs ?? null,
      binding: file?.binding ?? null,
      pod: file?.pod ?? null,
      kernel,
      occurrences: file?.occurrences ?? {},
      lastReported: file?.lastReported ?? {},
      // Without a file nobody knows what was seen before, so that no gap is made up.
      packetsBeforeGuard: file?.packetsBeforeGuard ?? 0,
      gapReported: file?.gapReported ?? true,
      dirty: true,
      gone: link === null,
    };
    if (iface.binding) this.#forgive(iface);
    if (link && slot === null && kernel)
      object.maps.ifaces.set(key.ifindex, { ...kernel.record, ...key, slot: ownSlot });
    if (link) accounts.create(key);
    registry.add(iface);
    if (link) {
      this.#attach(iface);
      this.#o.store.save(storedOf(iface));
      this.#o.onNew(iface);
    } else {
      this.#o.onGone(iface);
    }
  }

  /** As when the binding was made; what the bus acknowledged of those cells says what was forgiven, and without that all of it is. */
  #forgive(iface: GuardedInterface): void {
    const { accounts } = this.#o;
    if (accounts.acked(keyOf(iface))) iface.book.restoreExcluded(isBeforeGuard);
    else forgiveBeforeGuard(accounts, iface);
  }

  /** Links as netlink events tell of them: new, changed or gone. To be called as soon as they are read. Never throws. */
  see(links: Iterable<LinkRecord>): void {
    this.#seeAll(links, this.#o.nowMs());
  }

  /** @param eventAtMs when their events were read, which is where the time of each begins however many come before it; null: a dump told */
  #seeAll(links: Iterable<LinkRecord>, eventAtMs: number | null): void {
    const told = { eventAtMs, announced: this.#started ? this.#o.announcedNow() : null };
    for (const link of links) this.#trySee(link, told);
  }

  #trySee(link: LinkRecord, told: FirstTold): void {
    try {
      this.#see(link, told);
    } catch (error) {
      const reason = `could not be guarded: ${(error as Error).message}`;
      if (!this.#o.registry.live(link.ifindex))
        this.#o.registry.others.set(link.ifindex, { name: link.name, coverage: 'not-covered', reason });
      this.#o.onProblem({ interfaceName: link.name, reason, error });
    }
  }

  #see(link: LinkRecord, told: FirstTold): void {
    const live = this.#o.registry.live(link.ifindex);
    if (link.removed) {
      const wasFull = this.#o.registry.freeSlot() === null;
      this.#o.registry.others.delete(link.ifindex);
      if (live) this.#lose(live);
      if (live && wasFull) this.#guardWaiting();
      return;
    }
    if (live) {
      const before = live.link;
      live.link = factsOf(link);
      if (before.name !== link.name || before.mac !== link.mac || before.linkNetnsid !== link.linkNetnsid)
        this.#o.onChanged(live);
      return;
    }
    const reason = this.#reasonNotToGuard(link);
    if (reason) this.#o.registry.others.set(link.ifindex, { name: link.name, ...reason });
    else this.#guard(link, this.#o.registry.others.get(link.ifindex)?.waitsForSlot ?? told);
  }

  /** A slot is free again: whoever was refused for want of one is guarded, in the order in which they came. */
  #guardWaiting(): void {
    const { registry } = this.#o;
    for (const [ifindex, other] of registry.others) {
      if (!other.waitsForSlot) continue;
      if (registry.freeSlot() === null) return;
      const link = getLink(ifindex);
      if (link) this.#trySee(link, other.waitsForSlot);
    }
  }

  #reasonNotToGuard(link: LinkRecord): { coverage: 'not-covered' | 'not-applicable'; reason: string } | null {
    if (link.kind === 'netkit') return { coverage: 'not-covered', reason: 'netkit devices are not supported' };
    if (link.kind !== 'veth')
      return { coverage: 'not-applicable', reason: link.kind === '' ? 'not a pod interface' : `a ${link.kind} device` };
    if (this.#o.exclude.test(link.name)) return { coverage: 'not-applicable', reason: 'excluded by name' };
    return null;
  }

  #guard(link: LinkRecord, told: FirstTold, over: Partial<GuardedInterface> = {}): void {
    const { object, registry, store } = this.#o;
    const slot = registry.freeSlot();
    if (slot === null) {
      const reason =
        `${object.maps.maxInterfaces} interfaces are guarded, as many as the maps have room for: raise maxInterfaces, then ` +
        '`collector detach --all` and `collector attach` (pinned maps keep their size)';
      registry.others.set(link.ifindex, { name: link.name, coverage: 'not-covered', reason, waitsForSlot: told });
      this.#o.onProblem({ interfaceName: link.name, reason });
      return;
    }
    const key = { ifindex: link.ifindex, generation: object.maps.meta.allocateGeneration() };
    const seenBase = Number(object.maps.seen(slot));
    const iface = newInterface({ ...key, slot, seenBase, link: factsOf(link) }, told.eventAtMs ?? this.#o.nowMs());
    Object.assign(iface, told, over);
    this.#createCounters(key);
    store.save(storedOf(iface));
    registry.add(iface);
    registry.others.delete(link.ifindex);
    this.#o.onNew(iface);
    this.#attach(iface);
  }

  /** A live pod is never refused for want of room for the counts of gone ones. */
  #createCounters(key: IfaceKey): void {
    const { accounts, registry } = this.#o;
    try {
      accounts.create(key);
    } catch (error) {
      const oldest = isFull(error) ? registry.oldestGone((gone) => !accounts.isArchived(gone.generation)) : null;
      if (!oldest) throw error;
      if (!accounts.archive(keyOf(oldest))) {
        this.#o.onForgotten(oldest);
        this.settle(oldest);
      }
      accounts.create(key);
    }
  }

  #attach(iface: GuardedInterface): void {
    iface.attachError = this.#o.whyNotAttach();
    if (iface.attachError !== '') return;
    try {
      this.#o.object.attach(keyOf(iface));
    } catch (error) {
      // The interface may have gone meanwhile; its DELLINK is on its way and settles it. Anything else stays in status, and is tried again.
      iface.attachError = (error as Error).message;
      this.#o.onProblem({ interfaceName: iface.link.name, reason: iface.attachError, error });
      return;
    }
    if (iface.eventAtMs !== null && iface.guardedAfterMs === null) {
      iface.guardedAfterMs = this.#o.nowMs() - iface.eventAtMs;
      this.#o.onGuarded(iface.guardedAfterMs);
    }
    this.#measureGap(iface);
  }

  /** It was bound, and the kernel was told: what passed before is known as soon as its programs stand. */
  bound(iface: GuardedInterface): void {
    this.#attempt(iface.link.name, () => endUnknown(this.#o.object.maps, iface));
    this.#measureGap(iface);
  }

  #measureGap(iface: GuardedInterface): void {
    if (iface.packetsBeforeGuard >= 0 || !iface.binding || iface.attachError !== '') return;
    if (this.#o.whyNotAttach() !== '') return;
    this.#attempt(iface.link.name, () => {
      if (measureGap(this.#o.object.maps, iface)) this.#o.store.save(storedOf(iface));
    });
  }

  /** Ends a generation whose link lives on and begins another: what was counted so far stays with whoever it was bound to. */
  renew(iface: GuardedInterface): void {
    this.#lose(iface);
    this.#attempt(iface.link.name, () => {
      const link = getLink(iface.ifindex);
      // The link's own count includes all that the earlier generation judged: there is no gap to be told.
      const { eventAtMs, announced, guardedAfterMs } = iface;
      const over = { guardedAfterMs, packetsBeforeGuard: 0, gapReported: true };
      if (link) this.#guard(link, { eventAtMs, announced }, over);
    });
  }

  #lose(iface: GuardedInterface): void {
    this.#o.registry.markGone(iface);
    this.#release(keyOf(iface), true);
    iface.dirty = true;
    this.#o.onGone(iface);
  }

  /** Takes identity and links away; counters stay until they are acknowledged. */
  #release(key: IfaceKey, ownsRecord: boolean): void {
    const { maps } = this.#o.object;
    const name = `ifindex ${key.ifindex}`;
    this.#attempt(name, () => this.#o.object.detach(key));
    this.#attempt(name, () => maps.addresses.replace(key, []));
    this.#attempt(name, () => maps.probePorts.replace(key, []));
    if (ownsRecord) this.#attempt(name, () => maps.ifaces.delete(key.ifindex));
  }

  /** Everything that was counted has been acknowledged: forget the generation. */
  settle(iface: GuardedInterface): void {
    this.#attempt(iface.link.name, () => this.#o.accounts.remove(keyOf(iface)));
    this.#o.store.remove(iface.ifindex, iface.generation);
    this.#o.registry.forget(iface);
  }

  /** Compares with a fresh dump: after events were lost, and on a slow timer. */
  resync(): void {
    const links = new Map(dumpLinks().map((link) => [link.ifindex, link]));
    for (const iface of [...this.#o.registry.allLive()]) if (!links.has(iface.ifindex)) this.#lose(iface);
    for (const ifindex of [...this.#o.registry.others.keys()])
      if (!links.has(ifindex)) this.#o.registry.others.delete(ifindex);
    this.#seeAll(links.values(), null);
  }

  /** As checkPlaces, when somebody touched a guarded interface since the last call: cheap enough to be asked every few seconds. */
  checkChangedPlaces(): number {
    if (this.#o.whyNotAttach() !== '') return 0;
    const live = [...this.#o.registry.allLive()].map((iface) => iface.ifindex);
    return this.#o.places.changed(live).length > 0 ? this.checkPlaces() : 0;
  }

  /** Puts programs back where somebody displaced or took them, and attaches what could not be before. @returns how many interfaces */
  checkPlaces(): number {
    const reason = this.#o.whyNotAttach();
    const heads = new Map<number, number>();
    const placed = this.#o.object.verify();
    for (const { generation, place } of placed)
      if (place === 'head') heads.set(generation, (heads.get(generation) ?? 0) + 1);
    let restored = 0;
    for (const iface of this.#o.registry.allLive()) {
      if (reason !== '') {
        iface.attachError = reason;
        continue;
      }
      if (heads.get(iface.generation) === 2 && iface.attachError === '') continue;
      this.#attach(iface);
      const behind = placed.filter((p) => p.generation === iface.generation && p.place === 'behind');
      for (const one of behind) this.#attempt(iface.link.name, () => this.#o.object.reattach(one));
      if (iface.attachError !== '') continue;
      restored += 1;
      this.#o.onProblem({ interfaceName: iface.link.name, reason: 'its programs were not first on it: put back' });
    }
    if (restored > 0) this.#o.places.forget();
    return restored;
  }
}
