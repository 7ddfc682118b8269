/**
 * The quarantine list of a node (`bailiff_quarantine/<node>`) and its edits by compare-and-set. The
 * responder adds pods and removes them at their end; `bailiff quarantine release` removes them
 * earlier.
 *
 * One entry per pod: of two verdicts the later end wins. A release stays in the list until the
 * original end of its entry. A responder that still has to add the entry finds the release in the
 * same edit. A list with an invalid entry can be edited. Every edit drops expired entries.
 *
 * Places are shared: a namespace gets a further one only while more places are free than it has.
 * So one namespace takes at most half of the list, and another one at most half of the rest. An
 * entry never makes room for another one. It leaves the list when the node reports that its pod is
 * gone.
 */
import { MAX_REVISION } from '@bailiff/policy';
import {
  cutEnd,
  type QuarantineEntry,
  type QuarantineList,
  quarantineEndMs,
  readQuarantineList,
} from '@bailiff/schemas';

/** Entries of a list: as many as a node has guarded interfaces at most. */
export const MAX_QUARANTINED_PODS_PER_NODE = 512;
/**
 * JSON bytes of all entries. A pod's author chooses the length of its name. With the releases, the
 * list stays below the 256 KiB of a value in `bailiff_quarantine`.
 */
export const MAX_QUARANTINE_BYTES = 168 * 1024;
/** Releases kept per node; beyond it those with the earliest end are dropped. */
export const MAX_RELEASES_PER_NODE = 512;
/** Bytes of the reason in an entry: the verdict has the whole text. */
const MAX_ENTRY_REASON_BYTES = 128;
/** Reason of the entry of a removal, which has no visible record: see `isIsolation`. */
export const REMOVAL_REASON = 'it is being deleted';
/** Attempts of an edit against concurrent writers. */
export const MAX_EDIT_ATTEMPTS = 16;

export class QuarantineError extends Error {
  /**
   * QUARANTINE_FULL: the node's list has no place left for a pod of this namespace.
   * QUARANTINE_CONTENDED: other writers changed the list at every attempt. QUARANTINE_UNREADABLE:
   * the node's key has no valid list; the responder rebuilds it from RESPONSES, so try again.
   */
  readonly code: 'QUARANTINE_FULL' | 'QUARANTINE_CONTENDED' | 'QUARANTINE_UNREADABLE';
  constructor(code: QuarantineError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'QuarantineError';
    this.code = code;
  }
}

/**
 * `present`: the verdict's entry exists, or that of a removal, which ends no earlier. `held`: the
 * entry of another verdict exists and ends no earlier. `released`: a person released the pod from this verdict, and it is not added.
 */
export type PutOutcome = 'added' | 'replaced' | 'present' | 'held' | 'released';

/** Adds a pod. @throws QuarantineError QUARANTINE_FULL */
export function withEntry(
  list: QuarantineList,
  entry: QuarantineEntry,
  nowMs: number,
): { list: QuarantineList; outcome: PutOutcome } {
  if (isReleased(list, entry)) return { list, outcome: 'released' };
  const entries = live(list, nowMs);
  const existing = entries.find((other) => other.podUid === entry.podUid);
  if (existing && quarantineEndMs(existing) >= quarantineEndMs(entry)) {
    const isOwn = existing.verdictId === entry.verdictId || isIsolation(existing);
    return { list, outcome: isOwn ? 'present' : 'held' };
  }
  const kept = entries.filter((other) => other !== existing);
  const added = { ...entry, reason: cutEnd(entry.reason, MAX_ENTRY_REASON_BYTES) };
  // A longer quarantine needs no further place.
  if (!existing) checkRoom(list.nodeName, kept, added);
  return { list: next(list, [...kept, added], nowMs), outcome: existing ? 'replaced' : 'added' };
}

/** @throws QuarantineError QUARANTINE_FULL */
function checkRoom(nodeName: string, kept: readonly QuarantineEntry[], added: QuarantineEntry): void {
  const own = kept.filter(({ podNamespace }) => podNamespace === added.podNamespace);
  const fits = (sizeOf: (entry: QuarantineEntry) => number, most: number): boolean => {
    const sum = (entries: readonly QuarantineEntry[]) => entries.reduce((total, one) => total + sizeOf(one), 0);
    return sum(own) + sizeOf(added) <= most - sum(kept);
  };
  if (fits(() => 1, MAX_QUARANTINED_PODS_PER_NODE) && fits(bytesOf, MAX_QUARANTINE_BYTES)) return;
  throw new QuarantineError(
    'QUARANTINE_FULL',
    `node ${nodeName} has ${kept.length} pods in quarantine, ${own.length} of namespace ${added.podNamespace}: no place is left for another one of this namespace`,
  );
}

