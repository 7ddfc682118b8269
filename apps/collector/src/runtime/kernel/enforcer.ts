/**
 * Subjects in the kernel: what should hold is written whole and put in force by one value; what held before is read once more when no
 * program can be counting into it, and then freed.
 *
 * Invariants: never a moment with neither old nor new; every generation that counts has an account on disk before the kernel knows
 * it; a generation is never given out twice. What does not fit is refused with its reason and what was in force stays.
 * Bounds: cells and buckets of the maps, GRACE_MS for programs that run on what was replaced.
 */
import type { RuntimeMaps, RuntimeSubject } from '@bailiff/bpf';
import type { Account, CellFacts, StoredAccount } from '../counting/account.ts';
import { newAccount, toSparse } from '../counting/account.ts';
import type { AccountStore } from '../counting/account-store.ts';
import type { AckedCells } from '../counting/acked-cells.ts';
import type { Subject } from '../subjects/desired.ts';
import { CellAllocator, Numbers } from './counter-cells.ts';
import type { KernelSets } from './sets.ts';

/** A program that decides runs for microseconds; one that was preempted, or sleeps on a page, for less than this. */
export const GRACE_MS = 2_000;

/** What a subject has now. */
export interface InForce {
  readonly key: string;
  readonly podUid: string;
  /** null: the pod's own. */
  readonly cgroupId: bigint | null;
  value: RuntimeSubject;
  /** Of its set; empty: no policy; UNKNOWN: an earlier process's, of which nothing is known. */
  digest: string;
  /** null: nothing is counted, or nobody knows what. */
  account: Account | null;
}

/** No digest of a set. */
export const UNKNOWN = 'unknown';
/** Conversions between two clocks differ by less than this. */
const SAME_TIME_NS = 50_000_000n;

export interface EnforcerOptions {
  maps: RuntimeMaps;
  acked: AckedCells;
  sets: KernelSets;
  store: AccountStore;
  /** Every account, also of what went; by generation. */
  accounts: Map<number, Account>;
  factsOf(subject: Subject): readonly CellFacts[];
  allocateGeneration(): number;
  /** Names the pinned maps. */
  pins: string;
  version: string;
  /** What an account counted so far is told before it comes to mean something else. */
  onBefore(account: Account): void;
  onNew(inForce: InForce): void;
  /** Its last reading is in. */
  onRetired(account: Account): void;
  after(ms: number, action: () => void): void;
}

export class Enforcer {
  readonly #o: EnforcerOptions;
  readonly #cells: CellAllocator;
  readonly #buckets: Numbers;
  readonly #inForce = new Map<string, InForce>();

  constructor(options: EnforcerOptions) {
    this.#o = options;
    this.#cells = new CellAllocator(options.maps.counterCells);
    this.#buckets = new Numbers(options.maps.maxSubjects);
  }

  get all(): Iterable<InForce> {
    return this.#inForce.values();
  }

  get cellsUsed(): number {
    return this.#cells.used;
  }

  get(key: string): InForce | undefined {
    return this.#inForce.get(key);
  }

  /** What an earlier process put in force. False: its numbers are taken or impossible, so it is to be given new ones. */
  adopt(inForce: InForce): boolean {
    const { value, account } = inForce;
    const fits = this.#buckets.reserve(value.bucket);
    if (account) this.adoptCells(account);
    // Cells that count for nobody known stay the subject's for as long as this process runs.
    else if (value.counterCount > 0) this.#cells.reserve(value.counterBase, value.counterCount);
    this.#inForce.set(inForce.key, inForce);
    return fits;
  }

  /** Cells of an account that an earlier process left. */
  adoptCells({ stored }: Account): boolean {
    return this.#cells.reserve(stored.base, stored.count);
  }

  /** Puts a subject in force. @returns why it is not; null when it is. What was in force before then still is. */
  apply(subject: Subject): string | null {
    const current = this.#inForce.get(subject.key);
    if (subject.set === null && !current) return null;
    const digest = subject.set?.digest ?? '';
    if (current && current.digest === digest && this.#isOurs(current)) {
      this.#adjust(current, subject);
      return null;
    }
    try {
      this.#replace(subject, current);
      return null;
    } catch (error) {
      return (error as Error).message;
    }
  }

