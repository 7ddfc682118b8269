/**
 * Puts programs on pod interfaces and takes note of those that went. An interface is guarded on its netlink event, before anybody
 * knows whose it is; what a process that was killed left behind is adopted, so that a generation and its counts live on.
 *
 * Order for a new one: counters entry, file, record, attach: at no moment is there a program without its record, or a count that
 * nobody would find again.
 */
import { type Attachment, dumpLinks, getLink, type LinkRecord, type SpoofObject } from '@bailiff/bpf';
import type { AckedMap } from './acked-map.ts';
import type { BindingStore, StoredInterface } from './binding-store.ts';
import { EpochBook } from './epochs.ts';
import { type GuardedInterface, keyOf, storedOf } from './guarded-interface.ts';
import type { LinkFacts } from './identity.ts';
import type { Registry } from './registry.ts';

export interface GuardOptions {
  object: SpoofObject;
  registry: Registry;
  store: BindingStore;
  acked: AckedMap;
  /** Host-side names that are never pods': uplinks, bridges. */
  exclude: RegExp;
  /** false: everything but attaching (what an unguarded node would let through). */
  attach: boolean;
  nowMs(): number;
  onNew(iface: GuardedInterface): void;
  onChanged(iface: GuardedInterface): void;
  onGone(iface: GuardedInterface): void;
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

export class Guard {
  readonly #o: GuardOptions;

  constructor(options: GuardOptions) {
    this.#o = options;
  }

  /** Takes over what is in the kernel and on disk, then guards what came meanwhile. Call once, after the monitor is open. */
  start(): { adopted: number; unreadable: { file: string; reason: string }[] } {
    const { stored, unreadable } = this.#o.store.load();
    const links = new Map(dumpLinks().map((link) => [link.ifindex, link]));
    const attached = this.#o.object.attached();
    const records = new Map(this.#o.object.maps.ifaces.entries());
    const known = new Map(stored.map((s) => [s.generation, s]));
    for (const key of this.#o.object.maps.counters.readAll()) {
      const record = records.get(key.ifindex);
      const file = known.get(key.generation) ?? null;
      const live = record?.generation === key.generation && this.#isSame(file, links.get(key.ifindex), attached);
      this.#adopt(
        key,
        file,
        live ? (links.get(key.ifindex) as LinkRecord) : null,
        record?.generation === key.generation ? record.slot : null,
      );
      known.delete(key.generation);
    }
    // A file without a counters entry: the process was killed between the two, nothing was counted yet.
    for (const left of known.values()) this.#o.store.remove(left.ifindex, left.generation);
    const adopted = this.#o.registry.liveCount;
    for (const link of links.values()) this.see(link);
    return { adopted, unreadable };
  }

  /** The link is the one that the generation was made for: its programs are still pinned to it, under the same name. */
  #isSame(file: StoredInterface | null, link: LinkRecord | undefined, attached: Attachment[]): boolean {
    if (!file || !link) return false;
    if (!this.#o.attach) return file.interfaceName === link.name;
    return attached.some((a) => a.ifindex === file.ifindex && a.generation === file.generation);
  }

