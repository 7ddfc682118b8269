/**
 * Supervises runtime enforcement: loads and attaches the BPF-LSM programs if the kernel runs them.
 * It starts the enforcement (enforcement.ts) once there is a policy or a count of an earlier one. The
 * programs are attached without policies too, because a task is armed by its first exec.
 *
 * Invariant: a failure here never affects the network engine. Policies that cannot be applied are
 * reported as refused, with the reason.
 */
import { existsSync, readdirSync } from 'node:fs';
import {
  detachRuntime,
  openPinnedRuntimeMaps,
  type PinnedRuntimeMaps,
  probeLsm,
  type RuntimeSample,
  type SpoofSample,
} from '@bailiff/bpf';
import { cutFront, MAX_TEXT, type RuntimePolicyStatus, type RuntimeStatus, type SocketProcess } from '@bailiff/schemas';
import type { BusDocument } from '../desired/bus-documents.ts';
import type { DocumentCache, SavedDocument } from '../desired/document-cache.ts';
import type { EngineOptions, RuntimeEngine } from './enforcement.ts';
import type { Loading } from './kernel/loader.ts';
import { bindExistingPods, CGROUP_REMEDY, cgroupProblem } from './subjects/cgroups.ts';
import { fitPolicies } from './subjects/policy-status.ts';
import { RecordRepair } from './subjects/record-repair.ts';

export interface SupervisorOptions extends Omit<EngineOptions, 'maps'> {
  /** False: switched off by configuration. */
  enabled: boolean;
  /** Loads, pins and attaches the programs (loader-process.ts). */
  load(pinDir: string, signal: AbortSignal): Promise<Loading>;
  documents: Pick<DocumentCache, 'save' | 'remove'>;
  onRefused(document: Pick<BusDocument, 'what' | 'key'>, reason: string): void;
}

type State = Pick<RuntimeStatus, 'state' | 'reason' | 'remedy'>;

const NOT_STARTED: State = { state: 'off', reason: 'not started', remedy: '' };
const LOADING: State = { state: 'unavailable', reason: 'its programs are being loaded', remedy: '' };
const AVAILABLE: State = { state: 'available', reason: '', remedy: '' };

export class RuntimeSupervisor {
  readonly #o: SupervisorOptions;
  #state = NOT_STARTED;
  #object: PinnedRuntimeMaps | null = null;
  #missing: readonly string[] = [];
  #repair: RecordRepair | null = null;
  #attempt = new AbortController();
  #opening: Promise<void> = Promise.resolve();
  #engine: RuntimeEngine | null = null;
  #starting: Promise<void> | null = null;
  #isKnown = false;
  #stopped = false;
  /**
   * Policies that wait for the engine, by key: those that an earlier process accepted, and those
   * received since.
   */
  readonly #restored = new Map<string, string>();
  readonly #waiting = new Map<string, string>();

  constructor(options: SupervisorOptions) {
    this.#o = options;
  }

  get isAvailable(): boolean {
    return this.#object !== null;
  }

  /**
   * Loads the programs in the background.
   * @param detached why nothing may be attached; empty: it may
   */
  start(detached: string): void {
    const obstacle = this.#obstacle(detached);
    this.#state = obstacle ?? LOADING;
    if (obstacle) return;
    const attempt = new AbortController();
    this.#attempt = attempt;
    this.#opening = this.#open(attempt.signal)
      .catch((error: Error) => {
        if (attempt.signal.aborted) return;
        this.#state = { state: 'unavailable', reason: error.message, remedy: '' };
        this.#o.onProblem('runtime', error.message, error);
      })
      .finally(() => {
        if (!attempt.signal.aborted) this.#o.onStatus();
      });
  }

