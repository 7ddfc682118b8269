/**
 * The correlation engine: frames of violations in stream order in, verdicts out. Pure: no clock, no
 * I/O, no randomness. Data path: VIOLATIONS → correlator, replay, backtest or simulation → VERDICTS.
 *
 * Invariants: verdicts depend on VIOLATIONS, and on CONFIG_LOG and pod lists up to SETTLE_MICROS
 * before the frame; nothing older than `warmUpMicros` matters. After its warm-up, a restarted engine
 * produces the same verdicts as one that never stopped (exception: attribution.ts). Before, its caller
 * must not publish. A group has one verdict per cooldown epoch. Stream time never falls, so pods that
 * were listed by a clock of the bus that was ahead stay listed. After that clock is set back, violations
 * count by its time, in new windows.
 */
import type { ProjectedFrame, ProjectedPod, ProjectedViolation } from '@bailiff/schemas';
import {
  type Attribution,
  attributedPod,
  attributePod,
  frameRefusal,
  letterOf,
  mayReport,
  NO_PRIOR_REFUSALS,
  podProblem,
  type RefusalLookup,
  type RefusalReason,
  type Rejection,
  toVerdictPod,
} from '../attribution/attribution.ts';
import { type PendingViolation, PendingViolations } from '../attribution/pending-violations.ts';
import type { InventoryEntry, PodInventory } from '../attribution/pod-inventory.ts';
import { DUPLICATE } from '../counting/counters.ts';
import { type CounterState, type NodeState, NodeStates } from '../counting/node-state.ts';
import { FrameShares, VIOLATION_BYTES } from '../shares/frame-shares.ts';
import { isOfOtherLeader } from '../shares/node-tokens.ts';
import { counterSlotOf, eventTimeMicros, SWEEP_MICROS } from '../windows/time.ts';
import { cachedEntry, isUnchanged } from './match-cache.ts';
import { RuleEngine, type RuleEngineOptions, type ViolationSource } from './rule-engine.ts';

/** Position of a frame in the stream. */
export interface FramePosition {
  sequence: number;
  /** When the bus stored it. */
  timestampMicros: number;
  /** From the subject. */
  node: string;
}

/** A frame, or some of its violations, that was rejected. */
export interface Refusal extends FramePosition {
  reason: RefusalReason;
  /** Rejected violations of the frame; empty = all. */
  indexes: readonly number[];
  /** One sentence for a person. */
  detail: string;
  /** False: the node has used up its share of dead letters. */
  hasLetter: boolean;
}

export interface CorrelationEngineOptions extends RuleEngineOptions {
  inventory: PodInventory;
  priorRefusals?: RefusalLookup;
  onRefusal?(refusal: Refusal): void;
}

type Refused = Map<RefusalReason, { indexes: number[]; detail: string }>;

/**
 * The refused violations of a frame of which others are pending. A frame has one dead letter for
 * each reason, so it names all of them: a replay accepts what no letter names.
 */
interface HeldFrame {
  pending: number;
  refused: Refused;
}

export class CorrelationEngine {
  readonly #inventory: PodInventory;
  readonly #priorRefusals: RefusalLookup;
  readonly #onRefusal: (refusal: Refusal) => void;
  readonly #rules: RuleEngine;
  readonly #nodes = new NodeStates();
  readonly #pending = new PendingViolations();
  readonly #shares = new FrameShares();
  /** Frames with pending violations, by sequence. Bounded by the pending violations. */
  readonly #held = new Map<number, HeldFrame>();
  /** Cache by identity number. A state records the identity that it was found for. */
  readonly #byIdentity: (CounterState | undefined)[] = [];
  /** One object for all violations; overwritten for each. */
  readonly #source: ViolationSource = { sequence: 0, nodeName: '', vector: 0, pod: null };
  #now = 0;
  /** How far the bus is behind stream time since its clock was set back. */
  #setBack = 0;
  #slot = 0;
  #nextSweep = 0;
  /** Totals since the start. */
  readonly counted = { violations: 0, duplicates: 0, packets: 0, refused: 0, countersRefused: 0, shifted: 0 };

