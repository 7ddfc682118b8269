/**
 * Responses as OCSF: remediation of processes (evict, delete), of the network (quarantine), or of
 * neither (label, cordon, observe, capture). All phases of an action share a `command_uid`.
 */
import type { Response } from '@bailiff/schemas';
import { captureJson } from '../capture.ts';
import { activityOf } from '../classes.ts';
import { clip, type ResponseEvent } from '../event.ts';
import { baseEvent, deviceOf, type Json, kubernetesOf } from './base.ts';

/**
 * status_id: 1 Success, 2 Failure. Other phases are Other (99) with their own name, or Unknown (0)
 * while the action is running.
 */
const STATUS: Readonly<Record<string, readonly [number, string]>> = {
  started: [0, 'Unknown'],
  succeeded: [1, 'Success'],
  undone: [1, 'Success'],
  failed: [2, 'Failure'],
};

export const commandUid = ({ verdictId, policy, action }: Response): string => clip(`${verdictId}/${policy}/${action}`);

/** The pod, such as `default/web-0`; the node for a cordon, or if the verdict has no pod. */
export const targetOf = ({ action, podNamespace, podName, nodeName }: Response): string =>
  podName === '' || action === 'cordon' ? `node ${nodeName}` : `${podNamespace}/${podName}`;

export const responseMessage = (value: Response): string =>
  `${value.action} of ${targetOf(value)} ${value.phase}${value.reason ? `: ${value.reason}` : ''}`;

/** Attributes required by a class. The processes of a pod are named after the pod. */
function classParts(className: string, value: Response): Json {
  const name = targetOf(value);
  if (className === 'process-remediation-activity') return { process: { name, uid: value.podUid || name } };
  if (className !== 'network-remediation-activity') return {};
  return { connection_info: { direction_id: 99, direction: 'both', uid: value.podUid } };
}

export function ocsfResponse(event: ResponseEvent, version: string): Json {
  const { value, origin } = event;
  const base = baseEvent(event, {
    version,
    message: responseMessage(value),
    eventCode: `${value.action}-${value.phase}`,
    correlationUid: value.verdictId,
    timeMicros: value.recordedAt,
    profiles: ['host', 'security_control'],
  });
  const [status_id, status] = STATUS[value.phase] ?? [99, value.phase];
  const pod =
    value.podName === ''
      ? null
      : { uid: value.podUid, namespace: value.podNamespace, name: value.podName, ...ownerOf(value) };
  return {
    ...base,
    command_uid: commandUid(value),
    status_id,
    status,
    status_code: value.reasonCode,
    status_detail: clip(value.reason),
    remediation: { desc: clip(`${value.action}: ${value.reason || value.phase}`) },
    device: deviceOf(origin.node),
    policy: { name: value.policy || 'unknown' },
    ...classParts(activityOf(event).className, value),
    unmapped: {
      k8s: kubernetesOf(pod, origin.node),
      bailiff: {
        response_id: value.responseId,
        verdict_id: value.verdictId,
        rule: value.rule,
        action: value.action,
        phase: value.phase,
        attempt: value.attempt,
        api_verb: value.apiVerb,
        api_path: clip(value.apiPath),
        api_status: value.apiStatus > 0 ? value.apiStatus : undefined,
        capture: captureJson(value.capture),
        expires_at: value.expiresAt === null ? undefined : Math.floor(value.expiresAt / 1000),
      },
    },
  };
}

const ownerOf = ({ ownerKind, ownerName }: Response) => ({ ownerKind, ownerName });
