/**
 * Which pods a node's snapshot lists, and with which fields. Pure. Anyone who may create pods binds as
 * many of them to a node as the API server stores, and chooses their size and how well they compress.
 * So a list always fits: pods are cut to the fields needed for enforcement, and then omitted.
 *
 * Namespaces take turns, and by bytes the one with most is reduced first. A namespace below its part
 * loses nothing. Within a namespace, pods that run are listed before others: a pod that the kubelet
 * has not started sends nothing, so pods that only fill the list hide no running one.
 */
import {
  encodeSnapshotValue,
  LIST_LIMITS,
  MAX_SNAPSHOT_BYTES,
  MAX_SNAPSHOT_JSON_BYTES,
  PLAIN_SNAPSHOT_BYTES,
  type PodIdentity,
} from '@bailiff/schemas';

/** Size of a snapshot without pods. */
const FRAME_BYTES = 4_096;
/** Namespaces named in a snapshot that omits pods, those with most omitted pods. */
export const MAX_OMITTED_NAMESPACES = 16;

/** A pod that may be listed. */
export interface Candidate {
  namespace: string;
  uid: string;
  createdAt: string;
  /** The kubelet has started it, or its node reports it. */
  runs: boolean;
}

/** At most as many as a list holds, in the order of their turns. */
export function inTurns<T extends Candidate>(candidates: readonly T[], most: number = LIST_LIMITS.pods.items): T[] {
  const turns = new Map<string, number>();
  const ranked = candidates.toSorted(compare).map((candidate, index) => {
    const turn = turns.get(candidate.namespace) ?? 0;
    turns.set(candidate.namespace, turn + 1);
    return { candidate, turn, index };
  });
  const order = ranked.sort((a, b) => a.turn - b.turn || a.index - b.index);
  return order.slice(0, most).map(({ candidate }) => candidate);
}

/** Running ones, then the oldest. */
const compare = (a: Candidate, b: Candidate): number =>
  Number(b.runs) - Number(a.runs) || compareText(a.createdAt, b.createdAt) || compareText(a.uid, b.uid);
/** Whether a candidate comes before another one of its namespace. */
export const precedes = (a: Candidate, b: Candidate): boolean => compare(a, b) < 0;
const compareText = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

/**
 * Pods that fit into a stored snapshot. Tenants control how well the JSON compresses, for example with
 * random labels or names. PLAIN_SNAPSHOT_BYTES of JSON always fit.
 * @param pods in the order of their turns
 */
export function fitStored(pods: readonly PodIdentity[], selectedBy: ReadonlySet<string>): PodIdentity[] {
  const fit = new Fit(pods, selectedBy);
  for (let most = MAX_SNAPSHOT_JSON_BYTES - FRAME_BYTES; ; ) {
    fit.reduceTo(most);
    const kept = fit.pods;
    if (fit.bytes <= PLAIN_SNAPSHOT_BYTES - FRAME_BYTES) return kept;
    const stored = encodeSnapshotValue(JSON.stringify(kept)).length;
    if (stored <= MAX_SNAPSHOT_BYTES - FRAME_BYTES) return kept;
    const estimate = Math.floor((fit.bytes * MAX_SNAPSHOT_BYTES * ESTIMATE_MARGIN) / stored);
    most = Math.max(Math.min(estimate, most - 1), PLAIN_SNAPSHOT_BYTES - FRAME_BYTES);
  }
}

/** What is cut first compresses differently from what stays. */
const ESTIMATE_MARGIN = 0.9;

/** @param pods in the order of their turns */
export function fitPods(
  pods: readonly PodIdentity[],
  maxBytes: number,
  selectedBy: ReadonlySet<string>,
): PodIdentity[] {
  const fit = new Fit(pods, selectedBy);
  fit.reduceTo(maxBytes);
  return fit.pods;
}

interface Sized {
  pod: PodIdentity;
  bytes: number;
}

/** Pods of a namespace. */
class NamespacePods {
  bytes = 0;
  /** In the order of their turns. */
  readonly listed: Sized[] = [];
  #largestLast: Sized[] | null = null;

  /** The largest pod that is not cut yet, of those that are listed. */
  nextToCut(): Sized | undefined {
    // Of equal ones, the last in turn is cut first.
    this.#largestLast ??= this.listed.toSorted((a, b) => a.bytes - b.bytes);
    return this.#largestLast.pop();
  }
}

/** A list that is reduced step by step. The order of the steps does not depend on the limit. */
class Fit {
  bytes = 0;
  readonly #selectedBy: ReadonlySet<string>;
  readonly #namespaces = new Map<string, NamespacePods>();

  constructor(pods: readonly PodIdentity[], selectedBy: ReadonlySet<string>) {
    this.#selectedBy = selectedBy;
    for (const pod of pods) {
      const own = this.#namespaces.get(pod.namespace) ?? new NamespacePods();
      this.#namespaces.set(pod.namespace, own);
      const bytes = sizeOf(pod);
      own.listed.push({ pod, bytes });
      own.bytes += bytes;
      this.bytes += bytes;
    }
  }

  get pods(): PodIdentity[] {
    return [...this.#namespaces.values()].flatMap(({ listed }) => listed.map(({ pod }) => pod));
  }

  reduceTo(maxBytes: number): void {
    while (this.bytes > maxBytes && this.#namespaces.size > 0) {
      const own = this.#largest();
      const before = own.bytes;
      const large = own.nextToCut();
      if (large) {
        own.bytes -= large.bytes;
        large.pod = cutPod(large.pod, this.#selectedBy);
        large.bytes = sizeOf(large.pod);
        own.bytes += large.bytes;
      } else own.bytes -= own.listed.pop()?.bytes ?? 0;
      this.bytes += own.bytes - before;
    }
  }

  #largest(): NamespacePods {
    let largest = new NamespacePods();
    for (const own of this.#namespaces.values()) if (own.bytes > largest.bytes) largest = own;
    return largest;
  }
}

/** Reduced to the fields needed for enforcement. Labels that policies select by stay. */
export function cutPod(pod: PodIdentity, selectedBy: ReadonlySet<string>): PodIdentity {
  const labels = Object.fromEntries(Object.entries(pod.labels).filter(([name]) => selectedBy.has(name)));
  return { ...pod, labels, containers: [], owners: pod.owners.slice(-1), cut: true };
}

const sizeOf = (pod: PodIdentity): number => Buffer.byteLength(JSON.stringify(pod)) + 1;

/** Omitted pods by namespace, of the namespaces with most. */
export function mostOmitted(omitted: ReadonlyMap<string, number>): { namespace: string; pods: number }[] {
  return [...omitted]
    .filter(([namespace, pods]) => namespace !== '' && pods > 0)
    .map(([namespace, pods]) => ({ namespace, pods }))
    .sort((a, b) => b.pods - a.pods || compareText(a.namespace, b.namespace))
    .slice(0, MAX_OMITTED_NAMESPACES);
}