  constructor(options: CorrelationEngineOptions) {
    this.#inventory = options.inventory;
    this.#priorRefusals = options.priorRefusals ?? NO_PRIOR_REFUSALS;
    this.#onRefusal = options.onRefusal ?? (() => undefined);
    this.#rules = new RuleEngine(options);
  }

  /** Current memory use, and totals of rejected additions. */
  get size() {
    return {
      nodes: this.#nodes.size,
      counters: this.#nodes.counters,
      pending: this.#pending.size,
      ...this.#rules.size,
    };
  }

  /** Stream time. */
  get nowMicros(): number {
    return this.#now;
  }

  /**
   * Stream time of the next release of a pending violation; null if none is pending. See `advance`.
   */
  nextDeadlineMicros(): number | null {
    return this.#pending.nextMicros(this.#inventory.version, this.#attribute);
  }

  /**
   * Whether the node of the next message has a share left for it. Call it once for each message,
   * before it is decoded. Skip the message if it has none.
   */
  hasShare({ node, timestampMicros }: FramePosition, bytes: number): boolean {
    return this.#shares.take(node, timestampMicros, bytes);
  }

  /** The next message cannot be decoded: it costs the share of its node. @returns whether it has a dead letter */
  chargeUnreadable(node: string): boolean {
    return this.#shares.refuse(node);
  }

