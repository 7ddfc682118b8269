/** Adds a pod to its node's quarantine list. */
import { encodeToken } from '@bailiff/bus';
import { editQuarantine, type PutOutcome, withEntry } from '@bailiff/response';
import type { QuarantineEntry } from '@bailiff/schemas';
import type { ActionContext } from './action.ts';

/** @throws QuarantineError; errors of the bucket */
export function addEntry({ quarantine, verdict, nowMs }: ActionContext, entry: QuarantineEntry): Promise<PutOutcome> {
  const { nodeName } = verdict;
  return editQuarantine(quarantine, encodeToken(nodeName), nodeName, (list) => withEntry(list, entry, nowMs));
}
