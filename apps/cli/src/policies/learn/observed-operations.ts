/**
 * Collects the audited operations of a pod. Pure.
 *
 * A violation contains one sample and the count of its cell, and a posture has one cell per class.
 * Sampled operations are learned; the others are only counted as unsampled. Bound: MAX_DISTINCT
 * operations.
 */
import { CounterHulls } from '@bailiff/correlation';
import { POSTURE_CLASSES } from '@bailiff/policy';
import type { Violation } from '@bailiff/schemas';
import { CELL, REST } from './recording.ts';
import type { Learned } from './rule-parts.ts';

/** Far more than the rules of a policy can name. */
const MAX_DISTINCT = 20_000;
const POSTURES: ReadonlySet<string> = new Set(POSTURE_CLASSES.map((name) => `${name}-posture`));

export interface WatchedPod {
  namespace: string;
  name: string;
}

export class SeenOperations {
  readonly #pod: WatchedPod;
  /** Name of the policy whose rules record operations; null: none does. */
  readonly #recordedBy: string | null;
  readonly #seen = new Map<string, Learned>();
  readonly #hulls = new CounterHulls();
  violations = 0;
  /** Operations without a sample. */
  unsampled = 0;
  /** Unsampled operations since `beginRound`. */
  unsampledNow = 0;
  /** Distinct operations beyond the bound. */
  dropped = 0;
  /** The policy `recordedBy` counted some of them; it audits every class. */
  isRecorded = false;

  constructor(pod: WatchedPod, recordedBy: string | null = null) {
    this.#pod = pod;
    this.#recordedBy = recordedBy;
  }

  /** Distinct operations. */
  get size(): number {
    return this.#seen.size;
  }

  get learned(): Learned[] {
    return [...this.#seen.values()];
  }

  /** Learned operations are allowed from here on, so unsampled ones are new. */
  beginRound(): void {
    this.unsampledNow = 0;
  }

  /** Adds an audited operation of the pod. A recreated pod of the same name counts as the same. */
  take(nodeName: string, violation: Violation): void {
    const { kind, vector, pod, operation } = violation;
    const name = vector.slice(vector.lastIndexOf('/') + 1);
    const isRecorded = this.#recordedBy !== null && vector === `${this.#recordedBy}/${name}`;
    const isCell = isRecorded && name.startsWith(CELL);
    if (kind !== 'lsm' || !(POSTURES.has(name) || isCell || (isRecorded && name.startsWith(REST)))) return;
    if (pod?.namespace !== this.#pod.namespace || pod.name !== this.#pod.name) return;
    this.isRecorded ||= isRecorded;
    const times = this.#hulls.growth(nodeName, violation);
    if (times === 0 || operation?.outcome === 'block' || operation?.outcome === 'kill') return;
    this.violations += 1;
    // A cell has operations that are known already.
    const unsampled = isCell ? 0 : operation ? times - 1 : times;
    this.unsampled += unsampled;
    this.unsampledNow += unsampled;
    if (!operation) return;
    const { subject, address, port, protocol, executable, comm } = operation;
    const key = JSON.stringify([operation.operation, subject, address, port, protocol, executable || comm]);
    const known = this.#seen.get(key);
    if (known) known.times += isCell ? times : 1;
    else if (this.#seen.size >= MAX_DISTINCT) this.dropped += 1;
    else this.#seen.set(key, { operation, times: 1 });
  }
}

/** Labels of a single pod or pod template: a policy that selects them does not match later pods. */
const PER_POD_LABELS: ReadonlySet<string> = new Set([
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

/** Labels that later pods of the workload also have. */
export function lastingLabels(labels: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).filter(([key]) => !PER_POD_LABELS.has(key)));
}