  /**
   * Processes the next frame. Rule history and inventory must be complete up to SETTLE_MICROS
   * before it.
   */
  processFrame(position: FramePosition, frame: ProjectedFrame): void {
    this.#arrive(position.timestampMicros);
    this.#shares.charge(position.node, frame.violations.length * VIOLATION_BYTES);
    const whole = frameRefusal(position.node, frame);
    if (whole !== null) {
      this.#refuse(whole.reason, position, [], whole.detail);
      if (whole.reason === 'foreign-node') this.#rules.countAgainstNode(position.node, position.sequence, 0);
      return;
    }
    const node = this.#nodes.enter(position.node, this.#slot);
    const { violations, frameSequence } = frame;
    const storedMicros = this.#countedNow;
    const isReplayed = storedMicros <= this.#priorRefusals.untilMicros;
    let held: HeldFrame | null = null;
    for (let index = 0; index < violations.length; index++) {
      const violation = violations[index] as ProjectedViolation;
      const { pod } = violation;
      const state = this.#stateOf(node, violation);
      const entry = pod === null || state === undefined ? null : cachedEntry(state, violation, pod);
      const isKnown = entry !== null && mayReport(entry, storedMicros);
      if (pod === null || (isKnown && !(isReplayed && this.#hasLetter(position, index)))) {
        this.#count(node, state, violation, index, frameSequence, position.sequence, storedMicros, entry);
        continue;
      }
      const { sequence } = position;
      const times = { timestampMicros: storedMicros, streamMicros: this.#now };
      const rejection = this.#admit({ node: node.name, sequence, ...times, frameSequence, index, violation });
      if (rejection === null) continue;
      held ??= { pending: 0, refused: new Map() };
      if (rejection === 'pending') held.pending++;
      else addRefused(held.refused, index, rejection);
    }
    if (held === null) return;
    if (held.pending > 0) this.#held.set(position.sequence, held);
    else this.#refuseAll(held.refused, position);
  }

  /**
   * Rejects the next message: a string or list of the frame exceeds its limit (SchemaError
   * FIELD_TOO_LONG), which no collector does. It counts against the node. Preconditions as for
   * `processFrame`.
   */
  rejectFrame(position: FramePosition, detail: string): void {
    this.#arrive(position.timestampMicros);
    this.#refuse('field-too-long', position, [], detail);
    this.#rules.countAgainstNode(position.node, position.sequence, 0, 'invalid-frame');
  }

  /**
   * Advances stream time without a frame: releases pending violations and idle memory. Call it for
   * `nextDeadlineMicros` once the bus is known to have no earlier frame and the inventory is
   * complete up to SETTLE_MICROS before that time.
   */
  advance(timeMicros: number): void {
    if (this.#pending.size > 0) this.#release(Math.max(timeMicros, this.#now));
    this.#moveTo(timeMicros);
    const counted = this.#countedNow;
    if (counted < this.#nextSweep) return;
    this.#nextSweep = (Math.floor(counted / SWEEP_MICROS) + 1) * SWEEP_MICROS;
    this.#rules.sweep();
    this.#nodes.sweep(this.#slot);
    this.#shares.sweep(counted);
  }

  /** The time at which a violation counts that is released or arrives now. */
  get #countedNow(): number {
    return this.#now - this.#setBack;
  }

  /** Advances to the time at which the bus stored a frame. */
  #arrive(busMicros: number): void {
    const elapsed = busMicros - this.#countedNow;
    if (!isOfOtherLeader(elapsed)) {
      this.#setBack = Math.max(0, this.#now - busMicros);
      if (elapsed < 0) {
        this.#rules.restart();
        this.#nextSweep = 0;
      }
    }
    this.advance(busMicros);
  }

  #moveTo(timeMicros: number): void {
    if (timeMicros > this.#now) {
      this.#now = timeMicros;
      this.#slot = counterSlotOf(timeMicros);
    }
    this.#rules.advance(this.#countedNow);
  }

  readonly #attribute = (pending: PendingViolation): Attribution =>
    attributePod(this.#inventory, this.#priorRefusals, {
      node: pending.node,
      pod: pending.violation.pod as ProjectedPod,
      sequence: pending.sequence,
      index: pending.index,
      timestampMicros: pending.timestampMicros,
      streamMicros: pending.streamMicros,
    });

  /** The counter state of a violation, from the cache if its identity is known. */
  #stateOf(node: NodeState, violation: ProjectedViolation): CounterState | undefined {
    const { identity } = violation;
    if (identity === undefined || identity.number < 0) return node.find(violation);
    const known = this.#byIdentity[identity.number];
    if (known !== undefined && known.identity === identity && known.node === node) return known;
    const found = node.find(violation);
    // Filled without holes: lookups in a sparse array are much slower.
    while (this.#byIdentity.length <= identity.number) this.#byIdentity.push(undefined);
    this.#byIdentity[identity.number] = found;
    return found;
  }

  /**
   * Slow path of a violation with an uncached attribution: counts it, holds it back, or rejects it.
   */
  #admit(pending: PendingViolation): Rejection | 'pending' | null {
    const problem = podProblem(pending.violation.pod as ProjectedPod);
    if (problem !== null) return { reason: 'invalid-violation', detail: `violations.${pending.index}.pod.${problem}` };
    const attribution = this.#attribute(pending);
    if (attribution.atMicros <= this.#now) return this.#settle(pending, attribution);
    if (this.#pending.add(pending, attribution)) return 'pending';
    return { reason: 'unproven-pod', detail: 'too many violations wait for their pods to be listed' };
  }

  #settle(pending: PendingViolation, { outcome, entry, detail }: Attribution): Rejection | null {
    const { sequence, timestampMicros, frameSequence, index, violation } = pending;
    if (outcome === 'listed' || outcome === 'accepted-before') {
      const node = this.#nodes.enter(pending.node, this.#slot);
      const state = node.find(violation);
      const time = Math.min(timestampMicros, this.#countedNow);
      this.#count(node, state, violation, index, frameSequence, sequence, time, entry);
      return null;
    }
    if (outcome === 'foreign-pod') this.#rules.countAgainstNode(pending.node, sequence, index);
    return { reason: outcome, detail };
  }

  #release(timeMicros: number): void {
    const released = this.#pending.release(timeMicros, this.#inventory.version, this.#attribute);
    for (const { pending, attribution } of released) {
      this.#moveTo(attribution.atMicros);
      const rejection = this.#settle(pending, attribution);
      const held = this.#held.get(pending.sequence) as HeldFrame;
      held.pending--;
      if (rejection) addRefused(held.refused, pending.index, rejection);
      if (held.pending > 0) continue;
      this.#held.delete(pending.sequence);
      this.#refuseAll(held.refused, pending);
    }
  }

  #hasLetter({ sequence, timestampMicros }: FramePosition, index: number): boolean {
    return letterOf(this.#priorRefusals, { sequence, index, timestampMicros }) !== null;
  }

  #refuseAll(refused: Refused, position: FramePosition): void {
    for (const [reason, { indexes, detail }] of refused) this.#refuse(reason, position, indexes, detail);
  }

