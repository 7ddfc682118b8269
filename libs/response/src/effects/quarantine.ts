/**
 * The list of quarantined pods of one node, as it stands under `bailiff_quarantine/<node>`, and its edit by compare-and-set. Two
 * programs write it: the responder puts pods in and takes them out at their time, the operator's command takes them out before.
 *
 * A release stays in the list until the time that it cut short: who still owes an entry by a verdict that a person has released (a
 * responder that starts, or was under way) finds it in the same edit that would put the entry, and does not. Order is by verdict and by
 * compare-and-set, so no clock is asked.
 *
 * One entry a pod. Of two verdicts about one pod the later end rules: an earlier one neither shortens nor ends it, and no end is the latest.
 * A list with a bad entry is edited all the same: what stands in it otherwise must stay, and come out, as before. Entries whose time
 * is up are dropped at every edit, so that the list does not grow with what the kernel has ended by itself.
 */
import {
  cutEnd,
  type QuarantineEntry,
  type QuarantineList,
  quarantineEndMs,
  readQuarantineList,
  TEXT_LIMITS,
} from '@bailiff/schemas';

/** Most pods of one node in quarantine at a time: the kubelet runs at most 250 pods on a node, and the kernel maps hold as many. */
export const MAX_QUARANTINED_PODS_PER_NODE = 512;
/** Releases that are remembered of one node; of more, those of the earliest end are forgotten first. */
export const MAX_RELEASES_PER_NODE = 512;
/** Edits that may lose the race against another writer before the edit is given up. */
export const MAX_EDIT_ATTEMPTS = 16;

export class QuarantineError extends Error {
  /**
   * QUARANTINE_FULL: the node has as many pods in quarantine as its kernel maps hold. QUARANTINE_CONTENDED: others kept writing first.
   * QUARANTINE_UNREADABLE: the node's key holds no list; the responder rebuilds it from RESPONSES, so try again.
   */
  readonly code: 'QUARANTINE_FULL' | 'QUARANTINE_CONTENDED' | 'QUARANTINE_UNREADABLE';
  constructor(code: QuarantineError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'QuarantineError';
    this.code = code;
  }
}

/**
 * `present`: this verdict's entry, or another's that ends no earlier (`held`), stands already and stays. `released`: a person has ended
 * what this verdict asked for, and it stays out.
 */
export type PutOutcome = 'added' | 'replaced' | 'present' | 'held' | 'released';

/** Puts a pod in. @throws QuarantineError QUARANTINE_FULL */
export function withEntry(
  list: QuarantineList,
  entry: QuarantineEntry,
  nowMs: number,
): { list: QuarantineList; outcome: PutOutcome } {
  if (isReleased(list, entry)) return { list, outcome: 'released' };
  const entries = live(list, nowMs);
  const there = entries.find((other) => other.podUid === entry.podUid);
  if (there && quarantineEndMs(there) >= quarantineEndMs(entry)) {
    return { list, outcome: there.verdictId === entry.verdictId ? 'present' : 'held' };
  }
  const kept = entries.filter((other) => other !== there);
  if (kept.length >= MAX_QUARANTINED_PODS_PER_NODE) {
    throw new QuarantineError(
      'QUARANTINE_FULL',
      `node ${list.nodeName} has ${kept.length} pods in quarantine, the most there may be`,
    );
  }
  const added = { ...entry, reason: cutEnd(entry.reason, TEXT_LIMITS.reason.bytes) };
  return { list: next(list, [...kept, added], nowMs), outcome: there ? 'replaced' : 'added' };
}

/**
 * Takes a pod out. With `untilMs`, only an entry that ends no later: one that was lengthened since by another verdict stays (`kept`).
 */
export function withoutEntry(
  list: QuarantineList,
  which: { podUid: string; untilMs?: number },
  nowMs: number,
): { list: QuarantineList; outcome: 'removed' | 'absent' | 'kept' } {
  const there = list.entries.find((entry) => entry.podUid === which.podUid);
  if (!there) return { list, outcome: 'absent' };
  if (which.untilMs !== undefined && quarantineEndMs(there) > which.untilMs) return { list, outcome: 'kept' };
  return {
    list: next(
      list,
      live(list, nowMs).filter((entry) => entry !== there),
      nowMs,
    ),
    outcome: 'removed',
  };
}

/** Whether a person has ended what a verdict had put a pod in for. */
export function isReleased(
  list: Pick<QuarantineList, 'released'>,
  which: Pick<QuarantineEntry, 'podUid' | 'verdictId'>,
): boolean {
  return list.released?.some((one) => one.podUid === which.podUid && one.verdictId === which.verdictId) ?? false;
}

/** A quarantine of a pod that has begun; `untilMs` is when it would end by itself. */
export interface StartedQuarantine {
  verdictId: string;
  untilMs: number;
}

/**
 * A person's release: takes the pod out, whatever its entry's end, and keeps out the entry's verdict and all of `begun`.
 * @param which begun: quarantines of the pod that records tell of; the entry's own need not be among them
 */
