/**
 * Nodes that do not apply what the bus holds: lists and policies that a node cannot read, copies that
 * no longer follow their bucket, and stored policies that a node has not applied. Pure.
 */
import { latestStream } from '@bailiff/bus';
import { parseConfigKey } from '@bailiff/policy';
import type { NodeStatus } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service/exit-codes';
import { NOT_APPLIED, type Place, policyPlaces, spoofPlaces } from '../status/policy-places.ts';
import { age, quoted, shortList } from '../status/text.ts';
import type { ClusterFacts, StoredConfig } from './facts.ts';
import type { StreamInfo } from './fill.ts';
import { MAX_NAMED, type Problem, shout } from './problem.ts';

const GUIDE = 'see docs/operations.md#nodes-that-do-not-follow-the-bus';

/** The last documents stay in force, whatever is stored meanwhile. */
export function unconfirmedProblems(node: string, { bus }: NodeStatus): Problem[] {
  const { unconfirmedForMs, unconfirmedReason = '' } = bus;
  if (unconfirmedForMs === undefined) return [];
  const why = unconfirmedReason === '' ? '' : `: ${quoted(unconfirmedReason)}`;
  const text = `has not read its pod list and policies for ${age(unconfirmedForMs)}; the last ones stay in force${why}`;
  return [shout(node, text, GUIDE, EXIT.dependencyUnreachable)];
}

/** A policy is in force within a second; a status is stored every ten. */
const APPLIED_WITHIN_MS = 60_000;

type PendingInput = Pick<ClusterFacts, 'config' | 'nodes' | 'expected' | 'nowMs' | 'staleMs'>;

/** By node: policies that were stored a minute ago, and that its status does not show in this revision. */
export function pendingProblems(facts: PendingInput): Problem[] {
  const { config, nodes, expected, nowMs, staleMs } = facts;
  const input = { nodes, expected, nowMs, staleMs };
  const due = config.filter(({ refused, storedMs }) => refused === '' && nowMs - storedMs > APPLIED_WITHIN_MS);
  const runtime = due.flatMap((one) => policyOf(one) ?? []);
  const places = [
    ...policyPlaces({ policies: runtime, ...input }).map(({ key, places: found }) => ({ key, found })),
    ...due
      .filter(({ key }) => parseConfigKey(key).kind === 'spoof')
      .map(({ key, revision }) => ({ key, found: spoofPlaces({ key, bucketRevision: revision }, input) })),
  ];
  const byNode = new Map<string, string[]>();
  for (const { key, found } of places)
    for (const place of found)
      if (isPending(place) && hasStarted(facts, place.node))
        byNode.set(place.node, [...(byNode.get(place.node) ?? []), key]);
  return [...byNode].map(([node, keys]) => {
    const text = `has not applied ${shortList(keys, MAX_NAMED)}, stored more than a minute ago`;
    return shout(node, text, GUIDE, EXIT.dependencyUnreachable);
  });
}

/** An enabled runtime policy with the revision of its value. */
function policyOf({ key, json }: StoredConfig): { key: string; revision: number; enabled: boolean } | null {
  if (parseConfigKey(key).kind !== 'runtime') return null;
  const { revision, enabled = true } = JSON.parse(json) as { revision: number; enabled?: boolean };
  return enabled ? { key, revision, enabled } : null;
}

const isPending = ({ state, reason }: Place): boolean =>
  state === 'pending' && (reason === NOT_APPLIED || reason.startsWith('still at'));

/** A collector that starts applies one policy after the other. */
function hasStarted({ nodes, nowMs }: PendingInput, node: string): boolean {
  const status = nodes.get(node);
  return typeof status === 'object' && nowMs - Date.parse(status.startedAt) > APPLIED_WITHIN_MS;
}

/** The server confirms a source every second. */
const SOURCE_SILENT_MS = 60_000;
const SET_UP = 'run `bailiff bus setup` as admin, which makes the copy again; see the log of nats-server';

/** Nodes read copies: of one that no longer follows its bucket they read former lists and policies. */
export function copyProblems(streams: ReadonlyMap<string, StreamInfo | null>): Problem[] {
  return [...streams.keys()].flatMap((name) => {
    const origin = name.startsWith('KV_') ? streams.get(name) : null;
    const copy = streams.get(latestStream(name.slice('KV_'.length)));
    if (!origin || !copy) return [];
    const why = brokenSource(origin, copy);
    if (why === '') return [];
    const text = `nodes read ${copy.config.name}, which no longer follows ${name}: ${why}`;
    return [shout('bus', text, SET_UP, EXIT.dependencyUnreachable, 'streams')];
  });
}

function brokenSource(origin: StreamInfo, copy: StreamInfo): string {
  if (Date.parse(copy.created) < Date.parse(origin.created)) return 'it is a copy of an earlier stream of this name';
  const [source] = copy.sources ?? [];
  if (source?.error) return source.error.description;
  const silentMs = (source?.active ?? 0) / 1e6;
  return silentMs > SOURCE_SILENT_MS ? `its source has been silent for ${age(silentMs)}` : '';
}
