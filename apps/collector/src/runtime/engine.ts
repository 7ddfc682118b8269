/**
 * The runtime engine: it exists while there are policies, or counts of earlier ones. It brings the
 * desired subjects into force in the kernel and publishes the kernel's counts. The supervisor loads
 * it on demand, because compiling policies needs memory that a node without policies saves.
 *
 * Data path: supervisor → here → subjects (what) → kernel (how); counts → publishing. Invariant: it
 * changes nothing in the kernel before both pods and policies are known, from the bus or from disk.
 */
import { createHash } from 'node:crypto';
import { boottimeNs, normalPodUid, RUNTIME_EXTRA_CELLS, type RuntimeMaps, type RuntimeSample } from '@bailiff/bpf';
import type { Sampling } from '@bailiff/policy';
import type { PodIdentity, RuntimePolicyStatus } from '@bailiff/schemas';
import type { ReceiveResult } from '../desired/desired-state.ts';
import { Flusher } from '../publishing/flusher.ts';
import type { FrameSink } from '../publishing/frame-writer.ts';
import type { Account, ContainerRef } from './counting/account.ts';
import { AccountStore } from './counting/account-store.ts';
import { type AckedCells, openAckedCells } from './counting/acked-cells.ts';
import { adoptSubjects } from './kernel/adoption.ts';
import { SubjectLatency } from './kernel/apply-latency.ts';
import { Enforcer } from './kernel/enforcer.ts';
import { applySampling } from './kernel/sampling.ts';
import { KernelSets } from './kernel/sets.ts';
import { AccountAdapter } from './publishing/account-adapter.ts';
import { toOperationSample } from './publishing/operation.ts';
import { childCgroups, containersIn, podCgroupDirs } from './subjects/cgroups.ts';
import { ContainerNames } from './subjects/container-names.ts';
import { containerKey, desiredSubjects, type Refusal, type Subject } from './subjects/desired.ts';
import { Policies } from './subjects/policies.ts';
import { policyStatuses, type RefusedSubjects, refusedSubjects } from './subjects/policy-status.ts';

/**
 * Changes within this time are applied together: a thousand keys arrive one by one, and each must
 * be in force within a second.
 */
const COALESCE_MS = 10;
/** Interval of checking whether the cgroup of an unlisted pod is gone. */
const GONE_CHECK_MS = 2_000;

export interface EngineOptions {
  maps: RuntimeMaps;
  pinDir: string;
  /** Directory of accounts: `<stateDir>/<bootId>/runtime`. */
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
  /** null: not received yet. */
  pods(): ReadonlyMap<string, PodIdentity> | null;
  auditUntilNs(namespace: string): bigint;
  /** null: not received yet. */
  sampling(): Sampling | null;
  /**
   * Seconds from a container's cgroup to its policy, for a pod that ran before its policy was
   * known.
   */
  onBound(seconds: number): void;
  /** @param isComplete whether every received policy is in force or refused */
  onApplied(seconds: number, isComplete: boolean): void;
  /** The part of the node's status about policies changed. */
  onStatus(): void;
  onProblem(part: string, reason: string, error?: unknown): void;
}

export class RuntimeEngine {
  readonly #o: EngineOptions;
  readonly #policies = new Policies();
  readonly #accounts = new Map<number, Account>();
  readonly #acked: AckedCells;
  readonly #store: AccountStore;
  readonly #sets: KernelSets;
  readonly #adapter: AccountAdapter;
  readonly #flusher: Flusher<Account>;
  readonly #latency: SubjectLatency;
  readonly #containerNames: ContainerNames;
  readonly #enforcer: Enforcer;
  readonly #timers = new Set<NodeJS.Timeout>();
  #refusals: readonly Refusal[] = [];
  #subjects: readonly Subject[] = [];
  #statuses: readonly RuntimePolicyStatus[] = [];
  #refused: RefusedSubjects = { refusedSubjects: [], refusedSubjectsOmitted: 0 };
  #arePoliciesKnown = false;
  #scheduled = false;
  #goneCheck = false;
  #stopped = false;

