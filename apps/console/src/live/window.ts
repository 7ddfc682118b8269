/**
 * Violations of the last hour by vector and by pod, in steps of server time. Pure. A view is made several
 * times a second while pods are many, so the sum of each pod is kept instead of being made again.
 *
 * Bounds: STEPS, MAX_VECTORS a step, and MAX_PODS. A pod has one entry, however long it violates: otherwise
 * the list would be full of minutes, and lack a new attacker. A node gets a further entry only while more
 * are free than it has; what has no entry is counted in the totals.
 */
import { FairCounts } from '@bailiff/service/fair-counts';
import type { SeenViolation } from '../data.ts';
import type { AttackerView, RatesView } from '../wire.ts';

export const STEP_MS = 60_000;
export const STEPS = 60;
export const WINDOW_MS = STEPS * STEP_MS;
/** Vectors of a step. Names of rules are a node's words. */
const MAX_VECTORS = 256;
/** About 1 KB each. */
const MAX_PODS = 60_000;
const MAX_SERIES = 8;
const MAX_ATTACKERS = 20;
const MAX_NAMED = 6;

/** The outcome of what passed. */
const AUDITED = 'audit';
const emptySteps = () => new Array<number>(STEPS).fill(0);

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
  /** Of all steps. */
  count: number;
  /** Of those, what was only audited. */
  passed: number;
  /** By step number modulo STEPS. */
  counts: number[];
  /** Null until something passed. */
  passedCounts: number[] | null;
  lastStep: number;
  lastMs: number;
  /** With the last step of each. */
  vectors: Map<string, number>;
}

class Step {
  readonly vectors = new Map<string, VectorCount>();
  readonly #shares: FairCounts;
  total = 0;
  /** Of those, what was only audited. */
  passed = 0;
  /** Counts of pods without an entry. */
  withoutPod = 0;
  /** Counts of interfaces whose pod is not known. */
  unknownPod = 0;

  constructor(mostVectors: number) {
    this.#shares = new FairCounts(mostVectors);
  }

  add({ node, vector, action, count }: SeenViolation, name: string): void {
    this.total += count;
    if (action === AUDITED) this.passed += count;
    const entry = this.vectors.get(name);
    if (entry) entry.count += count;
    else if (this.#shares.hasRoom(node)) {
      this.#shares.add(node);
      this.vectors.set(name, { name: vector, action, count });
    }
  }
}

export class ViolationWindow {
  readonly #steps = new Map<number, Step>();
  readonly #pods = new Map<string, PodCount>();
  /** Steps before this one have ended. */
  #first = 0;
  #newest = 0;
  readonly #mostVectors: number;
  readonly #podShares: FairCounts;

  /** @param most bounds, for tests */
  constructor(most: { vectors?: number; pods?: number } = {}) {
    this.#mostVectors = most.vectors ?? MAX_VECTORS;
    this.#podShares = new FairCounts(most.pods ?? MAX_PODS);
  }

  add(violation: SeenViolation): void {
    const { storedMs, node, vector, action, pod, count } = violation;
    const number = Math.floor(storedMs / STEP_MS);
    if (number < this.#first) return;
    if (number > this.#newest) {
      this.#newest = number;
      this.#endBefore(number - STEPS + 1);
    }
    const step = this.#steps.get(number) ?? new Step(this.#mostVectors);
    this.#steps.set(number, step);
    const name = `${vector} ${action}`;
    step.add(violation, name);
    if (pod === null) {
      step.unknownPod += count;
      return;
    }
    const entry = this.#entryOf(node, pod, number);
    if (!entry) {
      step.withoutPod += count;
      return;
    }
    const slot = number % STEPS;
    entry.count += count;
    entry.counts[slot] = (entry.counts[slot] ?? 0) + count;
    if (action === AUDITED) {
      entry.passed += count;
      entry.passedCounts ??= emptySteps();
      entry.passedCounts[slot] = (entry.passedCounts[slot] ?? 0) + count;
    }
    entry.lastStep = Math.max(entry.lastStep, number);
    entry.lastMs = Math.max(entry.lastMs, storedMs);
    this.#name(entry.vectors, name, number);
  }

  /** Null: its node has no room. */
  #entryOf(node: string, { namespace, name, uid }: NonNullable<SeenViolation['pod']>, number: number): PodCount | null {
    const key = `${node} ${uid}`;
    const found = this.#pods.get(key);
    if (found) return found;
    if (!this.#podShares.hasRoom(node)) return null;
    this.#podShares.add(node);
    const entry: PodCount = {
      namespace,
      pod: name,
      uid,
      node,
      count: 0,
      passed: 0,
      counts: emptySteps(),
      passedCounts: null,
      lastStep: number,
      lastMs: 0,
      vectors: new Map(),
    };
    this.#pods.set(key, entry);
    return entry;
  }

  /** MAX_NAMED of the window. */
  #name(vectors: Map<string, number>, name: string, number: number): void {
    const last = vectors.get(name);
    if (last === undefined && vectors.size >= MAX_NAMED) {
      for (const [old, at] of vectors) if (at < this.#first) vectors.delete(old);
      if (vectors.size >= MAX_NAMED) return;
    }
    vectors.set(name, Math.max(last ?? 0, number));
  }

  #endBefore(first: number): void {
    if (first <= this.#first) return;
    const ended = Array.from({ length: Math.min(STEPS, first - this.#first) }, (_, back) => (first - 1 - back) % STEPS);
    this.#first = first;
    for (const number of this.#steps.keys()) if (number < first) this.#steps.delete(number);
    for (const [key, entry] of this.#pods) {
      if (entry.lastStep < first) {
        this.#podShares.remove(entry.node);
        this.#pods.delete(key);
        continue;
      }
      for (const slot of ended) {
        entry.count -= entry.counts[slot] ?? 0;
        entry.counts[slot] = 0;
        if (!entry.passedCounts) continue;
        entry.passed -= entry.passedCounts[slot] ?? 0;
        entry.passedCounts[slot] = 0;
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
    let [total, passed] = [0, 0];
    steps.forEach(({ step }, index) => {
      total += step?.total ?? 0;
      passed += step?.passed ?? 0;
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
    return { fromMs: (steps[0]?.number ?? 0) * STEP_MS, stepMs: STEP_MS, series: shown, otherTotal, total, passed };
  }

  /** Pods with most packets and operations first. */
  attackers(nowMs: number): { attackers: AttackerView[]; omitted: number; withoutPod: number; unknownPod: number } {
    const steps = this.#stepsUntil(nowMs).flatMap(({ step }) => step ?? []);
    const withoutPod = steps.reduce((sum, step) => sum + step.withoutPod, 0);
    const unknownPod = steps.reduce((sum, step) => sum + step.unknownPod, 0);
    let most: PodCount[] = [];
    let pods = 0;
    for (const entry of this.#pods.values()) {
      if (entry.count === 0) continue;
      pods += 1;
      const last = most.at(-1);
      if (most.length === MAX_ATTACKERS && last && byCount(entry, last) >= 0) continue;
      most = [...most, entry].sort(byCount).slice(0, MAX_ATTACKERS);
    }
    const attackers = most.map(({ namespace, pod, uid, node, count, passed, lastMs, vectors }) => {
      const named = [...vectors].filter(([, at]) => at >= this.#first).map(([name]) => name);
      return { namespace, pod, uid, node, count, passed, vectors: named.sort(), lastMs };
    });
    return { attackers, omitted: pods - attackers.length, withoutPod, unknownPod };
  }
}

const byCount = (a: PodCount, b: PodCount): number => b.count - a.count || b.lastMs - a.lastMs;
