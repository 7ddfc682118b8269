/**
 * The fold: frames of violations in, in the order of the stream; verdicts out. Pure: no clock, no I/O, no randomness.
 *
 * Place in the path: VIOLATIONS → (correlator | replay | backtest | simulation) → fold.ts → VERDICTS.
 *
 * Invariants. What is said at a frame is a function of the VIOLATIONS stream up to it, of CONFIG_LOG and the pods' lists up to
 * SETTLE_MICROS before it, and of nothing earlier than `warmUpMicros` (replay-plan.ts): each kind of memory here forgets by stream time. Hence
 * a fold that began a warm-up ago says, from there on, what one that never stopped says, verdict for verdict; a crash at any
 * point followed by a start, and any number of replicas, give one set of verdicts. A fold that began later may say less or more; its
 * caller does not publish what it says before it is warm. (What foreign.ts says of old claims is the exception, described there.)
 * A verdict is given once for a group in a cooldown epoch, at the violation that crosses the threshold first. Duplicates, resends and gaps change
 * nothing, because counters are cumulative (counters.ts). Stream time never falls.
 * Bounds: those of node-state.ts, bench.ts, parking.ts and members.ts.
 */
import type { JudgedFrame, JudgedPod, JudgedViolation } from '@bailiff/schemas';
import { isListed, slotOf, toVerdictPod, vouchedPod } from '../attribution/attributed-pod.ts';
import {
  NO_PRECEDENTS,
  type Precedents,
  type RefusalReason,
  type Standing,
  standingOf,
} from '../attribution/attribution.ts';
import { type ParkedViolation, Parking } from '../attribution/pending-violations.ts';
import type { Member, Members } from '../attribution/pod-inventory.ts';
import { DUPLICATE } from '../counting/counters.ts';
import { type Epoch, type NodeState, NodeStates } from '../counting/node-state.ts';
import { eventTimeMicros, SWEEP_MICROS } from '../windows/time.ts';
import { frameProblem, podProblem } from './frame-check.ts';
import { Bench, type BenchOptions, type Occurrence } from './rule-engine.ts';

/** Where a frame stands in the stream. */
export interface FramePlace {
  sequence: number;
  /** When the bus stored it. */
  timestampMicros: number;
  /** As its subject says. */
  node: string;
}

/** A frame, or some of its violations, that was not judged. */
export interface Refusal extends FramePlace {
  reason: RefusalReason;
  /** Of the violations in the frame; empty = all of it. */
  indexes: readonly number[];
  /** One sentence for a person. */
  detail: string;
}

export interface FoldOptions extends BenchOptions {
  members: Members;
  precedents?: Precedents;
  onRefusal?(refusal: Refusal): void;
}

export class Fold {
  readonly #members: Members;
  readonly #precedents: Precedents;
  readonly #onRefusal: (refusal: Refusal) => void;
  readonly #bench: Bench;
  readonly #nodes = new NodeStates();
  readonly #parking = new Parking();
  /** By the numbers of origins, as many as there are; an epoch says itself whether it is that of one. */
  readonly #ofOrigin: (Epoch | undefined)[] = [];
  /** Filled anew for each violation: one object for all of them. */
  readonly #of: Occurrence = { sequence: 0, nodeName: '', vector: 0, pod: null };
  #now = 0;
  #slot = 0;
  #nextSweep = 0;
  /** Since the beginning: violations judged, duplicates among them, packets they added, claims refused, and the like. */
  readonly counted = { violations: 0, duplicates: 0, packets: 0, refused: 0, epochsRefused: 0, shifted: 0 };

  constructor(options: FoldOptions) {
    this.#members = options.members;
    this.#precedents = options.precedents ?? NO_PRECEDENTS;
    this.#onRefusal = options.onRefusal ?? (() => undefined);
    this.#bench = new Bench(options);
  }

