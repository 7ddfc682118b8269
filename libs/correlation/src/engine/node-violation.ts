/**
 * Violations by a node itself: it reported on a pod of another node, or sent an invalid frame.
 * Pure.
 */
import type { ProjectedViolation } from '@bailiff/schemas';

export type NodeVector = 'foreign-pod' | 'invalid-frame';

/** A violation that counts against a node. */
export function nodeViolation(nowMicros: number, vector: NodeVector): ProjectedViolation {
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
