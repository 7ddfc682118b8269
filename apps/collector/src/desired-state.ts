/**
 * What the bus has told this node: its pods, who is quarantined, how strict to be. The last good value of each is kept, whatever
 * comes after it and however long the bus is away. No I/O; each `take…` says whether something changed or why it was refused.
 */
import { FOREVER_NS, type VectorModes } from '@bailiff/bpf';
import {
  ConfigError,
  type ConfigKey,
  type Disarm,
  parseConfigKey,
  parseConfigValue,
  type SpoofCluster,
  type SpoofScoped,
  spoofCluster,
} from '@bailiff/policy';
import {
  type ClusterSnapshot,
  clusterSnapshot,
  type NodeSnapshot,
  nodeSnapshot,
  type PodIdentity,
  type PodRef,
  type QuarantineEntry,
  quarantineList,
} from '@bailiff/schemas';
import { auditUntilNs, modesFor, toBoottimeNs } from './effective.ts';
import { type Binding, judgeSnapshot } from './identity.ts';

export type Taken = { changed: boolean } | { refused: string };

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
  /** Config keys whose newest value was refused, with the reason. */
  readonly configRefused = new Map<string, string>();

  constructor(nodeName: string) {
    this.nodeName = nodeName;
  }

  get clusterConfig(): SpoofCluster {
    return this.#spoofCluster;
  }

  /** The node's pods. Refused: not this node's, older than what is there, no JSON of that shape, or a wrong feed (see judgeSnapshot). */
  takePods(json: string, bindings: Iterable<Binding>): Taken {
    const parsed = parseJson(json, nodeSnapshot);
    if ('refused' in parsed) return this.#refusePods(parsed.refused);
    const snapshot: NodeSnapshot = parsed.value;
    if (snapshot.nodeName !== this.nodeName) return this.#refusePods(`snapshot is of node ${snapshot.nodeName}`);
    if (snapshot.revision < this.snapshotRevision) return { changed: false };
    const judged = judgeSnapshot(snapshot, bindings);
    if (!judged.accepted) return this.#refusePods(judged.reason);
    this.pods = new Map(snapshot.pods.map((pod) => [pod.uid, pod]));
    this.snapshotRevision = snapshot.revision;
    this.snapshotRefused = '';
    return { changed: true };
  }

  #refusePods(reason: string): Taken {
    this.snapshotRefused = reason;
    return { refused: reason };
  }

  takeCluster(json: string): Taken {
    const parsed = parseJson(json, clusterSnapshot);
    if ('refused' in parsed) return parsed;
    if (parsed.value.revision < this.cluster.revision) return { changed: false };
    this.cluster = parsed.value;
    return { changed: true };
  }

  takeQuarantine(json: string): Taken {
    const parsed = parseJson(json, quarantineList);
    if ('refused' in parsed) return parsed;
    if (parsed.value.nodeName !== this.nodeName)
      return { refused: `quarantine list is of node ${parsed.value.nodeName}` };
    if (parsed.value.revision < this.#quarantineRevision) return { changed: false };
    this.#quarantineRevision = parsed.value.revision;
    this.quarantined = new Map(parsed.value.entries.map((entry) => [entry.podUid, entry]));
    return { changed: true };
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
      const value = json === null ? undefined : parseConfigValue(key, json);
      this.#setConfig(key, keyText, value);
      this.configRefused.delete(keyText);
      return { changed: true };
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.configRefused.set(keyText, error.message);
      return { refused: error.message };
    }
  }

  #setConfig(key: ConfigKey, keyText: string, value: unknown): void {
    if (key.kind === 'spoof' && key.scope === 'cluster') {
      this.#spoofCluster = (value as SpoofCluster | undefined) ?? spoofCluster.parse({});
    } else if (key.kind === 'spoof') {
      setOrDelete(this.#spoofScoped, keyText, value as SpoofScoped | undefined);
    } else if (key.kind === 'disarm') {
      setOrDelete(this.#disarms, keyText, value as Disarm | undefined);
    }
  }

  modesOf(pod: PodIdentity | null): VectorModes {
    if (!pod) return modesFor(this.#spoofCluster);
    const namespace = token(pod.namespace);
    return modesFor(
      this.#spoofCluster,
      this.#spoofScoped.get(`spoof.namespace.${namespace}.default`),
      this.#spoofScoped.get(`spoof.workload.${namespace}.${token(workloadOf(pod))}`),
    );
  }

  /** CLOCK_BOOTTIME end of the break-glass that covers a pod of this namespace; 0n = armed. */
  auditUntilNs(namespace: string | null, moment: Moment): bigint {
    const covering = [
      this.#disarms.get('disarm.cluster._.all'),
      this.#disarms.get(`disarm.node._.${token(this.nodeName)}`),
    ];
    if (namespace !== null) covering.push(this.#disarms.get(`disarm.namespace.${token(namespace)}.all`));
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

/** Name of the workload at the top of the owner chain; a bare pod is its own. */
export function workloadOf(pod: PodIdentity): string {
  return pod.owners.at(-1)?.name ?? pod.name;
}

/** Who a violation of this pod is attributed to. */
export function podRefOf(binding: Binding, pod: PodIdentity | null): PodRef {
  const owner = pod?.owners.at(-1);
  return {
    uid: binding.podUid,
    namespace: pod?.namespace ?? binding.podNamespace,
    name: pod?.name ?? binding.podName,
    serviceAccount: pod?.serviceAccount ?? '',
    ownerKind: owner?.kind ?? '',
    ownerName: owner?.name ?? '',
    ownerUid: owner?.uid ?? '',
  };
}

const token = (name: string): string => name.replaceAll('.', '_');

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
