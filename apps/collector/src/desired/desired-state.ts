/**
 * Desired state of this node: its pods, the quarantine list, vector modes and disarms. No I/O.
 *
 * The last good value of each part is kept, whatever follows and however long the bus is
 * unavailable. A part that was never received is not a default: `known` lists the received parts,
 * and the kernel keeps the entries of an earlier process for the others.
 */
import { FOREVER_NS, type VectorModes } from '@bailiff/bpf';
import {
  ConfigError,
  type ConfigKey,
  type Disarm,
  disarm,
  disarmKeys,
  effectiveSampling,
  type InitialMode,
  initialSpoofPolicy,
  parseConfigKey,
  parseValueBy,
  requireReadKey,
  type Sampling,
  type SpoofCluster,
  type SpoofScoped,
  spoofCluster,
  spoofScoped,
  spoofScopeKeys,
} from '@bailiff/policy';
import {
  type ClusterSnapshot,
  cutTexts,
  MAX_TEXT,
  type NodeSnapshot,
  type PodIdentity,
  type PodRef,
  type QuarantineEntry,
  type QuarantineReading,
  readQuarantineList,
  workloadOf,
} from '@bailiff/schemas';
import { type Binding, checkSnapshot } from '../identity/identity.ts';
import type { Dropped } from '../identity/normalize.ts';
import type { Sign } from '../identity/pod-life.ts';
import { auditUntilNs, modesFor, toBoottimeNs } from './effective-modes.ts';
import { parseClusterSnapshot, parseNodeSnapshot } from './parse-snapshots.ts';

/** `dropped`: values that were removed from an accepted document, each with place and reason. */
export type ReceiveResult = { changed: boolean; dropped?: Dropped } | { refused: string; changed?: boolean };

/** Parts that are received independently. */
export type Part = 'pods' | 'cluster' | 'quarantine' | 'spoof' | 'disarm';

/** Readings of both clocks at one moment, used by a whole pass. */
export interface Moment {
  wallMs: number;
  bootNs: bigint;
}

export class DesiredState {
  readonly nodeName: string;
  pods = new Map<string, PodIdentity>();
  snapshotRevision = 0;
  /** Why the newest snapshot was rejected; empty: it was accepted. */
  snapshotRefused = '';
  cluster: ClusterSnapshot = { revision: 0, nodes: [] };
  quarantined = new Map<string, QuarantineEntry>();
  readonly #initialMode: InitialMode;
  readonly #initial: SpoofCluster;
  #spoofCluster: SpoofCluster;
  readonly #spoofScoped = new Map<string, SpoofScoped>();
  readonly #disarms = new Map<string, Disarm>();
  readonly #configKeys = new Set<string>();
  /** Configuration keys whose newest value was rejected, with the reason. */
  readonly configRefused = new Map<string, string>();
  /** Parts that this process or an earlier one received. */
  readonly known = new Set<Part>();
  /**
   * Parts that came from disk, until the first document from the bus.
   */
  readonly #restored = new Set<Part>();
  /** The newest snapshot, accepted or rejected: later bindings may change the decision. */
  #candidate: { snapshot: NodeSnapshot; json: string } | null = null;
  /** Pods of the newest snapshot, accepted or rejected. */
  #newest: ReadonlyMap<string, PodIdentity> = new Map();
  #inForce: NodeSnapshot | null = null;
  #accepted: NodeSnapshot | null = null;
  /** Pods of the accepted snapshot, and of earlier ones while their interfaces exist. */
  #confirmed: ReadonlySet<string> = new Set();

  constructor(nodeName: string, initialMode: InitialMode = 'enforce') {
    this.nodeName = nodeName;
    this.#initialMode = initialMode;
    this.#initial = spoofCluster.parse(initialSpoofPolicy(initialMode));
    this.#spoofCluster = this.#initial;
  }

  get clusterConfig(): SpoofCluster {
    return this.#spoofCluster;
  }

  /** Every vector is audited, because the cluster has no policy for them. */
  get auditsInitially(): boolean {
    return this.#initialMode === 'audit' && this.#spoofCluster === this.#initial;
  }