  /** A set that another build compiled may say the same in other bytes. */
  #isOurs({ account }: InForce): boolean {
    return account === null || account.stored.compiledBy === this.#o.version;
  }

  /** Same set: flags, end of a break-glass, who the pod is. */
  #adjust(current: InForce, { pod, hasContainers, auditUntilNs }: Subject): void {
    const { account, value } = current;
    if (account && JSON.stringify(account.stored.pod) !== JSON.stringify(pod)) {
      account.stored = { ...account.stored, pod };
      this.#o.store.save(account.stored, account.facts);
    }
    if (value.hasContainers === hasContainers && isSameTime(value.auditUntilNs, auditUntilNs)) return;
    if (account) this.#o.onBefore(account);
    this.#write(current, { ...value, hasContainers, auditUntilNs });
  }

  #write(inForce: InForce, value: RuntimeSubject): void {
    const { maps } = this.#o;
    if (inForce.cgroupId === null) maps.pods.set(inForce.podUid, value);
    else maps.containers.set(inForce.cgroupId, value);
    inForce.value = value;
    if (inForce.account) inForce.account.auditUntilNs = value.auditUntilNs;
  }

  /** @throws Error with the reason; nothing changed then */
  #replace(subject: Subject, current: InForce | undefined): void {
    const { maps, sets } = this.#o;
    const bucket = current?.value.bucket ?? this.#buckets.take();
    if (bucket === null) throw new Error(`more than ${maps.maxSubjects} pods and containers have policies`);
    let made: Account | null = null;
    const { podUid, container, hasContainers, auditUntilNs } = subject;
    const inForce: InForce = current ?? {
      key: subject.key,
      podUid,
      cgroupId: container ? BigInt(container.cgroupId) : null,
      value: { set: 0, counterBase: 0, counterCount: 0, generation: 1, bucket, hasContainers, auditUntilNs },
      digest: '',
      account: null,
    };
    const before = inForce.account;
    try {
      made = subject.set ? this.#makeAccount(subject, bucket) : null;
      const generation = made?.stored.generation ?? this.#o.allocateGeneration();
      const { set = 0, base = 0, count = 0 } = made?.stored ?? {};
      inForce.account = made;
      this.#write(inForce, {
        ...{ set, counterBase: base, counterCount: count, generation, bucket, hasContainers, auditUntilNs },
      });
    } catch (error) {
      inForce.account = before;
      if (made) this.#discard(made, sets);
      if (!current) this.#buckets.release(bucket);
      throw error;
    }
    inForce.digest = subject.set?.digest ?? '';
    this.#inForce.set(inForce.key, inForce);
    if (!current) this.#o.onNew(inForce);
    if (before) this.retire(before);
  }

  #makeAccount(subject: Subject, bucket: number): Account {
    const { maps, acked, sets, store, accounts } = this.#o;
    const policySet = subject.set as NonNullable<Subject['set']>;
    const facts = this.#o.factsOf(subject);
    const base = this.#cells.allocate(facts.length);
    if (base === null) {
      const room = `${this.#cells.used} of ${this.#cells.capacity} counters are taken`;
      throw new Error(`no ${facts.length} counters in a row are free: ${room}`);
    }
    let set: number;
    try {
      set = sets.acquire(policySet);
    } catch (error) {
      this.#cells.release(base, facts.length);
      throw error;
    }
    maps.zeroCounters(base, facts.length);
    acked.zero(base, facts.length);
    const { podUid, pod, container } = subject;
    const stored: StoredAccount = {
      generation: this.#o.allocateGeneration(),
      ...{ pins: this.#o.pins, podUid, pod, container, digest: policySet.digest, set },
      ...{ compiledBy: this.#o.version, base, count: facts.length, bucket },
    };
    const account = newAccount(stored, facts);
    // A disk that refuses was reported: enforcing goes on, and only a crash would cost the names of these counts.
    store.save(stored, facts);
    accounts.set(stored.generation, account);
    return account;
  }

  #discard({ stored }: Account, sets: KernelSets): void {
    this.#o.accounts.delete(stored.generation);
    this.#o.store.remove(stored);
    this.#cells.release(stored.base, stored.count);
    sets.release(stored.digest, stored.set);
  }

  /** Its subject has another generation, or went: in a while nothing counts into its cells any more. */
  retire(account: Account): void {
    this.#o.after(GRACE_MS, () => this.#fold(account));
  }

  /** The last reading, kept on disk until the bus has it; the cells are free. */
  #fold(account: Account): void {
    const { maps, store, sets } = this.#o;
    const { base, count, digest, set } = account.stored;
    const counts = Float64Array.from(maps.counters(base, count), Number);
    const final = { counts: toSparse(counts), acked: toSparse(account.book.acked()) };
    account.stored = { ...account.stored, final };
    account.counts = counts;
    account.gone = true;
    // Before the cells have another owner: what is on disk must not speak of them any more. A disk that refuses was reported; what is owed
    // is told from memory then.
    if (account.book.settled(counts) || !store.save(account.stored, account.facts)) store.remove(account.stored);
    this.#cells.release(base, count);
    sets.release(digest, set);
    this.#o.onRetired(account);
  }

  /** A subject whose cgroup is gone. */
  remove(inForce: InForce): void {
    const { maps } = this.#o;
    if (inForce.cgroupId === null) maps.pods.delete(inForce.podUid);
    else maps.containers.delete(inForce.cgroupId);
    this.#inForce.delete(inForce.key);
    this.#buckets.release(inForce.value.bucket);
    if (inForce.account) this.retire(inForce.account);
  }
}

function isSameTime(one: bigint, other: bigint): boolean {
  if (one === 0n || other === 0n) return one === other;
  const difference = one - other;
  return difference < SAME_TIME_NS && difference > -SAME_TIME_NS;
}
