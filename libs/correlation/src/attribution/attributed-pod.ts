/**
 * The pod of an attributed violation, with the names that the pod list proves. Pure; runs for each
 * violation.
 */
import type { ProjectedPod, VerdictPod } from '@bailiff/schemas';
import { FORMER_POD_MICROS } from '../windows/time.ts';
import type { InventoryEntry } from './pod-inventory.ts';

/** Whether a node may still report on a pod that was on its list. */
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
