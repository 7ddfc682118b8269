/**
 * State of the cluster in memory: records of pods and nodes, pods by node, and claimants by
 * address. Every change returns the affected snapshots. No I/O.
 *
 * Several pods may claim one address. The youngest has it, and an older one loses it when it is
 * terminating, whatever the order of events. Two living pods with one address are a fault of address
 * management, or one of them chose the address of the other (Multus, `pods/status`): nothing proves whose
 * it is, and removing it from one would turn that into an outage. A node knows more (its CNI records).
 *
 * The memory of the records is bounded (pod-memory.ts). A pod without a record counts as omitted from
 * the snapshot of its node, so that the node is not blamed for what it reports about the pod.
 */
import { CLUSTER_KEY } from '@bailiff/schemas';
import { DEFAULT_POD_BYTES } from '../config.ts';
import { type NodeRecord, type PodRecord, sameRecord } from '../pods/records.ts';
import { bytesOf, MAX_OMITTED, PodMemory } from './pod-memory.ts';

interface Held {
  record: PodRecord;
  /** Lowest observed revision; orders pods created within one second. */
  firstRevision: number;
  /**
   * Its program was changed. Containers of the former program may run until their grace period
   * ends.
   */
  altered: boolean;
}

/** Nodes whose snapshots must be written; `_cluster` is the cluster's snapshot. */
export type Touched = ReadonlySet<string>;
const NONE: Touched = new Set();
const NO_PODS: ReadonlyMap<string, number> = new Map();

export class ClusterState {
  #pods = new Map<string, Held>();
  #byNode = new Map<string, Set<string>>();
  #nodes = new Map<string, NodeRecord>();
  #claims = new Map<string, string[]>();
  readonly #memory: PodMemory;
  /** Pods without a record, by UID, and their number by node and namespace. */
  readonly #omitted = new Map<string, { namespace: string; nodeName: string }>();
  readonly #omittedOn = new Map<string, Map<string, number>>();
  /** There may be pods of which nothing is known: every snapshot omits some. */
  hasUnknownPods = false;

  constructor(maxPodBytes: number = DEFAULT_POD_BYTES) {
    this.#memory = new PodMemory(maxPodBytes);
  }

