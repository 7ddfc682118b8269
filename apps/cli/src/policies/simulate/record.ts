/**
 * What violations record about operations: each operation with its count, and the counts without a
 * sample by the rule or posture that counted them. Pure.
 *
 * One operation may count for a rule in audit, a posture and a denial at once. Within one policy set
 * of a pod (a generation) these counts are of the same operations, so the largest one is taken.
 * Bounds: MAX_OPERATIONS and MAX_CELLS, of which a node gets a further one only while more are free
 * than it has; `omitted` counts the operations beyond.
 */
import { CounterHulls } from '@bailiff/correlation';
import { POSTURE_CLASSES, type PostureClass } from '@bailiff/policy';
import type { OperationSample, PodRef, Violation } from '@bailiff/schemas';
import { FairCounts } from '@bailiff/service/fair-counts';

const MAX_OPERATIONS = 50_000;
const MAX_CELLS = 20_000;

type Counter = 'rule' | 'posture' | 'denial';

/** Counts of one operation within one generation. */
type Counts = Record<Counter, number>;

export interface Seen {
  pod: PodRef;
  nodeName: string;
  firstAtMicros: number;
  lastAtMicros: number;
}

export interface SeenOperation extends Seen {
  /** One of its samples. */
  operation: OperationSample;
  /** The kernel could not resolve its path or address. */
  unresolved: boolean;
  generations: Map<string, Counts>;
}

/** Operations that a rule or posture counted without a sample. */
export interface Unsampled extends Seen {
  policy: string;
  policyRevision: number;
  vector: string;
  /** Null: a rule. */
  posture: PostureClass | null;
  denied: boolean;
  operations: number;
}

const POSTURES = new Map(POSTURE_CLASSES.map((name) => [`${name}-posture`, name]));

/** The class whose posture counts for a vector; null: a rule does. */
export const postureIn = (vector: string): PostureClass | null =>
  POSTURES.get(vector.slice(vector.lastIndexOf('/') + 1)) ?? null;

function widen(seen: Seen, { firstSeenAt, lastSeenAt }: Violation): void {
  seen.firstAtMicros = Math.min(seen.firstAtMicros, firstSeenAt);
  seen.lastAtMicros = Math.max(seen.lastAtMicros, lastSeenAt);
}

export class OperationRecord {
  readonly #operations = new Map<string, SeenOperation>();
  readonly #cells = new Map<string, Unsampled>();
  readonly #hulls = new CounterHulls();
  readonly #rooms: { operations: FairCounts; cells: FairCounts };
  /** Operations beyond the bounds. */
  omitted = 0;

  /** @param most bounds, for tests */
  constructor(most: { operations?: number; cells?: number } = {}) {
    this.#rooms = {
      operations: new FairCounts(most.operations ?? MAX_OPERATIONS),
      cells: new FairCounts(most.cells ?? MAX_CELLS),
    };
  }

  get operations(): SeenOperation[] {
    return [...this.#operations.values()];
  }

  get unsampled(): Unsampled[] {
    return [...this.#cells.values()];
  }

  /** Some operations may be counted twice. */
  get inexact(): boolean {
    return this.#hulls.inexact;
  }

  add(nodeName: string, violation: Violation): void {
    const { kind, pod, operation, count } = violation;
    if (kind !== 'lsm' || pod === null) return;
    const grown = this.#hulls.growth(nodeName, violation);
    const sampled = operation ? Math.min(grown, count) : 0;
    if (operation && sampled > 0) this.#addSampled(nodeName, { ...violation, pod, operation }, sampled);
    if (grown > sampled) this.#addUnsampled(nodeName, { ...violation, pod }, grown - sampled);
  }

  #addSampled(
    nodeName: string,
    violation: Violation & { pod: PodRef; operation: OperationSample },
    times: number,
  ): void {
    const { pod, operation, vector, counterEpoch, generation, action } = violation;
    const { subject, address, port, protocol, executable, comm, containerName } = operation;
    const program = executable || comm;
    const key = JSON.stringify([
      ...[nodeName, pod.uid, containerName, operation.operation, subject, address, port, protocol, program],
      vector === 'unresolved',
    ]);
    const seen = this.#operations.get(key) ?? this.#begin(nodeName, violation, key);
    if (!seen) {
      this.omitted += times;
      return;
    }
    widen(seen, violation);
    const name = `${counterEpoch.slice(0, counterEpoch.indexOf('/'))} ${generation}`;
    const counts = seen.generations.get(name) ?? { rule: 0, posture: 0, denial: 0 };
    // A denial that a disarm let pass is audited by its own cell.
    const isDenial = action === 'drop';
    counts[isDenial ? 'denial' : postureIn(vector) ? 'posture' : 'rule'] += times;
    seen.generations.set(name, counts);
  }

  #begin(
    nodeName: string,
    violation: Violation & { pod: PodRef; operation: OperationSample },
    key: string,
  ): SeenOperation | null {
    if (!this.#rooms.operations.hasRoom(nodeName)) return null;
    this.#rooms.operations.add(nodeName);
    const { pod, operation, vector, firstSeenAt, lastSeenAt } = violation;
    const times = { firstAtMicros: firstSeenAt, lastAtMicros: lastSeenAt };
    const unresolved = vector === 'unresolved';
    const seen: SeenOperation = { pod, nodeName, operation, unresolved, generations: new Map(), ...times };
    this.#operations.set(key, seen);
    return seen;
  }

  #addUnsampled(nodeName: string, violation: Violation & { pod: PodRef }, operations: number): void {
    const { pod, policy, policyRevision, vector, action, firstSeenAt, lastSeenAt } = violation;
    const denied = action === 'drop';
    const key = JSON.stringify([nodeName, pod.uid, policy, policyRevision, vector, denied]);
    let cell = this.#cells.get(key);
    if (!cell) {
      if (!this.#rooms.cells.hasRoom(nodeName)) {
        this.omitted += operations;
        return;
      }
      this.#rooms.cells.add(nodeName);
      const times = { firstAtMicros: firstSeenAt, lastAtMicros: lastSeenAt };
      const posture = postureIn(vector);
      cell = { pod, nodeName, policy, policyRevision, vector, posture, denied, operations: 0, ...times };
      this.#cells.set(key, cell);
    }
    widen(cell, violation);
    cell.operations += operations;
  }
}

/**
 * Operations that passed, and those that were denied when they were recorded. An operation that a
 * rule denies may count for a rule in audit too, but not for a posture in audit. Pure.
 */
export function timesOf({ generations }: Pick<SeenOperation, 'generations'>): { passed: number; denied: number } {
  let [passed, denied] = [0, 0];
  for (const { rule, posture, denial } of generations.values()) {
    passed += Math.max(rule - denial, posture, 0);
    denied += denial;
  }
  return { passed, denied };
}
