/**
 * Reconciles the kernel's entries of an interface with its binding, the documents of the bus and
 * the configuration.
 *
 * Never throws: a failed write is reported and shown as partial coverage. If the maps have no room
 * for further addresses, the record is written without those that do not fit.
 */

import { type AddressGrant, SpoofError, type SpoofMaps } from '@bailiff/bpf';
import type { PodIdentity } from '@bailiff/schemas';
import { RecentMap } from '@bailiff/service';
import { type DesiredState, type Moment, podRefOf } from '../../desired/desired-state.ts';
import type { CniRecord } from '../../identity/cni-record.ts';
import {
  type Binding,
  disagreement,
  type Identity,
  identityOf,
  isPrimary,
  macStandingOf,
  NOT_OWN_MAC,
  rivalryOf,
} from '../../identity/identity.ts';
import { listedBefore, withoutListed } from '../../identity/listed-before.ts';
import { isHeld } from '../../identity/pod-life.ts';
import type { OnProblem } from '../../process/problem-log.ts';
import { type GuardedInterface, type KernelEntries, keyOf, storedOf } from '../subjects/guarded-interface.ts';
import { FoundViolations, type FoundViolationsOptions } from './found-violations.ts';
import { grantOfAny, isSingleAddress } from './grants.ts';
import { singleAddresses } from './networks.ts';
import { OtherAddresses } from './other-addresses.ts';
import { byCost, newPass, once, type Pass } from './pass.ts';
import { type DesiredInput, desiredEntries, keepUnknown, keyOfGrant, type MapStep, planInterface } from './plan.ts';
import { Taken } from './taken.ts';

export interface ReconcilerOptions extends FoundViolationsOptions {
  maps: SpoofMaps;
  desired: DesiredState;
  live(): Iterable<GuardedInterface>;
  cniRecords(): Iterable<CniRecord>;
  /** MACs of all links of the node, bridges and gateways included. */
  linkMacs(): ReadonlySet<string>;
  /** Addresses of all links of the node. */
  linkAddresses(): readonly string[];
  /** Whether a CNI record is on disk at this moment. */
  hasRecord(file: string): boolean;
  /** Whether a CNI record says that its pod chose the addresses of the interface; null: no record was read. */
  isChosen(binding: Binding): boolean | null;
  /** The same of its MAC. */
  isMacChosen(binding: Binding): boolean | null;
  /** Bridge and VLAN of the network of an interface; null: unknown. */
  segmentOf(binding: Binding): string | null;
  moment(): Moment;
  onApplied?(iface: GuardedInterface, steps: number): void;
  onProblem: OnProblem;
}

/** A pass over rivals that is no longer needs no pause. */
const SHORT_NS = 100_000_000n;

/** Pods whose sandboxes are remembered: more than a node starts while the list is late. */
const MAX_PODS = 1_024;
/** Addresses of both families of the sandboxes that a pod begins before the kubelet reports one. */
const MAX_FORMER_ADDRESSES = 16;

const isFull = (error: unknown): error is SpoofError =>
  error instanceof SpoofError && error.code === 'ERR_SPOOF_MAP_FULL';

export class Reconciler {
  readonly #o: ReconcilerOptions;
  readonly #found: FoundViolations;
  /** null: none is running. */
  #pass: Pass | null = null;
  /** Interfaces of an earlier process are missing that may own a MAC or address of one that is here. */
  #isAdopting = true;
  /** Interfaces that may have lost an address to one that was bound, and were not applied since. */
  readonly #late = new Set<GuardedInterface>();
  /** By pod: addresses of its sandboxes here, the newest first. */
  readonly #sandboxes = new RecentMap<string, readonly string[]>(MAX_PODS);
  /** When rivals are applied again, at the earliest. */
  #rivalsDueNs = 0n;

  constructor(options: ReconcilerOptions) {
    this.#o = options;
    this.#found = new FoundViolations(options);
  }

  /** Writes the entries of one interface that differ. @returns whether anything was written */
  apply(iface: GuardedInterface): boolean {
    this.#late.delete(iface);
    if (iface.gone) return false;
    try {
      iface.applyError = '';
      return this.#apply(iface);
    } catch (error) {
      iface.applyError = `cannot write its identity: ${(error as Error).message}`;
      this.#o.onProblem(iface.link.name, iface.applyError, error);
      return false;
    }
  }

