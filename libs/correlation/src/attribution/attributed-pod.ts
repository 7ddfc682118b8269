/** Small questions about claims and members that the fold asks on its short way. Pure. */
import type { JudgedPod, JudgedViolation, VerdictPod } from '@bailiff/schemas';
import { COUNTER_SLOT_MICROS, FORMER_POD_MICROS } from '../windows/time.ts';
import type { Member } from './pod-inventory.ts';

/** Slot of stream time in which counters are remembered. */
export const slotOf = (micros: number): number => Math.floor(micros / COUNTER_SLOT_MICROS);

/** Whether a node may still speak of its member, for which it could speak before. */
export const isListed = (member: Member, nowMicros: number): boolean =>
  member.listed || nowMicros <= member.until + FORMER_POD_MICROS;

/** The claim with what somebody answers for: names as the list has them, the owner only when the list has it too. */
export function vouchedPod(claim: JudgedPod, member: Member | null, nowMicros: number): JudgedPod {
  if (member === null) return { ...claim, ownerKind: '', ownerName: '', ownerUid: '' };
  const { uid, namespace, name } = member;
  const settled = member.owners.get(claim.ownerUid);
  if (settled !== undefined && settled <= nowMicros) return { ...claim, uid, namespace, name };
  return { ...claim, uid, namespace, name, ownerKind: '', ownerName: '', ownerUid: '' };
}

export function toVerdictPod({ uid, namespace, name, ownerKind, ownerName, ownerUid }: JudgedPod): VerdictPod {
  return { uid, namespace, name, ownerKind, ownerName, ownerUid };
}

/** What a node can be blamed for. */
export type BlameVector = 'foreign-pod' | 'invalid-frame';

/** The violation that a node itself commits. */
export function claimViolation(nowMicros: number, vector: BlameVector): JudgedViolation {
  return {
    kind: 'spoof',
    vector,
    action: 'drop',
    state: 'unknown',
    counterEpoch: '',
    cumulativePackets: 1,
    count: 1,
    suppressed: 0,
    firstSeenAt: nowMicros,
    lastSeenAt: nowMicros,
    pod: null,
    sample: null,
    operation: null,
    severity: '',
  };
}
