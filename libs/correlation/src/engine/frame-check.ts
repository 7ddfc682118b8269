/**
 * Checks of a decoded frame beyond its schema and limits, before any violation is counted. Pure.
 */
import type { ProjectedFrame, ViolationFrame } from '@bailiff/schemas';
import type { RefusalReason } from '../attribution/attribution.ts';

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
export function frameProblem(frame: CheckedFrame): string | null {
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
