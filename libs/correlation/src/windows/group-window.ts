/**
 * The sliding window of one group under one rule: the state that all rule types share. Pure.
 *
 * A window covers (clock - timespan, clock]. Its clock never moves back: a late violation counts at
 * the newest time, at most twice EVENT_TIME_BOUND_MICROS late. Buckets of 1/20 of the timespan hold
 * packets, so a count window may miss one bucket at its old end. Values and stages are exact.
 */
import type { Evidence, EvidenceProcess, ProjectedViolation, VerdictPod } from '@bailiff/schemas';
import type { CompiledRule } from './compiled-rule.ts';
import { EVIDENCE_HEAD, EvidenceRows } from './evidence.ts';
import type { StringInterner } from './string-interner.ts';
import { TypedRowPool } from './typed-row-pool.ts';

/** Buckets of a window: it slides in steps of 1/20 of its timespan. */
export const BUCKETS = 20;

/** Largest number of a message. Above it sums would be rounded, and a part that leaves would take more with it. */
const MAX_PACKETS = Number.MAX_SAFE_INTEGER - 1;

/** Result of `count` if the violation has nothing to count. Below every threshold. */
export const NOT_COUNTED = -1;

// Layout of a row: clock, end of the cooldown, number of the newest bucket + 1 (0 = none yet),
// violations and packets in the window, violations and packets in the newest bucket, evidence head.
// A stage window continues with one time per stage. The ring of the older buckets comes last:
// violations of each bucket and, in a count window, its packets. A violation in the newest bucket
// therefore changes only the first fields of the row.
const CLOCK = 0;
const COOLDOWN_UNTIL = 1;
const NEWEST = 2;
const VIOLATIONS = 3;
const PACKETS = 4;
const NEWEST_VIOLATIONS = 5;
const NEWEST_PACKETS = 6;
const EVIDENCE = 7;
/** Offset of the stage times in the row of a stage window. */
export const HEAD = EVIDENCE + EVIDENCE_HEAD;
const MAX_STAGES = 8;

/** Pool and row layout for windows of one kind. */
export interface RowKind {
  rows: TypedRowPool;
  evidence: EvidenceRows;
  /** Offset of the bucket ring. */
  ring: number;
  /** Numbers per bucket. */
  width: number;
}

export interface Pools {
  counts: RowKind;
  values: RowKind;
  stages: RowKind;
}
export function windowPools(): Pools {
  const evidence = new EvidenceRows();
  const kind = (ring: number, width: number) => ({
    rows: new TypedRowPool(ring + width * BUCKETS),
    evidence,
    ring,
    width,
  });
  return { counts: kind(HEAD, 2), values: kind(HEAD, 1), stages: kind(HEAD + MAX_STAGES, 1) };
}

/** The rule that a window belongs to. */
export interface WindowOwner {
  readonly rule: CompiledRule;
  windowOf(groupKey: string, nodeName: string, namespace: string): GroupWindow | null;
  startCooldown(window: GroupWindow, untilMicros: number): void;
}

/**
 * The windows that count the violations of one counter. Found once, then cached with the counter.
 */
export interface RuleMatches {
  readonly windows: GroupWindow[];
  /** Per window: stages of its rule that the violations match, as bits. */
  readonly matched: readonly number[];
}
export const NO_MATCHES: RuleMatches = { windows: [], matched: [] };

/** Whose violation a piece of evidence is. */
export interface EvidenceSource {
  pod: VerdictPod | null;
  nodeName: string;
}

/** Base class of all windows. Every call passes the rule's timespan in microseconds. */
export abstract class GroupWindow {
  /** The rule; set right after construction. */
  owner: WindowOwner | null = null;
  /** Node whose violation opened the window; set with `owner`. */
  openedBy = '';
  /** Namespace of the pod of that violation; empty without a pod. */
  openedFor = '';
  /** Newest time at which the window counted an audited violation; 0 = never. */
  auditedAt = 0;
  /** The row is back in its pool. A holder of this window must look it up again. */
  isReleased = false;
  protected readonly page: Float64Array;
  protected readonly at: number;
  readonly #kind: RowKind;
  /** By slot of the piece of evidence; null until the first process is recorded. */
  #processes: (EvidenceProcess | null)[] | null = null;
  /** Likewise, of a group with several pods. */
  #sources: EvidenceSource[] | null = null;
  /** Pod uid, owner uid, namespace or node name. */
  readonly groupKey: string;
  readonly #row: number;

