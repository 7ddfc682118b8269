/**
 * State of the cluster in memory: records of pods and nodes, pods by node, and claimants by
 * address. Every change returns the affected snapshots. No I/O.
 *
 * Several pods may claim one address. On one node the youngest pod gets it, whatever the order of
 * events. An older pod on another node loses it only when it is terminating: two living pods with
 * one address are a fault of address management, and removing one would turn that fault into an
 * outage.
 */
import { CLUSTER_KEY, LIST_LIMITS } from '@bailiff/schemas';
import { type NodeRecord, type PodRecord, sameRecord } from '../pods/records.ts';

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

export class ClusterState {
  #pods = new Map<string, Held>();
  #byNode = new Map<string, Set<string>>();
  #nodes = new Map<string, NodeRecord>();
  #claims = new Map<string, string[]>();

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

  putPod(record: PodRecord): Touched {
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
    const held = this.#pods.get(uid);
    if (!held) return NONE;
    this.#pods.delete(uid);
    const touched = new Set<string>();
    this.#unlink(held.record, touched);
    return touched;
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

  /** Pods left out of full node snapshots. */
  get omittedPods(): number {
    let count = 0;
    for (const pods of this.#byNode.values()) count += Math.max(0, pods.size - LIST_LIMITS.pods.items);
    return count;
  }

  /** True if a pod may use an address that it claims. */
  holds(uid: string, address: string): boolean {
    const own = this.#pods.get(uid);
    if (!own) return false;
    return !(this.#claims.get(address) ?? []).some((other) => {
      const rival = this.#pods.get(other);
      if (!rival || other === uid || !isYounger(rival, own)) return false;
      return rival.record.nodeName === own.record.nodeName || own.record.terminating;
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
