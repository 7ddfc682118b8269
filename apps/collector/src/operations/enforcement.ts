/**
 * Enforcement of runtime policies: it exists while there are policies, or counts of earlier ones. It
 * brings the desired subjects into force in the kernel and publishes the kernel's counts. engine.ts
 * loads it on demand, because compiling policies needs memory that a node without policies saves.
 *
 * Data path: engine.ts → here → subjects (what) → kernel (how); counts → publishing. Invariant: it
 * changes nothing in the kernel before both pods and policies are known, from the bus or from disk.
 */
import { createHash } from 'node:crypto';
import { boottimeNs, normalPodUid, type RuntimeMaps, type RuntimeSample } from '@bailiff/bpf';
import type { PodIdentity, RuntimePolicyStatus } from '@bailiff/schemas';
import type { ReceiveResult } from '../desired/desired-state.ts';
import { type EngineParts, flusherOptions } from '../engine.ts';
import { attempt } from '../process/problem-log.ts';
import type { Signal } from '../process/signal.ts';
import { Flusher } from '../publishing/flusher.ts';
import { type Account, accountsDir, type ContainerRef } from './counting/account.ts';
import { AccountStore } from './counting/account-store.ts';
import { Accounts } from './counting/accounts.ts';
import { openAckedCells } from './counting/acked-cells.ts';
import { adoptSubjects } from './kernel/adoption.ts';
import { Enforcer } from './kernel/enforcer.ts';
import { applySampling } from './kernel/sampling.ts';
import { KernelSets } from './kernel/sets.ts';
import { SubjectLatency } from './kernel/subject-latency.ts';
import { AccountAdapter } from './publishing/adapter.ts';
import { podCgroupDirs } from './subjects/cgroups.ts';
import { ContainerNames } from './subjects/container-names.ts';
import { containerKey, desiredSubjects, type Refusal, type Subject } from './subjects/desired.ts';
import { isGone, runningContainers } from './subjects/lifetime.ts';
import { Policies } from './subjects/policies.ts';
import { PolicyReport, type RefusedSubjects } from './subjects/policy-status.ts';

/**
 * Changes within this time are applied together: a thousand keys arrive one by one, and each must
 * be in force within a second.
 */
const COALESCE_MS = 10;
/** Subjects that change too often are looked at again. */
const WAITING_CHECK_MS = 1_000;
/** Interval of checking whether the cgroup of an unlisted pod is gone. */
const GONE_CHECK_MS = 2_000;

export interface EnforcementParts extends EngineParts {
  /** Emitted when the part of the node's status about policies changed. */
  statusDue: Pick<Signal, 'emit'>;
}

export class Enforcement {
  readonly #parts: EnforcementParts;
  readonly #maps: RuntimeMaps;
  readonly #policies = new Policies();
  readonly #accounts: Accounts;
  readonly #sets: KernelSets;
  readonly #adapter: AccountAdapter;
  readonly #flusher: Flusher<Account>;
  readonly #latency: SubjectLatency;
  readonly #containerNames: ContainerNames;
  readonly #enforcer: Enforcer;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #report: PolicyReport;
  #subjects: readonly Subject[] = [];
  #arePoliciesKnown = false;
  #scheduled = false;
  #goneCheck = false;
  #isWaiting = false;
  #stopped = false;