  /** Until all are adopted, those of an earlier process keep what the kernel has. */
  appeared(iface: GuardedInterface): void {
    if (!this.#isAdopting || !iface.kernel) this.apply(iface);
  }

  /** Every interface of an earlier process appeared. */
  adopted(): void {
    this.#isAdopting = false;
    this.applyAll(this.#o.live());
  }

  /** Like `apply`, for many interfaces: each is compared only with those that have an address of it. */
  applyAll(ifaces: Iterable<GuardedInterface>, pass = this.#newPass()): void {
    this.#pass = pass;
    try {
      for (const iface of ifaces) this.apply(iface);
    } finally {
      this.#pass = null;
    }
  }

  #newPass(): Pass {
    return newPass(this.#owners(), this.#newTaken(), this.#newOthers());
  }

  /**
   * The interface was bound: an older one that had its address and is released, and another one that had
   * its MAC without a record, or either of them by a grant, loses it. Where pods chose many equal addresses,
   * the others are applied with the rivals. Others of its pod answer from its addresses.
   */
  bound(iface: GuardedInterface): void {
    const { binding } = iface;
    const mac = binding?.mac ?? '';
    const addresses = binding?.addresses ?? [];
    if (binding) iface.listedBefore = this.#listedBefore(binding);
    const isGrantOf = grantOfAny(mac, binding ? this.#addressesOf(binding) : []);
    const mayLose = ({ binding: other, kernel }: GuardedInterface) =>
      other?.mac === mac ||
      other?.podUid === binding?.podUid ||
      [kernel?.record.ipv4, kernel?.record.ipv6].some((address) => address && addresses.includes(address)) ||
      kernel?.grants.some(isGrantOf);
    const others = [...this.#o.live()].filter((other) => other !== iface && other.binding && mayLose(other));
    const pass = this.#newPass();
    const { soon, later } = byCost(pass, others);
    for (const other of later) this.#late.add(other);
    this.applyAll([iface, ...soon], pass);
  }

  #listedBefore(binding: Binding): string[] {
    const { podUid, addresses } = binding;
    const former = this.#sandboxes.get(podUid) ?? [];
    if (isPrimary(binding)) this.#sandboxes.set(podUid, [...addresses, ...former].slice(0, MAX_FORMER_ADDRESSES));
    return listedBefore(binding, this.#o.desired.newestAddressesOf(podUid), former);
  }

  /** An interface of the pod has a record, and perhaps no guard: the others answer from its addresses. */
  recordAppeared({ podUid }: Pick<CniRecord, 'podUid'>): void {
    this.applyAll([...this.#owners()].filter(({ binding }) => binding?.podUid === podUid));
  }

  /**
   * The identity without granted MACs and neighbour addresses that a link of the node or another pod
   * has, which the holders of both keys may not know.
   */
  #withoutTaken(
    identity: Identity,
    iface: GuardedInterface,
  ): Pick<DesiredInput, 'identity' | 'takenAddresses' | 'moreTaken'> {
    iface.takenGrants = [];
    const { allowedMacs, allowedNeighbours } = identity;
    if (allowedMacs.length + allowedNeighbours.length === 0) return { identity, takenAddresses: [] };
    const { generation, binding } = iface;
    const taken = this.#pass?.taken ?? this.#newTaken();
    const macs = allowedMacs.filter((mac) => taken.hasMac(mac, binding?.podUid ?? ''));
    const addressesOfOthers = [...singleAddresses(allowedNeighbours)].filter((a) => taken.hasAddress(a, generation));
    iface.takenGrants = [...macs, ...addressesOfOthers];
    const without = { ...identity, allowedMacs: allowedMacs.filter((mac) => !macs.includes(mac)) };
    const { addresses, more } = taken.within(allowedNeighbours, generation);
    return { identity: without, takenAddresses: addresses, moreTaken: more };
  }

  #newTaken(): Taken {
    return new Taken({ ...this.#o, owners: () => this.#bindings() });
  }

  #newOthers(): OtherAddresses {
    return new OtherAddresses({ cniRecords: () => this.#o.cniRecords(), owners: () => this.#identities() });
  }

  *#identities() {
    for (const iface of this.#owners()) {
      const { binding, listedBefore } = iface;
      if (!binding) continue;
      const addresses = () => {
        const pod = withoutListed(this.#o.desired.pods.get(binding.podUid) ?? null, listedBefore);
        return identityOf(binding, pod).addresses.filter((address) => !iface.reusedAddresses.includes(address));
      };
      yield { binding, addresses };
    }
  }

  *#bindings() {
    for (const { generation, binding } of this.#owners())
      if (binding) yield { ...binding, generation, addresses: this.#addressesOf(binding) };
  }

  #identityOf(iface: GuardedInterface, pod: PodIdentity | null): Identity {
    const mac = iface.binding?.mac ?? '';
    iface.macStanding = macStandingOf(iface, this.#ownersOf([mac]), (one) => this.#isMacChosen(one));
    const listed = withoutListed(pod, iface.listedBefore);
    const identity = identityOf(iface.binding, listed, iface.macStanding === 'others');
    // Only the node's own records name the addresses of others here: a list may be late, or wrong.
    const owners = this.#ownersOf(identity.addresses);
    const { reused, shared } = rivalryOf(
      iface,
      identity.addresses,
      owners,
      (older, newer) => this.#isByChoice(older, newer),
      (one, other) => this.#areApart(one.binding, other.binding),
    );
    Object.assign(iface, { reusedAddresses: reused, sharedAddresses: shared });
    if (reused.length === 0) return identity;
    return { ...identity, addresses: identity.addresses.filter((address) => !reused.includes(address)) };
  }

  /** Null: it has no record yet. A record that is not read, because it is too large, may say so. */
  #isMacChosen(binding: Binding): boolean | null {
    const isChosen = once(this.#pass?.isMacChosen, binding, () => this.#o.isMacChosen(binding));
    return isChosen ?? (this.#isOnDisk(binding) ? true : null);
  }

  #isChosen(binding: Binding): boolean | null {
    return once(this.#pass?.isChosen, binding, () => this.#o.isChosen(binding));
  }

  #isOnDisk(binding: Binding): boolean {
    const { recordFile } = binding;
    return recordFile !== undefined && once(this.#pass?.isOnDisk, binding, () => this.#o.hasRecord(recordFile));
  }

  /** The record of a pod that starts is written after the call that binds it: until then it may say so. */
  #isByChoice({ binding: older }: GuardedInterface, { binding: newer }: GuardedInterface): boolean {
    if (!older || !newer) return false;
    const isChosen = this.#isChosen(older) || (this.#isChosen(newer) ?? newer.fromCall === true);
    const isOnDisk = isChosen && this.#isOnDisk(older);
    // A list that never knew the pod says nothing: it may be late.
    const list = this.#o.desired.hasListed(older.podUid) ? this.#o.desired.listSays(older.podUid) : 'unknown';
    return isHeld({ record: isOnDisk ? 'present' : 'absent', list });
  }

  /**
   * Applies the interfaces again that have addresses or the MAC of others: CNI may have released one of
   * them, and libcni writes the record after the call. Call it on a timer: a pass that is long, because
   * pods chose many equal addresses, takes a tenth of the time.
   */
  checkRivals(): void {
    const startNs = this.#o.moment().bootNs;
    if (startNs < this.#rivalsDueNs) return;
    const isRival = ({ reusedAddresses, sharedAddresses, macStanding }: GuardedInterface) =>
      macStanding !== null || reusedAddresses.length + sharedAddresses.length > 0;
    const rivals = [...this.#o.live()].filter((iface) => isRival(iface) || this.#late.has(iface));
    this.#late.clear();
    if (rivals.length === 0) return;
    this.applyAll(rivals);
    const endNs = this.#o.moment().bootNs;
    const tookNs = endNs - startNs;
    this.#rivalsDueNs = tookNs < SHORT_NS ? 0n : endNs + 9n * tookNs;
  }

  /** Whether their networks, of one name, have different bridges or VLANs. */
  #areApart(one: Binding | null, other: Binding | null): boolean {
    if (!one || !other || isPrimary(one)) return false;
    const [a, b] = [one, other].map((of) => once(this.#pass?.segments, of, () => this.#o.segmentOf(of)));
    return a != null && b != null && a !== b;
  }

  /** Interfaces that have addresses and MACs which no other may use. */
  *#owners(): Iterable<GuardedInterface> {
    for (const iface of this.#o.live()) if (!iface.orphaned) yield iface;
  }

  /** Those that have one of these MACs or addresses, and others while there is no pass over all. */
  *#ownersOf(keys: readonly string[]): Iterable<GuardedInterface> {
    if (this.#pass === null) yield* this.#owners();
    else yield* new Set(keys.flatMap((key) => this.#pass?.holders.get(key) ?? []));
  }

  #addressesOf({ podUid, addresses }: Binding): string[] {
    return [...addresses, ...this.#o.desired.addressesOf(podUid)];
  }

  #apply(iface: GuardedInterface): boolean {
    const { desired } = this.#o;
    const moment = this.#o.moment();
    const pod = iface.binding ? (desired.pods.get(iface.binding.podUid) ?? null) : null;
    const namespace = pod?.namespace ?? iface.binding?.podNamespace ?? '';
    this.#found.find(iface, iface.binding && pod ? disagreement(iface.binding, pod) : [], moment);
    if (iface.binding && (pod || !iface.pod)) {
      const ref = podRefOf(iface.binding, pod);
      if (JSON.stringify(ref) !== JSON.stringify(iface.pod)) {
        iface.pod = ref;
        this.#o.store.save(storedOf(iface));
      }
    }
    const identity = this.#identityOf(iface, pod);
    const { entries, omitted } = desiredEntries({
      ...this.#withoutTaken(identity, iface),
      otherAddresses: iface.binding
        ? (this.#pass?.others ?? this.#newOthers()).of(iface.binding, identity.addresses)
        : [],
      modes: desired.modesOf(pod, namespace),
      sampling: desired.samplingOf(pod, namespace),
      quarantineUntilNs: iface.binding ? desired.quarantineUntilNs(iface.binding.podUid, moment) : 0n,
      auditUntilNs: desired.auditUntilNs(namespace === '' ? null : namespace, moment),
      orphaned: iface.orphaned,
      netkit: iface.link.kind === 'netkit',
      probePorts: pod?.probePorts ?? [],
    });
    iface.omitted = omitted;
    const known = {
      pods: desired.known.has('pods'),
      quarantine: desired.known.has('quarantine'),
      spoof: desired.known.has('spoof'),
      disarm: desired.known.has('disarm'),
      bound: iface.binding !== null,
    };
    const lost = { addresses: iface.reusedAddresses, mac: identity.mac === NOT_OWN_MAC };
    return this.#bring(iface, keepUnknown(entries, iface.kernel, known, lost));
  }

  /** Writes the entries that differ; if the maps are full, as many as fit. */
  #bring(iface: GuardedInterface, entries: KernelEntries): boolean {
    const steps = planInterface(iface.kernel, entries);
    try {
      this.#write(iface, steps);
      iface.kernel = entries;
    } catch (error) {
      if (!isFull(error)) throw error;
      iface.kernel = this.#writeWhatFits(iface, entries);
      iface.applyError = `not all of its addresses, prefixes and probe ports are in force: ${error.message}`;
      this.#o.onProblem(iface.link.name, iface.applyError, error);
    }
    if (steps.length > 0) this.#o.onApplied?.(iface, steps.length);
    return steps.length > 0;
  }

  #write(iface: GuardedInterface, steps: readonly MapStep[]): void {
    const { maps } = this.#o;
    const key = keyOf(iface);
    for (const step of steps) {
      if (step.step === 'record')
        maps.ifaces.set(iface.ifindex, { ...step.record, slot: iface.slot, generation: iface.generation });
      else if (step.step === 'grants') maps.addresses.replace(key, step.grants);
      else maps.probePorts.replace(key, step.probePorts);
    }
  }

  /**
   * Keeps the grants that are still valid, then adds the pod's own addresses. The record is always
   * written.
   */
  #writeWhatFits(iface: GuardedInterface, entries: KernelEntries): KernelEntries {
    const { maps } = this.#o;
    const key = keyOf(iface);
    const before = iface.kernel ?? { grants: [], probePorts: [] };
    // A prefix may be announced only with all its exceptions in the map.
    const fitting = entries.grants.filter((g) => !g.neighbour || isSingleAddress(g));
    const kept = fitting.filter((g) => before.grants.some((b) => keyOfGrant(b) === keyOfGrant(g)));
    const own = fitting.filter((g) => g.neighbour || kept.includes(g));
    let probePorts = entries.probePorts;
    try {
      maps.probePorts.replace(key, probePorts);
    } catch (error) {
      if (!isFull(error)) throw error;
      probePorts = probePorts.filter((p) =>
        before.probePorts.some((b) => b.port === p.port && b.protocol === p.protocol),
      );
      maps.probePorts.replace(key, probePorts);
    }
    // Addresses that move into the record must be valid there before their grants are removed.
    this.#write(iface, [{ step: 'record', record: { ...entries.record, hasMore: true } }]);
    let grants: AddressGrant[] = kept;
    maps.addresses.replace(key, kept);
    try {
      maps.addresses.replace(key, own);
      grants = own;
    } catch (error) {
      if (!isFull(error)) throw error;
      maps.addresses.replace(key, kept);
    }
    const record = { ...entries.record, hasMore: grants.length > 0 };
    this.#write(iface, [{ step: 'record', record }]);
    return { record, grants, probePorts };
  }
}
