/**
 * Pod lists and earlier refusals, as a correlator reads them at its start: what decides whether a node
 * may report on a pod. Bounded by the retention of the streams.
 */
import { createdMicrosOf, filters, podListOf, readCompleteSince, readToEnd, refusalOf, streamInfo } from '@bailiff/bus';
import { PodInventory, PriorRefusals } from '@bailiff/correlation';
import type { Reader } from '../reader.ts';

const PODS_STREAM = 'KV_bailiff_pods';

/** @param onList called with each accepted list; null: the key was deleted */
export async function readInventory(
  { bus, signal }: Reader,
  onList: (node: string, json: string | null) => void = () => undefined,
): Promise<PodInventory> {
  const inventory = new PodInventory();
  const [lists, violations] = await Promise.all([streamInfo(bus, PODS_STREAM), streamInfo(bus, 'VIOLATIONS')]);
  // As in the correlator: a bucket younger than the violations was recreated.
  const created = createdMicrosOf(lists);
  if (created > createdMicrosOf(violations)) inventory.bucketCreatedAt(created);
  await readToEnd(bus, PODS_STREAM, {
    // A list that is replaced meanwhile is read in its new form.
    start: 'last-per-subject',
    onMessage: (message) => {
      const list = podListOf(message);
      if (list && inventory.apply(list) === null) onList(list.node, list.json);
    },
    signal,
  });
  return inventory;
}

/** Reads the refusals of frames since a time. @param refusals to which they are added */
export async function readRefusals<R extends PriorRefusals>(
  { bus, signal }: Reader,
  sinceMicros: number,
  untilMicros: number,
  refusals: R | PriorRefusals = new PriorRefusals(untilMicros),
): Promise<R | PriorRefusals> {
  await readToEnd(bus, 'DEAD_LETTERS', {
    // A dead letter is published after its frame.
    start: { timeMicros: sinceMicros },
    filterSubjects: [filters.deadLetters({ stream: 'VIOLATIONS' })],
    headersOnly: true,
    onMessage: (message) => {
      const refusal = refusalOf(message);
      if (refusal) refusals.add(refusal);
    },
    signal,
  });
  refusals.completeSinceMicros = await readCompleteSince(bus, 'DEAD_LETTERS');
  return refusals;
}
