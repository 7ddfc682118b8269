/**
 * What the bus has told this node: its pods, who is quarantined, how strict to be. The last good value of each is kept, whatever
 * comes after it and however long the bus is away. No I/O; each `take…` says whether something changed or why it was refused.
 *
 * What nobody has said yet is not a default: `known` tells which parts were, and for the others the kernel's maps are left as an earlier
 * process wrote them. A value that is no address costs itself (`dropped`), not the document it stands in.
 */
import { FOREVER_NS, type VectorModes } from '@bailiff/bpf';
import {
  ConfigError,
  type ConfigKey,
  type Disarm,
  disarm,
  disarmKeys,
  effectiveSampling,
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
  clusterSnapshot,
  cutTexts,
  MAX_TEXT,
  type NodeSnapshot,
  nodeSnapshot,
  type PodIdentity,
  type PodRef,
  type QuarantineEntry,
  type QuarantineReading,
  readQuarantineList,
  workloadOf,
} from '@bailiff/schemas';
import { type Binding, checkSnapshot } from '../identity/identity.ts';
import { type Dropped, normalizeAddresses, normalizeCidrs } from '../identity/normalize.ts';
import { auditUntilNs, modesFor, toBoottimeNs } from './effective-modes.ts';

/** `dropped`: values of an accepted document that were left out, each with its place and reason. */
export type Taken = { changed: boolean; dropped?: Dropped } | { refused: string };

/** What can be known or not, each for itself. */
export type Part = 'pods' | 'cluster' | 'quarantine' | 'spoof' | 'disarm';

/** Clock readings of one moment, so that one pass compares like with like. */
export interface Moment {
  wallMs: number;
  bootNs: bigint;
}

export class DesiredState {
  readonly nodeName: string;
  pods = new Map<string, PodIdentity>();
  snapshotRevision = 0;
  /** Why the newest snapshot was not taken; empty when it was. */
  snapshotRefused = '';
  cluster: ClusterSnapshot = { revision: 0, nodes: [] };
  quarantined = new Map<string, QuarantineEntry>();
  #quarantineRevision = 0;
  #spoofCluster: SpoofCluster = spoofCluster.parse({});
  readonly #spoofScoped = new Map<string, SpoofScoped>();
  readonly #disarms = new Map<string, Disarm>();
  readonly #configKeys = new Set<string>();
  /** Config keys whose newest value was refused, with the reason. */
  readonly configRefused = new Map<string, string>();
  /** Parts that the bus has spoken of, to this process or to an earlier one. */
  readonly known = new Set<Part>();
  /** Documents that came from disk: the first one from the bus replaces them whatever its revision, as a store made anew counts from 1. */
  readonly #restored = new Set<Part>();
  /** The newest snapshot, whether in force or refused: bindings that come may change the judgement. */
  #candidate: { snapshot: NodeSnapshot; json: string } | null = null;
  #inForce: NodeSnapshot | null = null;
  /** Pods of the snapshot in force, and of those before it while their interfaces are here. */
  #confirmed: ReadonlySet<string> = new Set();

  constructor(nodeName: string) {
    this.nodeName = nodeName;
  }

  get clusterConfig(): SpoofCluster {
    return this.#spoofCluster;
  }

