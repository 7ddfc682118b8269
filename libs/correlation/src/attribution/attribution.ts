/**
 * Pod attribution: decides whether a node may report on a pod, and from which time, and rejects
 * frames that no collector writes before any violation is counted. Pure.
 *
 * A node may report only on pods of its own list, now or within FORMER_POD_MICROS. Anything else
 * becomes a dead letter. `foreign-pod` is proven false by a list that names the pod, elsewhere or under
 * another name, and counts against the node; `unproven-pod` cannot be decided and does not. No list names
 * a pod that a tenant started and removed by force while no ipam-sync ran, and lists can be late: a missing
 * pod proves nothing about the node. A replayed report that has a dead letter is refused
 * again, whatever the lists are now. One that is older than the lists and has none was accepted, for
 * pod and node only. Where letters may be missing, it is refused.
 */
import type { ProjectedFrame, ProjectedPod, VerdictPod, ViolationFrame } from '@bailiff/schemas';
import { FORMER_POD_MICROS, POD_GRACE_MICROS, SETTLE_MICROS } from '../windows/time.ts';
import type { InventoryEntry, PodInventory } from './pod-inventory.ts';

/** Why a frame or some of its violations were rejected: the reason of the dead letter. */
export type RefusalReason =
  /** A list names the pod, on another node or under another name. Counts against the node. */
  | 'foreign-pod'
  /** No list proves to which node the pod belongs. Does not count against the node. */
  | 'unproven-pod'
  /** The frame names another node than its subject. */
  | 'foreign-node'
  /** A field has a value that no collector writes. */
  | 'invalid-violation'
  /** A string or a list exceeds its limit, which no collector does. Counts against the node. */
  | 'field-too-long';

export interface Attribution {
  /** `accepted-before`: no list proves it, but it was accepted when its frame was new. */
  outcome: 'listed' | 'accepted-before' | 'foreign-pod' | 'unproven-pod';
  /**
   * Stream time from which it holds. If it is later than the frame, the violation waits until then;
   * the outcome may change.
   */
  atMicros: number;
  /** Of outcome `listed`. */
  entry: InventoryEntry | null;
  /** One sentence for a person; empty if accepted. */
  detail: string;
}

/** Refusals that the dead letters of VIOLATIONS document. */
export interface RefusalLookup {
  /** Frames that the bus stored up to this time may have been decided before. */
  readonly untilMicros: number;
  /** Reason of the dead letter of a violation. */
  letterOf(sequence: number, index: number): string | undefined;
  /** Why a violation was refused, or is because its letter may be missing; undefined = it was not. */
  reasonOf(report: ReportPlace): string | undefined;
}

export const NO_PRIOR_REFUSALS: RefusalLookup = {
  untilMicros: 0,
  letterOf: () => undefined,
  reasonOf: () => undefined,
};

/** A report is decided at most this long after its frame. */
export const UNDECIDED_MICROS = POD_GRACE_MICROS + SETTLE_MICROS;

const listed = (entry: InventoryEntry, atMicros: number): Attribution => ({
  outcome: 'listed',
  atMicros,
  entry,
  detail: '',
});
const refused = (outcome: 'foreign-pod' | 'unproven-pod', atMicros: number, detail: string): Attribution => ({
  outcome,
  atMicros,
  entry: null,
  detail,
});

/** A violation in the stream. */
export interface ReportPlace {
  node: string;
  /** Stream sequence of the frame. */
  sequence: number;
  /** Index of the violation in the frame. */
  index: number;
  /** When the bus stored the frame. */
  timestampMicros: number;
}

/** A violation's statement that a pod runs on a node. */
export interface PodReport extends ReportPlace {
  /** Stream time of the frame: later if the clock of the bus was set back. Absent: when the bus stored it. */
  streamMicros?: number;
  pod: Pick<ProjectedPod, 'uid' | 'namespace' | 'name'>;
}

/** The earlier refusal of a replayed report; null if it has no dead letter. */
export function letterOf(
  priorRefusals: RefusalLookup,
  { sequence, index, timestampMicros }: Omit<ReportPlace, 'node'>,
): 'foreign-pod' | 'unproven-pod' | null {
  if (timestampMicros > priorRefusals.untilMicros) return null;
  const reason = priorRefusals.letterOf(sequence, index);
  return reason === 'foreign-pod' || reason === 'unproven-pod' ? reason : null;
}