const bytesOf = (entry: QuarantineEntry) => Buffer.byteLength(JSON.stringify(entry)) + 1;

/**
 * Removes a pod. With `untilMs`, only an entry that ends no later: another verdict may have
 * extended it (`kept`), or a removal (`isolated`).
 */
export function withoutEntry(
  list: QuarantineList,
  which: { podUid: string; untilMs?: number },
  nowMs: number,
): { list: QuarantineList; outcome: 'removed' | 'absent' | 'kept' | 'isolated' } {
  const existing = list.entries.find((entry) => entry.podUid === which.podUid);
  if (!existing) return { list, outcome: 'absent' };
  if (which.untilMs !== undefined && quarantineEndMs(existing) > which.untilMs)
    return { list, outcome: isIsolation(existing) ? 'isolated' : 'kept' };
  return {
    list: next(
      list,
      live(list, nowMs).filter((entry) => entry !== existing),
      nowMs,
    ),
    outcome: 'removed',
  };
}

/**
 * Whether an entry is that of a removal: it has no label and no NetworkPolicy, so nothing removes them at
 * its end.
 */
export const isIsolation = ({ reason }: Pick<QuarantineEntry, 'reason'>): boolean => reason === REMOVAL_REASON;

/**
 * Takes back an entry of a task that has no effect after all. Of another quarantine of the pod, whose entry it
 * may have replaced, the entry takes its place, unless a person has released the pod from it.
 * @returns as outcome, the entry of the pod in the list then
 */
export function withdrawn(
  list: QuarantineList,
  { podUid, verdictId, until }: QuarantineEntry,
  other: QuarantineEntry | null,
  nowMs: number,
): { list: QuarantineList; outcome: QuarantineEntry | null } {
  const alive = live(list, nowMs);
  const own = alive.find((entry) => entry.podUid === podUid) ?? null;
  if (own?.verdictId !== verdictId || own.until !== until) return { list, outcome: own };
  const entries = alive.filter((entry) => entry !== own);
  const former = other && !isReleased(list, other) ? other : null;
  return { list: next(list, former ? [...entries, former] : entries, nowMs), outcome: former };
}

/** The list without pods that the node reports as gone. */
export function withoutGone(
  list: QuarantineList,
  gone: ReadonlySet<string>,
  nowMs: number,
): { list: QuarantineList; outcome: number } {
  const kept = list.entries.filter(({ podUid }) => !gone.has(podUid));
  const outcome = list.entries.length - kept.length;
  return { list: outcome === 0 ? list : next(list, live({ ...list, entries: kept }, nowMs), nowMs), outcome };
}

/** Whether a person released the pod from a verdict. */
export function isReleased(
  list: Pick<QuarantineList, 'released'>,
  which: Pick<QuarantineEntry, 'podUid' | 'verdictId'>,
): boolean {
  return list.released?.some((one) => one.podUid === which.podUid && one.verdictId === which.verdictId) ?? false;
}

/** A started quarantine of a pod. `untilMs` is its regular end. */
export interface StartedQuarantine {
  verdictId: string;
  untilMs: number;
}

/**
 * A release by a person: removes the pod, and blocks its entry's verdict and those of `started`.
 * @param which started: quarantines of the pod in RESPONSES; that of the entry is optional. isHeld: the node
 *   has an entry that the list has lost: the list is written again, so that the node reads it
 */
export function withRelease(
  list: QuarantineList,
  which: { podUid: string; started: readonly StartedQuarantine[]; isHeld?: boolean },
  nowMs: number,
): { list: QuarantineList; outcome: 'removed' | 'absent' } {
  const { podUid, isHeld = false } = which;
  const existing = list.entries.find((entry) => entry.podUid === podUid);
  const ended = [
    ...which.started,
    ...(existing ? [{ verdictId: existing.verdictId, untilMs: quarantineEndMs(existing) }] : []),
  ];
  const releases = ended
    // An entry of a partly invalid list has no verdict.
    .filter(({ verdictId, untilMs }) => verdictId !== '' && untilMs > nowMs)
    .map(({ verdictId, untilMs }) => ({ podUid, verdictId, until: endText(untilMs) }))
    .filter((release, index, all) => all.findIndex(({ verdictId }) => verdictId === release.verdictId) === index)
    .filter((release) => !isReleased(list, release));
  const outcome = existing ? 'removed' : 'absent';
  if (!existing && releases.length === 0 && !isHeld) return { list, outcome };
  const entries = live(list, nowMs).filter((entry) => entry !== existing);
  const released = [...(list.released ?? []), ...releases]
    .sort((a, b) => (quarantineEndMs(a) > quarantineEndMs(b) ? -1 : 1))
    .slice(0, MAX_RELEASES_PER_NODE);
  return { list: next({ ...list, released }, entries, nowMs), outcome };
}