  constructor(options: EngineOptions) {
    this.#o = options;
    const { maps, version } = options;
    this.#acked = openAckedCells(options.pinDir, maps.counterCells);
    this.#store = new AccountStore(options.dir, {
      onProblem: ({ file, reason }) => options.onProblem('state', `${file}: ${reason}`),
    });
    this.#sets = new KernelSets(maps, options.allocateGeneration);
    this.#adapter = new AccountAdapter({
      bootId: options.bootId,
      accounts: this.#accounts,
      clock: options.clock,
      read: ({ stored }) => Float64Array.from(maps.counters(stored.base, stored.count), Number),
      bootNs: boottimeNs,
      onAcked: (account, cells) => this.#acknowledged(account, cells),
      onSettled: (account) => this.#settle(account),
    });
    const onError = (error: Error) => options.onProblem('publish', error.message, error);
    this.#flusher = new Flusher({ ...options, onError }, this.#adapter);
    this.#containerNames = new ContainerNames(options.cgroupRoot, options.pods, options.clock.nowMs);
    this.#latency = new SubjectLatency(maps.born, boottimeNs, options.onBound);
    const pins = createHash('sha256').update(maps.settings().hashKey).digest('hex').slice(0, 16);
    const shared = { maps, acked: this.#acked, sets: this.#sets, store: this.#store, accounts: this.#accounts };
    this.#enforcer = new Enforcer({
      ...{ ...shared, pins, version },
      factsOf: ({ set }) => this.#policies.factsOf(set as NonNullable<typeof set>),
      allocateGeneration: options.allocateGeneration,
      onBeforeChange: (account) => this.#flusher.flush([account]),
      onNew: (inForce) => this.#latency.add(inForce),
      onRetired: (account) => this.#retired(account),
      after: (ms, action) => this.#after(ms, action),
    });
    adoptSubjects({
      ...{ ...shared, pins, version, enforcer: this.#enforcer },
      onProblem: (reason) => options.onProblem('counts', reason),
    });
  }

  /** Receives a policy of the bus, or one that an earlier process cached. */
  receivePolicy(key: string, json: string | null): ReceiveResult {
    const result = this.#policies.receive(key, json);
    this.schedule();
    return result;
  }

  /** Keys that have a value here. */
  policyKeys(): string[] {
    return [...[...this.#policies.all].map(({ key }) => key), ...this.#policies.refused.keys()];
  }

  /** Every existing policy was received. */
  policiesKnown(): void {
    this.#arePoliciesKnown = true;
    this.schedule();
  }

  /** Pods, policies, a disarm or cgroups changed. */
  schedule(): void {
    if (this.#scheduled || this.#stopped) return;
    this.#scheduled = true;
    this.#after(COALESCE_MS, () => {
      this.#scheduled = false;
      const began = performance.now();
      const isComplete = this.apply();
      this.#o.onApplied((performance.now() - began) / 1000, isComplete);
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

  /** Brings the desired subjects into force. False: pods or policies are not known yet. */
  apply(): boolean {
    const pods = this.#o.pods();
    if (!pods || !this.#arePoliciesKnown) return false;
    const dirs = this.#policies.size > 0 ? podCgroupDirs(this.#o.cgroupRoot) : new Map<string, string>();
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
    this.#reportRefusals(failed);
    this.#subjects = subjects;
    this.#latency.observe(pods.values(), dirs);
    this.#removeGone(pods);
    this.#updateStatuses();
    applySampling(this.#o.maps, this.#o.sampling());
    return true;
  }

  /** Reports the reasons that are new since the last pass. */
  #reportRefusals(refusals: readonly Refusal[]): void {
    const before = new Set(this.#refusals.map(({ reason }) => reason));
    for (const reason of new Set(refusals.map((one) => one.reason)))
      if (!before.has(reason)) this.#o.onProblem('policy', reason);
    this.#refusals = refusals;
  }

  /** Its cells are free: refused subjects may fit now. */
  #retired(account: Account): void {
    this.#flusher.touch(account);
    if (this.#refusals.length > 0) this.schedule();
  }

  #updateStatuses(): void {
    const statuses = policyStatuses(this.#policies, this.#subjects, this.#refusals);
    const refused = refusedSubjects(this.#refusals);
    if (JSON.stringify([statuses, refused]) === JSON.stringify([this.#statuses, this.#refused])) return;
    this.#statuses = statuses;
    this.#refused = refused;
    this.#o.onStatus();
  }

  /**
   * Running containers of a pod, and those with a subject until their cgroup is gone: a list that
   * omits one for a moment weakens nothing.
   */
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

  /**
   * Removes unlisted subjects whose cgroup is gone. Until then their processes stay under their
   * policies.
   */
  #removeGone(pods: ReadonlyMap<string, PodIdentity>): void {
    const listed = new Set([...pods.values()].map(({ uid }) => normalPodUid(uid)));
    const desired = new Set(this.#subjects.map(({ key }) => key));
    const refused = new Set(this.#refusals.map(({ subject }) => subject));
    const stale = [...this.#enforcer.all].filter(({ key }) => !desired.has(key) && !refused.has(key));
    if (stale.length === 0) return;
    const dirs = podCgroupDirs(this.#o.cgroupRoot);
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
    const received = new Set<Account>();
    for (const sample of samples) {
      const account = this.#accounts.get(sample.generation);
      if (!account) continue; // forgotten after its last count, which included the operation
      const extra = account.stored.count - RUNTIME_EXTRA_CELLS;
      const cell = sample.extra ? extra + sample.rule : sample.rule;
      const container = account.stored.container ?? this.#containerOf(sample);
      this.#adapter.addSample(account, cell, toOperationSample(sample, bootWall, container));
      received.add(account);
    }
    this.#flusher.received(received);
  }

  #containerOf({ pod, containerCgroupId }: RuntimeSample): ContainerRef | null {
    const own = this.#enforcer.get(containerKey(containerCgroupId))?.account?.stored.container;
    return own ?? this.#containerNames.find(pod, containerCgroupId);
  }

  /** Empty: unknown. @param pod 32 hex digits */
  containerName(pod: string, cgroupId: bigint): string {
    return this.#containerNames.find(pod, cgroupId)?.name ?? '';
  }

  /** Reads counters, to find growth whose samples were lost. */
  sweep(): void {
    this.#flusher.sweep();
  }

  /** Handles changes without an event: cgroups, old creation times. */
  resync(): void {
    this.#latency.removeOld();
    this.schedule();
  }

  #acknowledged(account: Account, cells: readonly number[]): void {
    // An acknowledgement may arrive after the account was settled and its cells have another owner.
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
        this.#acked.write(account.stored.base + cell, account.ledger.acked()[cell] as number);
      }
      return;
    }
    const { final } = account.stored;
    if (!final) return;
    const acked = [...account.ledger.acked().entries()].filter(([, value]) => value !== 0);
    account.stored = { ...account.stored, final: { ...final, acked } };
    this.#store.save(account.stored, account.facts);
  }

  #settle(account: Account): void {
    this.#accounts.delete(account.stored.generation);
    this.#store.remove(account.stored);
  }

  /** Status of each policy on this node. */
  policies(): readonly RuntimePolicyStatus[] {
    return this.#statuses;
  }

  /** Pods and containers whose desired set is impossible. */
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

  /** Ends this process's part; the kernel keeps enforcing. */
  close(): void {
    this.#stopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#acked.close();
  }
}
