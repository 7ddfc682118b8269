/**
 * Nodes that do not apply what the bus holds: lists and policies that a node cannot read, copies that
 * no longer follow their bucket, and stored policies that a node has not applied. Pure.
 */
import { copyMaxBytes, createdMicrosOf, latestStream } from '@bailiff/bus';
import { parseConfigKey } from '@bailiff/policy';
import type { NodeStatus } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service/exit-codes';
import type { StreamInfo } from '../status/service-health.ts';
import { age, quoted, shortList } from '../status/text.ts';
import type { ClusterFacts, StoredConfig } from './facts.ts';
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

/**
 * A node whose push connection is down reads every 30 s, 36 s at most (snapshot-follower.ts); a status is
 * stored every ten, and applying takes a moment.
 */
const APPLIED_WITHIN_MS = 50_000;
/** A collector that starts applies one policy after the other. */
const START_MS = 60_000;

type PendingInput = Pick<ClusterFacts, 'config' | 'nodes' | 'nowMs' | 'staleMs'>;

/** By node: policies that were stored APPLIED_WITHIN_MS ago, and that its status does not show in this revision. */
export function pendingProblems({ config, nodes, nowMs, staleMs }: PendingInput): Problem[] {
  const due = config.filter(({ refused, storedMs }) => refused === '' && nowMs - storedMs > APPLIED_WITHIN_MS);
  const runtime = due.flatMap((one) => policyOf(one) ?? []);
  const spoof = due.filter(({ key }) => parseConfigKey(key).kind === 'spoof');
  return [...nodes].flatMap(([node, status]) => {
    if (typeof status === 'string' || nowMs - Date.parse(status.updatedAt) > staleMs) return [];
    if (nowMs - Date.parse(status.startedAt) <= START_MS) return [];
    const keys = [...pendingRuntime(status, runtime), ...pendingSpoof(status, spoof)];
    if (keys.length === 0) return [];
    const text = `has not applied ${shortList(keys, MAX_NAMED)}, stored more than ${age(APPLIED_WITHIN_MS)} ago`;
    return [shout(node, text, GUIDE, EXIT.dependencyUnreachable)];
  });
}

interface StoredPolicy {
  key: string;
  /** Of the value. */
  revision: number;
}

/** An enabled runtime policy. */
function policyOf({ key, json }: StoredConfig): StoredPolicy | null {
  if (parseConfigKey(key).kind !== 'runtime') return null;
  const { revision, enabled = true } = JSON.parse(json) as { revision: number; enabled?: boolean };
  return enabled ? { key, revision } : null;
}

function pendingRuntime({ runtime, configRefused }: NodeStatus, stored: readonly StoredPolicy[]): string[] {
  // A node that enforces none is another problem (runtime.ts).
  if (runtime?.state !== 'available') return [];
  const revisions = new Map(runtime.policies.map(({ key, revision }) => [key, revision]));
  // What a node refuses before it reads it, such as for its signature, is a problem of its own.
  const refused = new Set(configRefused.map(({ key }) => key));
  const isPending = ({ key, revision }: StoredPolicy) =>
    !refused.has(key) && (revisions.has(key) ? revisions.get(key) !== revision : runtime.policiesOmitted === 0);
  return stored.filter(isPending).map(({ key }) => key);
}

/** Older versions do not report how far they have read. */
function pendingSpoof({ spoofRevision }: NodeStatus, stored: readonly StoredConfig[]): string[] {
  return stored.filter(({ revision }) => spoofRevision !== undefined && spoofRevision < revision).map(({ key }) => key);
}

const LOG_AGAIN = 'see docs/operations.md#services-that-do-not-follow-the-bus';

/** Correlators and responders read the configuration from CONFIG_LOG. */
export function unloggedProblems(keys: readonly string[] | null): Problem[] {
  if (keys?.length === 0) return [];
  const text =
    keys === null
      ? 'CONFIG_LOG could not be read: it is not known whether services apply the configuration as stored'
      : `services do not apply ${shortList(keys, MAX_NAMED)} as stored: CONFIG_LOG has another value, because KV_bailiff_config was made again or restored alone`;
  const remedy = keys === null ? 'repeat it with a longer --timeout' : LOG_AGAIN;
  return [shout('bus', text, remedy, EXIT.dependencyUnreachable, 'configuration')];
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
    if (why === '' && !isTooSmall(origin, copy)) return [];
    const text =
      why === ''
        ? `nodes read ${copy.config.name}, which has less room than ${name} and lacks lists or policies once it is full`
        : `nodes read ${copy.config.name}, which no longer follows ${name}: ${why}`;
    return [shout('bus', text, SET_UP, EXIT.dependencyUnreachable, 'streams')];
  });
}

/** The limit of the bucket was raised, and `bailiff bus setup` did not run since. */
function isTooSmall({ config }: StreamInfo, { config: copied }: StreamInfo): boolean {
  const { name, max_bytes: bytes, max_msgs: messages } = config;
  const wanted = bytes > 0 ? copyMaxBytes(name.slice('KV_'.length), bytes, messages) : Infinity;
  return copied.max_bytes > 0 && copied.max_bytes < wanted;
}

function brokenSource(origin: StreamInfo, copy: StreamInfo): string {
  if (createdMicrosOf(copy) < createdMicrosOf(origin)) return 'it is a copy of an earlier stream of this name';
  const [source] = copy.sources ?? [];
  if (source?.error) return source.error.description;
  const silentMs = (source?.active ?? 0) / 1e6;
  return silentMs > SOURCE_SILENT_MS ? `its source has been silent for ${age(silentMs)}` : '';
}
