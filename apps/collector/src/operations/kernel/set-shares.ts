/**
 * Shares of policy sets in the kernel maps. A tenant chooses by the labels of its pods which policies
 * they have, so it can need a set of its own for each pod. A namespace gets a further set only while more
 * of each map is free than its sets have: it alone has at most half of the smallest. A set that several
 * namespaces use counts for the one that needed it first. Pure.
 */
import { SET_PARTS, type SetPart } from '@bailiff/bpf';
import { FairCounts } from '@bailiff/service';

export type SetEntries = Readonly<Record<SetPart, number>>;

const ENTRIES: Readonly<Record<SetPart, string>> = {
  head: 'sets',
  paths: 'paths',
  addresses: 'addresses',
  values: 'values',
  sources: 'programs',
};

export class SetShares {
  readonly #counts: readonly (readonly [SetPart, FairCounts])[];

  constructor(capacities: SetEntries) {
    this.#counts = SET_PARTS.map((part) => [part, new FairCounts(capacities[part])]);
  }

  /** @throws Error if the namespace has its share of a map */
  check(namespace: string, entries: SetEntries): void {
    for (const [part, counts] of this.#counts)
      if (counts.roomFor(namespace) < entries[part])
        throw new Error(
          `namespace ${namespace} has its share of the ${counts.most} ${ENTRIES[part]} of policies on the node: select its pods by fewer combinations of policies, or run fewer of its pods on the node`,
        );
  }

  /** Of a set that is in the kernel, or replaces one. */
  add(namespace: string, entries: SetEntries): void {
    for (const [part, counts] of this.#counts) counts.add(namespace, entries[part]);
  }

  free(namespace: string, entries: SetEntries): void {
    for (const [part, counts] of this.#counts) counts.remove(namespace, entries[part]);
  }
}
