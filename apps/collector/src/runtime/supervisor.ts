/**
 * The runtime half as the collector holds it: whether this kernel can do it, found by loading; its programs, attached whether or not
 * there are policies (a task is armed by the program that it runs, so they must see it run); and, once there is a policy or a count of
 * an earlier one, the half that applies them (half.ts), which is loaded then.
 *
 * Invariant: whatever happens here, the network half runs. Policies that cannot be applied are told as refused, with the reason.
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
import type { DocumentStore, SavedDocument } from '../desired/document-cache.ts';
import type { HalfOptions, RuntimeHalf } from './engine.ts';
import type { Loading } from './kernel/loader.ts';
import { bindExisting, whyNoCgroups } from './subjects/cgroups.ts';
import { fitPolicies } from './subjects/policy-status.ts';

export interface GateOptions extends Omit<HalfOptions, 'maps' | 'dir'> {
  /** CounterStore of generations: `<stateDir>/<bootId>/runtime`. */
  dir: string;
  wanted: boolean;
  /** Loads, pins and attaches the programs (loader.ts). */
  load(pinDir: string, signal: AbortSignal): Promise<Loading>;
  documents: Pick<DocumentStore, 'save' | 'remove'>;
  onRefused(document: Pick<BusDocument, 'what' | 'key'>, reason: string): void;
}

type State = Pick<RuntimeStatus, 'state' | 'reason' | 'remedy'>;

const NOT_STARTED: State = { state: 'off', reason: 'not started', remedy: '' };
const LOADING: State = { state: 'unavailable', reason: 'its programs are being loaded', remedy: '' };
const AVAILABLE: State = { state: 'available', reason: '', remedy: '' };

export class RuntimeGate {
  readonly #o: GateOptions;
  #state = NOT_STARTED;
  #object: PinnedRuntimeMaps | null = null;
  #missing: readonly string[] = [];
  #attempt = new AbortController();
  #opening: Promise<void> = Promise.resolve();
  #half: RuntimeHalf | null = null;
  #loading: Promise<void> | null = null;
  #isKnown = false;
  #stopped = false;
  /** What an earlier process accepted, and what came since, waiting for the half; without one they stay here. */
  readonly #restored = new Map<string, string>();
  readonly #waiting = new Map<string, string>();

  constructor(options: GateOptions) {
    this.#o = options;
  }

  get isAvailable(): boolean {
    return this.#object !== null;
  }

  /** @param detached why nothing may be attached; empty: it may */
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

