import type { Binding } from '../../identity/identity.ts';
import type { GuardedInterface } from '../subjects/guarded-interface.ts';
import type { Taken } from './taken.ts';

/** Interfaces by the MACs and addresses that they have, of one pass over all. */
type Holders = ReadonlyMap<string, readonly GuardedInterface[]>;

/**
 * A pass over several interfaces. What records say of a binding is read once: hundreds of pods can choose one MAC or
 * address, and each is compared with all of them.
 */
export interface Pass {
  holders: Holders;
  taken: Taken;
  isChosen: Map<Binding, boolean | null>;
  isMacChosen: Map<Binding, boolean | null>;
  isOnDisk: Map<Binding, boolean>;
}

/** What was read before in the pass. */
export function once<T>(known: Map<Binding, T> | undefined, binding: Binding, read: () => T): T {
  const before = known?.get(binding);
  if (before !== undefined) return before;
  const value = read();
  known?.set(binding, value);
  return value;
}

export function newPass(owners: Iterable<GuardedInterface>, taken: Taken): Pass {
  const holders = new Map<string, GuardedInterface[]>();
  for (const owner of owners)
    for (const key of new Set([owner.link.mac, owner.binding?.mac ?? '', ...(owner.binding?.addresses ?? [])])) {
      const own = holders.get(key);
      if (own) own.push(owner);
      else holders.set(key, [owner]);
    }
  return { holders, taken, isChosen: new Map(), isMacChosen: new Map(), isOnDisk: new Map() };
}
