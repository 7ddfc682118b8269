/**
 * What becomes of each custom resource, and which keys nobody keeps any more. Pure: resources as the informers show them, the configuration as
 * it stands on the bus.
 *
 * Invariants: a key that the command line keeps is never touched, one that nobody keeps is taken and never deleted; nothing is written or deleted from a picture that is older than what the key
 * was last written from (`resourceVersion` in its headers), whoever held it; what is refused leaves the last good value standing; a kind that was
 * not listed completely takes no key away. Of several resources that mean one key the oldest has it.
 */
import { isDeepStrictEqual } from 'node:util';
import type { StoredConfig } from '@bailiff/bus';
import { isNewer } from '@bailiff/kube';
import { ConfigError, formatConfigKey, keyOfResource, type ResourceKind, valueOfResource } from '@bailiff/policy';
import type { MirroredResource } from './resource.ts';

export type Decision =
  | { state: 'write'; key: string; value: Readonly<Record<string, unknown>>; takeOver: boolean }
  /** What stands is what it says. */
  | { state: 'stands'; key: string }
  /** `key` empty: it has none. */
  | { state: 'refused'; key: string; reason: 'Invalid' | 'Conflict' | 'Stale'; message: string };

export interface Plan {
  /** By UID. */
  decisions: Map<string, Decision>;
  /** Keys to delete. */
  orphans: StoredConfig[];
}

export interface PlanInput {
  /** Of the kinds in `pictures` only. */
  resources: readonly MirroredResource[];
  /** By kind that was listed completely: up to which resourceVersion its resources are known. */
  pictures: ReadonlyMap<ResourceKind, string>;
  /** Newest entry of each key, tombstones too. */
  stored: ReadonlyMap<string, StoredConfig>;
  /** Why a value is refused; empty when it is taken. */
  check(resource: MirroredResource, key: string): string;
}

/** Whole seconds, as Kubernetes writes them. */
export const timeText = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');

/** The key that a resource means; why it means none. */
function place({ kind, name, spec }: MirroredResource): { key: string; problem: string } {
  try {
    return { key: formatConfigKey(keyOfResource(kind, name, spec)), problem: '' };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { key: '', problem: error.message };
  }
}

/** By key: who has it. Times are whole seconds, so among those of one second who has it already. */
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

/** The value that stands, without what every write renews. */
function standingValue({ json }: StoredConfig): unknown {
  try {
    const { revision: _renewed, ...value } = JSON.parse(json) as Record<string, unknown>;
    return value;
  } catch {
    // Written around us: it is not what the resource says.
    return undefined;
  }
}

function staleMessage(stored: StoredConfig, picture: string): string {
  return (
    `the key was written from resourceVersion ${stored.owner?.resourceVersion}, and the API server shows ${picture}: it is behind. ` +
    `If its store was restored from a backup, \`bailiff config release ${stored.key} --take-over\` lets the resource be written again`
  );
}

function conflictMessage(stored: StoredConfig): string {
  const why = stored.why === '' ? '' : `: ${stored.why}`;
  return (
    `${stored.key} is kept by the command line: written by ${stored.by || 'somebody'} at ` +
    `${timeText(stored.timestampMicros / 1000)}${why}. \`bailiff config release ${stored.key}\` lets the resource have it`
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
  const picture = input.pictures.get(resource.kind) ?? '';
  const isBehind = owner !== null && isNewer(owner.resourceVersion, picture);
  if (isBehind || (owner?.uid === resource.uid && owner.generation > resource.generation && !stored.deleted))
    return { state: 'refused', key, reason: 'Stale', message: staleMessage(stored, picture) };
  if (stored.deleted) return { state: 'write', key, value, takeOver: false };
  const isOurs = owner?.uid === resource.uid;
  if (isOurs && isDeepStrictEqual(standingValue(stored), JSON.parse(JSON.stringify(value))))
    return { state: 'stands', key };
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
      refused('Conflict', `${key} is kept by ${winner.kind} ${winner.name}, which is older`);
    else decisions.set(resource.uid, decideOne(resource, key, input));
  }
  const orphans = [...input.stored.values()].filter(({ key, owner, deleted }) => {
    if (deleted || !owner || winners.has(key)) return false;
    const picture = input.pictures.get(owner.kind as ResourceKind);
    return picture !== undefined && !isNewer(owner.resourceVersion, picture);
  });
  return { decisions, orphans };
}