  /** How much is remembered now, and what found no room since the beginning. */
  get size() {
    return { nodes: this.#nodes.size, epochs: this.#nodes.epochs, parked: this.#parking.size, ...this.#bench.size };
  }

  /** Stream time. */
  get nowMicros(): number {
    return this.#now;
  }

  /** Stream time at which a waiting violation leaves, by what is known; null when none waits. See `advance`. */
  nextDeadlineMicros(): number | null {
    return this.#parking.nextMicros(this.#members.version, this.#standing);
  }

  /** Folds the next frame. The rule book and the members must be complete up to SETTLE_MICROS before it. */
  frame(place: FramePlace, frame: JudgedFrame): void {
    this.advance(place.timestampMicros);
    if (frame.nodeName !== place.node) {
      this.#refuse('foreign-node', place, [], `the frame says it is of ${JSON.stringify(frame.nodeName)}`);
      this.#bench.blame(place.node, place.sequence, 0);
      return;
    }
    const problem = frameProblem(frame);
    if (problem !== null) {
      this.#refuse('invalid-violation', place, [], problem);
      return;
    }
    const node = this.#nodes.enter(place.node, this.#slot);
    const { violations, frameSequence } = frame;
    let refused: Map<RefusalReason, { indexes: number[]; detail: string }> | null = null;
    for (let index = 0; index < violations.length; index++) {
      const violation = violations[index] as JudgedViolation;
      const { pod } = violation;
      const epoch = this.#epochOf(node, violation);
      const vouching = pod === null || epoch === undefined ? null : vouchingFor(epoch, violation, pod);
      if (pod === null || (vouching !== null && isListed(vouching, this.#now))) {
        this.#judge(node, epoch, violation, index, frameSequence, place.sequence, this.#now, vouching);
        continue;
      }
      const { sequence } = place;
      const parked = { node: node.name, sequence, timestampMicros: this.#now, frameSequence, index, violation };
      const refusal = this.#admit(parked);
      if (refusal === null) continue;
      refused ??= new Map();
      const same = refused.get(refusal.reason);
      if (same) same.indexes.push(index);
      else refused.set(refusal.reason, { indexes: [index], detail: refusal.detail });
    }
    for (const [reason, { indexes, detail }] of refused ?? []) this.#refuse(reason, place, indexes, detail);
  }

  /**
   * The next message is a frame with a string or list above its limit (SchemaError FIELD_TOO_LONG), which no collector writes: it is refused as a
   * whole and counted against its node. The rule book and the members as for `frame`.
   */
  invalid(place: FramePlace, detail: string): void {
    this.advance(place.timestampMicros);
    this.#refuse('field-too-long', place, [], detail);
    this.#bench.blame(place.node, place.sequence, 0, 'invalid-frame');
  }

  /**
   * Moves stream time on where no frame does: lets waiting violations go, and idle memory. To be called for `nextDeadlineMicros` when the
   * bus is known to hold no earlier frame and the members are complete up to SETTLE_MICROS before it.
   */
  advance(timeMicros: number): void {
    if (this.#parking.size > 0) this.#release(Math.max(timeMicros, this.#now));
    this.#moveTo(timeMicros);
    if (this.#now < this.#nextSweep) return;
    this.#nextSweep = (Math.floor(this.#now / SWEEP_MICROS) + 1) * SWEEP_MICROS;
    this.#bench.sweep();
    this.#nodes.sweep(this.#slot);
  }

  #moveTo(timeMicros: number): void {
    if (timeMicros > this.#now) {
      this.#now = timeMicros;
      this.#slot = slotOf(timeMicros);
    }
    this.#bench.advance(this.#now);
  }

  readonly #standing = (parked: ParkedViolation): Standing =>
    standingOf(this.#members, this.#precedents, {
      node: parked.node,
      pod: parked.violation.pod as JudgedPod,
      sequence: parked.sequence,
      index: parked.index,
      timestampMicros: parked.timestampMicros,
    });

  /** The counter of a violation, by its origin where that was seen before. */
  #epochOf(node: NodeState, violation: JudgedViolation): Epoch | undefined {
    const { origin } = violation;
    if (origin === undefined || origin.number < 0) return node.epochOf(violation);
    const known = this.#ofOrigin[origin.number];
    if (known !== undefined && known.origin === origin && known.node === node) return known;
    const found = node.epochOf(violation);
    // Without holes, with which looking up takes far longer.
    while (this.#ofOrigin.length <= origin.number) this.#ofOrigin.push(undefined);
    this.#ofOrigin[origin.number] = found;
    return found;
  }

  /** The long way for a claim that is new: judges it, lets it wait, or answers why it is refused. */
  #admit(parked: ParkedViolation): { reason: RefusalReason; detail: string } | null {
    const problem = podProblem(parked.violation.pod as JudgedPod);
    if (problem !== null) return { reason: 'invalid-violation', detail: `violations.${parked.index}.pod.${problem}` };
    const standing = this.#standing(parked);
    if (standing.atMicros <= this.#now) return this.#settle(parked, standing);
    if (this.#parking.park(parked, standing)) return null;
    return { reason: 'unproven-pod', detail: 'too many violations wait for their pods to be listed' };
  }

  #settle(parked: ParkedViolation, standing: Standing): { reason: RefusalReason; detail: string } | null {
    const { is, member, detail } = standing;
    const { sequence, timestampMicros, frameSequence, index, violation } = parked;
    if (is === 'listed' || is === 'precedent') {
      const node = this.#nodes.enter(parked.node, this.#slot);
      const epoch = node.epochOf(violation);
      this.#judge(node, epoch, violation, index, frameSequence, sequence, timestampMicros, member);
      return null;
    }
    if (is === 'foreign-pod') this.#bench.blame(parked.node, sequence, index);
    return { reason: is, detail };
  }

  #release(timeMicros: number): void {
    for (const { parked, standing } of this.#parking.release(timeMicros, this.#members.version, this.#standing)) {
      this.#moveTo(standing.atMicros);
      const refusal = this.#settle(parked, standing);
      if (refusal) this.#refuse(refusal.reason, parked, [parked.index], refusal.detail);
    }
  }

  /** @param frameMicros stream time of the violation's frame */
  #judge(
    node: NodeState,
    found: Epoch | undefined,
    violation: JudgedViolation,
    index: number,
    frameSequence: number,
    sequence: number,
    frameMicros: number,
    member: Member | null,
  ): void {
    const epoch = found ?? node.add(violation);
    const own = violation.count + violation.suppressed;
    const { counter } = epoch;
    let packets = Math.min(own, violation.cumulativePackets);
    if (counter !== null) packets = counter.observe(this.#slot, violation.cumulativePackets, own, frameSequence);
    else this.counted.epochsRefused++;
    this.counted.violations++;
    if (packets === DUPLICATE) {
      this.counted.duplicates++;
      return;
    }
    this.counted.packets += packets;
    const time = eventTimeMicros(frameMicros, violation.lastSeenAt);
    if (time !== violation.lastSeenAt) this.counted.shifted++;
    if (epoch.hitsFor !== this.#bench.setNumber || !isAsFound(epoch, violation, member)) {
      this.#find(node, epoch, violation, member);
    }
    const of = this.#of;
    of.sequence = sequence;
    of.nodeName = node.name;
    of.vector = epoch.vectorNumber;
    of.pod = epoch.pod;
    this.#bench.count(epoch.hits, time, packets, violation, index, of);
  }

  #find(node: NodeState, epoch: Epoch, violation: JudgedViolation, member: Member | null): void {
    const claim = violation.pod;
    const pod = claim === null ? null : vouchedPod(claim, member, this.#now);
    const { hits, complete } = this.#bench.find(violation, node.name, pod, member !== null);
    epoch.origin = violation.origin ?? null;
    epoch.kind = violation.kind;
    epoch.vectorNumber = this.#bench.vectorNumber(violation.vector, node.name);
    epoch.vector = this.#bench.vectorOf(epoch.vectorNumber, violation.vector);
    epoch.action = violation.action;
    epoch.state = violation.state;
    epoch.severity = violation.severity;
    epoch.operation = violation.operation?.operation ?? '';
    epoch.ownerUid = claim?.ownerUid ?? '';
    epoch.member = member;
    epoch.pod = pod === null ? null : toVerdictPod(pod);
    epoch.hits = hits;
    // What may have another answer at the next violation is not kept: a rule without room, an owner whom no list has yet.
    const lasting = complete && (claim === null || (member !== null && claim.ownerUid === pod?.ownerUid));
    epoch.hitsFor = lasting ? this.#bench.setNumber : 0;
  }

  #refuse(reason: RefusalReason, place: FramePlace, indexes: readonly number[], detail: string): void {
    this.counted.refused++;
    const { node, sequence, timestampMicros } = place;
    this.#onRefusal({ reason, node, sequence, timestampMicros, indexes, detail });
  }
}

/** Who answers for a violation's pod, by whom its epoch's windows were found for; null when that is another. */
function vouchingFor({ origin, member }: Epoch, violation: JudgedViolation, pod: JudgedPod): Member | null {
  if (member === null || (origin !== null && origin === violation.origin)) return member;
  return member.uid === pod.uid && member.namespace === pod.namespace && member.name === pod.name ? member : null;
}

/** Whether a violation is what its epoch's windows were found for. A member stands for a pod's uid. */
function isAsFound(epoch: Epoch, violation: JudgedViolation, member: Member | null): boolean {
  if (epoch.member !== member || epoch.severity !== violation.severity) return false;
  if (epoch.operation !== (violation.operation === null ? '' : violation.operation.operation)) return false;
  if (epoch.origin !== null && epoch.origin === violation.origin) return true;
  const { pod } = violation;
  return (
    epoch.vector === violation.vector &&
    epoch.kind === violation.kind &&
    epoch.action === violation.action &&
    epoch.state === violation.state &&
    epoch.ownerUid === (pod === null ? '' : pod.ownerUid)
  );
}
