/** Adds a pod to its node's quarantine list; entries of pods that are gone make room for it. */
import { encodeToken } from '@bailiff/bus';
import { editQuarantine, type PutOutcome, QuarantineError, withEntry } from '@bailiff/response';
import type { QuarantineEntry } from '@bailiff/schemas';
import type { ActionContext } from './action.ts';

/** @throws QuarantineError; errors of the bucket */
export async function addEntry(context: ActionContext, entry: QuarantineEntry): Promise<PutOutcome> {
  const { quarantine, quarantinesGone, nowMs } = context;
  const { nodeName } = context.verdict;
  const add = (gone?: ReadonlySet<string>) =>
    editQuarantine(quarantine, encodeToken(nodeName), nodeName, (list) => withEntry(list, entry, nowMs, gone));
  try {
    return await add();
  } catch (error) {
    if (!(error instanceof QuarantineError) || error.code !== 'QUARANTINE_FULL') throw error;
    const gone = await quarantinesGone(nodeName);
    if (gone.size === 0) throw error;
    return add(gone);
  }
}
