/**
 * Custom resources → `bailiff_config`, and the result back into their status. Informers run in
 * every replica; only the leader writes.
 *
 * Level-triggered: a pass reconciles keys and status with the plan. Passes run after changes
 * (coalesced) and every `statusMs`. Every write of a key names the revision it replaces; every
 * status names the version of its resource. Bounds: one pass at a time, STATUS_WRITES statuses per
 * pass.
 */
import {
  type Bus,
  BusError,
  CONFIG_BUCKET,
  deleteConfig,
  type KvEntry,
  openBucket,
  type StoredConfig,
  storedConfig,
  writeConfig,
} from '@bailiff/bus';
import { apiPath, isNewer, type KubeApi, KubeError, type KubeObject } from '@bailiff/kube';
import {
  ConfigError,
  checkConfigWrite,
  parseConfigKey,
  type ResourceKind,
  resourcePath,
  SIGNATURE_ANNOTATION,
  type SignedConfig,
  valueOfResource,
} from '@bailiff/policy';
import { pause } from '@bailiff/service';
import { Turns } from '@bailiff/service/turns';
import { type Decision, type Plan, plan, storedValue } from './decide.ts';
import { ResourceInformers } from './informers.ts';
import { type MirroredResource, mirroredResource } from './resource.ts';
import { RolloutReader } from './rollout.ts';
import { type Rollout, statusOf, statusPatch } from './status.ts';

/**
 * Status writes per pass: a thousand resources take half a minute without overloading the API
 * server.
 */
const STATUS_WRITES = 50;
const COALESCE_MS = 50;
const IDLE_MS = 60_000;

export interface MirrorOptions {
  client: KubeApi;
  bus: Bus;
  signed: SignedConfig;
  pageLimit: number;
  inactivityMs: number;
  retryMs: number;
  statusMs: number;
  isLeader(): boolean;
  onAbsent(kind: ResourceKind, error: KubeError | null): void;
  onKubeError(resource: string, error: KubeError): void;
}

export interface MirrorStats {
  writes: number;
  deletes: number;
  /** Writes rejected because of a newer revision or another owner. */
  conflicts: number;
  statusWrites: number;
  /** Values of the leader's last pass. */
  resources: number;
  refused: number;
}

export class PolicyMirror {
  readonly informers: ResourceInformers;
  readonly stats: MirrorStats = { writes: 0, deletes: 0, conflicts: 0, statusWrites: 0, resources: 0, refused: 0 };
  readonly #options: MirrorOptions;
  /** Each resource looks at all nodes. */
  readonly #turns = new Turns();
  readonly #rolloutReader: RolloutReader;
  readonly #stored = new Map<string, StoredConfig>();
  /** Resources by UID with a written status that the informer may not show yet. */
  readonly #patched = new Map<string, MirroredResource>();
  /** Result of the last validation, by UID. */
  #checked = new Map<string, { generation: number; signature: string; problem: string }>();
  /** Generations too large for the bus, by UID. */
  readonly #tooLarge = new Map<string, number>();
  /** Resources of the leader's last pass that are not accepted, as `kind/name`, and keys of deleted ones; with reasons. */
  #refused: readonly (readonly [what: string, reason: string])[] = [];
  #synced = false;
  #dirty = false;
  #wake: () => void = () => {};

  constructor(options: MirrorOptions) {
    this.#options = options;
    this.#rolloutReader = new RolloutReader(options.bus, options.statusMs, this.#turns);
    const { client, pageLimit, inactivityMs, retryMs, onAbsent, onKubeError: onError } = options;
    const onChange = () => this.#changed();
    this.informers = new ResourceInformers({ client, pageLimit, inactivityMs, retryMs, onChange, onAbsent, onError });
  }

  /** Resources and kinds that have no effect, or not their newest one. Empty unless it serves. */
  get refused(): readonly (readonly [what: string, reason: string])[] {
    return [...this.informers.forbidden, ...this.#refused];
  }

  /** Runs the informers until the signal aborts. */
  run(signal: AbortSignal): Promise<void> {
    return this.informers.run(signal);
  }

  /** Mirrors until the term ends. @throws BusError */
  async serve(term: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const signal = AbortSignal.any([term, stop.signal]);
    this.#forget();
    const watching = openBucket(this.#options.bus, CONFIG_BUCKET).watch({
      signal,
      onEntry: (entry) => this.#seen(entry),
      onRecreated: () => this.#forget(),
      onSynced: () => {
        this.#synced = true;
        this.#changed();
      },
    });
    const parts = [watching, this.#loop(signal)];
    await Promise.race(parts).catch(() => {});
    stop.abort();
    this.#refused = [];
    for (const part of await Promise.allSettled(parts)) if (part.status === 'rejected') throw part.reason;
  }

  #forget(): void {
    this.#synced = false;
    this.#stored.clear();
  }