  constructor(parts: EnforcementParts, maps: RuntimeMaps) {
    this.#parts = parts;
    this.#maps = maps;
    const { bootId, clock, ctx, metrics, object, problems } = parts;
    const { config, version } = ctx;
    const onError = (error: Error) => this.#problem('publish', error.message, error);
    const allocateGeneration = () => object.maps.meta.allocateGeneration();
    this.#report = new PolicyReport({
      onStatus: () => parts.statusDue.emit(),
      onRefusal: (reason) => this.#problem('policy', reason),
    });
    const acked = openAckedCells(config.bpfDir, maps.counterCells);
    const store = new AccountStore(accountsDir(config.stateDir, bootId), { onProblem: problems.of('state') });
    this.#accounts = new Accounts({ acked, store, onError });
    const accounts = this.#accounts.byGeneration;
    this.#sets = new KernelSets(maps, allocateGeneration);
    this.#adapter = new AccountAdapter({
      bootId,
      accounts,
      clock,
      read: ({ stored }) => Float64Array.from(maps.counters(stored.base, stored.count), Number),
      bootNs: boottimeNs,
      onAcked: (account, cells) => this.#accounts.acknowledged(account, cells),
      onSettled: (account) => this.#accounts.settle(account),
    });
    this.#flusher = new Flusher({ ...flusherOptions(parts), onError }, this.#adapter);
    this.#containerNames = new ContainerNames(config.cgroupRoot, () => this.#pods(), clock.nowMs);
    this.#latency = new SubjectLatency(maps.born, boottimeNs, (seconds) => metrics.runtimeBindSeconds.observe(seconds));
    const pins = createHash('sha256').update(maps.settings().hashKey).digest('hex').slice(0, 16);
    const shared = { maps, acked, sets: this.#sets, store, accounts, pins, version };
    this.#enforcer = new Enforcer({
      ...shared,
      allocateGeneration,
      policiesVersion: () => this.#policies.version,
      nowMs: clock.nowMs,
      factsOf: ({ set }) => this.#policies.factsOf(set as NonNullable<typeof set>),
      onBeforeChange: (account) => this.#flusher.flush([account]),
      onNew: (inForce) => this.#latency.add(inForce),
      onRetired: (account) => this.#retired(account),
      after: (ms, action) => this.#after(ms, action),
    });
    adoptSubjects({
      ...shared,
      enforcer: this.#enforcer,
      onProblem: problems.of('counts'),
    });
  }

  /** null: not received yet. */
  #pods(): ReadonlyMap<string, PodIdentity> | null {
    const { desired } = this.#parts;
    return desired.known.has('pods') ? desired.pods : null;
  }

  #problem(part: string, reason: string, error?: unknown): void {
    this.#parts.problems.report(part, 'runtime', reason, error);
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
      this.#parts.metrics.runtimeApplySeconds.observe((performance.now() - began) / 1000);
      if (isComplete) this.#parts.latency.runtimeApplied();
    });
  }

  #scheduleIn(ms: number): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#after(ms, () => {
      this.#isWaiting = false;
      this.schedule();
    });
  }

  #after(ms: number, action: () => void): void {
    if (this.#stopped) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      attempt((_, reason, error) => this.#problem('runtime', reason, error), '', action);
    }, ms);
    timer.unref();
    this.#timers.add(timer);
  }

  /** Brings the desired subjects into force. False: pods or policies are not known yet. */
  apply(): boolean {
    const { ctx, desired, moment } = this.#parts;
    const pods = this.#pods();
    if (!pods || !this.#arePoliciesKnown) return false;
    const dirs = this.#policies.size > 0 ? podCgroupDirs(ctx.config.cgroupRoot) : new Map<string, string>();
    const { subjects, refusals } = desiredSubjects({
      pods: pods.values(),
      policies: this.#policies,
      containersOf: (pod) => this.#containersOf(pod, dirs),
      auditUntilNs: (namespace) => desired.auditUntilNs(namespace, moment()),
    });
    this.#policies.forgetUnused();
    const failed: Refusal[] = [...refusals];
    for (const subject of subjects) {
      const reason = this.#enforcer.apply(subject);
      if (reason === null) continue;
      const { key, pod, container, policies } = subject;
      failed.push({ subject: key, podUid: pod.uid, container: container?.name ?? null, policies, reason });
    }
    if (this.#enforcer.takeWaiting() > 0) this.#scheduleIn(WAITING_CHECK_MS);
    this.#report.refuse(failed);
    this.#subjects = subjects;
    this.#latency.observe(pods.values(), dirs);
    this.#removeGone(pods);
    this.#report.update(this.#policies, subjects);
    applySampling(this.#maps, desired.known.has('spoof') ? desired.clusterConfig.sampling : null);
    return true;
  }

  /** Its cells are free: refused subjects may fit now. */
  #retired(account: Account): void {
    this.#flusher.touch(account);
    if (this.#report.refusals.length > 0) this.schedule();
  }

  #containersOf(pod: PodIdentity, dirs: ReadonlyMap<string, string>): ContainerRef[] {
    const uid = normalPodUid(pod.uid);
    const dir = uid === null ? undefined : dirs.get(uid);
    if (dir === undefined) return [];
    const known = [...this.#enforcer.all].filter(({ podUid, cgroupId }) => podUid === uid && cgroupId !== null);
    const containers = known.flatMap(({ account }) => account?.stored.container ?? []);
    return runningContainers(dir, pod.containers, containers);
  }

  /**
   * Removes unlisted subjects whose cgroup is gone. Until then their processes stay under their
   * policies.
   */
  #removeGone(pods: ReadonlyMap<string, PodIdentity>): void {
    const listed = new Set([...pods.values()].map(({ uid }) => normalPodUid(uid)));
    const desired = new Set(this.#subjects.map(({ key }) => key));
    const refused = new Set(this.#report.refusals.map(({ subject }) => subject));
    const stale = [...this.#enforcer.all].filter(({ key }) => !desired.has(key) && !refused.has(key));
    if (stale.length === 0) return;
    const dirs = podCgroupDirs(this.#parts.ctx.config.cgroupRoot);
    const bound = new Set(this.#maps.cgroups.entries().map(([, uid]) => uid));
    let isWaiting = false;
    for (const inForce of stale) {
      if (isGone(inForce, { dirs, bound, listed })) this.#enforcer.remove(inForce);
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
    const received = this.#adapter.takeSamples(samples, (sample) => this.#containerOf(sample));
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

  /** Status of each policy on this node. */
  policies(): readonly RuntimePolicyStatus[] {
    return this.#report.statuses;
  }

  /** Pods and containers whose desired set is impossible. */
  get refused(): RefusedSubjects {
    return this.#report.refused;
  }

  get counts(): { subjects: number; sets: number; cellsUsed: number; accounts: number } {
    const { cellsUsed } = this.#enforcer;
    const subjects = [...this.#enforcer.all].filter(({ digest }) => digest !== '').length;
    return { subjects, sets: this.#sets.size, cellsUsed, accounts: this.#accounts.byGeneration.size };
  }

  stop(timeoutMs: number): Promise<{ unacked: number }> {
    return this.#flusher.stop(timeoutMs);
  }

  /** Nothing changes in the kernel afterwards; it keeps enforcing. */
  closeInputs(): void {
    this.#stopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  close(): void {
    this.closeInputs();
    this.#accounts.close();
  }
}
