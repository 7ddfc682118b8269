/**
 * The runtime half while there are policies, or counts of earlier ones: what the bus wants → subjects in the kernel; what the kernel
 * counts → violations. Loaded when it is needed (gate.ts): compiling policies is memory that a node without any does not pay.
 *
 * Place in the path: gate.ts → here → policies.ts, desired.ts (what), enforcer.ts (how), runtime-flusher.ts (what is told).
 * Invariant: nothing is changed in the kernel before both pods and policies were told, by the bus or by what an earlier process kept.
 */
import { createHash } from 'node:crypto';
import { boottimeNs, normalPodUid, RUNTIME_EXTRA_CELLS, type RuntimeMaps, type RuntimeSample } from '@bailiff/bpf';
import type { Sampling } from '@bailiff/policy';
import type { PodIdentity, RuntimePolicyStatus } from '@bailiff/schemas';
import type { Taken } from '../desired/desired-state.ts';
import type { FrameSink } from '../publishing/flusher.ts';
import type { Account, ContainerRef } from './counting/account.ts';
import { AccountStore } from './counting/account-store.ts';
import { type AckedCells, openAckedCells } from './counting/acked-cells.ts';
import { takeOver } from './kernel/adoption.ts';
import { Births } from './kernel/apply-latency.ts';
import { Enforcer } from './kernel/enforcer.ts';
import { bringSampling } from './kernel/sampling.ts';
import { KernelSets } from './kernel/sets.ts';
import { RuntimeFlusher } from './publishing/account-adapter.ts';
import { toOperationSample } from './publishing/operation.ts';
import { childCgroups, containersIn, podDirs } from './subjects/cgroups.ts';
import { ContainerNames } from './subjects/container-names.ts';
import { containerKey, desiredSubjects, type Refusal, type Subject } from './subjects/desired.ts';
import { Policies } from './subjects/policies.ts';
import { policyStatuses, type RefusedSubjects, refusedSubjects } from './subjects/policy-status.ts';

/** What comes within it is applied at once: a policy change must be in force within a second, and a thousand keys come one by one. */
const COALESCE_MS = 10;
/** Whether the cgroup of a pod that the bus no longer lists is gone is looked at this often. */
const GONE_CHECK_MS = 2_000;

export interface HalfOptions {
  maps: RuntimeMaps;
  pinDir: string;
  dir: string;
  cgroupRoot: string;
  nodeName: string;
  bootId: string;
  version: string;
  sink: FrameSink;
  nextSequence(): number;
  allocateGeneration(): number;
  clock: { nowMicros(): number; nowMs(): number; bootWallMicros(): number };
  flushIntervalMs: number;
  /** null: the bus has not told yet. */
  pods(): ReadonlyMap<string, PodIdentity> | null;
  auditUntilNs(namespace: string): bigint;
  /** null: the bus has not told yet. */
  sampling(): Sampling | null;
  /** Seconds from a container's cgroup to its policy, of a pod that ran before its policy was known. */
  onBound(seconds: number): void;
  /** @param isWhole whether all that was told is in force now, or refused */
  onApplied(seconds: number, isWhole: boolean): void;
  /** There is something new to say in the node's status. */
  onStatus(): void;
  onProblem(part: string, reason: string, error?: unknown): void;
}

export class RuntimeHalf {
  readonly #o: HalfOptions;
  readonly #policies = new Policies();
  readonly #accounts = new Map<number, Account>();
  readonly #acked: AckedCells;
  readonly #store: AccountStore;
  readonly #enforcer: Enforcer;
  readonly #flusher: RuntimeFlusher;
  readonly #sets: KernelSets;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #births: Births;
  readonly #containerNames: ContainerNames;
  #refusals: readonly Refusal[] = [];
  #subjects: readonly Subject[] = [];
  #statuses: readonly RuntimePolicyStatus[] = [];
  #refused: RefusedSubjects = { refusedSubjects: [], refusedSubjectsOmitted: 0 };
  #arePoliciesKnown = false;
  #scheduled = false;
  #goneCheck = false;
  #stopped = false;

