/** Nodes whose violations may not be on the bus: an answer from the bus does not include them. */
import { type Reader, readNodesInput } from '@bailiff/insight';
import { plural, presentStatuses, STALE_NODE_MS, unsentReason } from '@bailiff/response';
import { MAX_NODES_NAMED } from './rows/cluster-status.ts';

/** @param node only this node @throws BusError */
export async function unsentReasons(reader: Reader, node?: string): Promise<string[]> {
  const input = await readNodesInput(reader, STALE_NODE_MS);
  const reasons = presentStatuses(input)
    .filter(([name]) => node === undefined || name === node)
    .map(([name, status]) => unsentReason(name, status, input.nowMs))
    .filter((reason) => reason !== '');
  const left = reasons.length - MAX_NODES_NAMED;
  const more = left > 0 ? [`violations of ${plural(left, 'further node')} may be missing too: bailiff status`] : [];
  return [...reasons.slice(0, MAX_NODES_NAMED), ...more];
}