const endText = (untilMs: number) => (Number.isFinite(untilMs) ? new Date(untilMs).toISOString() : '');

function live(list: QuarantineList, nowMs: number): QuarantineEntry[] {
  return list.entries.filter((entry) => quarantineEndMs(entry) > nowMs);
}

/** The same list with a new revision. */
export const renewed = (list: QuarantineList, nowMs: number): QuarantineList => next(list, live(list, nowMs), nowMs);

/**
 * The revision follows the clock, so that it also grows when the bucket is recreated. A foreign
 * client may have stored the highest one: readers follow the order of the bus.
 */
function next(list: QuarantineList, entries: QuarantineEntry[], nowMs: number): QuarantineList {
  const last = list.revision < MAX_REVISION ? list.revision : 0;
  const revision = Math.max(last + 1, Math.floor(nowMs));
  const released = list.released?.filter((release) => quarantineEndMs(release) > nowMs) ?? [];
  return { nodeName: list.nodeName, revision, entries, ...(released.length > 0 ? { released } : {}) };
}

/**
 * The methods of a `@bailiff/bus` bucket that an edit needs. A lost race is an error with code
 * BUS_CONFLICT.
 */
export interface QuarantineBucket {
  /** Newest entry, also a tombstone: the next write must expect its revision. */
  newest(key: string): Promise<StoredList | null>;
  put(key: string, value: string, options: { previousRevision: number }): Promise<number>;
}

export interface StoredList {
  value: Uint8Array;
  revision: number;
  deleted: boolean;
}

/**
 * The list of a node in an entry; null if invalid: an injected reply, a value of another program, or a list that
 * names another node, which the collector refuses.
 */
export function storedQuarantine(nodeName: string, { value }: Pick<StoredList, 'value'>): QuarantineList | null {
  try {
    const { problems: _, ...list } = readQuarantineList(Buffer.from(value).toString());
    return list.nodeName === nodeName ? list : null;
  } catch {
    return null;
  }
}

/**
 * Reads a node's list; an empty one if the key does not exist.
 * @throws QuarantineError QUARANTINE_UNREADABLE
 */
export async function readQuarantine(
  bucket: Pick<QuarantineBucket, 'newest'>,
  key: string,
  nodeName: string,
): Promise<{ list: QuarantineList; revision: number }> {
  const { list, revision } = await readIfValid(bucket, key, nodeName);
  if (list) return { list, revision };
  throw new QuarantineError('QUARANTINE_UNREADABLE', `the quarantine list of ${nodeName} cannot be read`);
}

async function readIfValid(bucket: Pick<QuarantineBucket, 'newest'>, key: string, nodeName: string) {
  const existing = await bucket.newest(key);
  // A deleted list continues above its last revision.
  const revision = existing?.revision ?? 0;
  if (!existing || existing.deleted) return { list: { nodeName, revision, entries: [] }, revision };
  return { list: storedQuarantine(nodeName, existing), revision };
}

export interface EditOptions {
  /** Replaces an unreadable list by an empty one, to which the edit adds all entries in force. */
  rebuild?: boolean;
}

/**
 * Edits a node's list by compare-and-set. Writes nothing if the edit returns the same list.
 * @param key the node's key in the bucket (`encodeToken(nodeName)`)
 * @throws QuarantineError QUARANTINE_UNREADABLE, QUARANTINE_CONTENDED after `MAX_EDIT_ATTEMPTS`
 *   lost races; errors of the edit and the bucket
 */
export async function editQuarantine<O>(
  bucket: QuarantineBucket,
  key: string,
  nodeName: string,
  edit: (list: QuarantineList) => { list: QuarantineList; outcome: O },
  { rebuild = false }: EditOptions = {},
): Promise<O> {
  for (let attempt = 1; attempt <= MAX_EDIT_ATTEMPTS; attempt++) {
    const read = await readIfValid(bucket, key, nodeName);
    if (!read.list && !rebuild) {
      throw new QuarantineError('QUARANTINE_UNREADABLE', `the quarantine list of ${nodeName} cannot be read`);
    }
    const before = read.list ?? { nodeName, revision: read.revision, entries: [] };
    const edited = edit(before);
    if (edited.list === before && read.list) return edited.outcome;
    try {
      await bucket.put(key, JSON.stringify(edited.list), { previousRevision: read.revision });
      return edited.outcome;
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'BUS_CONFLICT') throw error;
    }
  }
  throw new QuarantineError(
    'QUARANTINE_CONTENDED',
    `the quarantine list of ${nodeName} changed during each of ${MAX_EDIT_ATTEMPTS} attempts to edit it`,
  );
}
