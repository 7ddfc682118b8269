/**
 * Violations of the last hour by vector and by pod, in steps of server time. Pure.
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

  add({ storedMs, node, vector, action, pod, count }: SeenViolation): void {
    this.total += count;
    const name = `${vector} ${action}`;
    const entry = this.vectors.get(name);
    if (entry) entry.count += count;
    else if (this.#vectorShares.hasRoom(node)) {
      this.#vectorShares.add(node);
      this.vectors.set(name, { name: vector, action, count });
    }
    if (pod === null) return;
    const key = `${node} ${pod.uid}`;
    let found = this.pods.get(key);
    if (!found) {
      if (!this.#podShares.hasRoom(node)) {
        this.withoutPod += count;
        return;
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
  }
}

export class ViolationWindow {
  readonly #steps = new Map<number, Step>();
  readonly #mostVectors: number;
  readonly #podShares: FairCounts;

  /** @param most bounds, for tests */
  constructor(most: { vectors?: number; pods?: number } = {}) {
    this.#mostVectors = most.vectors ?? MAX_VECTORS;
    this.#podShares = new FairCounts(most.pods ?? MAX_PODS);
  }

  add(violation: SeenViolation): void {
    const number = Math.floor(violation.storedMs / STEP_MS);
    let step = this.#steps.get(number);
    if (!step) {
      step = new Step(this.#mostVectors, this.#podShares);
      this.#steps.set(number, step);
      this.#endBefore(number - STEPS + 1);
    }
    step.add(violation);
  }

  #endBefore(first: number): void {
    for (const [number, step] of this.#steps) {
      if (number >= first) continue;
      step.end();
      this.#steps.delete(number);
    }
  }

  #stepsUntil(nowMs: number): { number: number; step: Step | undefined }[] {
    const last = Math.floor(nowMs / STEP_MS);
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
    const pods = new Map<string, PodCount>();
    let withoutPod = 0;
    for (const { step } of this.#stepsUntil(nowMs)) {
      withoutPod += step?.withoutPod ?? 0;
      for (const [key, one] of step?.pods ?? []) {
        const sum = pods.get(key) ?? { ...one, count: 0, vectors: new Set<string>() };
        pods.set(key, sum);
        sum.count += one.count;
        sum.lastMs = Math.max(sum.lastMs, one.lastMs);
        for (const vector of one.vectors) if (sum.vectors.size < MAX_NAMED) sum.vectors.add(vector);
      }
    }
    const ordered = [...pods.values()]
      .filter(({ count }) => count > 0)
      .sort((a, b) => b.count - a.count || b.lastMs - a.lastMs);
    const attackers = ordered.slice(0, MAX_ATTACKERS).map((one) => ({ ...one, vectors: [...one.vectors].sort() }));
    return { attackers, omitted: ordered.length - attackers.length, withoutPod };
  }
}