  /** The node's pods. Refused: not this node's, older than what is there, no JSON of that shape, or a wrong feed (see checkSnapshot). */
  takePods(json: string, live: Iterable<Binding>): Taken {
    const bindings = [...live];
    const parsed = parseJson(json, nodeSnapshot);
    if ('refused' in parsed) return this.#refusePods(parsed.refused);
    const dropped: Dropped = [];
    const snapshot: NodeSnapshot = { ...parsed.value, pods: parsed.value.pods.map((pod) => cleanPod(pod, dropped)) };
    if (snapshot.nodeName !== this.nodeName) return this.#refusePods(`snapshot is of node ${snapshot.nodeName}`);
    if (snapshot.revision < this.snapshotRevision && !this.#restored.has('pods')) return { changed: false };
    this.#restored.delete('pods');
    this.#candidate = { snapshot, json };
    const judged = checkSnapshot(snapshot, bindings, this.#confirmed);
    if (!judged.accepted) return this.#refusePods(judged.reason);
    this.#enforce(snapshot, bindings);
    return { changed: true, dropped };
  }

  /**
   * Judges again after a binding was made or replaced, or went: a wrong feed that came before the pods is found out as they come. Refused,
   * the node's own records hold alone; and a snapshot that was refused is in force as soon as enough bindings bear it out.
   * @returns what is in force now when that changed: a snapshot's text, or null for none
   */
  rejudge(bindings: readonly Binding[]): { inForce: string | null; refused: string } | null {
    if (!this.#candidate) return null;
    const { snapshot, json } = this.#candidate;
    const judged = checkSnapshot(snapshot, bindings, this.#confirmed);
    if (judged.accepted) {
      if (this.#inForce === snapshot) return null;
      this.#enforce(snapshot, bindings);
      return { inForce: json, refused: '' };
    }
    this.snapshotRefused = judged.reason;
    if (!this.#inForce || checkSnapshot(this.#inForce, bindings).accepted) return null;
    this.#inForce = null;
    this.pods = new Map();
    this.snapshotRevision = 0;
    return { inForce: null, refused: judged.reason };
  }

  #enforce(snapshot: NodeSnapshot, bindings: readonly Binding[]): void {
    const here = new Set(bindings.map((b) => b.podUid).filter((uid) => this.#confirmed.has(uid)));
    this.#confirmed = new Set([...here, ...snapshot.pods.map((pod) => pod.uid)]);
    this.#inForce = snapshot;
    this.pods = new Map(snapshot.pods.map((pod) => [pod.uid, pod]));
    this.snapshotRevision = snapshot.revision;
    this.snapshotRefused = '';
    this.known.add('pods');
  }

  #refusePods(reason: string): Taken {
    this.snapshotRefused = reason;
    return { refused: reason };
  }

  takeCluster(json: string): Taken {
    const parsed = parseJson(json, clusterSnapshot);
    if ('refused' in parsed) return parsed;
    if (parsed.value.revision < this.cluster.revision && !this.#restored.has('cluster')) return { changed: false };
    this.#restored.delete('cluster');
    const dropped: Dropped = [];
    const nodes = parsed.value.nodes.map((node) => ({
      ...node,
      addresses: normalizeAddresses(node.addresses, `node ${node.name}`, dropped),
    }));
    this.cluster = { ...parsed.value, nodes };
    this.known.add('cluster');
    return { changed: true, dropped };
  }

  takeQuarantine(json: string): Taken {
    let list: QuarantineReading;
    try {
      list = readQuarantineList(json);
    } catch (error) {
      return { refused: (error as Error).message };
    }
    if (list.nodeName !== this.nodeName) return { refused: `quarantine list is of node ${list.nodeName}` };
    if (list.revision < this.#quarantineRevision && !this.#restored.has('quarantine')) return { changed: false };
    this.#restored.delete('quarantine');
    this.#quarantineRevision = list.revision;
    this.quarantined = new Map(list.entries.map((entry) => [entry.podUid, entry]));
    this.known.add('quarantine');
    return { changed: true, dropped: list.problems };
  }

  /** Marks what was taken so far as an earlier process's. */
  restored(): void {
    for (const kind of ['spoof', 'disarm'] as const) if (this.configKeys(kind).length > 0) this.known.add(kind);
    for (const part of this.known) this.#restored.add(part);
  }

  /** Addresses under which the snapshot in force lists a pod; none: it does not. */
  addressesOf(podUid: string): string[] {
    return this.pods.get(podUid)?.interfaces.flatMap(({ addresses }) => addresses) ?? [];
  }

  /** All keys of a kind that the bus has were taken. */
  synced(kind: 'spoof' | 'disarm'): void {
    this.known.add(kind);
  }

  /** The bus keeps its documents in another store than before: they count their revisions anew. What is in force stays until one comes. */
  forgetRevision(part: 'pods' | 'cluster' | 'quarantine'): void {
    if (part === 'pods') this.snapshotRevision = 0;
    else if (part === 'cluster') this.cluster = { ...this.cluster, revision: 0 };
    else this.#quarantineRevision = 0;
  }

  /** A configuration key; null json = it was deleted, and what is wider holds again. A bad value keeps the last good one. */
  takeConfig(keyText: string, json: string | null): Taken {
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

  /** Keys of a kind that have a value. A reader that has seen all of the bus's keys so finds those that were deleted while it was away. */
  configKeys(kind: 'spoof' | 'disarm'): string[] {
    return [...this.#configKeys].filter((key) => key.startsWith(`${kind}.`));
  }

  #setConfig(key: ConfigKey, keyText: string, value: unknown): void {
    if (value === undefined) this.#configKeys.delete(keyText);
    else this.#configKeys.add(keyText);
    if (key.kind === 'spoof' && key.scope === 'cluster') {
      this.#spoofCluster = (value as SpoofCluster | undefined) ?? spoofCluster.parse({});
    } else if (key.kind === 'spoof') {
      setOrDelete(this.#spoofScoped, keyText, value as SpoofScoped | undefined);
    } else if (key.kind === 'disarm') {
      setOrDelete(this.#disarms, keyText, value as Disarm | undefined);
    }
  }

  /** @param namespace what the binding says, while the bus has not told of the pod; empty when nobody knows */
  modesOf(pod: PodIdentity | null, namespace = pod?.namespace ?? ''): VectorModes {
    return modesFor(this.#spoofCluster, this.#scopesOf(pod, namespace));
  }

  /** As modesOf; null: the whole node's holds. */
  samplingOf(pod: PodIdentity | null, namespace = pod?.namespace ?? ''): Sampling | null {
    const scopes = this.#scopesOf(pod, namespace);
    return scopes.some((scope) => scope?.sampling) ? effectiveSampling(this.#spoofCluster, scopes) : null;
  }

  #scopesOf(pod: PodIdentity | null, namespace: string): (SpoofScoped | undefined)[] {
    if (namespace === '') return [];
    return spoofScopeKeys(namespace, pod && workloadOf(pod)).map((key) => this.#spoofScoped.get(key));
  }

  /** CLOCK_BOOTTIME end of the break-glass that covers a pod of this namespace; 0n = armed. */
  auditUntilNs(namespace: string | null, moment: Moment): bigint {
    const covering = disarmKeys(this.nodeName, namespace).map((key) => this.#disarms.get(key));
    return auditUntilNs(covering, moment.wallMs, moment.bootNs);
  }

  /** Wall-clock end of the break-glass of the whole node, for its status. */
  disarmedUntil(moment: Moment): string | null {
    const until = this.auditUntilNs(null, moment);
    return until === 0n ? null : new Date(moment.wallMs + Number((until - moment.bootNs) / 1_000_000n)).toISOString();
  }

  quarantineUntilNs(podUid: string, moment: Moment): bigint {
    const entry = this.quarantined.get(podUid);
    if (!entry) return 0n;
    return entry.until === '' ? FOREVER_NS : toBoottimeNs(entry.until, moment.wallMs, moment.bootNs);
  }
}

/** Schema of what bears on a collector; null: no business of its. parseConfigValue would bring the schemas of every kind into memory. */
function schemaOf({ kind, scope }: ConfigKey) {
  if (kind === 'spoof') return scope === 'cluster' ? spoofCluster : spoofScoped;
  return kind === 'disarm' ? disarm : null;
}

/** Who a violation of this pod is attributed to. */
export function podRefOf(binding: Binding, pod: PodIdentity | null): PodRef {
  const owner = pod?.owners.at(-1);
  // A binding's names come from a CNI record, which no schema limits.
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

/** A pod with what the maps can hold of it. */
function cleanPod(pod: PodIdentity, dropped: Dropped): PodIdentity {
  const where = `pod ${pod.namespace}/${pod.name}`;
  const probePorts = pod.probePorts.filter(({ port }) => port >= 1 && port <= 65_535);
  if (probePorts.length < pod.probePorts.length) dropped.push(`${where}: a probe port outside 1-65535`);
  return {
    ...pod,
    interfaces: pod.interfaces.map((i) => ({ ...i, addresses: normalizeAddresses(i.addresses, where, dropped) })),
    allowedPrefixes: normalizeCidrs(pod.allowedPrefixes, where, dropped),
    probePorts,
  };
}

function setOrDelete<V>(map: Map<string, V>, key: string, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

interface Schema<T> {
  safeParse(
    value: unknown,
  ):
    | { success: true; data: T }
    | { success: false; error: { issues: readonly { path: PropertyKey[]; message: string }[] } };
}

function parseJson<T>(json: string, schema: Schema<T>): { value: T } | { refused: string } {
  let raw: unknown;
  try {
    raw = JSON.parse(json);
  } catch (error) {
    return { refused: `not JSON: ${(error as Error).message}` };
  }
  const result = schema.safeParse(raw);
  if (result.success) return { value: result.data };
  const issue = result.error.issues[0];
  return { refused: `${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? 'wrong shape'}` };
}