  constructor(options: HalfOptions) {
    this.#o = options;
    const { maps } = options;
    this.#acked = openAckedCells(options.pinDir, maps.counterCells);
    this.#store = new AccountStore(options.dir, {
      onProblem: ({ file, reason }) => options.onProblem('state', `${file}: ${reason}`),
    });
    this.#sets = new KernelSets(maps, options.allocateGeneration);
    this.#flusher = new RuntimeFlusher({
      nodeName: options.nodeName,
      bootId: options.bootId,
      version: options.version,
      sink: options.sink,
      nextSequence: options.nextSequence,
      clock: options.clock,
      flushIntervalMs: options.flushIntervalMs,
      accounts: this.#accounts,
      read: ({ stored }) => Float64Array.from(maps.counters(stored.base, stored.count), Number),
      bootNs: boottimeNs,
      onAcked: (account, cells) => this.#acknowledged(account, cells),
      onSettled: (account) => this.#settle(account),
      onError: (error) => options.onProblem('publish', error.message, error),
    });
    this.#containerNames = new ContainerNames(options.cgroupRoot, options.pods, options.clock.nowMs);
    this.#births = new Births(maps.born, boottimeNs, options.onBound);
    const pins = createHash('sha256').update(maps.settings().hashKey).digest('hex').slice(0, 16);
    this.#enforcer = new Enforcer({
      maps,
      acked: this.#acked,
      sets: this.#sets,
      store: this.#store,
      accounts: this.#accounts,
      factsOf: ({ set }) => this.#policies.factsOf(set as NonNullable<typeof set>),
      allocateGeneration: options.allocateGeneration,
      pins,
      version: options.version,
      onBefore: (account) => this.#flusher.flush([account]),
      onNew: (inForce) => this.#births.add(inForce),
      onRetired: (account) => this.#retired(account),
      after: (ms, action) => this.#after(ms, action),
    });
    takeOver({
      ...{ maps, pins, store: this.#store, acked: this.#acked, sets: this.#sets, enforcer: this.#enforcer },
      ...{ accounts: this.#accounts, version: options.version },
      onProblem: (reason) => options.onProblem('counts', reason),
    });
  }

  /** A policy of the bus, or what an earlier process kept. */
  takePolicy(key: string, json: string | null): Taken {
    const taken = this.#policies.take(key, json);
    this.schedule();
    return taken;
  }

  /** Keys that have a value here. */
  policyKeys(): string[] {
    return [...[...this.#policies.all].map(({ key }) => key), ...this.#policies.refused.keys()];
  }

  /** All policies there are were told. */
  policiesKnown(): void {
    this.#arePoliciesKnown = true;
    this.schedule();
  }

  /** Pods, policies, a break-glass or cgroups changed. */
  schedule(): void {
    if (this.#scheduled || this.#stopped) return;
    this.#scheduled = true;
    this.#after(COALESCE_MS, () => {
      this.#scheduled = false;
      const began = performance.now();
      const isWhole = this.apply();
      this.#o.onApplied((performance.now() - began) / 1000, isWhole);
    });
  }

  #after(ms: number, action: () => void): void {
    if (this.#stopped) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      try {
        action();
      } catch (error) {
        this.#o.onProblem('runtime', (error as Error).message, error);
      }
    }, ms);
    timer.unref();
    this.#timers.add(timer);
  }

  /** Makes what is in force what should be; false: what that is was not all told yet. */
  apply(): boolean {
    const pods = this.#o.pods();
    if (!pods || !this.#arePoliciesKnown) return false;
    const dirs = this.#policies.size > 0 ? podDirs(this.#o.cgroupRoot) : new Map<string, string>();
    const { subjects, refusals } = desiredSubjects({
      pods: pods.values(),
      policies: this.#policies,
      containersOf: (pod) => this.#containersOf(pod, dirs),
      auditUntilNs: this.#o.auditUntilNs,
    });
    const failed: Refusal[] = [...refusals];
    for (const subject of subjects) {
      const reason = this.#enforcer.apply(subject);
      if (reason === null) continue;
      const { key, pod, container, policies } = subject;
      failed.push({ subject: key, podUid: pod.uid, container: container?.name ?? null, policies, reason });
    }
    this.#tell(failed);
    this.#subjects = subjects;
    this.#births.observe(pods.values(), dirs);
    this.#removeGone(pods);
    this.#tellStatus();
    bringSampling(this.#o.maps, this.#o.sampling());
    return true;
  }

  #tell(refusals: readonly Refusal[]): void {
    const before = new Set(this.#refusals.map(({ reason }) => reason));
    for (const reason of new Set(refusals.map((one) => one.reason)))
      if (!before.has(reason)) this.#o.onProblem('policy', reason);
    this.#refusals = refusals;
  }

  /** There is room again for what did not fit. */
  #retired(account: Account): void {
    this.#flusher.touch(account);
    if (this.#refusals.length > 0) this.schedule();
  }

  #tellStatus(): void {
    const statuses = policyStatuses(this.#policies, this.#subjects, this.#refusals);
    const refused = refusedSubjects(this.#refusals);
    if (JSON.stringify([statuses, refused]) === JSON.stringify([this.#statuses, this.#refused])) return;
    this.#statuses = statuses;
    this.#refused = refused;
    this.#o.onStatus();
  }

  /** Those that run, and those with a subject until their cgroup goes: a list that omits one for a moment weakens nothing. */
  #containersOf(pod: PodIdentity, dirs: ReadonlyMap<string, string>): ContainerRef[] {
    const uid = normalPodUid(pod.uid);
    const dir = uid === null ? undefined : dirs.get(uid);
    if (dir === undefined) return [];
    const found = containersIn(dir, pod.containers);
    const here = new Set(childCgroups(dir).map(({ id }) => id));
    for (const { podUid, cgroupId, account } of this.#enforcer.all) {
      if (podUid !== uid || cgroupId === null || !here.has(cgroupId)) continue;
      const container = account?.stored.container;
      if (container && !found.some((one) => one.cgroupId === container.cgroupId)) found.push(container);
    }
    return found;
  }

  /** Subjects of pods that the bus no longer lists stay until their cgroup goes: what still runs there is still held to its policy. */
  #removeGone(pods: ReadonlyMap<string, PodIdentity>): void {
    const listed = new Set([...pods.values()].map(({ uid }) => normalPodUid(uid)));
    const wanted = new Set(this.#subjects.map(({ key }) => key));
    const refused = new Set(this.#refusals.map(({ subject }) => subject));
    const stale = [...this.#enforcer.all].filter(({ key }) => !wanted.has(key) && !refused.has(key));
    if (stale.length === 0) return;
    const dirs = podDirs(this.#o.cgroupRoot);
    const bound = new Set(this.#o.maps.cgroups.entries().map(([, uid]) => uid));
    let isWaiting = false;
    for (const inForce of stale) {
      const { podUid, cgroupId } = inForce;
      const dir = dirs.get(podUid);
      const isThere = dir !== undefined || bound.has(podUid);
      const isGone =
        cgroupId === null
          ? !isThere
          : listed.has(podUid) ||
            !isThere ||
            (dir !== undefined && !childCgroups(dir).some(({ id }) => id === cgroupId));
      if (isGone) this.#enforcer.remove(inForce);
      else isWaiting = true;
    }
    if (!isWaiting || this.#goneCheck) return;
    this.#goneCheck = true;
    this.#after(GONE_CHECK_MS, () => {
      this.#goneCheck = false;
      this.schedule();
    });
  }

  takeSamples(samples: readonly RuntimeSample[]): void {
    const bootWall = this.#o.clock.bootWallMicros();
    const heard = new Set<Account>();
    for (const sample of samples) {
      const account = this.#accounts.get(sample.generation);
      if (!account) continue; // it was settled and forgotten: the counters had the operation
      const extra = account.stored.count - RUNTIME_EXTRA_CELLS;
      const container = account.stored.container ?? this.#containerOf(sample);
      this.#flusher.take(
        account,
        sample.extra ? extra + sample.rule : sample.rule,
        toOperationSample(sample, bootWall, container),
      );
      heard.add(account);
    }
    this.#flusher.heard(heard);
  }

  #containerOf({ pod, containerCgroupId }: RuntimeSample): ContainerRef | null {
    const own = this.#enforcer.get(containerKey(containerCgroupId))?.account?.stored.container;
    return own ?? this.#containerNames.find(pod, containerCgroupId);
  }

  /** Empty: it is not known. @param pod 32 hex digits */
  containerName(pod: string, cgroupId: bigint): string {
    return this.#containerNames.find(pod, cgroupId)?.name ?? '';
  }

  /** Looks again at what no event tells: losses of samples, cgroups, births that nobody asked about. */
  sweep(): void {
    this.#flusher.sweep();
  }

  resync(): void {
    this.#births.forgetOld();
    this.schedule();
  }

  #acknowledged(account: Account, cells: readonly number[]): void {
    // An answer may come after its account was settled, when its cells may be another's, or after the end.
    if (this.#stopped || this.#accounts.get(account.stored.generation) !== account) return;
    try {
      this.#writeAcked(account, cells);
    } catch (error) {
      this.#o.onProblem('publish', (error as Error).message, error);
    }
  }

  #writeAcked(account: Account, cells: readonly number[]): void {
    if (account.counts === null) {
      for (let i = 0; i < cells.length; i += 2) {
        const cell = cells[i] as number;
        this.#acked.write(account.stored.base + cell, account.book.acked()[cell] as number);
      }
      return;
    }
    const { final } = account.stored;
    if (!final) return;
    const acked = [...account.book.acked().entries()].filter(([, value]) => value !== 0);
    account.stored = { ...account.stored, final: { ...final, acked } };
    this.#store.save(account.stored, account.facts);
  }

  #settle(account: Account): void {
    this.#accounts.delete(account.stored.generation);
    this.#store.remove(account.stored);
  }

  /** What each policy came to on this node. */
  policies(): readonly RuntimePolicyStatus[] {
    return this.#statuses;
  }

  /** For which pods and containers what should hold cannot. */
  get refused(): RefusedSubjects {
    return this.#refused;
  }

  get counts(): { subjects: number; sets: number; cellsUsed: number; accounts: number } {
    const { cellsUsed } = this.#enforcer;
    const subjects = [...this.#enforcer.all].filter(({ digest }) => digest !== '').length;
    return { subjects, sets: this.#sets.size, cellsUsed, accounts: this.#accounts.size };
  }

  async stop(timeoutMs: number): Promise<{ unacked: number }> {
    const result = await this.#flusher.stop(timeoutMs);
    this.close();
    return result;
  }

  /** Lets go of everything; what is in force stays so. */
  close(): void {
    this.#stopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#acked.close();
  }
}
