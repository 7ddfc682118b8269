/**
 * Checks of a decoded frame beyond its schema and limits, before any violation is counted. Pure.
 */
import type { ProjectedFrame, ProjectedPod } from '@bailiff/schemas';

const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** Describes the first invalid field of a frame; null if it is valid. */
export function frameProblem(frame: ProjectedFrame): string | null {
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
export function podProblem(pod: ProjectedPod): string | null {
  if (pod.uid === '') return 'uid';
  if (!NAME.test(pod.namespace)) return 'namespace';
  return NAME.test(pod.name) ? null : 'name';
}
