import type { Binding } from '../../identity/identity.ts';
import type { GuardedInterface } from '../subjects/guarded-interface.ts';
import type { OtherAddresses } from './other-addresses.ts';
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
  others: OtherAddresses;
  isChosen: Map<Binding, boolean | null>;
  isMacChosen: Map<Binding, boolean | null>;
  isOnDisk: Map<Binding, boolean>;
  segments: Map<Binding, string | null>;
}

/** Comparisons that take some tens of milliseconds. */
const MAX_COMPARISONS = 100_000;

/** Divides interfaces by whether they can be applied at once: each is compared with all that have an address of it. */
export function byCost({ holders }: Pass, ifaces: readonly GuardedInterface[]) {
  const soon: GuardedInterface[] = [];
  const later: GuardedInterface[] = [];
  let left = MAX_COMPARISONS;
  for (const iface of ifaces) {
    const addresses = iface.binding?.addresses ?? [];
    const cost = addresses.reduce((sum, address) => sum + (holders.get(address)?.length ?? 0), 0);
    (cost > left ? later : soon).push(iface);
    if (cost <= left) left -= cost;
  }
  return { soon, later };
}

/** What was read before in the pass. */
export function once<T>(known: Map<Binding, T> | undefined, binding: Binding, read: () => T): T {
  const before = known?.get(binding);
  if (before !== undefined) return before;
  const value = read();
  known?.set(binding, value);
  return value;
}

export function newPass(owners: Iterable<GuardedInterface>, taken: Taken, others: OtherAddresses): Pass {
  const holders = new Map<string, GuardedInterface[]>();
  for (const owner of owners)
    for (const key of new Set([owner.link.mac, owner.binding?.mac ?? '', ...(owner.binding?.addresses ?? [])])) {
      const own = holders.get(key);
      if (own) own.push(owner);
      else holders.set(key, [owner]);
    }
  const known = { isChosen: new Map(), isMacChosen: new Map(), isOnDisk: new Map(), segments: new Map() };
  return { holders, taken, others, ...known };
}
