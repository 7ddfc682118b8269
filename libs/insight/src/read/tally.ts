/**
 * Exact packet counts of many violations, by group. Pure.
 *
 * Bounds: MAX_GROUPS, of which a node gets a further one only while more are free than it has. The
 * violations of further groups are counted together (`rest`).
 */
import { CounterHulls } from '@bailiff/correlation';
import { plural } from '@bailiff/response';
import type { Violation } from '@bailiff/schemas';
import { FairCounts } from '@bailiff/service/fair-counts';

/** Far more than a person reads; each keeps a violation. */
export const MAX_GROUPS = 1_000;

export interface TallyGroup<K> {
  key: K;
  packets: number;
  violations: number;
  firstAtMicros: number;
  lastAtMicros: number;
  firstSequence: number;
  lastSequence: number;
  /** The newest violation with a packet or an operation. */
  sample: Violation | null;
}

/** Violations beyond MAX_GROUPS. */
export interface TallyRest {
  packets: number;
  violations: number;
}

export interface Tallied {
  /** Node of the message. */
  nodeName: string;
  sequence: number;
}

export class Tally<K> {
  readonly #groups = new Map<string, TallyGroup<K>>();
  /** Groups by the node that began them. */
  readonly #counts: FairCounts;
  readonly #hulls: CounterHulls;
  readonly #nameOf: (key: K) => string;
  readonly rest: TallyRest = { packets: 0, violations: 0 };

  /** @param nameOf returns equal strings for equal keys @param most bounds, for tests */
  constructor(nameOf: (key: K) => string, most: { groups?: number; counters?: number } = {}) {
    this.#nameOf = nameOf;
    this.#counts = new FairCounts(most.groups ?? MAX_GROUPS);
    this.#hulls = new CounterHulls(most.counters);
  }

  /** Packets of all groups, and of those that are not kept. */
  get packets(): number {
    return [...this.#groups.values()].reduce((sum, group) => sum + group.packets, this.rest.packets);
  }

  /** There are too many counters: some packets may be counted twice. */
  get inexact(): boolean {
    return this.#hulls.inexact;
  }

  add(key: K, violation: Violation, { nodeName, sequence }: Tallied): void {
    const packets = this.#hulls.growth(nodeName, violation);
    const group = this.#groupOf(key, violation, nodeName, sequence);
    if (!group) {
      this.rest.packets += packets;
      this.rest.violations += 1;
      return;
    }
    group.violations += 1;
    group.packets += packets;
    group.firstAtMicros = Math.min(group.firstAtMicros, violation.firstSeenAt);
    group.lastAtMicros = Math.max(group.lastAtMicros, violation.lastSeenAt);
    group.lastSequence = sequence;
    if (violation.sample || violation.operation) group.sample = violation;
  }

  #groupOf(key: K, violation: Violation, nodeName: string, sequence: number): TallyGroup<K> | null {
    const name = this.#nameOf(key);
    const known = this.#groups.get(name);
    if (known) return known;
    if (!this.#counts.hasRoom(nodeName)) return null;
    this.#counts.add(nodeName);
    const group = {
      key,
      packets: 0,
      violations: 0,
      sample: null,
      firstAtMicros: violation.firstSeenAt,
      lastAtMicros: violation.lastSeenAt,
      firstSequence: sequence,
      lastSequence: sequence,
    };
    this.#groups.set(name, group);
    return group;
  }

  /** Most packets first. */
  groups(): TallyGroup<K>[] {
    return [...this.#groups.values()].sort((a, b) => b.packets - a.packets || b.lastAtMicros - a.lastAtMicros);
  }
}

/** Says how many violations no group has; empty if all have one. */
export function restText({ violations, packets }: TallyRest): string {
  if (violations === 0) return '';
  return `… and ${plural(violations, 'violation')} with a count of ${packets} in further groups: a node may have half of the ${MAX_GROUPS} that are kept. Narrow the range with --since`;
}
