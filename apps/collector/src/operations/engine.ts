/**
 * Engine of operations: loads and attaches the BPF-LSM programs if the kernel runs them, and starts
 * the enforcement (enforcement.ts) once there is a policy or a count of an earlier one. The
 * programs are attached without policies too, because a task is armed by its first exec.
 *
 * Invariant: a failure here never affects the engine of packets. Policies that cannot be applied are
 * reported as refused, with the reason.
 */
import { existsSync, readdirSync } from 'node:fs';
import {
  type DecodedBatch,
  detachRuntime,
  openPinnedRuntimeMaps,
  type PinnedRuntimeMaps,
  probeLsm,
  type SpoofSample,
} from '@bailiff/bpf';
import { cutFront, MAX_TEXT, type RuntimePolicyStatus, type RuntimeStatus, type SocketProcess } from '@bailiff/schemas';
import type { BusDocument } from '../desired/bus-documents.ts';
import type { DocumentCache } from '../desired/document-cache.ts';
import type { Check, Engine } from '../engine.ts';
import { accountsDir } from './counting/account.ts';
import type { Enforcement, EnforcementParts } from './enforcement.ts';
import { runLoaderProcess } from './kernel/loader-process.ts';
import { bindExistingPods, CGROUP_REMEDY, cgroupProblem } from './subjects/cgroups.ts';
import { fitPolicies } from './subjects/policy-status.ts';
import { RecordRepair } from './subjects/record-repair.ts';

export interface OperationParts extends EnforcementParts {
  documents: Pick<DocumentCache, 'save' | 'remove'>;
  onRefused(document: Pick<BusDocument, 'what' | 'key'>, reason: string): void;
}

type State = Pick<RuntimeStatus, 'state' | 'reason' | 'remedy'>;

/** An open could be allowed by an entry of another name so long after a link was removed by hand. */
const CACHE_CHECK_MS = 1000;

const NOT_STARTED: State = { state: 'off', reason: 'not started', remedy: '' };
const LOADING: State = { state: 'unavailable', reason: 'its programs are being loaded', remedy: '' };
const AVAILABLE: State = { state: 'available', reason: '', remedy: '' };

