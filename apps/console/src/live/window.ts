/**
 * Violations of the last hour by vector and by pod, in steps of server time. Pure. A view is made several
 * times while pods are many, so the sum of each pod is kept instead of being made again.
 *
 * Bounds: STEPS, MAX_VECTORS a step, and MAX_PODS in all steps. A node gets a further entry only while
 * more are free than it has; what has no entry is counted in the totals.
 */
import { FairCounts } from '@bailiff/service/fair-counts';
import type { SeenViolation } from '../data.ts';
import type { AttackerView, RatesView } from '../wire.ts';

export const STEP_MS = 60_000;
export const STEPS = 60;
export const WINDOW_MS = STEPS * STEP_MS;
/** Vectors of a step. Names of rules are a node's words. */
const MAX_VECTORS = 256;
/** Pods of all steps: 3,000 pods for twenty minutes, about 20 MB. */
const MAX_PODS = 60_000;
const MAX_SERIES = 8;
const MAX_ATTACKERS = 20;
const MAX_NAMED = 6;

interface VectorCount {
  name: string;
  action: string;
  count: number;
}
interface PodCount {
  namespace: string;
  pod: string;
  uid: string;
  node: string;
  count: number;
  vectors: Set<string>;
  lastMs: number;
}

/** Of all steps. */
interface PodTotal {
  key: string;
  count: number;
  lastMs: number;
  /** Steps with an entry of the pod. */
  steps: number;
}

class Step {
  readonly vectors = new Map<string, VectorCount>();
  readonly pods = new Map<string, PodCount>();
  readonly #vectorShares: FairCounts;
  readonly #podShares: FairCounts;
  total = 0;
  /** Counts of pods without an entry. */
  withoutPod = 0;

  constructor(mostVectors: number, podShares: FairCounts) {
    this.#vectorShares = new FairCounts(mostVectors);
    this.#podShares = podShares;
  }

  /** Gives its share of the pods back. */
  end(): void {
    for (const { node } of this.pods.values()) this.#podShares.remove(node);
  }

  /** @returns the key of its pod; null: it has no entry */
  add({ storedMs, node, vector, action, pod, count }: SeenViolation): { key: string; isNew: boolean } | null {
    this.total += count;
    const name = `${vector} ${action}`;
    const entry = this.vectors.get(name);
    if (entry) entry.count += count;
    else if (this.#vectorShares.hasRoom(node)) {
      this.#vectorShares.add(node);
      this.vectors.set(name, { name: vector, action, count });
    }
    if (pod === null) return null;
    const key = `${node} ${pod.uid}`;
    let found = this.pods.get(key);
    const isNew = !found;
    if (!found) {
      if (!this.#podShares.hasRoom(node)) {
        this.withoutPod += count;
        return null;
      }
      this.#podShares.add(node);
      found = {
        namespace: pod.namespace,
        pod: pod.name,
        uid: pod.uid,
        node,
        count: 0,
        vectors: new Set(),
        lastMs: storedMs,
      };
      this.pods.set(key, found);
    }
    found.count += count;
    found.lastMs = Math.max(found.lastMs, storedMs);
    if (found.vectors.size < MAX_NAMED) found.vectors.add(name);
    return { key, isNew };
  }
}

export class ViolationWindow {
  readonly #steps = new Map<number, Step>();
  readonly #totals = new Map<string, PodTotal>();
  #newest = 0;
  readonly #mostVectors: number;
  readonly #podShares: FairCounts;

  /** @param most bounds, for tests */
  constructor(most: { vectors?: number; pods?: number } = {}) {
    this.#mostVectors = most.vectors ?? MAX_VECTORS;
    this.#podShares = new FairCounts(most.pods ?? MAX_PODS);
  }

  add(violation: SeenViolation): void {
    const number = Math.floor(violation.storedMs / STEP_MS);
    if (number <= this.#newest - STEPS) return;
    let step = this.#steps.get(number);
    if (!step) {
      step = new Step(this.#mostVectors, this.#podShares);
      this.#steps.set(number, step);
      this.#newest = Math.max(this.#newest, number);
      this.#endBefore(this.#newest - STEPS + 1);
    }
    const found = step.add(violation);
    if (!found) return;
    const { key, isNew } = found;
    const total = this.#totals.get(key) ?? { key, count: 0, lastMs: 0, steps: 0 };
    this.#totals.set(key, total);
    total.count += violation.count;
    total.lastMs = Math.max(total.lastMs, violation.storedMs);
    if (isNew) total.steps += 1;
  }

  #endBefore(first: number): void {
    for (const [number, step] of this.#steps) {
      if (number >= first) continue;
      step.end();
      this.#steps.delete(number);
      for (const [key, { count }] of step.pods) {
        const total = this.#totals.get(key) as PodTotal;
        total.count -= count;
        total.steps -= 1;
        if (total.steps === 0) this.#totals.delete(key);
      }
    }
  }

  #stepsUntil(nowMs: number): { number: number; step: Step | undefined }[] {
    // The clock of the bus may be ahead.
    const last = Math.max(Math.floor(nowMs / STEP_MS), this.#newest);
    this.#endBefore(last - STEPS + 1);
    return Array.from({ length: STEPS }, (_, index) => {
      const number = last - STEPS + 1 + index;
      return { number, step: this.#steps.get(number) };
    });
  }

  rates(nowMs: number): RatesView {
    const steps = this.#stepsUntil(nowMs);
    const series = new Map<string, RatesView['series'][number]>();
    let total = 0;
    steps.forEach(({ step }, index) => {
      total += step?.total ?? 0;
      for (const [key, { name, action, count }] of step?.vectors ?? []) {
        const one = series.get(key) ?? { name, action, total: 0, counts: new Array<number>(STEPS).fill(0) };
        series.set(key, one);
        one.total += count;
        one.counts[index] = count;
      }
    });
    const shown = [...series.values()]
      .filter((one) => one.total > 0)
      .sort((a, b) => b.total - a.total || (a.name < b.name ? -1 : 1))
      .slice(0, MAX_SERIES);
    const otherTotal = total - shown.reduce((sum, one) => sum + one.total, 0);
    return { fromMs: (steps[0]?.number ?? 0) * STEP_MS, stepMs: STEP_MS, series: shown, otherTotal, total };
  }

  /** Pods with most packets and operations first. */
  attackers(nowMs: number): { attackers: AttackerView[]; omitted: number; withoutPod: number } {
    const steps = this.#stepsUntil(nowMs).flatMap(({ step }) => step ?? []);
    const withoutPod = steps.reduce((sum, step) => sum + step.withoutPod, 0);
    let most: PodTotal[] = [];
    let pods = 0;
    for (const total of this.#totals.values()) {
      if (total.count === 0) continue;
      pods += 1;
      const last = most.at(-1);
      if (most.length === MAX_ATTACKERS && last && byCount(total, last) >= 0) continue;
      most = [...most, total].sort(byCount).slice(0, MAX_ATTACKERS);
    }
    const attackers = most.map(({ key, count, lastMs }) => {
      const entries = steps.flatMap((step) => step.pods.get(key) ?? []);
      const { namespace, pod, uid, node } = entries[0] as PodCount;
      const vectors = [...new Set(entries.flatMap((entry) => [...entry.vectors]))].slice(0, MAX_NAMED).sort();
      return { namespace, pod, uid, node, count, vectors, lastMs };
    });
    return { attackers, omitted: pods - attackers.length, withoutPod };
  }
}

const byCount = (a: PodTotal, b: PodTotal): number => b.count - a.count || b.lastMs - a.lastMs;
