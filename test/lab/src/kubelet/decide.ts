/**
 * Next step of the kubelet for one pod: a pure decision from the API server's state and the local
 * state.
 */
import type { LabPod } from './pod.ts';

/** Local state: no pod, a running pod, or a pod whose process ended. */
export type Local = 'absent' | 'running' | 'exited';

export type Step =
  | { do: 'nothing' }
  /** Create the sandbox and report Running. */
  | { do: 'start' }
  /** Remove the sandbox; the API server no longer has the pod. */
  | { do: 'stop'; graceMs: number }
  /** Remove the sandbox, then confirm the deletion to the API server. */
  | { do: 'stop-and-confirm'; graceMs: number }
  /** Remove the sandbox and report Failed: containers of the lab never exit by themselves. */
  | { do: 'fail' };

/** A pod that disappears without a deletion (forced) gets no grace period. */
const FORCED_GRACE_MS = 0;

/** @param pod null if the API server does not have it */
export function decide(pod: LabPod | null, local: Local): Step {
  if (!pod) return local === 'absent' ? { do: 'nothing' } : { do: 'stop', graceMs: FORCED_GRACE_MS };
  // Applies without a local pod too: only the node can confirm the deletion of an unstarted pod.
  if (pod.deletionGraceSeconds !== null) return { do: 'stop-and-confirm', graceMs: pod.deletionGraceSeconds * 1000 };
  if (pod.phase === 'Failed' || pod.phase === 'Succeeded') {
    return local === 'absent' ? { do: 'nothing' } : { do: 'stop', graceMs: FORCED_GRACE_MS };
  }
  if (local === 'exited') return { do: 'fail' };
  return local === 'absent' ? { do: 'start' } : { do: 'nothing' };
}
