/**
 * The cache in a counter's state: inventory entry and rule matches of its last violation. These
 * functions decide whether it still holds, so that most violations skip attribution and rule match.
 */
import type { ProjectedPod, ProjectedViolation } from '@bailiff/schemas';
import type { InventoryEntry } from '../attribution/pod-inventory.ts';
import type { CounterState } from '../counting/node-state.ts';

/** The inventory entry cached with the counter; null if the violation reports another pod. */
export function cachedEntry(
  { identity, entry }: CounterState,
  violation: ProjectedViolation,
  pod: ProjectedPod,
): InventoryEntry | null {
  if (entry === null || (identity !== null && identity === violation.identity)) return entry;
  return entry.uid === pod.uid && entry.namespace === pod.namespace && entry.name === pod.name ? entry : null;
}

/** Whether the cached rule matches hold for a violation. The inventory entry identifies the pod. */
export function isUnchanged(state: CounterState, violation: ProjectedViolation, entry: InventoryEntry | null): boolean {
  if (state.entry !== entry || state.severity !== violation.severity) return false;
  if (state.operation !== (violation.operation === null ? '' : violation.operation.operation)) return false;
  if (state.identity !== null && state.identity === violation.identity) return true;
  const { pod } = violation;
  return (
    state.vector === violation.vector &&
    state.kind === violation.kind &&
    state.action === violation.action &&
    state.state === violation.state &&
    state.ownerUid === (pod === null ? '' : pod.ownerUid)
  );
}
