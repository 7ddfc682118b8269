/** What a decoded frame must satisfy beyond its schema and its limits before anything of it is counted. Pure. */
import type { JudgedFrame, JudgedPod } from '@bailiff/schemas';

const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
/** What is wrong with a frame, or null. */
export function frameProblem(frame: JudgedFrame): string | null {
  if (frame.frameSequence < 0) return 'frameSequence is negative';
  const { violations } = frame;
  for (let i = 0; i < violations.length; i++) {
    const v = violations[i]!;
    // Sums stay exact: no single violation may bring more than a counter can hold.
    if (v.cumulativePackets < 0 || v.count < 0 || v.suppressed < 0) return `violations.${i} has a negative count`;
    if (v.counterEpoch === '') return `violations.${i}.counterEpoch`;
  }
  return null;
}

/** What is wrong with the name of a pod, or null: names become parts of subjects. */
export function podProblem(pod: JudgedPod): string | null {
  if (pod.uid === '') return 'uid';
  if (!NAME.test(pod.namespace)) return 'namespace';
  return NAME.test(pod.name) ? null : 'name';
}