  /** Why this node has no runtime enforcement; null: none is known before loading. */
  #obstacle(detached: string): State | null {
    const { enabled, cgroupRoot } = this.#o;
    if (!enabled) return { state: 'off', reason: 'switched off by configuration', remedy: 'set runtime to auto' };
    if (detached !== '') return { state: 'off', reason: detached, remedy: '' };
    const noCgroups = cgroupProblem(cgroupRoot);
    if (noCgroups !== '') return { state: 'unsupported', reason: noCgroups, remedy: CGROUP_REMEDY };
    const probe = probeLsm();
    if (probe.available) return null;
    const reason = `the kernel runs no BPF-LSM programs (${probe.errnoName})`;
    return { state: 'unavailable', reason, remedy: probe.hint ?? '' };
  }

  async #open(signal: AbortSignal): Promise<void> {
    const { pinDir } = this.#o;
    const { failure, remedy, missing } = await this.#o.load(pinDir, signal);
    if (signal.aborted) return;
    const object = failure === '' ? openPinnedRuntimeMaps(pinDir) : null;
    if (!object) {
      const reason = failure || `nothing is pinned under ${pinDir} although it was loaded`;
      this.#state = { state: 'unavailable', reason, remedy };
      this.#o.onProblem('runtime', reason);
      return;
    }
    this.#object = object;
    this.#missing = missing;
    this.#state = AVAILABLE;
    this.#repair = new RecordRepair({
      bindPods: () => bindExistingPods(object.maps.cgroups, this.#o.cgroupRoot),
      recordTasks: () => object.recordTasks(),
    });
    this.#repair.start();
    if (this.#restored.size + this.#waiting.size > 0 || this.#hasHistory()) this.#startEngine();
  }

  /** Whether an earlier process left subjects or counts. */
  #hasHistory(): boolean {
    const { maps } = this.#object as PinnedRuntimeMaps;
    const hasFiles = existsSync(this.#o.dir) && readdirSync(this.#o.dir).some((name) => name.endsWith('.json'));
    return hasFiles || maps.pods.entries().length > 0;
  }

  #startEngine(): void {
    const object = this.#object;
    if (this.#engine || this.#starting || !object || this.#stopped) return;
    this.#starting = import('./enforcement.ts')
      .then(({ RuntimeEngine: Engine }) => {
        if (this.#stopped || this.#object !== object) return;
        this.#engine = new Engine({ ...this.#o, maps: object.maps });
        // In this order, so that a bad value keeps the last good one in force.
        for (const policies of [this.#restored, this.#waiting]) {
          for (const [key, json] of policies) this.#deliver(key, json);
          policies.clear();
        }
        if (this.#isKnown) this.#engine.policiesKnown();
      })
      .catch((error: Error) => {
        this.#state = { state: 'unavailable', reason: error.message, remedy: '' };
        this.#o.onProblem('runtime', error.message, error);
      })
      .finally(() => {
        this.#starting = null;
        this.#o.onStatus();
      });
  }

  /** Adds a policy that an earlier process accepted. Call it before start. */
  restore({ key, json }: SavedDocument): void {
    this.#restored.set(key, json);
    this.#isKnown = true;
  }

  /**
   * Receives a policy of the bus. Only accepted ones are cached; a bad value keeps the last good
   * one in force.
   */
  receive({ key, json }: BusDocument): void {
    if (this.#engine) {
      this.#deliver(key, json);
    } else if (json === null) {
      this.#waiting.delete(key);
      this.#restored.delete(key);
      this.#o.documents.remove({ what: 'config', key });
    } else {
      this.#waiting.set(key, json);
      this.#startEngine();
    }
  }

  #deliver(key: string, json: string | null): void {
    const result = (this.#engine as RuntimeEngine).receivePolicy(key, json);
    const document = { what: 'config' as const, key };
    if ('refused' in result) this.#o.onRefused(document, result.refused);
    else if (json === null) this.#o.documents.remove(document);
    else if (result.changed) this.#o.documents.save({ ...document, json });
  }

  /**
   * The bus sent every key: other keys were deleted meanwhile.
   * @param keys keys that have a value; null: the bucket was recreated, so nothing counts as
   *   deleted
   */
  synced(keys: ReadonlySet<string> | null): void {
    for (const key of this.#engine?.policyKeys() ?? [...this.#restored.keys(), ...this.#waiting.keys()])
      if (keys && !keys.has(key)) this.receive({ what: 'config', key, json: null });
    this.#isKnown = true;
    this.#engine?.policiesKnown();
  }

  /** Pods or a disarm changed: schedules bringing them into force. */
  apply(): void {
    this.#engine?.schedule();
  }

  takeSamples(samples: readonly RuntimeSample[]): void {
    this.#engine?.takeSamples(samples);
  }

  sweep(): void {
    this.#engine?.sweep();
  }

  resync(): void {
    const repaired = this.#repair?.repair() ?? '';
    if (repaired !== '') this.#o.onProblem('runtime', repaired);
    this.#engine?.resync();
  }

  /** Records that the kernel programs lacked and the collector added, by kind. */
  repaired(): { pods: number; processes: number } {
    return this.#repair?.repaired ?? { pods: 0, processes: 0 };
  }

  /** The process that created the socket of a packet, if an LSM program saw the creation. */
  processOf({ socketCookie }: SpoofSample): SocketProcess | null {
    const creator = socketCookie === 0n ? undefined : this.#object?.maps.socketMaker(socketCookie);
    if (!creator) return null;
    const bootWall = this.#o.clock.bootWallMicros();
    return {
      madeAt: bootWall + Math.round(Number(creator.boottimeNs) / 1000),
      tgid: creator.tgid,
      uid: creator.uid,
      comm: creator.comm,
      executable: cutFront(creator.program, MAX_TEXT.SocketProcess.executable.bytes),
      cgroupId: creator.containerCgroupId === 0n ? '' : creator.containerCgroupId.toString(),
      containerName: this.#engine?.containerName(creator.pod, creator.containerCgroupId) ?? '',
    };
  }

  /** Cumulative, by kind; empty without runtime programs. */
  losses(): Record<string, number> {
    if (!this.#object) return {};
    return Object.fromEntries(Object.entries(this.#object.maps.losses()).map(([loss, n]) => [loss, Number(n)]));
  }

  status(): RuntimeStatus {
    const policies = this.#policies();
    const { subjects = 0, sets = 0 } = this.#engine?.counts ?? {};
    return {
      ...this.#state,
      missingHooks: [...this.#missing],
      ...fitPolicies(policies),
      ...(this.#engine?.refused ?? { refusedSubjects: [], refusedSubjectsOmitted: 0 }),
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
    if (this.#engine) return this.#engine.policies();
    const reason = this.#state.reason === '' ? 'not applied yet' : this.#state.reason;
    return [...new Map([...this.#restored, ...this.#waiting])].map(([key, json]) => ({
      key,
      revision: revisionOf(json),
      state: 'refused' as const,
      reason,
      subjects: 0,
    }));
  }

  /** An operator detached all programs. */
  detached(reason: string): void {
    const { pinDir } = this.#o;
    this.#attempt.abort();
    this.#engine?.close();
    this.#engine = null;
    this.#object?.close();
    this.#object = null;
    this.#missing = [];
    this.#state = { state: 'off', reason, remedy: '' };
    // Detaches programs that the loader attached meanwhile.
    this.#opening = this.#opening.then(() => void detachRuntime(pinDir));
    this.#opening.catch((error: Error) => this.#o.onProblem('runtime', error.message, error));
  }

  async stop(timeoutMs: number): Promise<{ unacked: number }> {
    this.#stopped = true;
    this.#attempt.abort();
    await this.#opening;
    await this.#starting;
    const result = (await this.#engine?.stop(timeoutMs)) ?? { unacked: 0 };
    this.#object?.close();
    this.#object = null;
    return result;
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
