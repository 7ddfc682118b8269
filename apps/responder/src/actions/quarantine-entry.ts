/** The entry of a pod in its node's quarantine list. */
import { encodeToken } from '@bailiff/bus';
import { editQuarantine, type PutOutcome, type QuarantineInForce, withdrawn, withEntry } from '@bailiff/response';
import type { QuarantineEntry } from '@bailiff/schemas';
import type { ActionContext } from './action.ts';

/** @throws QuarantineError; errors of the bucket */
export function addEntry({ quarantine, verdict, nowMs }: ActionContext, entry: QuarantineEntry): Promise<PutOutcome> {
  const { nodeName } = verdict;
  return editQuarantine(quarantine, encodeToken(nodeName), nodeName, (list) => withEntry(list, entry, nowMs));
}

/** @returns the entry of the pod in the list then @throws QuarantineError; errors of the bucket */
export function withdrawEntry(context: ActionContext, entry: QuarantineEntry): Promise<QuarantineEntry | null> {
  const { quarantine, verdict, nowMs } = context;
  const { nodeName } = verdict;
  const other = context.otherQuarantine();
  return editQuarantine(quarantine, encodeToken(nodeName), nodeName, (list) =>
    withdrawn(list, entry, other && entryInForce(other), nowMs),
  );
}

/** The entry of a quarantine, from its record. */
export function entryInForce({ response, untilMicros }: QuarantineInForce): QuarantineEntry {
  const { podUid, podNamespace, podName, verdictId, rule } = response;
  return {
    podUid,
    podNamespace,
    podName,
    verdictId,
    until: new Date(untilMicros / 1000).toISOString(),
    reason: `${rule}; rebuilt from RESPONSES`,
  };
}
