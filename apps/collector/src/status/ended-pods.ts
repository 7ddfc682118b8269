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
