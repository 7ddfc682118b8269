/**
 * Carries out the adoption plan (adoption-plan.ts): loads accounts, hands subjects in force to the
 * enforcer, and removes sets without a user from the kernel.
 */
import type { RuntimeMaps } from '@bailiff/bpf';
import { type Account, fromSparse, newAccount } from '../counting/account.ts';
import type { AccountStore, LoadedAccount } from '../counting/account-store.ts';
import type { AckedCells } from '../counting/acked-cells.ts';
import { containerKey } from '../subjects/desired.ts';
import { planSubjectAdoption } from './adoption-plan.ts';
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
  onProblem(reason: string): void;
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
      parts.onProblem(`generation ${value.generation} of a subject has no account: its counts cannot be attributed`);
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
    parts.onProblem(`counts of ${stored.pod.namespace}/${stored.pod.name} are lost with their maps`);
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
