/**
 * What was audited of a pod while somebody watches. Pure.
 *
 * A violation shows one operation and counts all of its cell, and a posture is one cell for a whole class: what is shown is taken, what was
 * only counted is told as not known. Bound: MAX_DISTINCT operations.
 */
import { POSTURE_CLASSES } from '@bailiff/policy';
import type { Violation } from '@bailiff/schemas';
import type { Learned } from './rule-parts.ts';

/** Far more than the rules of a policy could name. */
const MAX_DISTINCT = 20_000;
const POSTURES: ReadonlySet<string> = new Set(POSTURE_CLASSES.map((name) => `${name}-posture`));

export interface WatchedPod {
  namespace: string;
  name: string;
}

export class SeenOperations {
  readonly #pod: WatchedPod;
  readonly #seen = new Map<string, Learned>();
  violations = 0;
  /** Counted and not shown: what they were is not known. */
  unsampled = 0;
  /** Of these, since `beginRound`. */
  unsampledNow = 0;
  /** Distinct operations above the bound. */
  dropped = 0;

  constructor(pod: WatchedPod) {
    this.#pod = pod;
  }

  /** Distinct operations. */
  get size(): number {
    return this.#seen.size;
  }

  get learned(): Learned[] {
    return [...this.#seen.values()];
  }

  /** What was learned is allowed from here on: what is only counted now is something else. */
  beginRound(): void {
    this.unsampledNow = 0;
  }

  /** Takes what an audited posture says of the pod; another pod of the same name (it was made anew) is the same one. */
  take({ kind, vector, pod, operation, count, suppressed }: Violation): void {
    const name = vector.slice(vector.lastIndexOf('/') + 1);
    if (kind !== 'lsm' || !POSTURES.has(name)) return;
    if (pod?.namespace !== this.#pod.namespace || pod.name !== this.#pod.name) return;
    const times = count + suppressed;
    if (times === 0 || operation?.outcome === 'block' || operation?.outcome === 'kill') return;
    this.violations += 1;
    const unsampled = operation ? times - 1 : times;
    this.unsampled += unsampled;
    this.unsampledNow += unsampled;
    if (!operation) return;
    const { subject, address, port, protocol, executable, comm } = operation;
    const key = JSON.stringify([operation.operation, subject, address, port, protocol, executable || comm]);
    const known = this.#seen.get(key);
    if (known) known.times += 1;
    else if (this.#seen.size >= MAX_DISTINCT) this.dropped += 1;
    else this.#seen.set(key, { operation, times: 1 });
  }
}

/** Labels of one pod or one generation of pods: a policy that names them holds for none of the next. */
const OF_ONE_POD: ReadonlySet<string> = new Set([
  'pod-template-hash',
  'controller-revision-hash',
  'pod-template-generation',
  'statefulset.kubernetes.io/pod-name',
  'apps.kubernetes.io/pod-index',
  'controller-uid',
  'job-name',
  'batch.kubernetes.io/controller-uid',
  'batch.kubernetes.io/job-name',
  'batch.kubernetes.io/job-completion-index',
]);

/** Labels by which a policy finds this pod and those that come after it. */
export function lastingLabels(labels: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).filter(([key]) => !OF_ONE_POD.has(key)));
}