  #adopt(
    key: { ifindex: number; generation: number },
    file: StoredInterface | null,
    link: LinkRecord | null,
    slot: number | null,
  ): void {
    const { registry, object } = this.#o;
    const ownSlot = file?.slot ?? slot ?? registry.freeSlot();
    if (ownSlot === null) {
      this.#o.onProblem({
        interfaceName: file?.interfaceName ?? `ifindex ${key.ifindex}`,
        reason: 'no slot is free for what an earlier process left',
      });
      return;
    }
    const now = this.#o.nowMs();
    const iface: GuardedInterface = {
      ...key,
      slot: ownSlot,
      seenBase: file?.seenBase ?? 0,
      link: link
        ? factsOf(link)
        : {
            ifindex: key.ifindex,
            name: file?.interfaceName ?? '',
            kind: 'veth',
            mac: '',
            linkNetnsid: null,
            peerIfindex: null,
          },
      binding: file?.binding ?? null,
      pod: file?.pod ?? null,
      kernel: null,
      book: new EpochBook(this.#o.acked.read(key)),
      samples: new Map(),
      counterEpochs: new Map(),
      pending: [],
      occurrences: file?.occurrences ?? {},
      lastReported: file?.lastReported ?? {},
      appearedAtMs: now,
      guardedAtMs: now,
      packetsBeforeGuard: file?.packetsBeforeGuard ?? -1,
      gapReported: file?.gapReported ?? true,
      gapInFlight: false,
      framesInFlight: 0,
      finalSaid: false,
      dirty: true,
      flushedAtMs: 0,
      paceMs: 0,
      gone: link === null,
      attachError: '',
      omitted: 0,
    };
    registry.add(iface);
    if (link) {
      this.#attach(iface);
      this.#o.onNew(iface);
    } else {
      this.#release(iface, object.maps.ifaces.get(key.ifindex)?.generation === key.generation);
      this.#o.onGone(iface);
    }
  }

  /** A link as netlink tells of it: new, changed or gone. */
  see(link: LinkRecord): void {
    const live = this.#o.registry.live(link.ifindex);
    if (link.removed) {
      this.#o.registry.others.delete(link.ifindex);
      if (live) this.#lose(live);
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
    else this.#guard(link);
  }

  #reasonNotToGuard(link: LinkRecord): { coverage: 'not-covered' | 'not-applicable'; reason: string } | null {
    if (link.kind === 'netkit') return { coverage: 'not-covered', reason: 'netkit devices are not supported' };
    if (link.kind !== 'veth')
      return { coverage: 'not-applicable', reason: link.kind === '' ? 'not a pod interface' : `a ${link.kind} device` };
    if (this.#o.exclude.test(link.name)) return { coverage: 'not-applicable', reason: 'excluded by name' };
    return null;
  }

  #guard(link: LinkRecord): void {
    const { object, registry, store } = this.#o;
    const appearedAtMs = this.#o.nowMs();
    const slot = registry.freeSlot();
    if (slot === null) {
      const reason = `more than ${object.maps.maxInterfaces} interfaces: raise maxInterfaces`;
      registry.others.set(link.ifindex, { name: link.name, coverage: 'not-covered', reason });
      this.#o.onProblem({ interfaceName: link.name, reason });
      return;
    }
    const iface: GuardedInterface = {
      ifindex: link.ifindex,
      generation: object.maps.meta.allocateGeneration(),
      slot,
      seenBase: Number(object.maps.seen(slot)),
      link: factsOf(link),
      binding: null,
      pod: null,
      kernel: null,
      book: new EpochBook(),
      samples: new Map(),
      counterEpochs: new Map(),
      pending: [],
      occurrences: {},
      lastReported: {},
      appearedAtMs,
      guardedAtMs: appearedAtMs,
      packetsBeforeGuard: -1,
      gapReported: false,
      gapInFlight: false,
      framesInFlight: 0,
      finalSaid: false,
      dirty: false,
      flushedAtMs: 0,
      paceMs: 0,
      gone: false,
      attachError: '',
      omitted: 0,
    };
    object.maps.counters.create(keyOf(iface));
    store.save(storedOf(iface));
    registry.add(iface);
    registry.others.delete(link.ifindex);
    this.#o.onNew(iface);
    this.#attach(iface);
    iface.guardedAtMs = this.#o.nowMs();
  }

  #attach(iface: GuardedInterface): void {
    if (!this.#o.attach) {
      iface.attachError = 'observing only: nothing is attached';
      return;
    }
    try {
      this.#o.object.attach(keyOf(iface));
      iface.attachError = '';
    } catch (error) {
      // The interface may have gone meanwhile; its DELLINK is on its way and settles it. Anything else stays in status.
      iface.attachError = (error as Error).message;
      this.#o.onProblem({ interfaceName: iface.link.name, reason: iface.attachError, error });
    }
  }

  /**
   * Packets that passed before they were judged as a pod's: those the link received before the program was there, and, unless unknown
   * interfaces are dropped, those the program saw while nobody was known. Called right after the record was written, so that a packet
   * in between is reported as unjudged rather than lost from the account.
   */
  measureGap(iface: GuardedInterface): void {
    if (iface.packetsBeforeGuard >= 0 || !this.#o.attach) return;
    const received = getLink(iface.ifindex)?.rxPackets ?? null;
    if (received === null) return; // the link went: its final count says what there is to say
    const { maps } = this.#o.object;
    const seen = Number(maps.seen(iface.slot)) - iface.seenBase;
    const judged = maps.settings().unknownMode === 'enforce' ? seen : 0;
    iface.packetsBeforeGuard = Math.max(0, received - judged);
    this.#o.store.save(storedOf(iface));
  }

  #lose(iface: GuardedInterface): void {
    this.#release(iface, true);
    this.#o.registry.markGone(iface);
    iface.dirty = true;
    this.#o.onGone(iface);
  }

  /** Takes identity and links away; counters stay until they are acknowledged. */
  #release(iface: GuardedInterface, ownsRecord: boolean): void {
    const { maps } = this.#o.object;
    const key = keyOf(iface);
    this.#o.object.detach(key);
    maps.addresses.replace(key, []);
    maps.probePorts.replace(key, []);
    if (ownsRecord) maps.ifaces.delete(iface.ifindex);
  }

  /** Everything that was counted has been acknowledged: forget the generation. */
  settle(iface: GuardedInterface): void {
    this.#o.object.maps.counters.delete(keyOf(iface));
    this.#o.acked.delete(keyOf(iface));
    this.#o.store.remove(iface.ifindex, iface.generation);
    this.#o.registry.forget(iface);
  }

  /** Compares with a fresh dump: after events were lost, and on a slow timer. */
  resync(): void {
    const links = new Map(dumpLinks().map((link) => [link.ifindex, link]));
    for (const iface of [...this.#o.registry.allLive()]) if (!links.has(iface.ifindex)) this.#lose(iface);
    for (const ifindex of [...this.#o.registry.others.keys()])
      if (!links.has(ifindex)) this.#o.registry.others.delete(ifindex);
    for (const link of links.values()) this.see(link);
  }

  /** Puts programs back at the head where somebody displaced them. @returns how many were put back */
  checkPlaces(): number {
    if (!this.#o.attach) return 0;
    let restored = 0;
    for (const placed of this.#o.object.verify()) {
      const live = this.#o.registry.live(placed.ifindex);
      if (
        !live ||
        live.generation !== placed.generation ||
        placed.place === 'head' ||
        placed.place === 'interface-gone'
      )
        continue;
      if (this.#o.object.reattach(placed)) restored += 1;
    }
    return restored;
  }
}