  constructor(groupKey: string, kind: RowKind) {
    this.#row = kind.rows.allocate();
    this.page = kind.rows.page(this.#row);
    this.at = kind.rows.offset(this.#row);
    this.#kind = kind;
    this.groupKey = groupKey;
  }

  /** Newest time that was counted; 0 before the first violation. */
  get clock(): number {
    return this.page[this.at + CLOCK] as number;
  }
  /** No verdict before this time: end of the cooldown epoch of the last verdict. */
  get cooldownUntil(): number {
    return this.page[this.at + COOLDOWN_UNTIL] as number;
  }
  set cooldownUntil(timeMicros: number) {
    this.page[this.at + COOLDOWN_UNTIL] = timeMicros;
  }
  /** Violations in the window, at bucket precision. */
  get violations(): number {
    return this.page[this.at + VIOLATIONS] as number;
  }
  /** Packets in the window, at bucket precision. */
  protected get packets(): number {
    return this.page[this.at + PACKETS] as number;
  }
  /**
   * Records the last counted violation as evidence.
   * @param vector its number in the string interner
   * @param from of a group with several pods: whose it is
   */
  recordEvidence(
    streamSequence: number,
    index: number,
    packets: number,
    vector: number,
    process: EvidenceProcess | null = null,
    from: EvidenceSource | null = null,
  ): void {
    const at = this.at + EVIDENCE;
    const slot = this.#kind.evidence.add(this.page, at, this.clock, streamSequence, index, packets, vector);
    if (process !== null) this.#processes ??= [];
    if (this.#processes !== null) this.#processes[slot] = process;
    if (from === null) return;
    this.#sources ??= [];
    this.#sources[slot] = from;
  }
  /** Recorded evidence that is not older than the time, oldest first. */
  evidenceSince(timeMicros: number, vectors: StringInterner): Evidence[] {
    const pieces = this.#kind.evidence.since(this.page, this.at + EVIDENCE, timeMicros, vectors);
    return pieces.map(({ slot, ...piece }) => ({ ...piece, process: this.#processes?.[slot] ?? null }));
  }
  /** The pod with most packets in the evidence that is not older than the time, of equal ones the newest. */
  mainSource(timeMicros: number, vectors: StringInterner): EvidenceSource | null {
    if (this.#sources === null) return null;
    const packetsOf = new Map<string, number>();
    let main: EvidenceSource | null = null;
    let most = 0;
    for (const { slot, packets } of this.#kind.evidence.since(this.page, this.at + EVIDENCE, timeMicros, vectors)) {
      const from = this.#sources[slot];
      const uid = from?.pod?.uid;
      if (from === undefined || uid === undefined) continue;
      const sum = (packetsOf.get(uid) ?? 0) + packets;
      packetsOf.set(uid, sum);
      if (sum < most) continue;
      [main, most] = [from, sum];
    }
    return main;
  }
  #clearEvidence(): void {
    this.#kind.evidence.clear(this.page, this.at + EVIDENCE);
    this.#processes = null;
    this.#sources = null;
  }

  /** Oldest time in the window. */
  startAt(timespanMicros: number): number {
    return Math.max(0, this.clock - timespanMicros + 1);
  }

  /**
   * Advances the clock and counts one violation with its packets, as far as the sum stays exact. Returns
   * the time at which it counts.
   */
  protected tick(timeMicros: number, added: number, timespanMicros: number): number {
    const page = this.page;
    const at = this.at;
    let clock = page[at + CLOCK] as number;
    if (timeMicros > clock) {
      // Every earlier violation is outside the window now, and so is its evidence.
      if (timeMicros - clock >= timespanMicros) this.#clearEvidence();
      clock = timeMicros;
      page[at + CLOCK] = clock;
    }
    const bucket = Math.floor(clock / (timespanMicros / BUCKETS));
    if (bucket + 1 !== page[at + NEWEST]) this.#slide(bucket);
    // A node chooses its numbers, and windows of an owner or a namespace are those of other nodes too.
    const packets = Math.min(added, MAX_PACKETS - (page[at + PACKETS] as number));
    page[at + VIOLATIONS] = (page[at + VIOLATIONS] as number) + 1;
    page[at + NEWEST_VIOLATIONS] = (page[at + NEWEST_VIOLATIONS] as number) + 1;
    page[at + PACKETS] = (page[at + PACKETS] as number) + packets;
    page[at + NEWEST_PACKETS] = (page[at + NEWEST_PACKETS] as number) + packets;
    return clock;
  }

  /**
   * Stores the newest bucket in the ring, subtracts the buckets that left the window, opens a new
   * one.
   */
  #slide(bucket: number): void {
    const page = this.page;
    const at = this.at;
    const { ring, width } = this.#kind;
    const newest = (page[at + NEWEST] as number) - 1;
    if (newest >= 0) {
      const slot = at + ring + (newest % BUCKETS) * width;
      page[slot] = page[at + NEWEST_VIOLATIONS] as number;
      if (width === 2) page[slot + 1] = page[at + NEWEST_PACKETS] as number;
    }
    for (let b = Math.max(newest + 1, bucket - BUCKETS + 1); b <= bucket; b++) {
      const slot = at + ring + (b % BUCKETS) * width;
      page[at + VIOLATIONS] = (page[at + VIOLATIONS] as number) - (page[slot] as number);
      page[slot] = 0;
      if (width === 1) continue;
      page[at + PACKETS] = (page[at + PACKETS] as number) - (page[slot + 1] as number);
      page[slot + 1] = 0;
    }
    page[at + NEWEST] = bucket + 1;
    page[at + NEWEST_VIOLATIONS] = 0;
    page[at + NEWEST_PACKETS] = 0;
  }

  /**
   * Counts a violation.
   * @param matched stages of the rule that the violation matches, as bits
   * @returns the window's content in the unit of the rule's threshold, or NOT_COUNTED
   */
  abstract count(
    timeMicros: number,
    packets: number,
    matched: number,
    violation: ProjectedViolation,
    rule: CompiledRule,
  ): number;

  /** Returns the row to its pool. Idempotent. */
  release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    this.#clearEvidence();
    this.#kind.rows.free(this.#row);
  }
}