export class OperationEngine implements Engine {
  readonly #parts: OperationParts;
  /** Changes of cgroups have no event; a resync finds them early enough. */
  readonly checks: readonly Check[] = [{ everyMs: CACHE_CHECK_MS, part: 'runtime', run: () => this.#checkCache() }];
  #state = NOT_STARTED;
  #object: PinnedRuntimeMaps | null = null;
  #missing: readonly string[] = [];
  #openCacheProblem = '';
  #repair: RecordRepair | null = null;
  #attempt = new AbortController();
  #opening: Promise<void> = Promise.resolve();
  #enforcement: Enforcement | null = null;
  #starting: Promise<void> | null = null;
  #isKnown = false;
  #stopped = false;
  /**
   * Policies that wait for the enforcement, by key: those that an earlier process accepted, and those
   * received since.
   */
  readonly #restored = new Map<string, BusDocument & { json: string }>();
  readonly #waiting = new Map<string, BusDocument & { json: string }>();

  constructor(parts: OperationParts) {
    this.#parts = parts;
  }

  /** Loads the programs in the background. */
  start(): void {
    const obstacle = this.#obstacle();
    this.#state = obstacle ?? LOADING;
    if (obstacle) return;
    const attempt = new AbortController();
    this.#attempt = attempt;
    this.#opening = this.#open(attempt.signal)
      .catch((error: Error) => {
        if (attempt.signal.aborted) return;
        this.#state = { state: 'unavailable', reason: error.message, remedy: '' };
        this.#report(error.message, error);
      })
      .finally(() => {
        if (!attempt.signal.aborted) this.#parts.statusDue.emit();
      });
  }

  /** Why this node has no runtime enforcement; null: none is known before loading. */
  #obstacle(): State | null {
    const { ctx, detach } = this.#parts;
    const { cgroupRoot, observeOnly, runtime } = ctx.config;
    if (runtime !== 'auto' || observeOnly)
      return { state: 'off', reason: 'switched off by configuration', remedy: 'set runtime to auto' };
    if (detach.reason !== '') return { state: 'off', reason: detach.reason, remedy: '' };
    const noCgroups = cgroupProblem(cgroupRoot);
    if (noCgroups !== '') return { state: 'unsupported', reason: noCgroups, remedy: CGROUP_REMEDY };
    const probe = probeLsm();
    if (probe.available) return null;
    const reason = `the kernel runs no BPF-LSM programs (${probe.errnoName})`;
    return { state: 'unavailable', reason, remedy: probe.hint ?? '' };
  }

  async #open(signal: AbortSignal): Promise<void> {
    const { bpfDir: pinDir, cgroupRoot } = this.#parts.ctx.config;
    const { failure, remedy, missing, openCacheProblem } = await runLoaderProcess(pinDir, signal);
    if (signal.aborted) return;
    const object = failure === '' ? openPinnedRuntimeMaps(pinDir) : null;
    if (!object) {
      const reason = failure || `nothing is pinned under ${pinDir} although it was loaded`;
      this.#state = { state: 'unavailable', reason, remedy };
      this.#report(reason);
      return;
    }
    this.#object = object;
    this.#missing = missing;
    this.#openCacheProblem = openCacheProblem;
    this.#state = AVAILABLE;
    this.#repair = new RecordRepair({
      bindPods: () => bindExistingPods(object.maps.cgroups, cgroupRoot),
      recordTasks: () => object.recordTasks(),
    });
    this.#repair.start();
    if (this.#restored.size + this.#waiting.size > 0 || this.#hasHistory()) this.#startEnforcement();
  }

  /** Whether an earlier process left subjects or counts. */
  #hasHistory(): boolean {
    const { maps } = this.#object as PinnedRuntimeMaps;
    const { ctx, bootId } = this.#parts;
    const dir = accountsDir(ctx.config.stateDir, bootId);
    const hasFiles = existsSync(dir) && readdirSync(dir).some((name) => name.endsWith('.json'));
    return hasFiles || maps.pods.entries().length > 0;
  }

  #startEnforcement(): void {
    const object = this.#object;
    if (this.#enforcement || this.#starting || !object || this.#stopped) return;
    this.#starting = import('./enforcement.ts')
      .then(({ Enforcement: Loaded }) => {
        if (this.#stopped || this.#object !== object) return;
        this.#enforcement = new Loaded(this.#parts, object.maps);
        // In this order, so that a bad value keeps the last good one in force.
        for (const policies of [this.#restored, this.#waiting]) {
          for (const document of policies.values()) this.#deliver(document);
          policies.clear();
        }
        if (this.#isKnown) this.#enforcement.policiesKnown();
      })
      .catch((error: Error) => {
        this.#state = { state: 'unavailable', reason: error.message, remedy: '' };
        this.#report(error.message, error);
      })
      .finally(() => {
        this.#starting = null;
        this.#parts.statusDue.emit();
      });
  }

  /** Adds a policy that an earlier process accepted. Call it before start. */
  restore(document: BusDocument & { json: string }): void {
    this.#restored.set(document.key, document);
    this.#isKnown = true;
  }

  /**
   * Receives a policy of the bus. Only accepted ones are cached; a bad value keeps the last good
   * one in force.
   */
  receive(document: BusDocument): void {
    const { key, json } = document;
    if (this.#enforcement) {
      this.#deliver(document);
    } else if (json === null) {
      this.#waiting.delete(key);
      this.#restored.delete(key);
      this.#parts.documents.remove(document);
    } else {
      this.#waiting.set(key, { ...document, json });
      this.#startEnforcement();
    }
  }

  #deliver(document: BusDocument): void {
    const { key, json } = document;
    const result = (this.#enforcement as Enforcement).receivePolicy(key, json);
    if ('refused' in result) this.#parts.onRefused(document, result.refused);
    else if (json === null) this.#parts.documents.remove(document);
    else if (result.changed) this.#parts.documents.save(document);
  }

  policyKeys(): string[] {
    return this.#enforcement?.policyKeys() ?? [...this.#restored.keys(), ...this.#waiting.keys()];
  }

  /** The bus sent every key. */
  synced(): void {
    this.#isKnown = true;
    this.#enforcement?.policiesKnown();
  }

  /** Pods or a disarm changed: schedules bringing them into force. */
  apply(): void {
    this.#enforcement?.schedule();
  }

  takeSamples({ runtime }: DecodedBatch): void {
    this.#enforcement?.takeSamples(runtime);
  }

  sweep(): void {
    this.#enforcement?.sweep();
  }

  /** Changes of cgroups have no event: applying finds them. */
  resync(): void {
    this.#parts.problems.attempt('runtime', () => {
      const repaired = this.#repair?.repair() ?? '';
      if (repaired !== '') this.#report(repaired);
    });
    this.apply();
  }

  #checkCache(): void {
    const problem = this.#object?.checkCache() ?? null;
    if (problem === null) return;
    this.#openCacheProblem = problem;
    this.#report(`opens are decided by the rules again: ${problem}`);
    this.#parts.statusDue.emit();
  }

  /** Records that the kernel programs lacked and the collector added, by kind. */
  repaired(): { pods: number; processes: number } {
    return this.#repair?.repaired ?? { pods: 0, processes: 0 };
  }

  /** The process that created the socket of a packet, if an LSM program saw the creation. */
  processOf({ socketCookie }: SpoofSample): SocketProcess | null {
    const creator = socketCookie === 0n ? undefined : this.#object?.maps.socketMaker(socketCookie);
    if (!creator) return null;
    const bootWall = this.#parts.clock.bootWallMicros();
    return {
      madeAt: bootWall + Math.round(Number(creator.boottimeNs) / 1000),
      tgid: creator.tgid,
      uid: creator.uid,
      comm: creator.comm,
      executable: cutFront(creator.program, MAX_TEXT.SocketProcess.executable.bytes),
      cgroupId: creator.containerCgroupId === 0n ? '' : creator.containerCgroupId.toString(),
      containerName: this.#enforcement?.containerName(creator.pod, creator.containerCgroupId) ?? '',
    };
  }

  /** Cumulative, by kind; empty without runtime programs. */
  losses(): Record<string, number> {
    if (!this.#object) return {};
    return Object.fromEntries(Object.entries(this.#object.maps.losses()).map(([loss, n]) => [loss, Number(n)]));
  }

  status(): RuntimeStatus {
    const policies = this.#policies();
    const { subjects = 0, sets = 0 } = this.#enforcement?.counts ?? {};
    return {
      ...this.#state,
      missingHooks: [...this.#missing],
      openCacheProblem: this.#openCacheProblem,
      ...fitPolicies(policies),
      ...(this.#enforcement?.refused ?? { refusedSubjects: [], refusedSubjectsOmitted: 0 }),
      subjects,
      sets,
      losses: this.losses(),
      maps: Object.entries(this.#object?.maps.fill() ?? {}).map(([name, { entries, maxEntries }]) => ({
        name,
        used: entries,
        capacity: maxEntries,
      })),
    };
  }

  #policies(): readonly RuntimePolicyStatus[] {
    if (this.#enforcement) return this.#enforcement.policies();
    const reason = this.#state.reason === '' ? 'not applied yet' : this.#state.reason;
    return [...new Map([...this.#restored, ...this.#waiting]).values()].map(({ key, json }) => ({
      key,
      revision: revisionOf(json),
      state: 'refused' as const,
      reason,
      subjects: 0,
    }));
  }

  detachChanged(): void {
    const { reason } = this.#parts.detach;
    if (reason === '') this.start();
    else this.#detach(reason);
  }

  /** The programs are loaded again by the start that follows. */
  repin(): void {
    this.#detach('its pins were removed');
  }

  #detach(reason: string): void {
    this.#attempt.abort();
    this.#enforcement?.close();
    this.#enforcement = null;
    this.#object?.close();
    this.#object = null;
    this.#missing = [];
    this.#openCacheProblem = '';
    this.#state = { state: 'off', reason, remedy: '' };
    // Detaches programs that the loader attached meanwhile.
    this.#opening = this.#opening
      .then(() => void detachRuntime(this.#parts.ctx.config.bpfDir))
      .catch((error: Error) => this.#report(error.message, error));
  }

  closeInputs(): void {
    this.#stopped = true;
    this.#attempt.abort();
    this.#enforcement?.closeInputs();
  }

  async stop(timeoutMs: number): Promise<{ unacked: number }> {
    await this.#opening;
    await this.#starting;
    return (await this.#enforcement?.stop(timeoutMs)) ?? { unacked: 0 };
  }

  close(): void {
    this.#enforcement?.close();
    this.#object?.close();
    this.#object = null;
  }

  #report(reason: string, error?: Error): void {
    this.#parts.problems.report('runtime', 'runtime', reason, error);
  }
}

/** Revision of a policy that was not validated. */
function revisionOf(json: string): number {
  try {
    const { revision } = JSON.parse(json) as { revision?: unknown };
    return typeof revision === 'number' ? revision : 0;
  } catch {
    return 0;
  }
}
