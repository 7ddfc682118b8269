/**
 * Decides for each custom resource whether to write its configuration key, and which keys to
 * delete. Pure: resources as listed by the informers, and the configuration as stored on the bus.
 *
 * Keys owned by the command line are never changed. Keys without an owner are taken over, never
 * deleted. Nothing is written or deleted from a list older than the version that a key was last
 * written from (`resourceVersion` in its headers). A refused resource leaves the last valid value
 * in force. A kind without a complete list deletes no key. If several resources name one key, the
 * oldest owns it.
 */
import { isDeepStrictEqual } from 'node:util';
import type { StoredConfig } from '@bailiff/bus';
import { isNewer } from '@bailiff/kube';
import { ConfigError, formatConfigKey, keyOfResource, type ResourceKind, valueOfResource } from '@bailiff/policy';
import type { MirroredResource } from './resource.ts';

export type Decision =
  | { state: 'write'; key: string; value: Readonly<Record<string, unknown>>; takeOver: boolean }
  /** The stored value equals the resource. */
  | { state: 'unchanged'; key: string }
  /** `key` is empty if the resource names no valid key. */
  | { state: 'refused'; key: string; reason: 'Invalid' | 'Conflict' | 'Stale'; message: string };

export interface Plan {
  /** By UID. */
  decisions: Map<string, Decision>;
  /** Keys to delete. */
  orphans: StoredConfig[];
}

export interface PlanInput {
  /** Resources of the kinds in `listedVersions` only. */
  resources: readonly MirroredResource[];
  /** By completely listed kind: the resourceVersion up to which its resources are known. */
  listedVersions: ReadonlyMap<ResourceKind, string>;
  /** Newest entry of each key, tombstones too. */
  stored: ReadonlyMap<string, StoredConfig>;
  /** Reason for refusing a value; empty if it is valid. */
  check(resource: MirroredResource, key: string): string;
}

/** RFC 3339 in whole seconds, as in Kubernetes. */
export const timeText = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');

/** The key that a resource names, or why it names none. */
function place({ kind, name, spec }: MirroredResource): { key: string; problem: string } {
  try {
    return { key: formatConfigKey(keyOfResource(kind, name, spec)), problem: '' };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { key: '', problem: error.message };
  }
}

/** Owner by key. Creation times are whole seconds; within one second the present owner wins. */
function winnersOf(
  placed: readonly { resource: MirroredResource; key: string }[],
  stored: PlanInput['stored'],
): Map<string, MirroredResource> {
  const winners = new Map<string, MirroredResource>();
  for (const { resource, key } of placed) {
    const held = winners.get(key);
    if (key !== '' && (!held || precedes(resource, held, stored.get(key)?.owner?.uid))) winners.set(key, resource);
  }
  return winners;
}

function precedes(a: MirroredResource, b: MirroredResource, ownerUid: string | undefined): boolean {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt;
  if (a.uid === ownerUid || b.uid === ownerUid) return a.uid === ownerUid;
  return a.uid < b.uid;
}

/** The stored value without the revision, which every write changes; undefined: no Bailiff client wrote it. */
export function storedValue({ json }: Pick<StoredConfig, 'json'>): Record<string, unknown> | undefined {
  try {
    const { revision: _renewed, ...value } = JSON.parse(json) as Record<string, unknown>;
    return value;
  } catch {
    // So it differs from every resource, and is in force nowhere.
    return undefined;
  }
}

function staleMessage(stored: StoredConfig, listedVersion: string): string {
  return (
    `the key was written from resourceVersion ${stored.owner?.resourceVersion}, but the API server shows the older ${listedVersion}. ` +
    `If its store was restored from a backup, \`bailiff config release ${stored.key} --take-over\` lets the resource be written again`
  );
}

function conflictMessage(stored: StoredConfig): string {
  const why = stored.why === '' ? '' : `: ${stored.why}`;
  return (
    `${stored.key} is owned by the command line: written by ${stored.by || 'an unknown user'} at ` +
    `${timeText(stored.timestampMicros / 1000)}${why}. \`bailiff config release ${stored.key}\` lets the resource own it`
  );
}

function decideOne(resource: MirroredResource, key: string, input: PlanInput): Decision {
  const problem = input.check(resource, key);
  if (problem !== '') return { state: 'refused', key, reason: 'Invalid', message: problem };
  const value = valueOfResource(resource.kind, resource.spec);
  const stored = input.stored.get(key);
  if (!stored) return { state: 'write', key, value, takeOver: false };
  const { owner } = stored;
  const isKept = !stored.deleted && !stored.released;
  if (!owner && isKept) return { state: 'refused', key, reason: 'Conflict', message: conflictMessage(stored) };
  const listedVersion = input.listedVersions.get(resource.kind) ?? '';
  const isBehind = owner !== null && isNewer(owner.resourceVersion, listedVersion);
  if (isBehind || (owner?.uid === resource.uid && owner.generation > resource.generation && !stored.deleted))
    return { state: 'refused', key, reason: 'Stale', message: staleMessage(stored, listedVersion) };
  if (stored.deleted) return { state: 'write', key, value, takeOver: false };
  const isOurs = owner?.uid === resource.uid;
  const isSame = stored.signature === resource.signature;
  if (isOurs && isSame && isDeepStrictEqual(storedValue(stored), JSON.parse(JSON.stringify(value))))
    return { state: 'unchanged', key };
  return { state: 'write', key, value, takeOver: !isOurs };
}

export function plan(input: PlanInput): Plan {
  const placed = input.resources.map((resource) => ({ resource, ...place(resource) }));
  const winners = winnersOf(placed, input.stored);
  const decisions = new Map<string, Decision>();
  for (const { resource, key, problem } of placed) {
    const winner = winners.get(key);
    const refused = (reason: 'Invalid' | 'Conflict', message: string) =>
      decisions.set(resource.uid, { state: 'refused', key, reason, message });
    if (problem !== '') refused('Invalid', problem);
    else if (winner && winner.uid !== resource.uid)
      refused('Conflict', `${key} is owned by ${winner.kind} ${winner.name}, which is older`);
    else decisions.set(resource.uid, decideOne(resource, key, input));
  }
  const orphans = [...input.stored.values()].filter(({ key, owner, deleted }) => {
    if (deleted || !owner || winners.has(key)) return false;
    const listedVersion = input.listedVersions.get(owner.kind as ResourceKind);
    return listedVersion !== undefined && !isNewer(owner.resourceVersion, listedVersion);
  });
  return { decisions, orphans };
}
