/**
 * Plans what a start of the runtime engine adopts from an earlier process. Input: subjects in the
 * kernel, accounts on disk. Output: subjects in force, and the accounts to read once more, to
 * publish, or to remove because their counts are lost. Pure.
 */
import type { RuntimeSubject } from '@bailiff/bpf';
import type { StoredAccount } from '../counting/account.ts';

export interface FoundSubject {
  /** The pod's UID; null for a container's subject. */
  readonly podUid: string | null;
  readonly cgroupId: bigint | null;
  readonly value: RuntimeSubject;
}

export interface SubjectAdoption {
  /** In force; `generation` 0: it counts nothing, or its account was not found. */
  readonly live: readonly { subject: FoundSubject; generation: number }[];
  /** Generations of accounts of replaced or removed subjects, not read since then. */
  readonly unread: readonly number[];
  /** Read for the last time; the bus may not have all counts. */
  readonly unacked: readonly number[];
  /** Their cells are gone with the maps that contained them. */
  readonly lost: readonly number[];
}

/** @param pins identifies the maps that are pinned now */
export function planSubjectAdoption(
  subjects: readonly FoundSubject[],
  accounts: readonly StoredAccount[],
  pins: string,
): SubjectAdoption {
  const byGeneration = new Map(accounts.map((stored) => [stored.generation, stored]));
  const live = subjects.map((subject) => {
    const stored = byGeneration.get(subject.value.generation);
    const isItsOwn =
      stored !== undefined &&
      stored.final === undefined &&
      stored.pins === pins &&
      stored.base === subject.value.counterBase &&
      stored.count === subject.value.counterCount &&
      stored.set === subject.value.set;
    return { subject, generation: isItsOwn ? stored.generation : 0 };
  });
  const inForce = new Set(live.map(({ generation }) => generation));
  const rest = accounts.filter(({ generation }) => !inForce.has(generation));
  const generations = (which: (stored: StoredAccount) => boolean) =>
    rest.filter(which).map(({ generation }) => generation);
  return {
    live,
    unacked: generations(({ final }) => final !== undefined),
    unread: generations(({ final, pins: of }) => final === undefined && of === pins),
    lost: generations(({ final, pins: of }) => final === undefined && of !== pins),
  };
}
