/**
 * cordon: makes the node unschedulable. An annotation marks Bailiff's cordon, so that undo leaves
 * the cordons of other users alone.
 */

import { apiPath, getObject } from '@bailiff/kube';
import { CORDONED_BY, type NodeFacts, nodeFactsOf } from '@bailiff/response';
import { type Action, type ActionContext, DONE, markOf, type Outcome, SUPERSEDED } from './action.ts';

const NODE_GONE: Outcome = { reasonCode: 'node-gone', reason: 'the node is gone' };

export const cordon: Action = {
  tookEffect({ task, facts: { node } }) {
    return node?.unschedulable === true && node.annotations[CORDONED_BY] === markOf(task);
  },

  async carryOut({ task, facts, api }) {
    const node = facts.node as NodeFacts;
    await patchNode(api, node, markOf(task));
    return DONE;
  },

  async undo({ done, api }) {
    const body = await getObject(api, apiPath`/api/v1/nodes/${done.nodeName}`);
    if (body === null) return NODE_GONE;
    const node = nodeFactsOf(body);
    if (node.annotations[CORDONED_BY] !== markOf(done)) return SUPERSEDED;
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
