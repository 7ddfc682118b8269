/**
 * Finds pods that the list names although they have ended here: while ipam-sync or the bus is away, the list
 * is older than their end. A pod has ended if it had a cgroup, which the kubelet removes after its last
 * process. Of a pod that was never seen, nothing is known. The listing bounds the memory.
 */
export class EndedPods {
  /** Listed pods that had a cgroup. */
  #seen: ReadonlySet<string> = new Set();

  /** @param cgroups pods with a cgroup; null: the listing is not complete */
  observe(listed: Iterable<string>, cgroups: ReadonlySet<string> | null): ReadonlySet<string> {
    const seen = [...listed].filter((podUid) => this.#seen.has(podUid) || cgroups?.has(podUid));
    this.#seen = new Set(seen);
    return new Set(cgroups ? seen.filter((podUid) => !cgroups.has(podUid)) : []);
  }
}

/** Within it, the pod of an interface that was removed leaves the list: the kubelet removes the interface first. */
export const ENDING_MS = 10_000;

/**
 * Finds listed pods whose interface was removed a moment ago: most of them end. A pod may be bound before a list has
 * it, and lose its interface before the next status. What is remembered is bounded by the interfaces of ten seconds.
 */
export class EndingPods {
  /** Pods that had an interface within ten seconds, and when last. */
  #boundMs: ReadonlyMap<string, number> = new Map();

  /** @param bound pods with an interface @param nowMs a monotonic clock */
  observe(listed: Iterable<string>, bound: ReadonlySet<string>, nowMs: number): ReadonlySet<string> {
    const recent = [...this.#boundMs].filter(([, lastMs]) => nowMs - lastMs < ENDING_MS);
    this.#boundMs = new Map([...recent, ...[...bound].map((podUid) => [podUid, nowMs] as const)]);
    return new Set([...listed].filter((podUid) => !bound.has(podUid) && this.#boundMs.has(podUid)));
  }
}