  /** @param frameMicros when the bus stored the violation's frame */
  #count(
    node: NodeState,
    found: CounterState | undefined,
    violation: ProjectedViolation,
    index: number,
    frameSequence: number,
    sequence: number,
    frameMicros: number,
    entry: InventoryEntry | null,
  ): void {
    const state = found ?? node.add(violation);
    const own = violation.count + violation.suppressed;
    const { counter } = state;
    let packets = Math.min(own, violation.cumulativePackets);
    if (counter !== null) packets = counter.observe(this.#slot, violation.cumulativePackets, own, frameSequence);
    else this.counted.countersRefused++;
    this.counted.violations++;
    if (packets === DUPLICATE) {
      this.counted.duplicates++;
      return;
    }
    this.counted.packets += packets;
    const time = eventTimeMicros(frameMicros, violation.lastSeenAt);
    if (time !== violation.lastSeenAt) this.counted.shifted++;
    if (state.ruleSetNumber !== this.#rules.ruleSetNumber || !isUnchanged(state, violation, entry)) {
      this.#matchRules(node, state, violation, entry);
    }
    const source = this.#source;
    source.sequence = sequence;
    source.nodeName = node.name;
    source.vector = state.vectorNumber;
    source.pod = state.pod;
    this.#rules.count(state.matches, time, packets, violation, index, source);
  }

  #matchRules(node: NodeState, state: CounterState, violation: ProjectedViolation, entry: InventoryEntry | null): void {
    const reported = violation.pod;
    const pod = reported === null ? null : attributedPod(reported, entry, this.#now);
    const { matches, complete } = this.#rules.matchRules(violation, node.name, pod, entry !== null);
    state.identity = violation.identity ?? null;
    state.kind = violation.kind;
    state.vectorNumber = this.#rules.vectorNumber(violation.vector, node.name);
    state.vector = this.#rules.vectorOf(state.vectorNumber, violation.vector);
    state.action = violation.action;
    state.state = violation.state;
    state.severity = violation.severity;
    state.operation = violation.operation?.operation ?? '';
    state.ownerUid = reported?.ownerUid ?? '';
    state.entry = entry;
    state.pod = pod === null ? null : toVerdictPod(pod);
    state.matches = matches;
    // Not cached: matches that may change at the next violation, because a rule was full or the
    // owner is not listed yet.
    const isLasting = complete && (reported === null || (entry !== null && reported.ownerUid === pod?.ownerUid));
    state.ruleSetNumber = isLasting ? this.#rules.ruleSetNumber : 0;
  }

  #refuse(reason: RefusalReason, position: FramePosition, indexes: readonly number[], detail: string): void {
    this.counted.refused++;
    const { node, sequence, timestampMicros } = position;
    const hasLetter = this.#shares.refuse(node, reason === 'unproven-pod');
    this.#onRefusal({ reason, node, sequence, timestampMicros, indexes, detail, hasLetter });
  }
}

function addRefused(refused: Refused, index: number, { reason, detail }: Rejection): void {
  const same = refused.get(reason);
  if (same) same.indexes.push(index);
  else refused.set(reason, { indexes: [index], detail });
}
