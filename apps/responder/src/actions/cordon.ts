/**
 * cordon: makes the node unschedulable. An annotation marks Bailiff's cordon, so that undo leaves
 * the cordons of other users alone. It has the end too: of the verdicts that cordon a node, the one
 * whose cordon lasts longest owns it. Tenants cause verdicts about pods, whose cordons expire.
 */

import { apiPath, getObject } from '@bailiff/kube';
import { CORDONED_BY, type NodeFacts, nodeFactsOf } from '@bailiff/response';
import { type Action, type ActionContext, DONE, markOf, type Outcome, SUPERSEDED } from './action.ts';

const NODE_GONE: Outcome = { reasonCode: 'node-gone', reason: 'the node is gone' };

const OF_OTHERS: Outcome = {
  reasonCode: 'already-cordoned',
  reason: 'another client has cordoned the node since, which Bailiff does not uncordon',
};

const LONGER: Outcome = {
  reasonCode: 'cordoned-longer',
  reason: 'another verdict keeps the node cordoned at least as long',
  isForeign: true,
};

/** Whether the mark of the node, `<verdict>/<policy>[/<end>]`, is that of the task. */
function isMarkedBy(task: Parameters<typeof markOf>[0], { annotations }: NodeFacts): boolean {
  return annotations[CORDONED_BY]?.split('/', 2).join('/') === markOf(task);
}

/** A mark without an end is that of a cordon that does not expire. */
function endMsOf(mark: string): number {
  const [, , end] = mark.split('/');
  return end === undefined ? Number.POSITIVE_INFINITY : Date.parse(end);
}

export const cordon: Action = {
  tookEffect({ task, facts: { node } }) {
    return node?.unschedulable === true && isMarkedBy(task, node);
  },

  async carryOut({ task, facts, api, expiresAtMicros }) {
    const node = facts.node as NodeFacts;
    const mark = node.annotations[CORDONED_BY];
    const endMs = expiresAtMicros === null ? Number.POSITIVE_INFINITY : Math.floor(expiresAtMicros / 1000);
    if (node.unschedulable && mark !== undefined && !isMarkedBy(task, node) && endMsOf(mark) >= endMs) return LONGER;
    const end = expiresAtMicros === null ? '' : `/${new Date(endMs).toISOString()}`;
    await patchNode(api, node, `${markOf(task)}${end}`);
    return DONE;
  },

  async undo({ done, api }) {
    const body = await getObject(api, apiPath`/api/v1/nodes/${done.nodeName}`);
    if (body === null) return NODE_GONE;
    const node = nodeFactsOf(body);
    if (node.unschedulable && node.annotations[CORDONED_BY] === undefined) return OF_OTHERS;
    if (!isMarkedBy(done, node)) return SUPERSEDED;
    await patchNode(api, node, null);
    return DONE;
  },
};

/**
 * Patches with the version that was read, so a concurrent cordon or uncordon is not overwritten.
 */
async function patchNode(api: ActionContext['api'], node: NodeFacts, mark: string | null): Promise<void> {
  const { uid, name, resourceVersion } = node;
  await api.request({
    verb: 'PATCH',
    path: apiPath`/api/v1/nodes/${name}`,
    body: {
      metadata: { uid, resourceVersion, annotations: { [CORDONED_BY]: mark } },
      spec: { unschedulable: mark === null ? null : true },
    },
  });
}
