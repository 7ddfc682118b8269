/** What an answer from the violations of the bus does not include: what was not read, and what is not there. */
import { BusError } from '@bailiff/bus';
import { deletedText, type Reader, type RefusedCounts, readNodesInput } from '@bailiff/insight';
import { plural, presentStatuses, STALE_NODE_MS, unsentReason } from '@bailiff/response';
import { MAX_NODES_NAMED } from './rows/cluster-status.ts';

/** A statement about violations is not withheld because the nodes cannot be read: it says so. */
const unread = (why: string) => `it is not known which nodes sent their violations: ${why}`;

/**
 * Each of these can hide what enforcing would deny, one sentence each: part of every result that says so. Call it after
 * the reading.
 * @param node only this node
 */
export async function incompleteOf(
  reader: Reader,
  { sinceMs, cut, refusals }: { sinceMs: number; cut: boolean; refusals: RefusedCounts },
  node?: string,
): Promise<string[]> {
  const { undecodableText } = reader.decoder;
  return [
    ...(cut ? ['only the newest violations of this time were read: there are too many'] : []),
    ...(undecodableText === '' ? [] : [undecodableText]),
    ...refusals.undecidedLines(),
    ...(await missingReasons(reader, sinceMs, node)),
  ];
}

/**
 * Violations since a time that may not be on the bus: those of nodes that did not send them, and those that the bus
 * has deleted.
 * @param node only this node
 */
export async function missingReasons(reader: Reader, sinceMs: number, node?: string): Promise<string[]> {
  const deleted = await deletedText(reader, sinceMs);
  return [...(deleted === '' ? [] : [deleted]), ...(await unsentReasons(reader, node))];
}

/**
 * Nodes whose violations may not be on the bus.
 * @param node only this node
 */
async function unsentReasons(reader: Reader, node?: string): Promise<string[]> {
  try {
    return await reasonsOf(reader, node);
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    return [unread(error.message)];
  }
}

async function reasonsOf(reader: Reader, node: string | undefined): Promise<string[]> {
  const input = await readNodesInput(reader, STALE_NODE_MS);
  const present = new Map(presentStatuses(input));
  // A node of the cluster without a status has sent nothing either.
  const names = [...new Set([...present.keys(), ...(input.expected ?? [])])].sort();
  if (names.length === 0) return [unread('the bus has no status and no list of them')];
  const reasons = names
    .filter((name) => node === undefined || name === node)
    .map((name) => unsentReason(name, present.get(name) ?? null, input.nowMs))
    .filter((reason) => reason !== '');
  const left = reasons.length - MAX_NODES_NAMED;
  const more = left > 0 ? [`violations of ${plural(left, 'further node')} may be missing too: bailiff status`] : [];
  return [...reasons.slice(0, MAX_NODES_NAMED), ...more];
}
