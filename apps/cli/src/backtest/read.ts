/**
 * Reads the other inputs of a backtest: configuration log, pod snapshots and earlier refusals, as a
 * correlator does at start.
 *
 * Invariant: read after the end of the range was determined, so every change that affects its
 * frames is included. Bounded by the retention of the streams.
 */

import {
  type Bus,
  decodeToken,
  filters,
  microsOf,
  nodeOfLetter,
  parseSubject,
  ROOT,
  readCompleteSince,
  type StreamMessage,
  streamInfo,
} from '@bailiff/bus';
import { PodInventory, PriorRefusals, type ReportPlace } from '@bailiff/correlation';
import type { ConfigEntry } from '@bailiff/response';
import { CLUSTER_KEY, decodeSnapshotValue, nodeSnapshot } from '@bailiff/schemas';
import { readRange } from '../shared/bus/read-range.ts';
import { parseJson } from '../shared/read/nodes.ts';
import type { Session } from '../shared/session.ts';
import type { ListedPod } from './simulated-responses.ts';

const ALL = { start: { timeMicros: 0 }, untilMicros: Number.POSITIVE_INFINITY };
const OPERATION = 'KV-Operation';
const REPLACES = 'Nats-Expected-Last-Subject-Sequence';
const PODS_STREAM = 'KV_bailiff_pods';
const PODS_PREFIX = '$KV.bailiff_pods.';

const isGone = (message: StreamMessage) => (message.headers?.get(OPERATION) ?? '') !== '';
const textOf = (message: StreamMessage) => Buffer.from(message.data).toString('utf8');

/** All stored configuration changes, oldest first. */
export async function readConfigChanges({ bus, io }: Session): Promise<ConfigEntry[]> {
  const changes: ConfigEntry[] = [];
  await readAll(bus, io.signal, 'CONFIG_LOG', (message) => {
    const { sequence, timestampMicros, subject } = message;
    const key = subject.slice(`${ROOT}.config.`.length);
    changes.push({ sequence, timestampMicros, key, json: isGone(message) ? null : textOf(message) });
  });
  return changes;
}

export interface PodLists {
  inventory: PodInventory;
  /** Pods of the newest snapshots by uid. */
  pods: Map<string, ListedPod>;
}

export async function readPodLists({ bus, io }: Session): Promise<PodLists> {
  const inventory = new PodInventory();
  const newest = new Map<string, [string, ListedPod][]>();
  const [lists, violations] = await Promise.all([streamInfo(bus, PODS_STREAM), streamInfo(bus, 'VIOLATIONS')]);
  // As in the correlator: a bucket younger than the violations was recreated.
  if (microsOf(lists.created) > microsOf(violations.created)) inventory.bucketCreatedAt(microsOf(lists.created));
  await readAll(bus, io.signal, PODS_STREAM, (message) => {
    const key = message.subject.slice(PODS_PREFIX.length);
    if (key === CLUSTER_KEY) return;
    const node = decodeToken(key);
    const json = isGone(message) ? null : decodeSnapshotValue(message.data);
    const replaces = message.headers?.get(REPLACES) ?? '';
    const refused = inventory.apply({
      node,
      timestampMicros: message.timestampMicros,
      revision: message.sequence,
      previousRevision: /^\d+$/.test(replaces) ? Number(replaces) : null,
      json,
    });
    if (refused === null) newest.set(node, json === null ? [] : podsIn(node, json));
  });
  return { inventory, pods: new Map([...newest.values()].flat()) };
}

function podsIn(node: string, json: string): [string, ListedPod][] {
  const snapshot = parseJson(json, nodeSnapshot);
  return typeof snapshot === 'string' ? [] : snapshot.pods.map(({ uid, owners }) => [uid, { node, owners }]);
}

/** Counts reports of unlisted pods that are accepted because no dead letter refuses them. */
export class CountingPriorRefusals extends PriorRefusals {
  accepted = 0;
  /** `reasonOf` without counting. */
  readonly ask = (report: ReportPlace): string | undefined => super.reasonOf(report);
  override reasonOf(report: ReportPlace): string | undefined {
    const reason = super.reasonOf(report);
    if (reason === undefined) this.accepted += 1;
    return reason;
  }
}

/** Reads refusals since a time. */
export async function readPriorRefusals(
  { bus, io }: Session,
  sinceMicros: number,
  untilMicros: number,
): Promise<CountingPriorRefusals> {
  const refusals = new CountingPriorRefusals(untilMicros);
  await readRange(bus, 'DEAD_LETTERS', {
    // A dead letter is published after its frame.
    start: { timeMicros: sinceMicros },
    untilMicros: Number.POSITIVE_INFINITY,
    filterSubjects: [filters.deadLetters({ stream: 'VIOLATIONS' })],
    headersOnly: true,
    onMessage: ({ subject, headers }) => {
      const parsed = parseSubject(subject);
      if (parsed?.what === 'deadletters')
        refusals.add(nodeOfLetter(headers), parsed.sequence, parsed.reason, headers?.get('Bailiff-Detail') ?? '');
    },
    signal: io.signal,
  });
  io.signal.throwIfAborted();
  refusals.completeSinceMicros = await readCompleteSince(bus, 'DEAD_LETTERS');
  return refusals;
}

async function readAll(bus: Bus, signal: AbortSignal, stream: string, onMessage: (message: StreamMessage) => void) {
  await readRange(bus, stream, { ...ALL, onMessage, signal });
  signal.throwIfAborted();
}
