/**
 * Carries out the adoption plan: loads accounts, hands subjects in force to the
 * enforcer, and removes sets without a user from the kernel.
 */

import type { RuntimeMaps, RuntimeSubject } from '@bailiff/bpf';
import type { OnProblem } from '../../process/problem-log.ts';
import { fromSparse } from '../../publishing/counter-ledger.ts';
import { type Account, newAccount, type StoredAccount } from '../counting/account.ts';
import type { AccountStore, LoadedAccount } from '../counting/account-store.ts';
import type { AckedCells } from '../counting/acked-cells.ts';
import { containerKey } from '../subjects/desired.ts';
import { type Enforcer, UNKNOWN_DIGEST } from './enforcer.ts';
import type { KernelSets } from './sets.ts';

export interface AdoptionParts {
  maps: RuntimeMaps;
  store: AccountStore;
  acked: AckedCells;
  sets: KernelSets;
  enforcer: Enforcer;
  accounts: Map<number, Account>;
  /** Identifies the maps that are pinned now. */
  pins: string;
  version: string;
  onProblem: OnProblem;
}

export function adoptSubjects(parts: AdoptionParts): void {
  const { maps, enforcer, accounts } = parts;
  const loaded = new Map(parts.store.load().map((one) => [one.stored.generation, one]));
  const get = (generation: number) => loaded.get(generation) as LoadedAccount;
  const found = [
    ...maps.containers.entries().map(([cgroupId, value]) => ({ podUid: null, cgroupId, value })),
    ...maps.pods.entries().map(([podUid, value]) => ({ podUid, cgroupId: null, value })),
  ];
  const all = [...loaded.values()].map(({ stored }) => stored);
  const plan = planSubjectAdoption(found, all, parts.pins);
  for (const { subject, generation } of plan.live) {
    const { podUid, cgroupId, value } = subject;
    const account = generation === 0 ? null : adoptAccount(parts, get(generation));
    if (account) account.auditUntilNs = value.auditUntilNs;
    enforcer.adopt({
      key: cgroupId === null ? (podUid as string) : containerKey(cgroupId),
      podUid: podUid ?? account?.stored.podUid ?? '',
      namespace: account?.stored.pod.namespace ?? '',
      cgroupId,
      value,
      digest: account?.stored.digest ?? (value.set === 0 ? '' : UNKNOWN_DIGEST),
      account,
    });
    if (value.set !== 0 && !account)
      parts.onProblem(
        'runtime',
        `generation ${value.generation} of a subject has no account: its counts cannot be attributed`,
      );
  }
  for (const generation of plan.unread) {
    const account = adoptAccount(parts, get(generation));
    if (enforcer.adoptCells(account)) enforcer.retire(account);
    else dropAccount(parts, account);
  }
  for (const generation of plan.unacked) {
    const { stored, facts } = get(generation);
    accounts.set(generation, newAccount(stored, facts, fromSparse(stored.count, stored.final?.acked ?? [])));
  }
  for (const generation of plan.lost) {
    const { stored } = get(generation);
    parts.store.remove(stored);
    parts.onProblem('runtime', `counts of ${stored.pod.namespace}/${stored.pod.name} are lost with their maps`);
  }
  const used = new Set([...found.map(({ value }) => value.set), ...[...accounts.values()].map((a) => a.stored.set)]);
  parts.sets.removeStrays((number) => used.has(number));
}

/**
 * Drops an account whose stored cells belong to another account. An earlier process read it for the
 * last time and released the cells, but the disk failed to store that.
 */
function dropAccount({ accounts, sets, store, onProblem }: AdoptionParts, { stored }: Account): void {
  accounts.delete(stored.generation);
  sets.release(stored.digest, stored.set);
  store.remove(stored);
  onProblem(
    'runtime',
    `last counts of ${stored.pod.namespace}/${stored.pod.name} may be lost: an earlier process could not store them`,
  );
}

/** Adopts an account whose cells are in the kernel. */
function adoptAccount({ acked, accounts, sets, version }: AdoptionParts, { stored, facts }: LoadedAccount): Account {
  const account = newAccount(stored, facts, acked.read(stored.base, stored.count));
  accounts.set(stored.generation, account);
  sets.adopt(stored.digest, stored.set, stored.compiledBy === version, stored.pod.namespace);
  return account;
}

interface FoundSubject {
  /** The pod's UID; null for a container's subject. */
  readonly podUid: string | null;
  readonly cgroupId: bigint | null;
  readonly value: RuntimeSubject;
}

interface SubjectAdoption {
  /** In force; `generation` 0: it counts nothing, or its account was not found. */
  readonly live: readonly { subject: FoundSubject; generation: number }[];
  /** Generations of accounts of replaced or removed subjects, not read since then. */
  readonly unread: readonly number[];
  /** Read for the last time; the bus may not have all counts. */
  readonly unacked: readonly number[];
  /** Their cells are gone with the maps that contained them. */
  readonly lost: readonly number[];
}

/**
 * Plans what a start adopts from an earlier process, from the subjects in the kernel and the accounts
 * on disk. Pure. @param pins identifies the maps that are pinned now
 */
function planSubjectAdoption(
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
