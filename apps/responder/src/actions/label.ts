/**
 * label: sets the verdict's level as a pod label for selectors, dashboards and network policies.
 *
 * The level of a pod only rises: verdicts of one frame patch the label in parallel, so a patch
 * applies only to the version of the pod that it was decided for.
 */

import { patchPod } from '@bailiff/kube';
import { LEVELS } from '@bailiff/policy';
import { isSamePod, type PodFacts, VERDICT_ID, VERDICT_LABEL } from '@bailiff/response';
import type { Verdict } from '@bailiff/schemas';
import { type Action, DONE, markOf, type Outcome, POD_GONE, SUPERSEDED } from './action.ts';
import { isKube, readPod } from './api.ts';
import { unmark } from './unmark.ts';

/**
 * Patches with a version as precondition. After them the patch has none: a tenant that changes its pod
 * without pause must not hold up the steps after the label.
 */
export const MAX_VERSIONED = 5;

export const label: Action = {
  tookEffect({ task, verdict, facts }) {
    return facts.pod?.labels[VERDICT_LABEL] === verdict.level && facts.pod.annotations[VERDICT_ID] === markOf(task);
  },

  async carryOut({ task, verdict, facts, api }) {
    let pod = facts.pod as PodFacts;
    for (let patches = 1; !isHigher(pod, verdict); patches++) {
      const { resourceVersion } = pod;
      try {
        await patchPod(api, pod, {
          labels: { [VERDICT_LABEL]: verdict.level },
          annotations: { [VERDICT_ID]: markOf(task) },
          ...(patches <= MAX_VERSIONED ? { resourceVersion } : {}),
        });
        return DONE;
      } catch (error) {
        if (!isKube(error, 'KUBE_CONFLICT') || patches > MAX_VERSIONED) throw error;
        const current = await readPod(api, pod);
        if (current?.uid !== pod.uid) throw error;
        pod = current;
      }
    }
    return higher(pod);
  },

  async undo({ done, api }) {
    const pod = await readPod(api, { namespace: done.podNamespace, name: done.podName });
    if (!pod || !isSamePod(pod, done.podUid, done.nodeName)) return POD_GONE;
    if (pod.annotations[VERDICT_ID] !== markOf(done)) return SUPERSEDED;
    // With the version that was read, so a label of a later verdict is not removed.
    return unmark(api, pod, {
      labels: { [VERDICT_LABEL]: null },
      annotations: { [VERDICT_ID]: null },
      resourceVersion: pod.resourceVersion,
    });
  },
};

const levelOf = (text: string | undefined): number => LEVELS.findIndex((level) => level === text);

function isHigher({ labels }: PodFacts, { level }: Pick<Verdict, 'level'>): boolean {
  return levelOf(labels[VERDICT_LABEL]) > levelOf(level);
}

function higher({ labels }: PodFacts): Outcome {
  return { reasonCode: 'higher-level', reason: `the pod has the level ${labels[VERDICT_LABEL]}`, isForeign: true };
}
