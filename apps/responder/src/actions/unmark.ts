/** Removes the marks of a label or a quarantine from a pod. */
import { type KubeApi, patchPod } from '@bailiff/kube';
import type { PodFacts } from '@bailiff/response';
import { DONE, type Outcome } from './action.ts';
import { isKube } from './api.ts';

/**
 * The pod's author chooses its size, and an admission policy can refuse each change of a large
 * one: waiting does not end that, and the author could remove the marks.
 */
export async function unmark(api: KubeApi, pod: PodFacts, change: Parameters<typeof patchPod>[2]): Promise<Outcome> {
  try {
    await patchPod(api, pod, change);
    return DONE;
  } catch (error) {
    if (!isKube(error, 'KUBE_INVALID')) throw error;
    return { reasonCode: 'not-unmarked', reason: `the API server refuses this change of the pod: ${error.message}` };
  }
}
