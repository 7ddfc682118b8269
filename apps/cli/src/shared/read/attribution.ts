/**
 * Pod lists and earlier refusals, as a correlator reads them at its start: what decides whether a node
 * may report on a pod. Bounded by the retention of the streams.
 */
import {
  type Bus,
  filters,
  microsOf,
  podListOf,
  readCompleteSince,
  refusalOf,
  type StreamMessage,
  streamInfo,
} from '@bailiff/bus';
import { PodInventory, PriorRefusals } from '@bailiff/correlation';
import { readRange } from '../bus/read-range.ts';
import type { Session } from '../session.ts';

const PODS_STREAM = 'KV_bailiff_pods';

/** Reads all of a stream. @throws BusError; the signal's reason */
export async function readAll(
  bus: Bus,
  signal: AbortSignal,
  stream: string,
  onMessage: (message: StreamMessage) => void,
): Promise<void> {
  await readRange(bus, stream, {
    start: { timeMicros: 0 },
    untilMicros: Number.POSITIVE_INFINITY,
    onMessage,
    signal,
  });
  signal.throwIfAborted();
}

/** @param onList called with each accepted list; null: the key was deleted */
export async function readInventory(
  { bus, io }: Session,
  onList: (node: string, json: string | null) => void = () => undefined,
): Promise<PodInventory> {
  const inventory = new PodInventory();
  const [lists, violations] = await Promise.all([streamInfo(bus, PODS_STREAM), streamInfo(bus, 'VIOLATIONS')]);
  // As in the correlator: a bucket younger than the violations was recreated.
  if (microsOf(lists.created) > microsOf(violations.created)) inventory.bucketCreatedAt(microsOf(lists.created));
  await readAll(bus, io.signal, PODS_STREAM, (message) => {
    const list = podListOf(message);
    if (list && inventory.apply(list) === null) onList(list.node, list.json);
  });
  return inventory;
}

/** Reads the refusals of frames since a time. @param refusals to which they are added */
export async function readRefusals<R extends PriorRefusals>(
  { bus, io }: Session,
  sinceMicros: number,
  untilMicros: number,
  refusals: R | PriorRefusals = new PriorRefusals(untilMicros),
): Promise<R | PriorRefusals> {
  await readRange(bus, 'DEAD_LETTERS', {
    // A dead letter is published after its frame.
    start: { timeMicros: sinceMicros },
    untilMicros: Number.POSITIVE_INFINITY,
    filterSubjects: [filters.deadLetters({ stream: 'VIOLATIONS' })],
    headersOnly: true,
    onMessage: (message) => {
      const refusal = refusalOf(message);
      if (refusal) refusals.add(refusal.node, refusal.sequence, refusal.reason, refusal.detail);
    },
    signal: io.signal,
  });
  io.signal.throwIfAborted();
  refusals.completeSinceMicros = await readCompleteSince(bus, 'DEAD_LETTERS');
  return refusals;
}