  get podCount(): number {
    return this.#pods.size;
  }
  get nodeCount(): number {
    return this.#nodes.size;
  }
  /** Addresses with more than one claimant. */
  get contestedAddresses(): number {
    let count = 0;
    for (const claimants of this.#claims.values()) if (claimants.length > 1) count += 1;
    return count;
  }

  /** Whether a pod is listed, or at least counted as omitted. Otherwise the caller ignores it. */
  canKnow(record: PodRecord): boolean {
    const isKnown = this.#pods.has(record.uid) || this.#omitted.has(record.uid);
    return isKnown || this.#memory.omitted < MAX_OMITTED || this.#memory.hasShare(record, bytesOf(record));
  }

  putPod(record: PodRecord): Touched {
    const { fits, lost } = this.#memory.put(record, bytesOf(record));
    const touched = new Set<string>();
    for (const uid of lost) this.#omit((this.#pods.get(uid) as Held).record, touched);
    if (fits) this.#unomit(record.uid, touched);
    else this.#omit(record, touched);
    return fits ? new Set([...touched, ...this.#put(record)]) : touched;
  }

  #put(record: PodRecord): Touched {
    const before = this.#pods.get(record.uid);
    const firstRevision = Math.min(before?.firstRevision ?? record.revision, record.revision);
    const altered = before !== undefined && (before.altered || before.record.program !== record.program);
    this.#pods.set(record.uid, { record, firstRevision, altered });
    if (before && sameRecord(before.record, record)) return NONE;
    const touched = new Set([record.nodeName]);
    if (before) this.#unlink(before.record, touched);
    const pods = this.#byNode.get(record.nodeName);
    if (pods) pods.add(record.uid);
    else this.#byNode.set(record.nodeName, new Set([record.uid]));
    for (const address of record.addresses) {
      const claimants = this.#claims.get(address) ?? [];
      this.#claims.set(address, [...claimants, record.uid]);
      this.#touchClaimants(claimants, touched);
    }
    return touched;
  }

  removePod(uid: string): Touched {
    const touched = new Set<string>();
    const known = this.#pods.get(uid)?.record ?? this.#omitted.get(uid);
    if (known) this.#memory.remove(known.namespace, uid);
    this.#unomit(uid, touched);
    this.#forget(uid, touched);
    return touched;
  }

  /** Its record has no share of the memory. */
  #omit({ uid, namespace, nodeName }: PodRecord, touched: Set<string>): void {
    this.#forget(uid, touched);
    if (this.#omitted.has(uid)) return;
    this.#omitted.set(uid, { namespace, nodeName });
    const byNamespace = this.#omittedOn.get(nodeName) ?? new Map<string, number>();
    this.#omittedOn.set(nodeName, byNamespace.set(namespace, (byNamespace.get(namespace) ?? 0) + 1));
    touched.add(nodeName);
  }

  #unomit(uid: string, touched: Set<string>): void {
    const omitted = this.#omitted.get(uid);
    if (!omitted) return;
    const { namespace, nodeName } = omitted;
    this.#omitted.delete(uid);
    const byNamespace = this.#omittedOn.get(nodeName) ?? new Map<string, number>();
    const left = (byNamespace.get(namespace) ?? 0) - 1;
    if (left > 0) byNamespace.set(namespace, left);
    else byNamespace.delete(namespace);
    if (byNamespace.size === 0) this.#omittedOn.delete(nodeName);
    touched.add(nodeName);
  }

  #forget(uid: string, touched: Set<string>): void {
    const held = this.#pods.get(uid);
    if (held && this.#pods.delete(uid)) this.#unlink(held.record, touched);
  }

  /** Whether a pod has a record. */
  has(uid: string): boolean {
    return this.#pods.has(uid);
  }

  /** Namespace of a known pod; empty: it is not known. */
  namespaceOf(uid: string): string {
    return (this.#pods.get(uid)?.record ?? this.#omitted.get(uid))?.namespace ?? '';
  }

  record(uid: string): PodRecord | undefined {
    return this.#pods.get(uid)?.record;
  }

  /** False for a pod that the API server does not have. */
  mayExist(uid: string): boolean {
    return this.hasUnknownPods || this.#pods.has(uid) || this.#omitted.has(uid);
  }

  /** Whether a pod of the API server claims the address. */
  isClaimed(address: string): boolean {
    return this.#claims.has(address);
  }

  /** Number of the pods of a node that have no record, by namespace. */
  withoutRecordOn(nodeName: string): ReadonlyMap<string, number> {
    return this.#omittedOn.get(nodeName) ?? NO_PODS;
  }

  /** Pods without a record, because there is no memory for it. */
  get withoutRecord(): number {
    return this.#omitted.size;
  }

  /** Pods that have no record may have one now. */
  get canListMore(): boolean {
    return (this.#omitted.size > 0 || this.hasUnknownPods) && this.#memory.hasRoom;
  }

  get podBytes(): number {
    return this.#memory.used;
  }

  records(): PodRecord[] {
    return [...this.#pods.values()].map(({ record }) => record);
  }

  putNode(record: NodeRecord): Touched {
    const before = this.#nodes.get(record.name);
    this.#nodes.set(record.name, record);
    if (before && sameRecord(before, record)) return NONE;
    return new Set(before ? [CLUSTER_KEY] : [CLUSTER_KEY, record.name]);
  }

  removeNode(name: string): Touched {
    return this.#nodes.delete(name) ? new Set([CLUSTER_KEY, name]) : NONE;
  }

  nodeNames(): string[] {
    return [...this.#nodes.keys()];
  }
  nodes(): NodeRecord[] {
    return [...this.#nodes.values()];
  }
  /**
   * Pods of a node; null if the node does not exist. Writers of pods choose the node, so pods do
   * not create nodes.
   */
  podsOf(nodeName: string): PodRecord[] | null {
    if (!this.#nodes.has(nodeName)) return null;
    return [...(this.#byNode.get(nodeName) ?? [])].map((uid) => (this.#pods.get(uid) as Held).record);
  }
  /** True if the pod had another program before. */
  isAltered(uid: string): boolean {
    return this.#pods.get(uid)?.altered === true;
  }
  /** Nodes with pods that ask for grants; affected by changes of the permits. */
  nodesAsking(): Touched {
    const names = new Set<string>();
    for (const { record } of this.#pods.values())
      if (Object.values(record.requests).some(({ values }) => values.length > 0)) names.add(record.nodeName);
    return names;
  }
  /** Nodes with pods of a controller; affected when its owner becomes known. */
  nodesOwnedBy(uid: string): Touched {
    const names = new Set<string>();
    for (const { record } of this.#pods.values()) if (record.owner?.uid === uid) names.add(record.nodeName);
    return names;
  }
  /** Requested grants that are invalid or exceed the limit. */
  get refusedPrefixes(): number {
    let count = 0;
    for (const { record } of this.#pods.values())
      for (const { refused } of Object.values(record.requests)) count += refused;
    return count;
  }

  /** Pods with a value above its limit. */
  get cutPods(): number {
    let count = 0;
    for (const { record } of this.#pods.values()) if (record.cut) count += 1;
    return count;
  }

  /** True if a pod may use an address that it claims. */
  holds(uid: string, address: string): boolean {
    const own = this.#pods.get(uid);
    if (!own) return false;
    if (!own.record.terminating) return true;
    return !(this.#claims.get(address) ?? []).some((other) => {
      const rival = this.#pods.get(other);
      return rival !== undefined && other !== uid && isYounger(rival, own);
    });
  }

  #unlink(record: PodRecord, touched: Set<string>): void {
    touched.add(record.nodeName);
    const pods = this.#byNode.get(record.nodeName);
    pods?.delete(record.uid);
    if (pods?.size === 0) this.#byNode.delete(record.nodeName);
    for (const address of record.addresses) {
      const rest = (this.#claims.get(address) ?? []).filter((uid) => uid !== record.uid);
      if (rest.length === 0) this.#claims.delete(address);
      else this.#claims.set(address, rest);
      this.#touchClaimants(rest, touched);
    }
  }

  #touchClaimants(uids: readonly string[], touched: Set<string>): void {
    for (const uid of uids) {
      const rival = this.#pods.get(uid);
      if (rival) touched.add(rival.record.nodeName);
    }
  }
}

/**
 * Order: creation time, terminating or not, first observed, UID. The time of the last event does
 * not count.
 */
function isYounger(a: Held, b: Held): boolean {
  if (a.record.createdAt !== b.record.createdAt) return a.record.createdAt > b.record.createdAt;
  if (a.record.terminating !== b.record.terminating) return b.record.terminating;
  if (a.firstRevision !== b.firstRevision) return a.firstRevision > b.firstRevision;
  return a.record.uid > b.record.uid;
}