/** Attributes a report by the current inventory. */
export function attributePod(inventory: PodInventory, priorRefusals: RefusalLookup, report: PodReport): Attribution {
  const { node, pod, timestampMicros: storedMicros, streamMicros: frameMicros = storedMicros } = report;
  const letter = letterOf(priorRefusals, report);
  if (letter !== null) return refused(letter, frameMicros, `pod ${pod.uid} was refused before`);
  const deadline = frameMicros + UNDECIDED_MICROS;
  const entries = inventory.entriesOf(pod.uid);
  const own = entries.find((entry) => entry.node === node);
  if (own && own.settledAt <= deadline) {
    const at = Math.max(frameMicros, own.settledAt);
    if (own.namespace !== pod.namespace || own.name !== pod.name) {
      const reported = `${pod.namespace}/${pod.name}`;
      return refused('foreign-pod', at, `pod ${pod.uid} is ${own.namespace}/${own.name}, not ${reported}`);
    }
    if (own.until + FORMER_POD_MICROS >= storedMicros) return listed(own, at);
    return refused('unproven-pod', at, `pod ${pod.uid} left ${node} more than ten minutes before`);
  }
  const other = entries.find((entry) => entry.node !== node && entry.settledAt <= deadline);
  if (other) {
    const at = Math.max(frameMicros, other.settledAt);
    return refused('foreign-pod', at, `pod ${pod.uid} is on ${other.node}, not on ${node}`);
  }
  return attributeUnlisted(inventory, priorRefusals, report, deadline);
}

/** Attributes a pod that is on no list. */
function attributeUnlisted(
  inventory: PodInventory,
  priorRefusals: RefusalLookup,
  report: PodReport,
  deadline: number,
): Attribution {
  const { node, pod, timestampMicros: storedMicros, streamMicros: frameMicros = storedMicros } = report;
  const completeSince = inventory.completeSince(node);
  const isComplete = completeSince !== null && completeSince <= Math.max(0, storedMicros - FORMER_POD_MICROS);
  if (isComplete) return refused('unproven-pod', deadline, `no list names pod ${pod.uid}`);
  if (storedMicros <= priorRefusals.untilMicros) {
    const reason = priorRefusals.reasonOf(report);
    if (reason === 'foreign-pod' || reason === 'unproven-pod') {
      return refused(reason, frameMicros, `pod ${pod.uid} was refused before, or may have been`);
    }
    return { outcome: 'accepted-before', atMicros: frameMicros, entry: null, detail: '' };
  }
  const why =
    completeSince === null ? `there is no list of ${node}` : `the list of ${node} is known for too short a time`;
  return refused('unproven-pod', deadline, `no list names pod ${pod.uid}, and ${why}`);
}

/** Whether a node may still report on a pod that was on its list. @param nowMicros time of the bus */
export const mayReport = (entry: InventoryEntry, nowMicros: number): boolean =>
  entry.listed || nowMicros <= entry.until + FORMER_POD_MICROS;

/** The reported pod with the names of the list. The owner stays only if the list has it as well. */
export function attributedPod(reported: ProjectedPod, entry: InventoryEntry | null, nowMicros: number): ProjectedPod {
  if (entry === null) return { ...reported, ownerKind: '', ownerName: '', ownerUid: '' };
  const { uid, namespace, name } = entry;
  const settled = entry.owners.get(reported.ownerUid);
  if (settled !== undefined && settled <= nowMicros) return { ...reported, uid, namespace, name };
  return { ...reported, uid, namespace, name, ownerKind: '', ownerName: '', ownerUid: '' };
}

export function toVerdictPod({ uid, namespace, name, ownerKind, ownerName, ownerUid }: ProjectedPod): VerdictPod {
  return { uid, namespace, name, ownerKind, ownerName, ownerUid };
}

export interface Rejection {
  reason: RefusalReason;
  /** One sentence for a person. */
  detail: string;
}
type CheckedFrame = ProjectedFrame | ViolationFrame;

const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** Why a frame is refused as a whole; null if it is not. @param node of its subject */
export function frameRefusal(node: string, frame: CheckedFrame): Rejection | null {
  if (frame.nodeName !== node)
    return { reason: 'foreign-node', detail: `the frame names node ${JSON.stringify(frame.nodeName)}` };
  const problem = frameProblem(frame);
  return problem === null ? null : { reason: 'invalid-violation', detail: problem };
}

/** Describes the first invalid field of a frame; null if it is valid. */
function frameProblem(frame: CheckedFrame): string | null {
  if (frame.frameSequence < 0) return 'frameSequence is negative';
  const { violations } = frame;
  for (let i = 0; i < violations.length; i++) {
    const v = violations[i]!;
    // Negative values would make the exact sums wrong.
    if (v.cumulativePackets < 0 || v.count < 0 || v.suppressed < 0) return `violations.${i} has a negative count`;
    if (v.counterEpoch === '') return `violations.${i}.counterEpoch`;
  }
  return null;
}

/** The first invalid name of a pod, or null. Names become tokens of subjects. */
export function podProblem(pod: { uid: string; namespace: string; name: string }): string | null {
  if (pod.uid === '') return 'uid';
  if (!NAME.test(pod.namespace)) return 'namespace';
  return NAME.test(pod.name) ? null : 'name';
}