  /** Why there is no runtime half here; null: it is worth loading. */
  #obstacle(detached: string): State | null {
    const { wanted, cgroupRoot } = this.#o;
    if (!wanted) return { state: 'off', reason: 'switched off by configuration', remedy: 'set runtime to auto' };
    if (detached !== '') return { state: 'off', reason: detached, remedy: '' };
    const noCgroups = whyNoCgroups(cgroupRoot);
    if (noCgroups !== '')
      return { state: 'unsupported', reason: noCgroups, remedy: 'boot the node with the unified cgroup hierarchy' };
    const probe = probeLsm();
    if (probe.available) return null;
    const reason = `the kernel runs no BPF-LSM programs (${probe.errnoName})`;
    return { state: 'unavailable', reason, remedy: probe.hint ?? '' };
  }

  async #open(signal: AbortSignal): Promise<void> {
    const { pinDir, cgroupRoot } = this.#o;
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
    bindExisting(object.maps.cgroups, cgroupRoot);
    if (this.#restored.size + this.#waiting.size > 0 || this.#hasHistory()) this.#load();
  }

  /** Whether an earlier process left subjects or counts. */
  #hasHistory(): boolean {
    const { maps } = this.#object as PinnedRuntimeMaps;
    const hasFiles = existsSync(this.#o.dir) && readdirSync(this.#o.dir).some((name) => name.endsWith('.json'));
    return hasFiles || maps.pods.entries().length > 0;
  }

  #load(): void {
    const object = this.#object;
    if (this.#half || this.#loading || !object || this.#stopped) return;
    this.#loading = import('./engine.ts')
      .then(({ RuntimeHalf: Half }) => {
        if (this.#stopped || this.#object !== object) return;
        this.#half = new Half({ ...this.#o, maps: object.maps });
        // In this order, so that a bad one that came meanwhile leaves the last good one in force.
        for (const policies of [this.#restored, this.#waiting]) {
          for (const [key, json] of policies) this.#hand(key, json);
          policies.clear();
        }
        if (this.#isKnown) this.#half.policiesKnown();
      })
      .catch((error: Error) => {
        this.#state = { state: 'unavailable', reason: error.message, remedy: '' };
        this.#o.onProblem('runtime', error.message, error);
      })
      .finally(() => {
        this.#loading = null;
        this.#o.onStatus();
      });
  }

  /** What an earlier process accepted; before start. */
  restore({ key, json }: SavedDocument): void {
    this.#restored.set(key, json);
    this.#isKnown = true;
  }

  /** A policy of the bus. Only what was accepted is kept on disk; a bad one leaves the last good one in force. */
  take({ key, json }: BusDocument): void {
    if (this.#half) {
      this.#hand(key, json);
    } else if (json === null) {
      this.#waiting.delete(key);
      this.#restored.delete(key);
      this.#o.documents.remove({ what: 'config', key });
    } else {
      this.#waiting.set(key, json);
      this.#load();
    }
  }

  #hand(key: string, json: string | null): void {
    const taken = (this.#half as RuntimeHalf).takePolicy(key, json);
    const document = { what: 'config' as const, key };
    if ('refused' in taken) this.#o.onRefused(document, taken.refused);
    else if (json === null) this.#o.documents.remove(document);
    else if (taken.changed) this.#o.documents.save({ ...document, json });
  }

  /** The bus has told all there are; `keys` have a value, null when its store was made anew: nothing is taken for deleted then. */
  synced(keys: ReadonlySet<string> | null): void {
    for (const key of this.#half?.policyKeys() ?? [...this.#restored.keys(), ...this.#waiting.keys()])
      if (keys && !keys.has(key)) this.take({ what: 'config', key, json: null });
    this.#isKnown = true;
    this.#half?.policiesKnown();
  }

  /** Pods or a break-glass changed. */
  changed(): void {
    this.#half?.schedule();
  }

  takeSamples(samples: readonly RuntimeSample[]): void {
    this.#half?.takeSamples(samples);
  }

  sweep(): void {
    this.#half?.sweep();
  }

  resync(): void {
    if (this.#object) bindExisting(this.#object.maps.cgroups, this.#o.cgroupRoot);
    this.#half?.resync();
  }

  /** Which process made the socket that a packet came from, when an LSM program saw it made. */
  processOf({ socketCookie }: SpoofSample): SocketProcess | null {
    const maker = socketCookie === 0n ? undefined : this.#object?.maps.socketMaker(socketCookie);
    if (!maker) return null;
    const bootWall = this.#o.clock.bootWallMicros();
    return {
      madeAt: bootWall + Math.round(Number(maker.boottimeNs) / 1000),
      tgid: maker.tgid,
      uid: maker.uid,
      comm: maker.comm,
      executable: cutFront(maker.program, MAX_TEXT.SocketProcess.executable.bytes),
      cgroupId: maker.containerCgroupId === 0n ? '' : maker.containerCgroupId.toString(),
      containerName: this.#half?.containerName(maker.pod, maker.containerCgroupId) ?? '',
    };
  }

  /** Cumulative; empty where there is no runtime half. */
  losses(): Record<string, number> {
    if (!this.#object) return {};
    return Object.fromEntries(Object.entries(this.#object.maps.losses()).map(([loss, n]) => [loss, Number(n)]));
  }

  status(): RuntimeStatus {
    const policies = this.#policies();
    const { subjects = 0, sets = 0 } = this.#half?.counts ?? {};
    return {
      ...this.#state,
      missingHooks: [...this.#missing],
      ...fitPolicies(policies),
      ...(this.#half?.refused ?? { refusedSubjects: [], refusedSubjectsOmitted: 0 }),
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
    if (this.#half) return this.#half.policies();
    const reason = this.#state.reason === '' ? 'not applied yet' : this.#state.reason;
    return [...new Map([...this.#restored, ...this.#waiting])].map(([key, json]) => ({
      key,
      revision: revisionOf(json),
      state: 'refused' as const,
      reason,
      subjects: 0,
    }));
  }

  /** An operator took everything off: what is told from then on is that. */
  detached(reason: string): void {
    const { pinDir } = this.#o;
    this.#attempt.abort();
    this.#half?.close();
    this.#half = null;
    this.#object?.close();
    this.#object = null;
    this.#missing = [];
    this.#state = { state: 'off', reason, remedy: '' };
    // What was being attached meanwhile is taken off again.
    this.#opening = this.#opening.then(() => void detachRuntime(pinDir));
    this.#opening.catch((error: Error) => this.#o.onProblem('runtime', error.message, error));
  }

  async stop(timeoutMs: number): Promise<{ unacked: number }> {
    this.#stopped = true;
    this.#attempt.abort();
    await this.#opening;
    await this.#loading;
    const result = (await this.#half?.stop(timeoutMs)) ?? { unacked: 0 };
    this.#object?.close();
    this.#object = null;
    return result;
  }
}

/** Of a policy that nobody checked. */
function revisionOf(json: string): number {
  try {
    const { revision } = JSON.parse(json) as { revision?: unknown };
    return typeof revision === 'number' ? revision : 0;
  } catch {
    return 0;
  }
}
