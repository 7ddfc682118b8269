/**
 * Adopts the interfaces of an earlier process at a start, with their generations, identities and
 * counts. adoption.ts plans from the state in the kernel and on disk; the rest of that state is
 * removed.
 *
 * Invariant: an interface stays guarded while it is adopted. A generation whose adoption failed
 * stays in force.
 */

import type { LinkRecord, SpoofObject } from '@bailiff/bpf';
import type { LinkFacts } from '../../identity/identity.ts';
import { NEVER_SEEN } from '../../identity/pod-life.ts';
import { attempt, type OnProblem } from '../../process/problem-log.ts';
import { isBeforeGuard } from '../counting/cells.ts';
import { type Conservation, newConservation, unjudgedOf } from '../counting/conservation.ts';
import type { CounterStore } from '../counting/counter-store.ts';
import { type Adoption, planAdoption } from './adoption.ts';
import type { Attachments } from './attachments.ts';
import type { BindResult } from './binder.ts';
import type { BindingStore, StoredInterface } from './binding-store.ts';
import { factsOf, type GuardedInterface, keyOf, NO_SLOT, newInterface, storedOf } from './guarded-interface.ts';
import { excludeUnguarded, release } from './lifecycle.ts';
import { nodeLinks } from './node-links.ts';
import type { Registry } from './registry.ts';

export interface AdopterOptions {
  onProblem: OnProblem;
  object: SpoofObject;
  registry: Registry;
  store: BindingStore;
  counters: CounterStore;
  attachments: Pick<Attachments, 'attach'>;
  nowMs(): number;
  /** Ends a generation and begins another one. */
  renew(iface: GuardedInterface): void;
  events: { appeared(iface: GuardedInterface): BindResult; gone(iface: GuardedInterface): void };
}

/** Number of adopted interfaces, and files that could not be read. */
export interface Adopted {
  adopted: number;
  unreadable: { file: string; reason: string }[];
}

/** Without a base the next reading is one, and the frames before it are published already. */
function restoredConservation(file: StoredInterface | null): Conservation {
  const base = file?.conservationBase ?? null;
  return newConservation(base, base === null ? 0 : unjudgedOf(file?.occurrences ?? {}));
}

const goneLink = (ifindex: number, name: string): LinkFacts => {
  return { ifindex, name, kind: 'veth', mac: '', linkNetnsid: null, peerIfindex: null };
};

export class Adopter {
  readonly #o: AdopterOptions;

  constructor(options: AdopterOptions) {
    this.#o = options;
  }

  /**
   * @returns also the links of the node, as they were when it started, and the indexes of those that
   *   a guard of this boot judged whose counts are gone: `detach --all` removed it
   */
  run(): Adopted & { links: LinkRecord[]; formerlyGuarded: ReadonlySet<number> } {
    const { counters, object, registry, store } = this.#o;
    const { maps } = object;
    const { stored, unreadable } = store.load();
    const archived = counters.load();
    const records = maps.ifaces.entries();
    const links = nodeLinks(records.map(([ifindex]) => ifindex));
    const plan = planAdoption({
      counters: [...maps.counters.readAll(), ...archived],
      records,
      grants: maps.addresses.entries(),
      probePorts: maps.probePorts.entries(),
      placed: object.verify(),
      links,
      files: stored,
      maxInterfaces: maps.maxInterfaces,
    });
    for (const adoption of plan.adoptions) {
      attempt(this.#o.onProblem, adoption.file?.interfaceName ?? adoption.link?.name ?? '', () =>
        this.#adopt(adoption.link && adoption.countsLost ? this.#renumber(adoption) : adoption),
      );
    }
    for (const key of plan.leftovers) {
      // A generation whose adoption failed stays in force.
      if (registry.live(key.ifindex)?.generation === key.generation) continue;
      release(this.#o, key, maps.ifaces.get(key.ifindex)?.generation === key.generation);
    }
    const names = new Map(links.map(({ ifindex, name }) => [ifindex, name]));
    const formerlyGuarded = new Set<number>();
    for (const { ifindex, generation, interfaceName } of plan.idleFiles) {
      if (names.get(ifindex) === interfaceName) formerlyGuarded.add(ifindex);
      store.remove(ifindex, generation);
    }
    counters.removeStrays((generation) => registry.byGeneration(generation) !== undefined);
    return { adopted: registry.liveCount, unreadable, links, formerlyGuarded };
  }

  /**
   * Gives a new generation to a live interface whose counters are lost: its old epochs would count
   * backwards. It stays guarded: its grants exist before the record that names them.
   */
  #renumber(adoption: Adoption): Adoption {
    const { object, store } = this.#o;
    const { maps } = object;
    const { key: old, file, kernel } = adoption;
    const key = { ifindex: old.ifindex, generation: maps.meta.allocateGeneration() };
    this.#o.counters.create(key);
    maps.addresses.replace(key, kernel?.grants ?? []);
    maps.probePorts.replace(key, kernel?.probePorts ?? []);
    if (file) store.save({ ...file, ...key, occurrences: {}, gapReported: true });
    object.rekey(old, key.generation);
    const record = maps.ifaces.get(key.ifindex);
    if (record) maps.ifaces.set(key.ifindex, { ...record, ...key });
    maps.addresses.replace(old, []);
    maps.probePorts.replace(old, []);
    store.remove(old.ifindex, old.generation);
    const reason = `the counters of generation ${old.generation} are lost: counting restarts as generation ${key.generation}`;
    this.#o.onProblem(file?.interfaceName ?? adoption.link?.name ?? '', reason);
    return { ...adoption, key, file: file && { ...file, ...key, occurrences: {}, gapReported: true } };
  }

