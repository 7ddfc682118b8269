/** The entry of a pod in its node's quarantine list. */
import { encodeToken } from '@bailiff/bus';
import { editQuarantine, type PutOutcome, type QuarantineInForce, withdrawn, withEntry } from '@bailiff/response';
import type { QuarantineEntry, QuarantineList } from '@bailiff/schemas';
import type { ActionContext } from './action.ts';

/** @throws QuarantineError; errors of the bucket */
export function addEntry({ quarantine, verdict, nowMs }: ActionContext, entry: QuarantineEntry): Promise<PutOutcome> {
  const { nodeName } = verdict;
  return editQuarantine(quarantine, encodeToken(nodeName), nodeName, (list) => withEntry(list, entry, nowMs));
}

/**
 * A quarantine that ends meanwhile, and has found this entry in place of its own, gets its own. Its task looks at
 * the list after its record (`confirm`), and this one at the records after its edit: one of them sees the other.
 * @returns the entry of the pod in the list then @throws QuarantineError; errors of the bucket; BusError
 */
export async function withdrawEntry(context: ActionContext, entry: QuarantineEntry): Promise<QuarantineEntry | null> {
  const { quarantine, verdict, nowMs } = context;
  const { nodeName } = verdict;
  const edit = <T>(change: (list: QuarantineList) => { list: QuarantineList; outcome: T }) =>
    editQuarantine(quarantine, encodeToken(nodeName), nodeName, change);
  const before = await context.otherQuarantine();
  const left = await edit((list) => withdrawn(list, entry, before && entryInForce(before), nowMs));
  const other = left ? null : await context.otherQuarantine();
  if (!other) return left;
  const outcome = await edit((list) => withEntry(list, entryInForce(other), nowMs));
  return outcome === 'released' ? null : entryInForce(other);
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
