/**
 * Brings subjects into force in the kernel. A policy set is written completely and activated by one
 * map value. The replaced generation is read once more when no program can count in it.
 *
 * Invariants: either the old or the new set is in force; a generation has an account on disk before
 * the kernel uses it; a generation is never reused. A subject that does not fit is refused with its
 * reason and keeps its set. Limits: cells and buckets of the maps, of which namespaces have shares for
 * their containers (container-shares.ts), and GRACE_MS.
 */
import type { RuntimeMaps, RuntimeSubject } from '@bailiff/bpf';
import { toSparse } from '../../publishing/counter-ledger.ts';
import { type Account, type CellFacts, newAccount, type StoredAccount } from '../counting/account.ts';
import type { AccountStore } from '../counting/account-store.ts';
import type { AckedCells } from '../counting/acked-cells.ts';
import type { Subject } from '../subjects/desired.ts';
import { ChangeRates } from './change-rates.ts';
import { ContainerShares } from './container-shares.ts';
import { CellAllocator, NumberAllocator } from './counter-cells.ts';
import type { KernelSets } from './sets.ts';

/**
 * Programs run for microseconds; one that is preempted or waits for a page ends within this time.
 */
export const GRACE_MS = 2_000;

/** A subject in the kernel. */
export interface InForce {
  readonly key: string;
  readonly podUid: string;
  /** Of its pod; empty: unknown. */
  readonly namespace: string;
  /** null: the pod's own subject. */
  readonly cgroupId: bigint | null;
  value: RuntimeSubject;
  /**
   * Digest of its set; empty: no policy; UNKNOWN_DIGEST: a set of an earlier process without
   * account.
   */
  digest: string;
  /** null: it counts nothing, or its account is unknown. */
  account: Account | null;
  /** Its last change, on the clock of `nowMs`. */
  changedAtMs?: number;
  /** It has the policies that no label selects, because the others do not fit beside them. */
  isLeast?: boolean;
  /** Version of the policies at its last change, and keys of its policies; absent: of an earlier process. */
  policiesVersion?: number;
  policies?: string;
}

/** Differs from every digest. */
export const UNKNOWN_DIGEST = 'unknown';
/** Conversions between the two clocks differ by less than this. */
const SAME_TIME_NS = 50_000_000n;

export interface EnforcerOptions {
  maps: RuntimeMaps;
  acked: AckedCells;
  sets: KernelSets;
  store: AccountStore;
  /** Every account by generation, also of subjects that are gone. */
  accounts: Map<number, Account>;
  factsOf(subject: Subject): readonly CellFacts[];
  allocateGeneration(): number;
  /** Identifies the pinned maps. */
  pins: string;
  version: string;
  /** Grows with each change of a policy. */
  policiesVersion(): number;
  /** Monotonic. */
  nowMs(): number;
  /** Publishes the counts so far, before their meaning changes. */
  onBeforeChange(account: Account): void;
  onNew(inForce: InForce): void;
  /** The account has its last reading, and its cells are free. */
  onRetired(account: Account): void;
  after(ms: number, action: () => void): void;
}

export class Enforcer {
  readonly #o: EnforcerOptions;
  readonly #cells: CellAllocator;
  readonly #buckets: NumberAllocator;
  readonly #inForce = new Map<string, InForce>();
  readonly #shares: ContainerShares;
  readonly #rates: ChangeRates;
  /** Subjects that keep their former set for a moment. */
  #waiting = 0;

  constructor(options: EnforcerOptions) {
    this.#o = options;
    this.#shares = new ContainerShares(options.maps.counterCells, options.maps.maxSubjects);
    this.#rates = new ChangeRates(options.nowMs);
    this.#cells = new CellAllocator(options.maps.counterCells);
    this.#buckets = new NumberAllocator(options.maps.maxSubjects);
  }

  get all(): Iterable<InForce> {
    return this.#inForce.values();
  }

  get cellsUsed(): number {
    return this.#cells.used;
  }

  /** Subjects that kept their former set since the last call, because their pods change too often. */
  takeWaiting(): number {
    const waiting = this.#waiting;
    this.#waiting = 0;
    return waiting;
  }

  get(key: string): InForce | undefined {
    return this.#inForce.get(key);
  }

  /** Adopts a subject of an earlier process. False: its bucket is taken or does not exist. */
  adopt(inForce: InForce): boolean {
    const { value, account } = inForce;
    const fits = this.#buckets.reserve(value.bucket);
    if (account) this.adoptCells(account);
    // Cells without an account stay reserved while this process runs.
    else if (value.counterCount > 0) this.#cells.reserve(value.counterBase, value.counterCount);
    if (inForce.cgroupId !== null) this.#shares.adoptSubject(inForce.namespace);
    this.#inForce.set(inForce.key, inForce);
    return fits;
  }