  #adopt({ key, file, link, slot, kernel }: Adoption): void {
    const { counters, events, object, registry } = this.#o;
    const ownSlot = link === null ? NO_SLOT : (slot ?? registry.freeSlot());
    if (ownSlot === null) throw new Error('no slot is free for an interface of an earlier process');
    const facts = link ? factsOf(link) : goneLink(key.ifindex, file?.interfaceName ?? '');
    // A newly assigned slot counts on: packets before belong to another interface.
    const seenBase = link && slot === null ? Number(object.maps.seen(ownSlot)) : (file?.seenBase ?? 0);
    const now = this.#o.nowMs();
    const iface: GuardedInterface = {
      ...newInterface({ ...key, slot: ownSlot, seenBase, link: facts }, now, counters.acked(key)),
      guardedAfterMs: file?.guardedAfterMs ?? null,
      binding: file?.binding ?? null,
      orphaned: kernel?.record.orphaned ?? false,
      podSeen: file?.podSeen ?? NEVER_SEEN,
      listedBefore: file?.listedBefore ?? [],
      pod: file?.pod ?? null,
      kernel,
      occurrences: file?.occurrences ?? {},
      lastReported: file?.lastReported ?? {},
      // Without a file the unguarded packets are unknown, so none are reported.
      packetsBeforeGuard: file?.packetsBeforeGuard ?? 0,
      receivedBase: file?.receivedBase ?? 0,
      unguardedReported: file?.gapReported ?? true,
      // A slot that other interfaces used counts something else.
      conservation: restoredConservation(slot === null ? null : file),
      dirty: true,
      gone: link === null,
    };
    if (iface.binding) this.#excludeUnguarded(iface);
    if (link && slot === null && kernel)
      object.maps.ifaces.set(key.ifindex, { ...kernel.record, ...key, slot: ownSlot });
    if (link) counters.create(key);
    registry.add(iface);
    if (link) {
      this.#o.store.save(storedOf(iface));
      // Before programs are attached to what may be another link: they would judge its pod by the old identity.
      if (events.appeared(iface) === 'replaced') this.#o.renew(iface);
      else this.#o.attachments.attach(iface);
    } else {
      events.gone(iface);
    }
  }

  /**
   * Excludes the acknowledged count of these cells; without acknowledged counts, the whole count.
   */
  #excludeUnguarded(iface: GuardedInterface): void {
    const { counters } = this.#o;
    if (counters.acked(keyOf(iface))) iface.ledger.restoreExcluded(isBeforeGuard);
    else excludeUnguarded(counters, iface);
  }
}
