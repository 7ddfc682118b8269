/**
 * What a start of the runtime half takes over: subjects in the kernel and accounts on disk → what is in force, what is still to be read
 * a last time, what is owed. Pure.
 */
import type { RuntimeSubject } from '@bailiff/bpf';
import type { StoredAccount } from '../counting/account.ts';

export interface FoundSubject {
  /** The pod's UID, or null for a container's. */
  readonly podUid: string | null;
  readonly cgroupId: bigint | null;
  readonly value: RuntimeSubject;
}

export interface Takeover {
  /** In force; `generation` 0: of a subject that counts nothing, or of which no account was found. */
  readonly live: readonly { subject: FoundSubject; generation: number }[];
  /** Replaced or removed, and not read since. */
  readonly unread: readonly number[];
  /** Read a last time; the bus may not have all of it. */
  readonly owed: readonly number[];
  /** Their cells went with the maps they were in. */
  readonly lost: readonly number[];
}

/** @param pins names the maps that are pinned now */
export function planTakeover(
  subjects: readonly FoundSubject[],
  accounts: readonly StoredAccount[],
  pins: string,
): Takeover {
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
    owed: generations(({ final }) => final !== undefined),
    unread: generations(({ final, pins: of }) => final === undefined && of === pins),
    lost: generations(({ final, pins: of }) => final === undefined && of !== pins),
  };
}
