/**
 * Pod lists and earlier refusals, as a correlator reads them at its start: what decides whether a node
 * may report on a pod. Bounded by the retention of the streams.
 */
import {
  type Bus,
  decodeToken,
  filters,
  isDeletion,
  microsOf,
  nodeOfLetter,
  parseSubject,
  readCompleteSince,
  type StreamMessage,
  streamInfo,
} from '@bailiff/bus';
import { PodInventory, PriorRefusals } from '@bailiff/correlation';
import { CLUSTER_KEY, decodeSnapshotValue } from '@bailiff/schemas';
import { readRange } from '../bus/read-range.ts';
import type { Session } from '../session.ts';

const REPLACES = 'Nats-Expected-Last-Subject-Sequence';
const PODS_STREAM = 'KV_bailiff_pods';
const PODS_PREFIX = '$KV.bailiff_pods.';

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
    const key = message.subject.slice(PODS_PREFIX.length);
    if (key === CLUSTER_KEY) return;
    const node = decodeToken(key);
    const json = isDeletion(message) ? null : decodeSnapshotValue(message.data);
    const replaces = message.headers?.get(REPLACES) ?? '';
    const refused = inventory.apply({
      node,
      timestampMicros: message.timestampMicros,
      revision: message.sequence,
      previousRevision: /^\d+$/.test(replaces) ? Number(replaces) : null,
      json,
    });
    if (refused === null) onList(node, json);
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
    onMessage: ({ subject, headers, injected }) => {
      const parsed = parseSubject(subject);
      if (parsed?.what === 'deadletters' && !injected)
        refusals.add(nodeOfLetter(headers), parsed.sequence, parsed.reason, headers?.get('Bailiff-Detail') ?? '');
    },
    signal: io.signal,
  });
  io.signal.throwIfAborted();
  refusals.completeSinceMicros = await readCompleteSince(bus, 'DEAD_LETTERS');
  return refusals;
}