  /**
   * Receives the list of the node's pods. Rejects a list of another node, of another shape, or one
   * that contradicts the node (see checkSnapshot). Of that one, what does not contradict is in force: a tenant
   * with most pods of the node can cause both contradictions, and must not take labels and grants from others.
   * One that lacks pods removes none, and one that disagrees on addresses changes none: without an accepted list,
   * such as after a restart, those of the node's records hold.
   */
  receivePods(json: string, live: Iterable<Binding>): ReceiveResult {
    const bindings = [...live];
    const parsed = parseNodeSnapshot(json);
    if ('refused' in parsed) return this.#refusePods(parsed.refused);
    const { value: snapshot, dropped } = parsed;
    if (snapshot.nodeName !== this.nodeName) return this.#refusePods(`snapshot is of node ${snapshot.nodeName}`);
    this.#restored.delete('pods');
    this.#candidate = { snapshot, json };
    this.#newest = podsByUid(snapshot.pods);
    const check = checkSnapshot(snapshot, bindings, this.#confirmed);
    if (check.accepted) {
      this.#accept(snapshot, bindings);
      return { changed: true, dropped };
    }
    const { reason, lacksPods } = check;
    this.#accepted ??= withoutAddresses(snapshot);
    const { revision, pods } = this.#accepted;
    const missing = pods.filter(({ uid }) => !this.#newest.has(uid));
    const named = lacksPods ? snapshot.pods : withAddressesOf(pods, snapshot.pods);
    this.#enforce({ ...snapshot, revision, pods: [...named, ...missing] }, bindings);
    return { ...this.#refusePods(reason), changed: true };
  }

  /**
   * Checks the newest snapshot again after bindings changed. A wrong snapshot that arrived before
   * the pods is found as they appear; the addresses of the node's own records then hold alone. Pods that begin
   * later sandboxes cause this too: until the kubelet has reported them, the list has the former addresses. A
   * rejected snapshot is accepted as soon as enough bindings confirm it.
   * @returns null: no change; else the text of the snapshot in force, or null: one without its addresses
   */
  recheck(bindings: readonly Binding[]): { inForce: string | null; refused: string } | null {
    if (!this.#candidate) return null;
    const { snapshot, json } = this.#candidate;
    const check = checkSnapshot(snapshot, bindings, this.#confirmed);
    if (check.accepted) {
      if (this.#inForce === snapshot) return null;
      this.#accept(snapshot, bindings);
      return { inForce: json, refused: '' };
    }
    this.snapshotRefused = check.reason;
    if (!this.#inForce || checkSnapshot(this.#inForce, bindings).accepted) return null;
    this.#accepted = withoutAddresses(this.#inForce);
    this.#enforce(this.#accepted, bindings);
    return { inForce: null, refused: check.reason };
  }

  #accept(snapshot: NodeSnapshot, bindings: readonly Binding[]): void {
    this.#accepted = snapshot;
    this.snapshotRefused = '';
    this.#enforce(snapshot, bindings);
  }

  #enforce(snapshot: NodeSnapshot, bindings: readonly Binding[]): void {
    const here = new Set(bindings.map((b) => b.podUid).filter((uid) => this.#confirmed.has(uid)));
    this.#confirmed = new Set([...here, ...snapshot.pods.map((pod) => pod.uid)]);
    this.#inForce = snapshot;
    this.pods = podsByUid(snapshot.pods);
    this.snapshotRevision = snapshot.revision;
    this.known.add('pods');
  }

  #refusePods(reason: string): { refused: string } {
    this.snapshotRefused = reason;
    return { refused: reason };
  }

  receiveCluster(json: string): ReceiveResult {
    const parsed = parseClusterSnapshot(json);
    if ('refused' in parsed) return parsed;
    this.#restored.delete('cluster');
    this.cluster = parsed.value;
    this.known.add('cluster');
    return { changed: true, dropped: parsed.dropped };
  }

  receiveQuarantine(json: string): ReceiveResult {
    let list: QuarantineReading;
    try {
      list = readQuarantineList(json);
    } catch (error) {
      return { refused: (error as Error).message };
    }
    if (list.nodeName !== this.nodeName) return { refused: `quarantine list is of node ${list.nodeName}` };
    this.#restored.delete('quarantine');
    this.quarantined = new Map(list.entries.map((entry) => [entry.podUid, entry]));
    this.known.add('quarantine');
    return { changed: true, dropped: list.problems };
  }

  /** Marks everything received so far as restored from an earlier process. */
  markRestored(): void {
    for (const kind of ['spoof', 'disarm'] as const) if (this.configKeys(kind).length > 0) this.known.add(kind);
    for (const part of this.known) this.#restored.add(part);
  }

  /** The newest pod list is in force and complete. */
  get listsEveryPod(): boolean {
    return this.#inForce !== null && this.snapshotRefused === '' && (this.#inForce.omitted ?? 0) === 0;
  }

  /** Whether the bus lists a pod. A list from disk may be of a time before the pod. */
  listSays(podUid: string): Sign {
    if (!this.listsEveryPod || this.#restored.has('pods')) return 'unknown';
    return this.listsAsRunning(podUid) ? 'present' : 'absent';
  }

  /** Whether a list that was accepted named the pod. One that is late, or of an earlier time, does not. */
  hasListed(podUid: string): boolean {
    return this.#confirmed.has(podUid);
  }

  /** Whether the list in force names the pod, and the API server has it. */
  listsAsRunning(podUid: string): boolean {
    const pod = this.pods.get(podUid);
    return pod !== undefined && pod.ended !== true;
  }

  /** The same of the newest list, also of one that was rejected. */
  isInNewestList(podUid: string): boolean {
    const pod = this.#newest.get(podUid);
    return pod !== undefined && pod.ended !== true;
  }

  /** Addresses of a pod in the newest list, also in one that was rejected. */
  newestAddressesOf(podUid: string): string[] {
    return addressesIn(this.#newest.get(podUid));
  }

  /** Addresses of a pod in the accepted snapshot; empty: not listed. */
  addressesOf(podUid: string): string[] {
    return addressesIn(this.pods.get(podUid));
  }

  /** Every key of the kind that the bus has was received. */
  markSynced(kind: 'spoof' | 'disarm'): void {
    this.known.add(kind);
  }

  /**
   * Receives a configuration key. A deleted key (`json` null) restores the wider scope; a bad value
   * keeps the last good one.
   */
  receiveConfig(keyText: string, json: string | null): ReceiveResult {
    try {
      const key = parseConfigKey(keyText);
      const schema = schemaOf(key);
      if (!schema) return { changed: false };
      requireReadKey(key);
      const value = json === null ? undefined : parseValueBy<unknown>(schema, key, json);
      this.#setConfig(key, keyText, value);
      this.configRefused.delete(keyText);
      return { changed: true };
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.configRefused.set(keyText, error.message);
      return { refused: error.message };
    }
  }

  /** Keys of a kind that have a value: a key that the bus no longer has was deleted meanwhile. */
  configKeys(kind: 'spoof' | 'disarm'): string[] {
    return [...this.#configKeys].filter((key) => key.startsWith(`${kind}.`));
  }

  #setConfig(key: ConfigKey, keyText: string, value: unknown): void {
    if (value === undefined) this.#configKeys.delete(keyText);
    else this.#configKeys.add(keyText);
    if (key.kind === 'spoof' && key.scope === 'cluster') {
      this.#spoofCluster = (value as SpoofCluster | undefined) ?? this.#initial;
    } else if (key.kind === 'spoof') {
      setOrDelete(this.#spoofScoped, keyText, value as SpoofScoped | undefined);
    } else if (key.kind === 'disarm') {
      setOrDelete(this.#disarms, keyText, value as Disarm | undefined);
    }
  }

  /** @param namespace of the binding, while the bus does not list the pod; empty: unknown */
  modesOf(pod: PodIdentity | null, namespace = pod?.namespace ?? ''): VectorModes {
    return modesFor(this.#spoofCluster, this.#scopesOf(pod, namespace));
  }

  /** Sampling of a pod, like modesOf; null: the node-wide setting. */
  samplingOf(pod: PodIdentity | null, namespace = pod?.namespace ?? ''): Sampling | null {
    const scopes = this.#scopesOf(pod, namespace);
    return scopes.some((scope) => scope?.sampling) ? effectiveSampling(this.#spoofCluster, scopes) : null;
  }

  #scopesOf(pod: PodIdentity | null, namespace: string): (SpoofScoped | undefined)[] {
    if (namespace === '') return [];
    return spoofScopeKeys(namespace, pod && workloadOf(pod)).map((key) => this.#spoofScoped.get(key));
  }

  /** End of the disarm that covers a pod of this namespace, CLOCK_BOOTTIME; 0n: armed. */
  auditUntilNs(namespace: string | null, moment: Moment): bigint {
    const covering = disarmKeys(this.nodeName, namespace).map((key) => this.#disarms.get(key));
    return auditUntilNs(covering, moment.wallMs, moment.bootNs);
  }

  /** Wall-clock end of the disarm of the whole node, for its status. */
  disarmedUntil(moment: Moment): string | null {
    return isoEnd(this.auditUntilNs(null, moment), moment);
  }

  /** Wall-clock ends of the disarms of namespaces, the latest first. */
  disarmedNamespaces(moment: Moment): { namespace: string; disarmedUntil: string }[] {
    return [...this.#disarms]
      .flatMap(([keyText, disarm]) => {
        const { namespace } = parseConfigKey(keyText);
        const disarmedUntil = isoEnd(auditUntilNs([disarm], moment.wallMs, moment.bootNs), moment);
        return namespace === null || disarmedUntil === null ? [] : [{ namespace, disarmedUntil }];
      })
      .sort((a, b) => Date.parse(b.disarmedUntil) - Date.parse(a.disarmedUntil));
  }

  quarantineUntilNs(podUid: string, moment: Moment): bigint {
    const entry = this.quarantined.get(podUid);
    if (!entry) return 0n;
    return entry.until === '' ? FOREVER_NS : toBoottimeNs(entry.until, moment.wallMs, moment.bootNs);
  }
}

/**
 * Schema of a key that a collector uses; null: not used. parseConfigValue would load the schemas of
 * every kind into memory.
 */
function schemaOf({ kind, scope }: ConfigKey) {
  if (kind === 'spoof') return scope === 'cluster' ? spoofCluster : spoofScoped;
  return kind === 'disarm' ? disarm : null;
}

const podsByUid = (pods: readonly PodIdentity[]) => new Map(pods.map((pod) => [pod.uid, pod]));

const addressesIn = (pod: PodIdentity | undefined): string[] =>
  pod?.interfaces.flatMap(({ addresses }) => addresses) ?? [];

/** Pods with the addresses that a former list has; without one, those of the node's records hold. */
function withAddressesOf(former: readonly PodIdentity[], pods: readonly PodIdentity[]): PodIdentity[] {
  const before = podsByUid(former);
  return pods.map((pod) => ({ ...pod, interfaces: before.get(pod.uid)?.interfaces ?? [] }));
}

const withoutAddresses = (snapshot: NodeSnapshot): NodeSnapshot => ({
  ...snapshot,
  pods: withAddressesOf([], snapshot.pods),
});

/** The pod that violations of this binding name. */
export function podRefOf(binding: Binding, pod: PodIdentity | null): PodRef {
  const owner = pod?.owners.at(-1);
  // Names in a binding come from a CNI record, which no schema limits.
  const ref: PodRef = {
    uid: binding.podUid,
    namespace: pod?.namespace ?? binding.podNamespace,
    name: pod?.name ?? binding.podName,
    serviceAccount: pod?.serviceAccount ?? '',
    ownerKind: owner?.kind ?? '',
    ownerName: owner?.name ?? '',
    ownerUid: owner?.uid ?? '',
  };
  return cutTexts(ref, MAX_TEXT.PodRef);
}

function isoEnd(untilNs: bigint, { wallMs, bootNs }: Moment): string | null {
  return untilNs === 0n ? null : new Date(wallMs + Number((untilNs - bootNs) / 1_000_000n)).toISOString();
}

function setOrDelete<V>(map: Map<string, V>, key: string, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}
