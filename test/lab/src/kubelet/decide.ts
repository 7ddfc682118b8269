/** What a kubelet does next about one pod: a pure decision from what the API server says and what runs here. */
import type { LabPod } from './pod.ts';

/** What is here: nothing, a running pod, or one whose process ended by itself. */
export type Local = 'absent' | 'running' | 'exited';

export type Step =
  | { do: 'nothing' }
  /** Make the sandbox and report Running. */
  | { do: 'start' }
  /** Take it away; the API server does not hold the pod any more. */
  | { do: 'stop'; graceMs: number }
  /** Take it away, then tell the API server that the pod is gone. */
  | { do: 'stop-and-confirm'; graceMs: number }
  /** Take it away and report Failed: no container of the lab ends by itself. */
  | { do: 'fail' };

/** A pod that vanished from the API server without a deletion (forced) gets no time. */
const FORCED_GRACE_MS = 0;

/** @param pod null when the API server does not know it (any more) */
export function decide(pod: LabPod | null, local: Local): Step {
  if (!pod) return local === 'absent' ? { do: 'nothing' } : { do: 'stop', graceMs: FORCED_GRACE_MS };
  // Also when nothing runs here: a pod may be deleted before it was started, and only its node can confirm.
  if (pod.deletionGraceSeconds !== null) return { do: 'stop-and-confirm', graceMs: pod.deletionGraceSeconds * 1000 };
  if (pod.phase === 'Failed' || pod.phase === 'Succeeded') {
    return local === 'absent' ? { do: 'nothing' } : { do: 'stop', graceMs: FORCED_GRACE_MS };
  }
  if (local === 'exited') return { do: 'fail' };
  return local === 'absent' ? { do: 'start' } : { do: 'nothing' };
}