  /** Reserves the cells of an account of an earlier process. */
  adoptCells({ stored }: Account): boolean {
    const isFree = this.#cells.reserve(stored.base, stored.count);
    if (isFree && stored.container) this.#shares.adoptCells(stored.pod.namespace, stored.count);
    return isFree;
  }

  /**
   * Brings a subject into force.
   * @returns why it cannot; its old set then stays in force, or it gets the least one. null: it is
   */
  apply(subject: Subject): string | null {
    const current = this.#inForce.get(subject.key);
    if (subject.set === null && !current) return null;
    const digest = digestOf(subject);
    if (current && current.digest === digest && this.#isOwnBuild(current)) {
      this.#adjust(current, subject);
      return null;
    }
    if (current && current.digest !== digest && !current.isLeast && !this.#mayChange(current)) {
      this.#waiting += 1;
      this.#adjust(current, subject);
      return null;
    }
    try {
      this.#replace(subject, current);
      return null;
    } catch (error) {
      this.#keepOrApplyLeast(subject, current);
      return (error as Error).message;
    }
  }

  /**
   * It keeps its former set while that has all policies that no label selects, as they are now. Otherwise a tenant
   * chooses labels that select more than fits, and its pod has no policy at all, or none that an operator changes.
   */
  #keepOrApplyLeast(subject: Subject, current: InForce | undefined): void {
    const least = subject.least?.();
    const digest = least && digestOf(least);
    const isSmaller = least && digest !== digestOf(subject);
    if (current && (!isSmaller || (current.account?.stored.least ?? current.digest) === digest)) {
      const { isLeast } = current;
      this.#adjust(current, subject);
      current.isLeast = isLeast;
      return;
    }
    // A container without a set has that of its pod.
    if (!isSmaller || (subject.container && !current)) return;
    this.apply(least);
    const inForce = this.#inForce.get(subject.key);
    if (inForce) inForce.isLeast = inForce.digest === digest;
  }

  /** Whether policies changed, or its pod has not changed too often. */
  #mayChange({ namespace, changedAtMs = Number.NEGATIVE_INFINITY, policiesVersion }: InForce): boolean {
    return policiesVersion !== this.#o.policiesVersion() || this.#rates.take(namespace, changedAtMs);
  }

  /** The bytes of a set that another build compiled may differ. */
  #isOwnBuild({ account }: InForce): boolean {
    return account === null || account.stored.compiledBy === this.#o.version;
  }

  /** Same set: updates flags, the end of a disarm, and the pod. */
  #adjust(current: InForce, { pod, hasContainers, auditUntilNs }: Subject): void {
    current.isLeast = false;
    const { account, value } = current;
    if (account && JSON.stringify(account.stored.pod) !== JSON.stringify(pod)) {
      account.stored = { ...account.stored, pod };
      this.#o.store.save(account.stored, account.facts);
    }
    if (value.hasContainers === hasContainers && isSameTime(value.auditUntilNs, auditUntilNs)) return;
    if (account) this.#o.onBeforeChange(account);
    this.#write(current, { ...value, hasContainers, auditUntilNs });
  }

  #write(inForce: InForce, value: RuntimeSubject): void {
    const { maps } = this.#o;
    if (inForce.cgroupId === null) maps.pods.set(inForce.podUid, value);
    else maps.containers.set(inForce.cgroupId, value);
    inForce.value = value;
    if (inForce.account) inForce.account.auditUntilNs = value.auditUntilNs;
  }

  /** @throws Error with the reason; nothing has changed then */
  #replace(subject: Subject, current: InForce | undefined): void {
    const { sets } = this.#o;
    const bucket = current?.value.bucket ?? this.#allocateBucket(subject);
    let created: Account | null = null;
    const { podUid, container, hasContainers, auditUntilNs } = subject;
    const inForce: InForce = current ?? {
      key: subject.key,
      podUid,
      namespace: subject.pod.namespace,
      cgroupId: container ? BigInt(container.cgroupId) : null,
      value: { set: 0, counterBase: 0, counterCount: 0, generation: 1, bucket, hasContainers, auditUntilNs },
      digest: '',
      account: null,
    };
    const before = inForce.account;
    try {
      created = subject.set
        ? this.#createAccount(subject, bucket, subject.least === null || isEdit(subject, current))
        : null;
      const generation = created?.stored.generation ?? this.#o.allocateGeneration();
      const { set = 0, base = 0, count = 0 } = created?.stored ?? {};
      inForce.account = created;
      this.#write(inForce, {
        set,
        counterBase: base,
        counterCount: count,
        generation,
        bucket,
        hasContainers,
        auditUntilNs,
      });
    } catch (error) {
      inForce.account = before;
      if (created) this.#discard(created, sets);
      if (!current) this.#releaseBucket(inForce, bucket);
      throw error;
    }
    inForce.digest = digestOf(subject);
    inForce.isLeast = false;
    inForce.changedAtMs = this.#o.nowMs();
    inForce.policiesVersion = this.#o.policiesVersion();
    inForce.policies = keysOf(subject);
    this.#inForce.set(inForce.key, inForce);
    if (!current) this.#o.onNew(inForce);
    if (before) this.retire(before);
  }

  #allocateBucket({ container, pod }: Subject): number {
    if (container) this.#shares.addSubject(pod.namespace);
    const bucket = this.#buckets.allocate();
    if (bucket !== null) return bucket;
    if (container) this.#shares.removeSubject(pod.namespace);
    throw new Error(`more than ${this.#o.maps.maxSubjects} pods and containers have policies`);
  }

  #releaseBucket({ cgroupId, namespace }: InForce, bucket: number): void {
    this.#buckets.release(bucket);
    if (cgroupId !== null) this.#shares.removeSubject(namespace);
  }

  #allocateCells({ container, pod }: Subject, count: number): number {
    if (container) this.#shares.addCells(pod.namespace, count);
    const base = this.#cells.allocate(count);
    if (base !== null) return base;
    if (container) this.#shares.removeCells(pod.namespace, count);
    const room = `${this.#cells.used} of ${this.#cells.capacity} counters are taken`;
    throw new Error(`no ${count} adjacent counters are free: ${room}`);
  }

  #releaseCells({ container, pod, base, count }: Pick<StoredAccount, 'container' | 'pod' | 'base' | 'count'>): void {
    this.#cells.release(base, count);
    if (container) this.#shares.removeCells(pod.namespace, count);
  }

  #createAccount(subject: Subject, bucket: number, isExempt: boolean): Account {
    const { maps, acked, sets, store, accounts } = this.#o;
    const { podUid, pod, container } = subject;
    const policySet = subject.set as NonNullable<Subject['set']>;
    const facts = this.#o.factsOf(subject);
    const base = this.#allocateCells(subject, facts.length);
    let set: number;
    try {
      set = sets.acquire(policySet, pod.namespace, isExempt);
    } catch (error) {
      this.#releaseCells({ container, pod, base, count: facts.length });
      throw error;
    }
    maps.zeroCounters(base, facts.length);
    acked.zero(base, facts.length);
    const stored: StoredAccount = {
      generation: this.#o.allocateGeneration(),
      pins: this.#o.pins,
      podUid,
      pod,
      container,
      digest: policySet.digest,
      least: digestOf(subject.least?.() ?? subject),
      set,
      compiledBy: this.#o.version,
      base,
      count: facts.length,
      bucket,
    };
    const account = newAccount(stored, facts);
    // The store reports a failing disk. Enforcement continues; only a crash would lose the meaning
    // of these counts.
    store.save(stored, facts);
    accounts.set(stored.generation, account);
    return account;
  }

  #discard({ stored }: Account, sets: KernelSets): void {
    this.#o.accounts.delete(stored.generation);
    this.#o.store.remove(stored);
    this.#releaseCells(stored);
    sets.release(stored.digest, stored.set);
  }

  /**
   * Its subject has another generation or is gone. After GRACE_MS, no program counts in its cells.
   */
  retire(account: Account): void {
    this.#o.sets.leave(account.stored.digest, account.stored.set);
    this.#o.after(GRACE_MS, () => this.#finish(account));
  }

  /** Stores the last reading until the bus has it, and releases the cells. */
  #finish(account: Account): void {
    const { maps, store, sets } = this.#o;
    const { base, count, digest, set } = account.stored;
    const counts = Float64Array.from(maps.counters(base, count), Number);
    const final = { counts: toSparse(counts), acked: toSparse(account.ledger.acked()) };
    account.stored = { ...account.stored, final };
    account.counts = counts;
    account.gone = true;
    // Before the cells have another owner, the file must not name them any more. If the disk fails,
    // the counts are published from memory.
    if (account.ledger.settled(counts) || !store.save(account.stored, account.facts)) store.remove(account.stored);
    this.#releaseCells(account.stored);
    sets.release(digest, set);
    this.#o.onRetired(account);
  }

  /** Removes a subject whose cgroup is gone. */
  remove(inForce: InForce): void {
    const { maps } = this.#o;
    if (inForce.cgroupId === null) maps.pods.delete(inForce.podUid);
    else maps.containers.delete(inForce.cgroupId);
    this.#inForce.delete(inForce.key);
    this.#releaseBucket(inForce, inForce.value.bucket);
    if (inForce.account) this.retire(inForce.account);
  }
}

/** Empty: no policy. */
const digestOf = ({ set }: Subject): string => set?.digest ?? '';

const keysOf = ({ policies }: Subject): string => policies.join(' ');

/** Whether the pod has the same policies as before, with another content. */
const isEdit = (subject: Subject, current: InForce | undefined): boolean =>
  current !== undefined && (current.policies ?? keysOf(subject)) === keysOf(subject);

function isSameTime(one: bigint, other: bigint): boolean {
  if (one === 0n || other === 0n) return one === other;
  const difference = one - other;
  return difference < SAME_TIME_NS && difference > -SAME_TIME_NS;
}
