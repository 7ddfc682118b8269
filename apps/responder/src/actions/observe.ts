/**
 * observe: creates a Kubernetes Event on the pod, or on the node for a verdict about a node, which
 * `kubectl describe` shows. The Event has the pod's uid, so it does not appear on a later pod of
 * that name.
 */

import { apiPath, createEvent, getObject, isNamespaceGone } from '@bailiff/kube';
import { podOfVerdict } from '@bailiff/response';
import { escapeUnsafe } from '@bailiff/service/printable';
import { type Action, type ActionContext, DONE, type Outcome } from './action.ts';
import { isKube } from './api.ts';

/** Kubernetes names have at most 253 characters; this leaves room for the task id. */
const MAX_PREFIX = 230;
const REASON = 'BailiffVerdict';
const COMPONENT = 'bailiff-responder';

/** An administrator who deletes a namespace for its pods does so while they still violate. */
const NAMESPACE_GONE: Outcome = {
  reasonCode: 'namespace-gone',
  reason: 'the namespace is deleted or being deleted: the API server creates no Event in it',
  refused: true,
};

export const observe: Action = {
  async tookEffect({ task, verdict, api }) {
    const { namespace, name } = eventOf(task.taskId, verdict);
    return (await getObject(api, apiPath`/api/v1/namespaces/${namespace}/events/${name}`)) !== null;
  },

  async carryOut(context) {
    const { task, verdict, startedAtMicros, api } = context;
    const { pod } = verdict;
    if (!pod) return onNode(context);
    // The name is derived from the task, so the Event of an earlier attempt is found and not
    // repeated.
    try {
      await createEvent(api, {
        name: eventOf(task.taskId, verdict).name,
        pod: { namespace: pod.namespace, name: pod.name, uid: uidOf(context) },
        type: 'Warning',
        reason: REASON,
        message: messageOf(verdict),
        component: COMPONENT,
        timeMs: startedAtMicros / 1000,
      });
    } catch (error) {
      if (!isNamespaceGone(error)) throw error;
      return NAMESPACE_GONE;
    }
    return DONE;
  },
};

async function onNode({ task, verdict, startedAtMicros, api }: ActionContext): Promise<typeof DONE> {
  const { namespace, name } = eventOf(task.taskId, verdict);
  const at = new Date(startedAtMicros / 1000).toISOString();
  const body = {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { namespace, name },
    // Convention of kubelet and kubectl: the uid of a node in its events is its name.
    involvedObject: { apiVersion: 'v1', kind: 'Node', name: verdict.nodeName, uid: verdict.nodeName },
    type: 'Warning',
    reason: REASON,
    message: messageOf(verdict),
    source: { component: COMPONENT },
    firstTimestamp: at,
    lastTimestamp: at,
    count: 1,
  };
  try {
    await api.request({ verb: 'POST', path: apiPath`/api/v1/namespaces/${namespace}/events`, body });
  } catch (error) {
    if (!isKube(error, 'KUBE_ALREADY_EXISTS')) throw error;
  }
  return DONE;
}

/** For a mirror pod, its uid in the API. */
function uidOf({ verdict, facts }: ActionContext): string {
  return podOfVerdict(facts.pod, verdict)?.uid ?? verdict.pod?.uid ?? '';
}

/** kubectl prints it as it is, and a reason names a program of the pod. */
const messageOf = ({ level, rule, reason }: ActionContext['verdict']) => escapeUnsafe(`${level}: ${rule}: ${reason}`);

function eventOf(taskId: string, { pod, nodeName }: ActionContext['verdict']): { namespace: string; name: string } {
  const prefix = (pod?.name ?? nodeName).slice(0, MAX_PREFIX).replace(/[^a-z0-9]+$/, '');
  return { namespace: pod?.namespace ?? 'default', name: `${prefix}.${taskId.slice(0, 16)}` };
}
