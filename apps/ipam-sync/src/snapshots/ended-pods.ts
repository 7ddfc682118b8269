/**
 * Pods that the API server no longer has and whose node still reports an interface or a cgroup of
 * them: a tenant that may delete pods removes an object by force while the containers run on. They
 * stay in the list of their node (`ended`), so that what they do is still theirs. Pure.
 *
 * A former pod is kept for FORMER_MS, to list it again if its node reports it. A listed one leaves
 * when its node has not reported it for ABSENT_MS. A node can only keep pods that were in its own
 * list. Beyond MAX_FORMER, the namespace with most former pods loses its oldest, first of those that the
 * kubelet had not started, then of those that no node reports: the pods of a tenant that run on cannot
 * displace those of others, and thousands that never ran hide none that does.
 */
import type { PodIdentity } from '@bailiff/schemas';
import { cutPod } from './fit.ts';

/** A status comes every ten seconds. A node without the bus for longer loses its former pods. */
const FORMER_MS = 600_000;
/** A collector that restarts has not bound all interfaces in its first status. */
const ABSENT_MS = 300_000;
/** Former pods of all nodes. */
export const MAX_FORMER = 8_192;
/** JSON of a pod; a larger one keeps only what identifies it, and the labels that policies select by. */
const MAX_POD_BYTES = 2_048;

interface Former {
  pod: PodIdentity;
  /** Its node reports it. */
  isPresent: boolean;
  /** When it was removed, or last reported. */
  seenMs: number;
}

/** UIDs of a namespace by how likely they run, oldest first: the first set loses one first. */
interface Ranked {
  unstarted: Set<string>;
  unreported: Set<string>;
  reported: Set<string>;
}
const setsOf = ({ unstarted, unreported, reported }: Ranked) => [unstarted, unreported, reported];
const sizeOf = (own: Ranked) => setsOf(own).reduce((sum, { size }) => sum + size, 0);

/** Only the kubelet writes addresses and container ids. */
const hasRun = ({ interfaces, containers }: PodIdentity) =>
  interfaces.length > 0 || containers.some(({ id }) => id !== '');

export class EndedPods {
  readonly #selectedBy: () => ReadonlySet<string>;
  readonly #byNode = new Map<string, Map<string, Former>>();
  readonly #nodeOf = new Map<string, string>();
  readonly #byNamespace = new Map<string, Ranked>();

  /** @param selectedBy label names that policies select by: the containers stay under their policies */
  constructor(selectedBy: () => ReadonlySet<string> = () => new Set()) {
    this.#selectedBy = selectedBy;
  }

  /** In the list of the node. */
  of(nodeName: string): PodIdentity[] {
    return this.#formerOf(nodeName)
      .filter(({ isPresent }) => isPresent)
      .map(({ pod }) => pod);
  }

  /** Pods in lists. */
  get count(): number {
    let count = 0;
    for (const nodeName of this.#byNode.keys()) count += this.of(nodeName).length;
    return count;
  }

  /** Nodes that have one in their list. */
  nodes(): string[] {
    return [...this.#byNode.keys()].filter((nodeName) => this.of(nodeName).length > 0);
  }

  /** The API server no longer has the pod. @param nowMs of a monotonic clock, as in all calls */
  removed(nodeName: string, pod: PodIdentity, nowMs: number): void {
    const former = this.#byNode.get(nodeName) ?? new Map<string, Former>();
    const isPresent = pod.ended === true;
    this.forget(pod.uid);
    this.#byNode.set(
      nodeName,
      former.set(pod.uid, { pod: endedOf(pod, this.#selectedBy()), isPresent, seenMs: nowMs }),
    );
    this.#nodeOf.set(pod.uid, nodeName);
    this.#index(pod, isPresent);
    if (this.#nodeOf.size > MAX_FORMER) this.#dropOne();
  }

  /** The API server has the pod, or its node is gone. */
  forget(uid: string): void {
    const nodeName = this.#nodeOf.get(uid) ?? '';
    const former = this.#byNode.get(nodeName);
    const known = former?.get(uid);
    if (!former || !known) return;
    former.delete(uid);
    if (former.size === 0) this.#byNode.delete(nodeName);
    this.#nodeOf.delete(uid);
    this.#unindex(known.pod);
  }

  /** Pods that the node reports beside its list. @returns whether its list changed */
  reported(nodeName: string, uids: ReadonlySet<string>, nowMs: number): boolean {
    let isChanged = false;
    for (const former of this.#formerOf(nodeName)) {
      if (!uids.has(former.pod.uid)) continue;
      former.seenMs = nowMs;
      if (former.isPresent) continue;
      former.isPresent = true;
      this.#unindex(former.pod);
      this.#index(former.pod, true);
      isChanged = true;
    }
    return isChanged;
  }

  /** Forgets what is too old. @returns nodes whose list changed */
  expire(nowMs: number): Set<string> {
    const touched = new Set<string>();
    for (const nodeName of [...this.#byNode.keys()]) {
      for (const { pod, isPresent, seenMs } of this.#formerOf(nodeName)) {
        if (nowMs - seenMs < (isPresent ? ABSENT_MS : FORMER_MS)) continue;
        this.forget(pod.uid);
        if (isPresent) touched.add(nodeName);
      }
    }
    return touched;
  }

  #formerOf(nodeName: string): Former[] {
    return [...(this.#byNode.get(nodeName)?.values() ?? [])];
  }

  #index(pod: PodIdentity, isReported: boolean): void {
    const { namespace, uid } = pod;
    const own = this.#byNamespace.get(namespace) ?? {
      unstarted: new Set<string>(),
      unreported: new Set<string>(),
      reported: new Set<string>(),
    };
    this.#byNamespace.set(namespace, own);
    const known = hasRun(pod) ? own.unreported : own.unstarted;
    (isReported ? own.reported : known).add(uid);
  }

  #unindex({ namespace, uid }: PodIdentity): void {
    const own = this.#byNamespace.get(namespace);
    if (!own) return;
    for (const uids of setsOf(own)) uids.delete(uid);
    if (sizeOf(own) === 0) this.#byNamespace.delete(namespace);
  }

  #dropOne(): void {
    const [first, ...rest] = this.#byNamespace.values();
    if (!first) return;
    const most = rest.reduce((largest, own) => (sizeOf(own) > sizeOf(largest) ? own : largest), first);
    const [oldest] = setsOf(most).find(({ size }) => size > 0) ?? [];
    if (oldest !== undefined) this.forget(oldest);
  }
}

function endedOf(pod: PodIdentity, selectedBy: ReadonlySet<string>): PodIdentity {
  const kept = JSON.stringify(pod).length <= MAX_POD_BYTES ? pod : cutPod(pod, selectedBy);
  return { ...kept, ended: true };
}
