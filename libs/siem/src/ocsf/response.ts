/**
 * Responses as OCSF: Remediation of processes (a pod that is evicted or deleted), of its network (quarantine), or of neither (label,
 * cordon, observe). All phases of one action have one `command_uid`.
 */
import type { Response } from '@bailiff/schemas';
import { captureJson } from '../capture.ts';
import { activityOf } from '../classes.ts';
import { clip, type ResponseEvent } from '../event.ts';
import { baseEvent, deviceOf, type Json, kubernetesOf } from './base.ts';

/** status_id: 1 Success, 2 Failure; a phase that is neither is Other (99) by its own name, or Unknown (0) while it is not over. */
const STATUS: Readonly<Record<string, readonly [number, string]>> = {
  started: [0, 'Unknown'],
  succeeded: [1, 'Success'],
  undone: [1, 'Success'],
  failed: [2, 'Failure'],
};

export const commandUid = ({ verdictId, policy, action }: Response): string => clip(`${verdictId}/${policy}/${action}`);

/** `default/web-0`, or the node when it is about one. */
export const targetOf = ({ podNamespace, podName, nodeName }: Response): string =>
  podName ? `${podNamespace}/${podName}` : `node ${nodeName}`;

export const responseMessage = (value: Response): string =>
  `${value.action} of ${targetOf(value)} ${value.phase}${value.reason ? `: ${value.reason}` : ''}`;

/** What a class requires: the processes of a pod are named as the pod. */
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
