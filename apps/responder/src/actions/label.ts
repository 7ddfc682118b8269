/**
 * label: sets the verdict's level as a pod label for selectors, dashboards and network policies.
 */

import { apiPath, patchPod } from '@bailiff/kube';
import { isSamePod, type PodFacts, VERDICT_ID, VERDICT_LABEL } from '@bailiff/response';
import { type Action, DONE, markOf, POD_GONE, SUPERSEDED } from './action.ts';
import { readPod } from './api.ts';

export const label: Action = {
  tookEffect({ task, verdict, facts }) {
    return facts.pod?.labels[VERDICT_LABEL] === verdict.level && facts.pod.annotations[VERDICT_ID] === markOf(task);
  },

  async carryOut({ task, verdict, facts, api }) {
    await patchPod(api, facts.pod as PodFacts, {
      labels: { [VERDICT_LABEL]: verdict.level },
      annotations: { [VERDICT_ID]: markOf(task) },
    });
    return DONE;
  },

  async undo({ done, api }) {
    const pod = await readPod(api, { namespace: done.podNamespace, name: done.podName });
    if (!pod || !isSamePod(pod, done.podUid)) return POD_GONE;
    if (pod.annotations[VERDICT_ID] !== markOf(done)) return SUPERSEDED;
    await api.request({
      verb: 'PATCH',
      path: apiPath`/api/v1/namespaces/${pod.namespace}/pods/${pod.name}`,
      body: {
        // With the version that was read, so a label of a later verdict is not removed.
        metadata: {
          uid: pod.uid,
          resourceVersion: pod.resourceVersion,
          labels: { [VERDICT_LABEL]: null },
          annotations: { [VERDICT_ID]: null },
        },
      },
    });
    return DONE;
  },
};