  #changed(): void {
    this.#dirty = true;
    this.#wake();
  }

  #seen(entry: KvEntry): void {
    const known = this.#stored.get(entry.key);
    if (known && known.bucketRevision > entry.revision) return;
    this.#stored.set(entry.key, storedConfig(entry));
    this.#changed();
  }

  async #loop(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (!this.#dirty) await this.#nextChange(signal);
      await pause(COALESCE_MS, signal);
      if (signal.aborted) return;
      this.#dirty = false;
      if (this.#synced) await this.#pass(signal);
    }
  }

  /** Resolves on a change, or when the rollout is due to be read again. */
  #nextChange(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', finish);
        this.#wake = () => {};
        resolve();
      };
      // Without resources there is no rollout to report.
      const waitMs = this.stats.resources > 0 ? this.#rolloutReader.dueInMs : IDLE_MS;
      const timer = setTimeout(finish, Math.max(COALESCE_MS, waitMs));
      signal.addEventListener('abort', finish, { once: true });
      this.#wake = finish;
      if (signal.aborted || this.#dirty) finish();
    });
  }

  async #pass(signal: AbortSignal): Promise<void> {
    const first = this.#plan();
    // Readers refuse an unsigned deletion. A process without a memory would then lack the value.
    const kept = first.plan.orphans.filter((stored) => this.#options.signed.isSigned(stored));
    for (const stored of first.plan.orphans) if (!kept.includes(stored)) await this.#remove(stored);
    const byUid = new Map(first.resources.map((resource) => [resource.uid, resource]));
    for (const [uid, decision] of first.plan.decisions)
      if (decision.state === 'write') await this.#write(byUid.get(uid) as MirroredResource, decision);
    const stored = [...this.#stored.values()].filter(({ owner, deleted }) => owner !== null && !deleted);
    if (first.resources.length > 0) await this.#rolloutReader.refresh(stored);
    const { resources, plan: after } = this.#plan();
    this.stats.resources = resources.length;
    const refused = resources.flatMap(({ kind, name, uid }) => {
      const decision = after.decisions.get(uid);
      return decision?.state === 'refused' ? [[`${kind}/${name}`, decision.message] as const] : [];
    });
    this.#refused = [...refused, ...kept.map(keptReason)];
    this.stats.refused = this.#refused.length;
    await this.#writeStatus(resources, after, signal);
  }

  #plan(): { resources: MirroredResource[]; plan: Plan } {
    const resources = this.informers.resources.map((resource) => this.#newest(resource));
    this.#prune(resources);
    const { listedVersions } = this.informers;
    const check = (resource: MirroredResource, key: string) => this.#check(resource, key);
    return { resources, plan: plan({ resources, listedVersions, stored: this.#stored, check }) };
  }

  /** The version that this process wrote, until the informer shows a newer one. */
  #newest(resource: MirroredResource): MirroredResource {
    const patched = this.#patched.get(resource.uid);
    if (!patched || patched.generation !== resource.generation) return resource;
    return isNewer(patched.resourceVersion, resource.resourceVersion) ? patched : resource;
  }

  #prune(resources: readonly MirroredResource[]): void {
    const uids = new Set(resources.map(({ uid }) => uid));
    for (const map of [this.#patched, this.#checked, this.#tooLarge])
      for (const uid of map.keys()) if (!uids.has(uid)) map.delete(uid);
  }

  /** Validates once per generation and signature, because validation is expensive. */
  #check(resource: MirroredResource, key: string): string {
    const { kind, uid, generation, spec, signature } = resource;
    if (this.#tooLarge.get(uid) === generation) return 'spec: larger than the limit of the bus';
    const known = this.#checked.get(uid);
    if (known?.generation === generation && known.signature === signature) return known.problem;
    const json = JSON.stringify(valueOfResource(kind, spec));
    const unsigned = this.#options.signed.problemOf({ key, json, signature });
    const problem =
      problemOf(() => checkConfigWrite(parseConfigKey(key), json)) ||
      (unsigned && `metadata.annotations[${SIGNATURE_ANNOTATION}]: ${unsigned}`);
    this.#checked.set(uid, { generation, signature, problem });
    return problem;
  }

  async #write(resource: MirroredResource, decision: Extract<Decision, { state: 'write' }>): Promise<void> {
    const { kind, name, uid, generation, resourceVersion, change, signature } = resource;
    const { key, value, takeOver } = decision;
    await this.#writeIfLeader(async () => {
      const stored = await writeConfig(this.#options.bus, key, value, {
        ...(change ?? { by: `${kind}/${name}`, why: `generation ${generation}` }),
        owner: { kind, name, uid, generation, resourceVersion },
        takeOver,
        sign: () => signature,
        expectedRevision: this.#visible(key),
      });
      this.stats.writes += 1;
      this.#rolloutReader.calm = false;
      this.#stored.set(key, { ...stored, timestampMicros: Date.now() * 1000 });
    }, resource);
  }

  async #remove(stored: StoredConfig): Promise<void> {
    const { key, owner } = stored;
    if (!owner) return;
    const resourceVersion = this.informers.listedVersions.get(owner.kind as ResourceKind) ?? owner.resourceVersion;
    await this.#writeIfLeader(async () => {
      const by = `${owner.kind}/${owner.name}`;
      const options = { by, why: 'the resource was deleted', owner: { ...owner, resourceVersion } };
      await deleteConfig(this.#options.bus, key, { ...options, expectedRevision: this.#visible(key) });
      this.stats.deletes += 1;
      this.#stored.set(key, { ...stored, deleted: true });
    });
  }

  #visible(key: string): number {
    const stored = this.#stored.get(key);
    return stored && !stored.deleted ? stored.bucketRevision : 0;
  }

  /**
   * Writes a key while this process leads. A concurrent write arrives through the watch and starts
   * the next pass.
   */
  async #writeIfLeader(write: () => Promise<void>, resource?: MirroredResource): Promise<void> {
    // Checked directly before the write, without an await in between.
    if (!this.#options.isLeader()) return;
    try {
      await write();
    } catch (error) {
      if (error instanceof BusError && error.code === 'BUS_TOO_LARGE' && resource) {
        this.#tooLarge.set(resource.uid, resource.generation);
        return;
      }
      if (!(error instanceof ConfigError)) throw error;
      this.stats.conflicts += 1;
    }
  }

  /** The rollout of the stored value, if this resource wrote it. */
  #rolloutOf(resource: MirroredResource, { key }: Decision): Rollout | null {
    const stored = this.#stored.get(key);
    if (!stored || stored.deleted || stored.owner?.uid !== resource.uid) return null;
    const value = storedValue(stored);
    if (value === undefined) return null;
    return { stored, enabled: value['enabled'] !== false, places: this.#rolloutReader.of(stored) };
  }

  async #writeStatus(resources: readonly MirroredResource[], { decisions }: Plan, signal: AbortSignal): Promise<void> {
    let left = STATUS_WRITES;
    let calm = true;
    for (const resource of resources) {
      const decision = decisions.get(resource.uid);
      // Reported after the write.
      if (!decision || decision.state === 'write') continue;
      await this.#turns.due();
      const rollout = this.#rolloutOf(resource, decision);
      const status = statusOf(resource, decision, rollout, Date.now());
      calm &&= status.conditions?.every(({ type, status }) => type !== 'InForce' || status === 'True') ?? false;
      const patch = statusPatch(resource.status, status);
      if (patch === null) continue;
      if (left === 0 || signal.aborted || !this.#options.isLeader()) return;
      left -= 1;
      await this.#patch(resource, patch, signal);
    }
    this.#rolloutReader.calm = calm;
  }

  async #patch(resource: MirroredResource, status: Record<string, unknown>, signal: AbortSignal): Promise<void> {
    const { kind, name, uid, resourceVersion } = resource;
    try {
      const object = await this.#options.client.request<KubeObject>({
        verb: 'PATCH',
        path: `${resourcePath(kind)}${apiPath`/${name}`}/status`,
        body: { metadata: { uid, resourceVersion }, status },
        attempts: 1,
        signal,
      });
      this.stats.statusWrites += 1;
      this.#patched.set(uid, mirroredResource(kind, object));
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      // Changed or deleted meanwhile: the informer receives it and the next pass uses it.
      if (error.code === 'KUBE_CONFLICT' || error.code === 'KUBE_NOT_FOUND') this.#patched.delete(uid);
      else if (!signal.aborted) this.#options.onKubeError(`${kind} status`, error);
    }
  }
}

const keptReason = ({ key, owner }: StoredConfig): readonly [key: string, reason: string] => [
  key,
  `${owner?.kind} ${owner?.name} was deleted; sign the deletion: \`bailiff config delete ${key} --take-over --sign\``,
];

/** Invalid fields with reasons; empty if the value is valid. */
function problemOf(check: () => unknown): string {
  try {
    check();
    return '';
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    // The first line repeats the key, which is a field of the status.
    const lines = error.message.split('\n');
    return (lines.length > 1 ? lines.slice(1) : lines)
      .map((line) => (error.fields.length > 0 ? `spec.${line}` : line))
      .join('; ');
  }
}
