/**
 * May this node speak of this pod? Pure: members, a claim and times in, an answer and the time from which it holds out.
 *
 * A frame may name only pods that its own node's list has, now or within FORMER_POD_MICROS. What is refused is a claim, never silently
 * dropped: `foreign` is a lie that can be shown (another node's pod, another pod's name, a pod nobody lists although the list is
 * known without a gap) and counts against the node; `unproven` cannot be shown either way (no list, a list with a gap, a pod that left long ago)
 * and blames nobody.
 *
 * Lists are not in the VIOLATIONS stream and their history is not kept. A claim older than what this reader has seen of a list is judged as it was
 * judged then: its dead letter is the precedent, and where there is none it was accepted. So a replay gives what was given live, but it cannot
 * vouch for such a pod's owner and namespace: it counts for itself and its node alone.
 */
import type { JudgedPod } from '@bailiff/schemas';
import { FORMER_POD_MICROS, POD_GRACE_MICROS, SETTLE_MICROS } from '../windows/time.ts';
import type { Member, Members } from './pod-inventory.ts';

/** Why a frame or a part of it was not judged; the reason of its dead letter. */
export type RefusalReason =
  /** A pod that is not this node's; counts against the node. */
  | 'foreign-pod'
  /** A pod of which it cannot be shown whose it is; blames nobody. */
  | 'unproven-pod'
  /** The frame names another node than its subject. */
  | 'foreign-node'
  /** A field holds what no collector writes. */
  | 'invalid-violation'
  /** A string or a list is above its limit, which no collector writes; counts against the node. */
  | 'field-too-long';

export interface Standing {
  is: 'listed' | 'precedent' | 'foreign-pod' | 'unproven-pod';
  /** Stream time from which this holds; above the frame's time the claim has to wait, and may get another answer by then. */
  atMicros: number;
  /** Of `listed`. */
  member: Member | null;
  /** One sentence for a person; empty when accepted. */
  detail: string;
}

export interface Precedents {
  /** Up to this stream time others may have judged already. */
  readonly untilMicros: number;
  /** Why a violation was refused then; undefined = it was not. @param index of the violation in its frame */
  reasonOf(streamSequence: number, index: number): string | undefined;
}

export const NO_PRECEDENTS: Precedents = { untilMicros: 0, reasonOf: () => undefined };

const listed = (member: Member, atMicros: number): Standing => ({ is: 'listed', atMicros, member, detail: '' });
const refused = (is: 'foreign-pod' | 'unproven-pod', atMicros: number, detail: string): Standing => ({
  is,
  atMicros,
  member: null,
  detail,
});

/** What a node says of a pod, and where it stands in the stream. */
export interface Claim {
  node: string;
  pod: JudgedPod;
  /** Of the frame in the stream, and of the violation in the frame. */
  sequence: number;
  index: number;
  /** Stream time of the frame. */
  timestampMicros: number;
}

/** How a claim stands by what is known now. */
export function standingOf(members: Members, precedents: Precedents, claim: Claim): Standing {
  const { node, pod, timestampMicros: frameMicros } = claim;
  const deadline = frameMicros + POD_GRACE_MICROS + SETTLE_MICROS;
  const holders = members.of(pod.uid);
  const own = holders.find((member) => member.node === node);
  if (own && own.settledAt <= deadline) {
    const at = Math.max(frameMicros, own.settledAt);
    if (own.namespace !== pod.namespace || own.name !== pod.name) {
      const said = `${pod.namespace}/${pod.name}`;
      return refused('foreign-pod', at, `pod ${pod.uid} is ${own.namespace}/${own.name}, not ${said}`);
    }
    if (own.until + FORMER_POD_MICROS >= frameMicros) return listed(own, at);
    return refused('unproven-pod', at, `pod ${pod.uid} left ${node} more than ten minutes before`);
  }
  const other = holders.find((member) => member.node !== node && member.settledAt <= deadline);
  if (other) {
    const at = Math.max(frameMicros, other.settledAt);
    return refused('foreign-pod', at, `pod ${pod.uid} is on ${other.node}, not on ${node}`);
  }
  return ofNobody(members, precedents, claim, deadline);
}

/** A pod that no list names. */
function ofNobody(members: Members, precedents: Precedents, claim: Claim, deadline: number): Standing {
  const { node, pod, timestampMicros: frameMicros } = claim;
  const knownSince = members.knownSince(node);
  const known = knownSince !== null && knownSince <= Math.max(0, frameMicros - FORMER_POD_MICROS);
  if (known) return refused('foreign-pod', deadline, `no list names pod ${pod.uid}`);
  if (frameMicros <= precedents.untilMicros) {
    const reason = precedents.reasonOf(claim.sequence, claim.index);
    if (reason === 'foreign-pod' || reason === 'unproven-pod') {
      return refused(reason, frameMicros, `pod ${pod.uid} was refused before`);
    }
    return { is: 'precedent', atMicros: frameMicros, member: null, detail: '' };
  }
  const why = knownSince === null ? `there is no list of ${node}` : `the list of ${node} is known for too short a time`;
  return refused('unproven-pod', deadline, `no list names pod ${pod.uid}, and ${why}`);
}