export function withRelease(
  list: QuarantineList,
  which: { podUid: string; begun: readonly StartedQuarantine[] },
  nowMs: number,
): { list: QuarantineList; outcome: 'removed' | 'absent' } {
  const { podUid } = which;
  const there = list.entries.find((entry) => entry.podUid === podUid);
  const ended = [...which.begun, ...(there ? [{ verdictId: there.verdictId, untilMs: quarantineEndMs(there) }] : [])];
  const releases = ended
    // One of a list that could not be read whole names no verdict.
    .filter(({ verdictId, untilMs }) => verdictId !== '' && untilMs > nowMs)
    .map(({ verdictId, untilMs }) => ({ podUid, verdictId, until: endText(untilMs) }))
    .filter((release, index, all) => all.findIndex(({ verdictId }) => verdictId === release.verdictId) === index)
    .filter((release) => !isReleased(list, release));
  const outcome = there ? 'removed' : 'absent';
  if (!there && releases.length === 0) return { list, outcome };
  const entries = live(list, nowMs).filter((entry) => entry !== there);
  const released = [...(list.released ?? []), ...releases]
    .sort((a, b) => (quarantineEndMs(a) > quarantineEndMs(b) ? -1 : 1))
    .slice(0, MAX_RELEASES_PER_NODE);
  return { list: next({ ...list, released }, entries, nowMs), outcome };
}

const endText = (untilMs: number) => (Number.isFinite(untilMs) ? new Date(untilMs).toISOString() : '');

function live(list: QuarantineList, nowMs: number): QuarantineEntry[] {
  return list.entries.filter((entry) => quarantineEndMs(entry) > nowMs);
}

/** The list again, as newer than any before it. */
export const renewed = (list: QuarantineList, nowMs: number): QuarantineList => next(list, live(list, nowMs), nowMs);

/** Collectors refuse a list that is older than what they have. By the clock, so that it goes on growing when the bus's store is made anew. */
function next(list: QuarantineList, entries: QuarantineEntry[], nowMs: number): QuarantineList {
  const revision = Math.max(list.revision + 1, Math.floor(nowMs));
  const released = list.released?.filter((release) => quarantineEndMs(release) > nowMs) ?? [];
  return { nodeName: list.nodeName, revision, entries, ...(released.length > 0 ? { released } : {}) };
}

/** The part of a key-value bucket that the edit needs; `@bailiff/bus` has it. A lost race is an error with code BUS_CONFLICT. */
export interface QuarantineBucket {
  /** Newest entry, a tombstone too: its revision is what the next write must expect. */
  newest(key: string): Promise<StoredList | null>;
  put(key: string, value: string, options: { previousRevision: number }): Promise<number>;
}

export interface StoredList {
  value: Uint8Array;
  revision: number;
  deleted: boolean;
}

/** The list in an entry; null when it is none: an injected reply, or a value that another program wrote. */
export function storedQuarantine({ value }: Pick<StoredList, 'value'>): QuarantineList | null {
  try {
    const { problems: _, ...list } = readQuarantineList(Buffer.from(value).toString());
    return list;
  } catch {
    return null;
  }
}

/** Reads a node's list; an empty one when there is none. @throws QuarantineError QUARANTINE_UNREADABLE */
export async function readQuarantine(
  bucket: Pick<QuarantineBucket, 'newest'>,
  key: string,
  nodeName: string,
): Promise<{ list: QuarantineList; revision: number }> {
  const { list, revision } = await readOrLost(bucket, key, nodeName);
  if (list) return { list, revision };
  throw new QuarantineError('QUARANTINE_UNREADABLE', `the quarantine list of ${nodeName} cannot be read`);
}

async function readOrLost(bucket: Pick<QuarantineBucket, 'newest'>, key: string, nodeName: string) {
  const there = await bucket.newest(key);
  // A list that was deleted starts above every revision it had: collectors refuse what is older than what they have.
  const revision = there?.revision ?? 0;
  if (!there || there.deleted) return { list: { nodeName, revision, entries: [] }, revision };
  return { list: storedQuarantine(there), revision };
}

export interface EditOptions {
  /** Replaces a list that cannot be read by one without entries, to which the edit adds all that are in force. */
  rebuild?: boolean;
}

/**
 * Edits a node's list by compare-and-set; writes nothing when the edit leaves the list as it was.
 * @param key the node's key in the bucket (`encodeToken(nodeName)`)
 * @throws QuarantineError QUARANTINE_UNREADABLE, QUARANTINE_CONTENDED after `MAX_EDIT_ATTEMPTS` lost races; what the edit or the bucket throws
 */
export async function editQuarantine<O>(
  bucket: QuarantineBucket,
  key: string,
  nodeName: string,
  edit: (list: QuarantineList) => { list: QuarantineList; outcome: O },
  { rebuild = false }: EditOptions = {},
): Promise<O> {
  for (let attempt = 1; attempt <= MAX_EDIT_ATTEMPTS; attempt++) {
    const read = await readOrLost(bucket, key, nodeName);
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
    `the quarantine list of ${nodeName} changed ${MAX_EDIT_ATTEMPTS} times while it was edited`,
  );
}
